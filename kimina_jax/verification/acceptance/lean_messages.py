"""How Lean's words differ from 4.9 to 4.33, where the checker depends on them.

One table. A row says from which version on Lean says what, as a regular
expression, and who reads it. Whatever Lean says that is in no row is not
understood, and what is not understood is not proved. It reads nothing itself.

Where 4.9 is given, no change since is known. A message may go on after what a
row holds, in a note or a hint.
"""

import dataclasses
import re


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


SORRY = "a declaration uses sorry"
UNKNOWN = "a name is unknown"
NO_AXIOMS = "a theorem rests on no axioms"
SOME_AXIOMS = "a theorem rests on axioms"
COMPILER = "an axiom that stands for trust in the compiler"

TABLE = (
  Wording(SORRY, "4.9", r"declaration uses 'sorry'", "audit.judge"),
  Wording(SORRY, "4.28", r"declaration uses `sorry`", "audit.judge"),
  Wording(UNKNOWN, "4.9", r"unknown (?:constant|identifier)", "audit.judge"),
  Wording(UNKNOWN, "4.23", r"Unknown (?:constant|identifier)", "audit.judge"),
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
  Wording(COMPILER, "4.9", r"Lean\.ofReduceBool", "axioms.untrusted"),
  # It stood behind ofReduceBool before, where the report did not look.
  Wording(COMPILER, "4.23", r"Lean\.trustCompiler", "axioms.untrusted"),
  # One for each computation, in place of the other two. No keyword that a
  # proof may use declares an axiom, so none can be declared under this name.
  Wording(
    COMPILER,
    "4.29",
    r"(?:[^\s,]+\.)?_native\.native_decide\.ax(?:_[0-9]+)+",
    "axioms.untrusted",
  ),
)


def pattern(topic: str) -> re.Pattern[str]:
  """What Lean says of a topic in any version."""
  rows = [row.pattern for row in TABLE if row.topic == topic]
  return re.compile("|".join(f"(?:{row})" for row in rows))
