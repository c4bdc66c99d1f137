"""Extraction: responses that follow and that break the pattern."""

import json

import pytest

from kimina_jax.verification.extract import extract

GOOD = """<think>
Add the numbers.
```tactics
norm_num
```
Then check.
```tactics
  ring

```
</think>
```lean4
import Mathlib

theorem t : 1 + 1 = 2 := by
  norm_num
```"""


def test_parts_of_a_good_response():
  parts = extract(GOOD + "\n\n")
  assert parts.error == ""
  assert parts.tactics == ("norm_num", "  ring")
  assert parts.thought.startswith("\nAdd the numbers.")
  assert parts.thought.endswith("```\n")
  assert parts.final == (
    "import Mathlib\n\ntheorem t : 1 + 1 = 2 := by\n  norm_num"
  )


FINAL = "```lean4\nx\n```\n"


@pytest.mark.parametrize(
  ("text", "error"),
  [
    ("", "no <think>"),
    (GOOD.replace("<think>", ""), "no <think>"),
    (GOOD.replace("</think>", ""), "no </think>"),
    ("<think>" + GOOD, "2 <think>"),
    (GOOD.replace("</think>", "</think></think>"), "2 </think>"),
    ("</think><think>", "</think> before <think>"),
    ("Sure! " + GOOD, "text before <think>"),
    (GOOD.split("</think>")[0] + "</think>", "no final lean4 block"),
    (GOOD.removesuffix("```"), "final block is not closed"),
    (GOOD.replace("```lean4", "```lean"), "no final lean4 block"),
    (GOOD + "\n" + FINAL, "2 final lean4 blocks"),
    (GOOD + "\nDone.", "text after the final block"),
    (GOOD.replace("</think>", "</think>So:"), "text before the final block"),
    (GOOD.replace("```tactics", "```lean"), "no tactics block"),
    (GOOD + "\n```tactics\nring\n```", "text after the final block"),
  ],
)
def test_first_broken_rule(text, error):
  assert extract(text).error == error


def test_two_final_blocks_leave_nothing_to_check():
  assert extract(GOOD + "\n" + FINAL).final == ""


def test_genuine_responses(data_dir):
  path = data_dir / "minif2f" / "kimina-minif2f-test-solved.jsonl"
  for line in path.read_text().splitlines():
    record = json.loads(line)
    parts = extract(record["cot"])
    assert parts.error == "", record["name"]
    assert parts.final in record["cot"]
    assert f"theorem {record['name']}" in parts.final
