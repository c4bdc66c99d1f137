"""Generated arithmetic problems, which need no download.

In: a split, a count and a seed. Out: short true statements, and demonstrations
of them in the formal reasoning pattern. No statement is false, and none is in
two splits (see families.py).
"""

import functools
import itertools
import zlib

import numpy as np

from kimina_jax.problems.families import SPLITS, GeneratedCase, families
from kimina_jax.types import Demonstration, Problem, UsageError

HEADER = "import Mathlib\n\n"


def generate(split: str, count: int, *, seed: int) -> list[Problem]:
  """Draws `count` problems of a split, round-robin over the families.

  A smaller count gives a prefix of a larger one. A name belongs to the same
  statement for every seed.

  Args:
    split: `train`, `valid` or `test`; no statement is in two of them.
    count: number of problems.
    seed: of the order within each family.

  Raises:
    UsageError: an unknown split, or more problems than exist.
  """
  if split not in SPLITS:
    raise UsageError(f"split {split!r} is not one of {', '.join(SPLITS)}")
  decks = [
    [case for case in cases if case.split == split]
    for cases in families().values()
  ]
  available = sum(map(len, decks))
  if not 0 <= count <= available:
    raise UsageError(
      f"{count} generated problems asked for, but split {split!r} has "
      f"{available}; lower the count"
    )
  rng = np.random.default_rng(seed)
  shuffled = [[deck[i] for i in rng.permutation(len(deck))] for deck in decks]
  turns = itertools.chain.from_iterable(itertools.zip_longest(*shuffled))
  cases = (case for case in turns if case is not None)
  return [
    Problem(case.name, HEADER, case.statement, "", split, case.family)
    for case in itertools.islice(cases, count)
  ]


def demonstrate(problem: Problem, *, skill: float, seed: int) -> Demonstration:
  """Writes a response to a generated problem, right with probability `skill`.

  A wrong response uses a proof that fails on the problem's family. It has the
  same pattern, so that supervised training teaches the pattern and the
  tactics, but not which tactic proves which family.

  Args:
    problem: from `generate`.
    skill: probability of the right proof, 0 to 1.
    seed: of the choice; another seed gives another response.

  Raises:
    UsageError: the problem is not a generated one.
  """
  case = _by_statement().get(problem.statement)
  if case is None:
    raise UsageError(
      f"problem {problem.name!r} is not a generated one, so its proof is not "
      "known"
    )
  rng = np.random.default_rng([seed, zlib.crc32(case.name.encode())])
  is_right = rng.random() < skill
  script = case.right if is_right else case.wrong[rng.integers(len(case.wrong))]
  proof = "\n".join(f"  {line}" for line in script.tactics)
  theorem = f"{problem.statement}\n{proof}"
  return Demonstration(
    problem,
    f"<think>\n{script.thought}\n```tactics\n{theorem}\n```\n</think>\n"
    f"```lean4\n{problem.header}{theorem}\n```",
  )


@functools.cache
def _by_statement() -> dict[str, GeneratedCase]:
  return {
    case.statement: case for cases in families().values() for case in cases
  }
