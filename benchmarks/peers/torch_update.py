"""An update of Qwen2 in PyTorch: transformers' model, torch's AdamW.

  python torch_update.py DIRECTORY sft|grpo

benchmarks/update.py writes DIRECTORY: weights and batch.json.
"""

import json
import os
import pathlib
import sys

import serve
import torch
import transformers


def main() -> None:
  directory, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
  batch = json.loads((directory / "batch.json").read_text())
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  model = transformers.AutoModelForCausalLM.from_pretrained(
    directory, dtype=torch.float32
  ).train()
  optimizer = torch.optim.AdamW(
    model.parameters(), lr=batch["learning_rate"], weight_decay=1e-4
  )
  tokens = torch.tensor(batch["tokens"])
  num_prompt = batch["num_prompt"][mode]
  advantage = torch.tensor(batch["advantages"])[:, None]

  def logprobs() -> torch.Tensor:
    logits = model(tokens, use_cache=False).logits[:, num_prompt - 1 : -1]
    loss = torch.nn.functional.cross_entropy(
      logits.flatten(0, 1), tokens[:, num_prompt:].flatten(), reduction="none"
    )
    return -loss.view(len(tokens), -1)

  def objective() -> torch.Tensor:
    logp = logprobs()
    if mode == "sft":
      return -logp.mean()
    ratio = torch.exp(logp - batch["old_logp"])
    clipped = ratio.clamp(1 - batch["clip"], 1 + batch["clip"])
    return -torch.minimum(ratio * advantage, clipped * advantage).mean()

  def step() -> float:
    loss = objective()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()

  serve.serve(step)


if __name__ == "__main__":
  main()
