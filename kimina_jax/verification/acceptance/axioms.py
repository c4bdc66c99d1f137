"""What a theorem rests on: the words of `#print axioms` in, names out.

Reads one line, of any Lean that lean_messages.py knows. What it cannot read is
an error and never an empty list.
"""

import re

from kimina_jax.verification.acceptance import lean_messages

# Those of Lean's own logic.
STANDARD = frozenset(("propext", "Classical.choice", "Quot.sound"))
# What native_decide rests on besides; from Lean 4.29 on it has an axiom for
# each computation instead, which `untrusted` knows by its form.
COMPILER = frozenset(("Lean.ofReduceBool", "Lean.trustCompiler"))
# What a proof by `sorry` rests on.
SORRY = "sorryAx"

_NONE = lean_messages.pattern(lean_messages.NO_AXIOMS)
_SOME = lean_messages.pattern(lean_messages.SOME_AXIOMS)
_OF_COMPILER = lean_messages.pattern(lean_messages.COMPILER)
_NAME = re.compile(r"[^\s,]+")


def trusted_axioms(*, native_decide: bool) -> frozenset[str]:
  """What a proof may rest on."""
  return STANDARD | COMPILER if native_decide else STANDARD


def read_axioms(subject: str, line: str) -> tuple[str, ...]:
  """The axioms in a line of `#print axioms`.

  Args:
    subject: the theorem that was asked for, without its namespace.
    line: what Lean says.

  Raises:
    ValueError: the line is no such report, or one of another theorem.
  """
  line = line.strip()
  found = _NONE.fullmatch(line) or _SOME.fullmatch(line)
  if found is None or found["subject"].rpartition(".")[2] != subject:
    raise ValueError(f"not a report of axioms: {line[:200]!r}")
  if found.re is _NONE:
    return ()
  names = [name.strip() for name in found["axioms"].split(",")]
  if not all(map(_NAME.fullmatch, names)):
    raise ValueError(f"not a list of axioms: {line[:200]!r}")
  return tuple(names)


def untrusted(
  axioms: tuple[str, ...], trusted: frozenset[str]
) -> tuple[str, ...]:
  """The axioms that a proof may not rest on."""
  trusts_compiler = trusted >= COMPILER
  return tuple(
    axiom
    for axiom in axioms
    if axiom not in trusted
    and not (trusts_compiler and _OF_COMPILER.fullmatch(axiom))
  )
