"""Generated statements are true, their proofs right, their splits disjoint."""

import itertools
import json
import random
import re
import subprocess
import sys

import pytest

from kimina_jax.problems import arithmetic
from kimina_jax.problems.families import SPLITS
from kimina_jax.rewards.format import format_error
from kimina_jax.types import UsageError
from kimina_jax.verification.extract import extract

_FAMILIES = 10
_STATEMENT = re.compile(
  r"theorem (?P<name>\w+) (?:\((?P<variables>[xy ]+) : (?P<type>.)\) )?"
  r"(?P<hypotheses>(?:\(h[₀₁]? : [^)]*\) )*): (?P<goal>.*) := by"
)


def _sample(count: int) -> list:
  problems = [
    problem
    for split in SPLITS
    for problem in arithmetic.generate(split, 1500, seed=3)
  ]
  return random.Random(0).sample(problems, count)


class _Nat(int):
  """A natural number with Lean's subtraction."""

  def __sub__(self, other):
    return _Nat(max(0, int(self) - int(other)))


def _python(proposition: str) -> str:
  """The proposition as a Python expression, by its symbols alone."""
  if " → " in proposition:
    premise, conclusion = map(_python, proposition.split(" → "))
    return f"(not ({premise}) or ({conclusion}))"
  if match := re.fullmatch(r"∃ x : (ℕ|ℤ|ℝ), (.*)", proposition):
    kind = "_Nat" if match[1] == "ℕ" else "int"
    return f"any({_python(match[2])} for x in map({kind}, range(100)))"
  for lean, python in (
    (" = ", " == "),
    (" ≤ ", " <= "),
    (" ≥ ", " >= "),
    (" ^ ", " ** "),
    (" ∧ ", " and "),
    (" ∨ ", " or "),
  ):
    proposition = proposition.replace(lean, python)
  return proposition


def _holds(statement: str) -> tuple[bool, bool]:
  """Whether a statement is true on a grid, and its hypotheses satisfiable."""
  match = _STATEMENT.fullmatch(statement)
  variables = (match["variables"] or "").split()
  hypotheses = re.findall(r"\(h[₀₁]? : ([^)]*)\)", match["hypotheses"])
  given = compile(
    " and ".join(f"({_python(h)})" for h in hypotheses) or "True",
    statement,
    "eval",
  )
  goal = compile(_python(match["goal"]), statement, "eval")
  grid = {
    "ℕ": list(map(_Nat, range(20))),
    "ℤ": list(range(-3, 20)),
    "ℝ": [half / 2 for half in range(-5, 40)],
    None: [],
  }[match["type"]]
  points = [
    dict(zip(variables, values, strict=True)) | {"_Nat": _Nat}
    for values in itertools.product(grid, repeat=len(variables))
  ]
  reached = [point for point in points if eval(given, point)]
  return all(eval(goal, point) for point in reached), bool(reached)


def test_every_family_is_true_by_brute_force():
  problems = _sample(400)
  assert len({p.source for p in problems}) == _FAMILIES
  for problem in problems:
    assert _holds(problem.statement) == (True, True), problem.statement


def test_brute_force_refutes_what_is_false():
  assert not _holds("theorem a : 3 * 4 = 13 := by")[0]
  assert not _holds("theorem b (x : ℕ) (h₀ : x - 2 = 0) : x = 2 := by")[0]
  assert not _holds("theorem c (x : ℝ) : 4 * x < x ^ 2 + 4 := by")[0]
  assert not _holds("theorem d (x : ℝ) (h : x = 1 ∨ x = 2) : x = 1 := by")[0]


def test_splits_are_disjoint_without_names():
  texts = {}
  for split in SPLITS:
    problems = arithmetic.generate(split, 1500, seed=0)
    texts[split] = {re.sub(r"theorem \w+ ", "", p.statement) for p in problems}
    assert len(texts[split]) == 1500
    assert {p.split for p in problems} == {split}
  assert not texts["train"] & texts["valid"]
  assert not texts["train"] & texts["test"]
  assert not texts["valid"] & texts["test"]


