"""Lean's messages by version, and the parser of its reports of axioms.

One table, TABLE, holds the texts of Lean 4.9 to 4.33 that the checker depends
on, each with the first version that prints it, as a regular expression. A
message that matches no row is not understood, and a proof whose messages are
not understood is not proved. `read_axioms` reads the line that `#print axioms`
prints; a line that it cannot read is an error and never an empty list.

Where a row says 4.9, no later change is known. A message may continue after
the text of a row, with a note or a hint.
"""

import dataclasses
import re

# The axioms of Lean's logic.
STANDARD_AXIOMS = frozenset(("propext", "Classical.choice", "Quot.sound"))
# The axioms of native_decide; from Lean 4.29 on it declares an axiom for each
# computation instead, which `untrusted_axioms` recognises by its form.
COMPILER_AXIOMS = frozenset(("Lean.ofReduceBool", "Lean.trustCompiler"))
# The axiom of `sorry`.
SORRY_AXIOM = "sorryAx"


@dataclasses.dataclass(frozen=True)
class KnownMessage:
  """A row of TABLE: one text of a message.

  Attributes:
    topic: what the message means.
    since: the first version of Lean that prints this text.
    pattern: the text, as a regular expression.
    reader: the function that depends on it.
  """

  topic: str
  since: str
  pattern: str
  reader: str


SORRY_WARNING = "a declaration uses sorry"
UNKNOWN_NAME = "a name is unknown"
NO_AXIOMS = "a theorem rests on no axioms"
SOME_AXIOMS = "a theorem rests on axioms"
COMPILER_AXIOM = "an axiom that stands for trust in the compiler"

TABLE = (
  KnownMessage(
    SORRY_WARNING, "4.9", r"declaration uses 'sorry'", "judge_replies"
  ),
  KnownMessage(
    SORRY_WARNING, "4.28", r"declaration uses `sorry`", "judge_replies"
  ),
  KnownMessage(
    UNKNOWN_NAME,
    "4.9",
    r"unknown (?:constant|identifier)",
    "judge_replies",
  ),
  KnownMessage(
    UNKNOWN_NAME,
    "4.23",
    r"Unknown (?:constant|identifier)",
    "judge_replies",
  ),
  KnownMessage(
    NO_AXIOMS,
    "4.9",
    r"'(?P<subject>\S+)' does not depend on any axioms",
    "read_axioms",
  ),
  # A long list goes over several lines.
  KnownMessage(
    SOME_AXIOMS,
    "4.9",
    r"'(?P<subject>\S+)' depends on axioms:\s+\[(?P<axioms>[^\[\]]+)\]",
    "read_axioms",
  ),
  KnownMessage(
    COMPILER_AXIOM, "4.9", r"Lean\.ofReduceBool", "untrusted_axioms"
  ),
  # Before 4.23 it was a dependency of ofReduceBool that was not reported.
  KnownMessage(
    COMPILER_AXIOM, "4.23", r"Lean\.trustCompiler", "untrusted_axioms"
  ),
  # One for each computation, in place of the other two. No command that a
  # proof may contain declares an axiom, so a proof cannot declare this name.
  KnownMessage(
    COMPILER_AXIOM,
    "4.29",
    r"(?:[^\s,]+\.)?_native\.native_decide\.ax(?:_[0-9]+)+",
    "untrusted_axioms",
  ),
)


def pattern_of(topic: str) -> re.Pattern[str]:
  """A regular expression of the messages on a topic, of all versions."""
  rows = [row.pattern for row in TABLE if row.topic == topic]
  return re.compile("|".join(f"(?:{row})" for row in rows))


_NONE = pattern_of(NO_AXIOMS)
_SOME = pattern_of(SOME_AXIOMS)
_OF_COMPILER = pattern_of(COMPILER_AXIOM)
_NAME = re.compile(r"[^\s,]+")


def trusted_axioms(*, native_decide: bool) -> frozenset[str]:
  """The axioms that a proof may use."""
  return STANDARD_AXIOMS | COMPILER_AXIOMS if native_decide else STANDARD_AXIOMS


def read_axioms(subject: str, line: str) -> tuple[str, ...]:
  """The axioms in a line of `#print axioms`.

  Args:
    subject: the name of the theorem, without its namespace.
    line: the output of Lean.

  Raises:
    ValueError: the line is not such a report, or is one of another theorem.
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


def untrusted_axioms(
  axioms: tuple[str, ...], trusted: frozenset[str]
) -> tuple[str, ...]:
  """The axioms among these that a proof may not use."""
  trusts_compiler = trusted >= COMPILER_AXIOMS
  return tuple(
    axiom
    for axiom in axioms
    if axiom not in trusted
    and not (trusts_compiler and _OF_COMPILER.fullmatch(axiom))
  )
