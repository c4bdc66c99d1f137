"""The prompt is that of the chat template, string for string."""

import json

import pytest

from kimina_jax.problems import arithmetic, dataset
from kimina_jax.prompts.template import make_prompt, render_prompt
from kimina_jax.prompts.tokenizer import load_tokenizer
from kimina_jax.types import Problem

_PROBLEM = Problem(
  "t", "import Mathlib\n\n", "theorem t : 1 < 2 := by", "One is less."
)


def test_the_whole_prompt():
  assert render_prompt(_PROBLEM) == (
    "<|im_start|>system\n"
    "You are an expert in mathematics and Lean 4.<|im_end|>\n"
    "<|im_start|>user\n"
    "Think about and solve the following problem step by step in Lean 4.\n"
    "# Problem:One is less.\n"
    "# Formal statement:\n"
    "```lean4\n"
    "import Mathlib\n"
    "\n"
    "theorem t : 1 < 2 := by\n"
    "```\n"
    "<|im_end|>\n"
    "<|im_start|>assistant\n"
  )


def test_an_informal_text_may_be_empty():
  problem = arithmetic.generate("train", 1, seed=0)[0]
  assert "in Lean 4.\n# Problem:\n# Formal statement:\n" in render_prompt(
    problem
  )


def _turns(problem):
  user = (
    "Think about and solve the following problem step by step in Lean 4."
    f"\n# Problem:{problem.informal}\n# Formal statement:"
    f"\n```lean4\n{problem.header}{problem.statement}\n```\n"
  )
  return [
    {
      "role": "system",
      "content": "You are an expert in mathematics and Lean 4.",
    },
    {"role": "user", "content": user},
  ]


@pytest.fixture(scope="module")
def qwen(data_dir):
  transformers = pytest.importorskip("transformers")
  return transformers.AutoTokenizer.from_pretrained(
    data_dir / "qwen2.5-tokenizer", local_files_only=True
  )


def test_equal_to_the_chat_template_of_qwen(qwen, data_dir):
  problems = dataset.load_statements(
    data_dir / "minif2f" / "minif2f.jsonl", split="test"
  )
  for problem in [_PROBLEM, *problems[:50]]:
    expected = qwen.apply_chat_template(
      _turns(problem), tokenize=False, add_generation_prompt=True
    )
    assert render_prompt(problem) == expected


def test_tokens_are_those_of_the_chat_template(qwen, data_dir):
  tokenizer = load_tokenizer(data_dir / "qwen2.5-tokenizer")
  prompt = make_prompt(_PROBLEM, tokenizer)
  expected = qwen.apply_chat_template(
    _turns(_PROBLEM), add_generation_prompt=True, return_dict=True
  )
  assert prompt.tokens.tolist() == expected["input_ids"]
  assert prompt.problem is _PROBLEM
  assert prompt.text == render_prompt(_PROBLEM)


def test_solutions_of_kimina_fit_the_prompt(data_dir):
  """A genuine response repeats the block of the prompt."""
  folder = data_dir / "minif2f"
  problems = {
    p.name: p for p in dataset.load_statements(folder / "minif2f.jsonl")
  }
  lines = (folder / "kimina-minif2f-test-solved.jsonl").read_text()
  repeated = 0
  for record in map(json.loads, lines.splitlines()):
    problem = problems[record["name"]]
    shown = "".join((problem.header + problem.statement).split())
    repeated += shown in "".join(record["cot"].split())
  assert repeated >= 180
