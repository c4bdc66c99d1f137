"""What Lean prints, by version, and how its reports of axioms are read.

One table, TABLE, holds the texts of Lean 4.9 to 4.33 that the checker depends
on, each with the first version that prints it, as a regular expression. A
message that matches no row is not understood, and a proof whose messages are
not understood is not proved. `read_axioms` reads the line that `#print axioms`
prints; a line that it cannot read is an error and never an empty list.

Where a row says 4.9, no later change is known. A message may go on after the
text of a row, with a note or a hint.
"""

import dataclasses
import re

# Those of Lean's own logic.
STANDARD_AXIOMS = frozenset(("propext", "Classical.choice", "Quot.sound"))
# What native_decide rests on besides; from Lean 4.29 on it has an axiom for
# each computation instead, which `untrusted` knows by its form.
COMPILER_AXIOMS = frozenset(("Lean.ofReduceBool", "Lean.trustCompiler"))
# What a proof by `sorry` rests on.
SORRY_AXIOM = "sorryAx"


@dataclasses.dataclass(frozen=True)
class Wording:
  """A row.

  Attributes:
    topic: what is said.
    since: the first version of Lean that says it so.
    pattern: what it says.
    reader: who depends on it.
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
  Wording(
    SORRY_WARNING, "4.9", r"declaration uses 'sorry'", "audit.judge_replies"
  ),
  Wording(
    SORRY_WARNING, "4.28", r"declaration uses `sorry`", "audit.judge_replies"
  ),
  Wording(
    UNKNOWN_NAME,
    "4.9",
    r"unknown (?:constant|identifier)",
    "audit.judge_replies",
  ),
  Wording(
    UNKNOWN_NAME,
    "4.23",
    r"Unknown (?:constant|identifier)",
    "audit.judge_replies",
  ),
  Wording(
    NO_AXIOMS,
    "4.9",
    r"'(?P<subject>\S+)' does not depend on any axioms",
    "axioms.read_axioms",
  ),
  # The list is broken into lines where it is long.
  Wording(
    SOME_AXIOMS,
    "4.9",
    r"'(?P<subject>\S+)' depends on axioms:\s+\[(?P<axioms>[^\[\]]+)\]",
    "axioms.read_axioms",
  ),
  Wording(COMPILER_AXIOM, "4.9", r"Lean\.ofReduceBool", "axioms.untrusted"),
  # It stood behind ofReduceBool before, where the report did not look.
  Wording(COMPILER_AXIOM, "4.23", r"Lean\.trustCompiler", "axioms.untrusted"),
  # One for each computation, in place of the other two. No keyword that a
  # proof may use declares an axiom, so none can be declared under this name.
  Wording(
    COMPILER_AXIOM,
    "4.29",
    r"(?:[^\s,]+\.)?_native\.native_decide\.ax(?:_[0-9]+)+",
    "axioms.untrusted",
  ),
)


def pattern(topic: str) -> re.Pattern[str]:
  """What Lean says of a topic in any version."""
  rows = [row.pattern for row in TABLE if row.topic == topic]
  return re.compile("|".join(f"(?:{row})" for row in rows))


_NONE = pattern(NO_AXIOMS)
_SOME = pattern(SOME_AXIOMS)
_OF_COMPILER = pattern(COMPILER_AXIOM)
_NAME = re.compile(r"[^\s,]+")


def trusted_axioms(*, native_decide: bool) -> frozenset[str]:
  """What a proof may rest on."""
  return STANDARD_AXIOMS | COMPILER_AXIOMS if native_decide else STANDARD_AXIOMS


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
  trusts_compiler = trusted >= COMPILER_AXIOMS
  return tuple(
    axiom
    for axiom in axioms
    if axiom not in trusted
    and not (trusts_compiler and _OF_COMPILER.fullmatch(axiom))
  )
