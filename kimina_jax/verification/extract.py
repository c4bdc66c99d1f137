"""Extraction: parses a response of the formal reasoning pattern.

In: the text of a response. Out: its thought, tactics blocks and final block. A
response is `<think>` … `</think>` with at least one block fenced by three
backticks and `tactics` inside, then one block fenced by three backticks and
`lean4`, and nothing else (Kimina-Prover Preview, arXiv 2504.11354, §2). A text
that breaks the pattern gives an `Extraction` whose `error` names the first
broken rule. The Lean code is not judged.
"""

import re

from kimina_jax.types import Extraction

_TACTICS = re.compile(
  r"^[ ]*```tactics[ ]*\n(.*?)^[ ]*```[ ]*$", re.DOTALL | re.MULTILINE
)
_FINAL = re.compile(r"^```lean4[ ]*\n(.*?)^```[ ]*$", re.DOTALL | re.MULTILINE)


def extract(text: str) -> Extraction:
  """Parses a response.

  Args:
    text: the response, without the stop token.

  Returns:
    The parts that were found. `error` is empty, or names the first rule that
    the response breaks; `final` is empty unless there is exactly one final
    block.
  """
  error = _think_error(text)
  if error:
    return Extraction(error=error)
  thought, answer = text.split("<think>")[1].split("</think>")
  tactics = tuple(block.rstrip("\n") for block in _TACTICS.findall(thought))
  final, error = _final_block(answer)
  if not error and not tactics:
    error = "no tactics block"
  return Extraction(thought, tactics, final, error)


def _think_error(text: str) -> str:
  for marker in ("<think>", "</think>"):
    count = text.count(marker)
    if count != 1:
      return f"{count} {marker}" if count else f"no {marker}"
  if text.index("</think>") < text.index("<think>"):
    return "</think> before <think>"
  if not text.lstrip().startswith("<think>"):
    return "text before <think>"
  return ""


def _final_block(answer: str) -> tuple[str, str]:
  """The content of the one final block, and the rule that it breaks or ""."""
  blocks = list(_FINAL.finditer(answer))
  if not blocks:
    opened = re.search(r"^```lean4", answer, re.MULTILINE)
    return "", "final block is not closed" if opened else "no final lean4 block"
  if len(blocks) > 1:
    return "", f"{len(blocks)} final lean4 blocks"
  block = blocks[0]
  final = block[1].rstrip("\n")
  if answer[: block.start()].strip():
    return final, "text before the final block"
  if answer[block.end() :].strip():
    return final, "text after the final block"
  return final, ""