def test_families_take_turns_and_name_themselves():
  problems = arithmetic.generate("test", 100, seed=5)
  for problem in problems:
    assert problem.statement.startswith(f"theorem {problem.source} ")
    assert problem.name.startswith(f"{problem.source}_")
    assert "\n" not in problem.statement
  sources = [p.source for p in problems]
  assert len(set(sources[:_FAMILIES])) == _FAMILIES
  assert sources[:_FAMILIES] == sources[_FAMILIES : 2 * _FAMILIES]


def test_generation_is_a_function_of_the_seed():
  first = arithmetic.generate("train", 300, seed=1)
  assert first == arithmetic.generate("train", 300, seed=1)
  assert first[:50] == arithmetic.generate("train", 50, seed=1)
  other = arithmetic.generate("train", 300, seed=2)
  assert first != other
  # A name belongs to the same statement for every seed.
  statements = {p.name: p.statement for p in first}
  for problem in other:
    expected = statements.get(problem.name, problem.statement)
    assert problem.statement == expected
  assert len({p.name for p in first}) == 300


def test_too_many_and_unknown_splits_are_usage_errors():
  with pytest.raises(UsageError, match=r"1000000 .* has \d+"):
    arithmetic.generate("train", 1_000_000, seed=0)
  message = str(
    pytest.raises(UsageError, arithmetic.generate, "test", 10**6, seed=0).value
  )
  available = int(re.search(r"has (\d+)", message)[1])
  assert len(arithmetic.generate("test", available, seed=0)) == available
  with pytest.raises(UsageError):
    arithmetic.generate("test", available + 1, seed=0)
  with pytest.raises(UsageError, match="'dev'"):
    arithmetic.generate("dev", 1, seed=0)


@pytest.mark.parametrize("skill", [0.0, 1.0])
def test_demonstrations_pass_the_format_gate(skill):
  for problem in _sample(200):
    response = arithmetic.demonstrate(problem, skill=skill, seed=0).response
    extraction = extract(response)
    assert format_error(extraction, min_coverage=0.6) == "", response
    beginning = f"{problem.header}{problem.statement}\n  "
    assert extraction.final.startswith(beginning)


def test_skill_is_the_share_of_right_demonstrations():
  problems = arithmetic.generate("train", 2000, seed=0)

  def attempts(skill, seed):
    return [
      arithmetic.demonstrate(p, skill=skill, seed=seed).response
      for p in problems
    ]

  right = attempts(1.0, 0)
  for seed in (0, 1):
    pairs = zip(attempts(0.25, seed), right, strict=True)
    share = sum(a == b for a, b in pairs) / len(problems)
    assert abs(share - 0.25) < 0.04
  assert not any(map(str.__eq__, attempts(0.0, 0), right))
  assert attempts(0.25, 0) == attempts(0.25, 0) != attempts(0.25, 1)


def test_a_foreign_problem_has_no_demonstration():
  problem = arithmetic.generate("train", 1, seed=0)[0]
  foreign = type(problem)(**vars(problem) | {"statement": "theorem a : 1 = 1"})
  with pytest.raises(UsageError, match=problem.name):
    arithmetic.demonstrate(foreign, skill=1.0, seed=0)


@pytest.fixture(scope="module")
def accepts():
  """The embedded checker as a predicate on final blocks."""
  command = [sys.executable, "-m", "kimina_jax.minilean"]
  process = subprocess.Popen(
    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
  )

  def ask(request: dict) -> dict:
    process.stdin.write(json.dumps(request, ensure_ascii=False) + "\n\n")
    process.stdin.flush()
    return json.loads("".join(iter(process.stdout.readline, "\n")))

  env = ask({"cmd": arithmetic.HEADER})["env"]

  def accepts(final: str) -> bool:
    theorem = final.removeprefix(arithmetic.HEADER)
    reply = ask({"cmd": theorem, "env": env})
    severities = {m["severity"] for m in reply.get("messages", ())}
    return "env" in reply and "error" not in severities

  with process:
    yield accepts
    process.stdin.close()


def test_the_checker_accepts_right_and_refuses_wrong(accepts):
  for problem in arithmetic.generate("train", 150, seed=7):
    for skill in (0.0, 1.0):
      response = arithmetic.demonstrate(problem, skill=skill, seed=0).response
      final = extract(response).final
      assert accepts(final) == bool(skill), final
