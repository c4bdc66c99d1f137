"""The format gate: acts after verification, on the reward alone.

It refuses responses that break the formal reasoning pattern. It does not decide
what Lean checks; verification/acceptance/ does.

In: a response taken apart at its markers. Out: the reason of a refusal, if
any. Beyond the pattern itself, most lines of the final proof must occur in the
tactics blocks of the thought (Kimina-Prover Preview, arXiv 2504.11354, §2).
The gate uses the text only, never the verdict.
"""

import re
from collections.abc import Iterable

from kimina_jax.types import Extraction

_COMMENT = re.compile(r"/-|--[^\n]*")
_BLOCK_COMMENT = re.compile(r"/-|-/")


def format_error(extraction: Extraction, *, min_coverage: float) -> str:
  """Returns the reason why a response fails the gate; "" if it passes.

  Args:
    extraction: the response, taken apart.
    min_coverage: smallest accepted coverage, in [0, 1].
  """
  if extraction.error:
    return extraction.error
  share = coverage(extraction)
  if share < min_coverage:
    return f"coverage {share:.3f} is below {min_coverage:.3f}"
  return ""


def coverage(extraction: Extraction) -> float:
  """Computes the share of the final block's lines that a tactics block has.

      |lines(tactics) ∩ lines(final)| / |lines(final)|

  where lines(·) is the set of lines without comments and surrounding spaces,
  empty ones left out. A final block without lines has coverage 0.
  """
  final = _lines([extraction.final])
  if not final:
    return 0.0
  return len(final & _lines(extraction.tactics)) / len(final)


def _lines(blocks: Iterable[str]) -> set[str]:
  lines: set[str] = set()
  for block in blocks:
    lines.update(line.strip() for line in _strip_comments(block).split("\n"))
  return lines - {""}


def _strip_comments(text: str) -> str:
  """Removes `--` to the end of the line and nested `/- -/`."""
  kept, position = [], 0
  while mark := _COMMENT.search(text, position):
    kept.append(text[position : mark.start()])
    position = mark.end()
    if mark[0] == "/-":
      position = _end_of_block_comment(text, position)
  return "".join(kept) + text[position:]


def _end_of_block_comment(text: str, position: int) -> int:
  depth = 1
  for mark in _BLOCK_COMMENT.finditer(text, position):
    depth += 1 if mark[0] == "/-" else -1
    if depth == 0:
      return mark.end()
  return len(text)
