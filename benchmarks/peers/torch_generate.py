"""Responses of forced lengths by transformers' `generate`.

  python torch_generate.py DIRECTORY WORKLOAD BATCH

DIRECTORY is what benchmarks/sampler.py writes: weights and workloads.json. A
batch is padded on the left and ends when the last of its rows does. Its cache
grows with it (DynamicCache, the default): a static one attends to positions
that are not filled.
"""

import os
import pathlib
import sys

import serve
import torch
import transformers


class Lengths(transformers.StoppingCriteria):
  """Each row ends at its own length."""

  def __init__(self, num_prompt: int, lens: list[int]):
    self._ends_B = num_prompt + torch.tensor(lens)

  def __call__(self, tokens_BT, scores, **_) -> torch.Tensor:
    return self._ends_B <= tokens_BT.shape[1]


def main() -> None:
  directory, workload, size = sys.argv[1:]
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  model = transformers.AutoModelForCausalLM.from_pretrained(
    directory, dtype=torch.float32
  ).eval()
  work = list(serve.batches(pathlib.Path(directory), workload, int(size)))
  greedy = next(serve.batches(pathlib.Path(directory), "greedy", int(size)))

  def step() -> int:
    return sum(
      min(len(row), length)
      for prompts, lens in work
      for row, length in zip(
        _generate(model, prompts, lens, do_sample=True), lens, strict=True
      )
    )

  def warm_up() -> list[list[int]]:
    return _generate(model, *greedy, do_sample=False).tolist()

  serve.serve(step, warm_up)


@torch.inference_mode()
def _generate(model, prompts, lens, *, do_sample: bool) -> torch.Tensor:
  """New tokens of all rows, as many as the longest row's."""
  num_prompt = max(map(len, prompts))
  shape = len(prompts), num_prompt
  tokens_BT = torch.zeros(shape, dtype=torch.long)
  mask_BT = torch.zeros(shape, dtype=torch.long)
  for row, prompt in enumerate(prompts):
    tokens_BT[row, num_prompt - len(prompt) :] = torch.tensor(prompt)
    mask_BT[row, num_prompt - len(prompt) :] = 1
  sampling = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
  output = model.generate(
    tokens_BT,
    attention_mask=mask_BT,
    do_sample=do_sample,
    max_new_tokens=max(lens),
    stopping_criteria=transformers.StoppingCriteriaList(
      [Lengths(num_prompt, lens)]
    ),
    pad_token_id=0,
    eos_token_id=None,
    **(sampling if do_sample else {}),
  )
  return output[:, num_prompt:]


if __name__ == "__main__":
  main()
