"""The format gate."""

import json

import pytest

from kimina_jax.rewards.format import coverage, format_error
from kimina_jax.types import Extraction
from kimina_jax.verification.extract import extract


def make(tactics: list[str], final: str) -> Extraction:
  return Extraction(thought="", tactics=tuple(tactics), final=final)


def test_coverage_counts_distinct_lines_without_comments():
  final = "theorem t : p := by\n  a -- why\n  a\n/- x\n /- y -/ b\n-/\n\n  b"
  # Lines of the final block: {"theorem t : p := by", "a", "b"}.
  assert coverage(make(["a", "c\nd"], final)) == pytest.approx(1 / 3)
  assert coverage(make(["a", " b -- so"], final)) == pytest.approx(2 / 3)
  assert coverage(make(["/- a -/\n-- b"], final)) == 0
  assert coverage(make(["-- b -/\n/- -- -/ a"], final)) == pytest.approx(1 / 3)
  assert coverage(make(["a"], "-- nothing")) == 0


def test_gate():
  final = "a\nb\nc\nd\ne"
  assert format_error(make(["a\nb\nc"], final), min_coverage=0.6) == ""
  error = format_error(make(["a\nb"], final), min_coverage=0.6)
  assert error == "coverage 0.400 is below 0.600"
  broken = Extraction(error="no </think>")
  assert format_error(broken, min_coverage=0.0) == "no </think>"


def test_genuine_responses(data_dir):
  path = data_dir / "minif2f" / "kimina-minif2f-test-solved.jsonl"
  records = [json.loads(line) for line in path.read_text().splitlines()]
  errors = {
    record["name"]: format_error(extract(record["cot"]), min_coverage=0.6)
    for record in records
  }
  assert len(errors) == 197
  assert {name: error for name, error in errors.items() if error} == {
    "aime_1984_p7": "coverage 0.050 is below 0.600",
    "induction_nfactltnexpnm1ngt3": "coverage 0.543 is below 0.600",
    "mathd_numbertheory_227": "coverage 0.459 is below 0.600",
  }
