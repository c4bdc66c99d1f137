"""Generated problems: short true statements that no one has to download.

In: a split, a count and a seed. Out: problems, and demonstrations of them in
the formal reasoning pattern. Never a false statement, and never one statement
in two splits (see families.py).
"""

import functools
import itertools
import zlib

import numpy as np

from kimina_jax.problems.families import SPLITS, Case, families
from kimina_jax.types import Demonstration, Problem, UsageError

HEADER = "import Mathlib\n\n"


def generate(split: str, count: int, *, seed: int) -> list[Problem]:
  """Draws `count` problems of a split, the families in turn.

  A smaller count gives the beginning of a larger one. A name belongs to one
  statement for good, whatever the seed.

  Args:
    split: `train`, `valid` or `test`; no statement is in two of them.
    count: how many.
    seed: of the order within each family.

  Raises:
    UsageError: an unknown split, or more problems than exist.
  """
  if split not in SPLITS:
    raise UsageError(f"split {split!r} is none of {', '.join(SPLITS)}")
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

  A wrong response makes a move that does not close the family. It has the same
  pattern, so that imitation teaches the pattern and the moves, and leaves it
  open which move closes what.

  Args:
    problem: from `generate`.
    skill: probability of the right proof, 0 to 1.
    seed: of the choice; another seed gives another attempt.

  Raises:
    UsageError: the problem is not a generated one.
  """
  case = _by_statement().get(problem.statement)
  if case is None:
    raise UsageError(
      f"problem {problem.name!r} is not a generated one: its proof is unknown"
    )
  rng = np.random.default_rng([seed, zlib.crc32(case.name.encode())])
  is_right = rng.random() < skill
  move = case.right if is_right else case.wrong[rng.integers(len(case.wrong))]
  proof = "\n".join(f"  {line}" for line in move.tactics)
  theorem = f"{problem.statement}\n{proof}"
  return Demonstration(
    problem,
    f"<think>\n{move.thought}\n```tactics\n{theorem}\n```\n</think>\n"
    f"```lean4\n{problem.header}{theorem}\n```",
  )


@functools.cache
def _by_statement() -> dict[str, Case]:
  return {
    case.statement: case for cases in families().values() for case in cases
  }
