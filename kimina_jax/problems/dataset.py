"""Statements from JSONL files, in the spellings that provers publish.

In: a file of one JSON object per line, as of DeepSeek-Prover, Kimina-Prover or
Goedel-Prover. Out: problems whose statement ends in `:= by`. Never a problem
with a guessed field, never two of one name.
"""

import json
import pathlib
import re
from collections.abc import Iterator, Sequence

from kimina_jax.types import Problem, UsageError

# Each field of a problem under the names it goes by; the first that a record
# has counts.
_NAME = ("name", "problem_id", "uuid", "id")
_STATEMENT = ("formal_statement", "statement", "lean4_code")
_INFORMAL = (
  "informal_prefix",
  "informal_statement",
  "natural_language",
  "informal",
  "problem",
)

_DECLARATION = re.compile(r"^(?:theorem|lemma|example)\b", re.MULTILINE)
# The docstring that a text ends with.
DOCSTRING = re.compile(r"/--((?:(?!-/).)*)-/\s*\Z", re.DOTALL)
_PROOF = re.compile(r":=\s*(?:by\s*)?(?:sorry\s*)?\Z")
_SOURCE = re.compile(
  r"mathd_algebra|mathd_numbertheory|amc|aime|imo|[a-z]+(?=_)", re.IGNORECASE
)


def load(path: str | pathlib.Path, *, split: str = "") -> list[Problem]:
  """Reads the problems of a JSONL file, in its order.

  The Lean text before the last theorem is the header; a docstring there is
  the informal problem, unless the record gives one.

  Args:
    path: of the file.
    split: keeps the records of this split; "" keeps all. Records that name no
      split belong to the one asked for (`train` if none is).

  Raises:
    UsageError: names the file, the line and what is wrong: no JSON object, a
      missing field, a statement without `:=`, a name that came before; or no
      record belongs to `split`.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UsageError(f"no problem file at {str(path)!r}")
  problems: list[Problem] = []
  first_line: dict[str, str] = {}
  for where, record in _records(path):
    problem = _problem(record, split or "train", where)
    if problem.name in first_line:
      raise UsageError(
        f"{where}: the name {problem.name!r} was given to "
        f"{first_line[problem.name]} already; names must differ"
      )
    first_line[problem.name] = where
    problems.append(problem)
  kept = [p for p in problems if not split or p.split == split]
  if not kept:
    splits = ", ".join(sorted({p.split for p in problems})) or "none at all"
    raise UsageError(
      f"{path} has no problem of split {split!r}; its splits: {splits}"
    )
  return kept


def decontaminate(
  train: Sequence[Problem], evaluation: Sequence[Problem], *, ngram: int
) -> list[Problem]:
  """The training problems that share no word n-gram with an evaluation one.

  Words are runs of letters and digits, in lower case; a theorem's name does
  not count. Statements are compared with statements, informal texts with
  informal texts. A text shorter than the n-gram is compared as a whole.

  Args:
    train: what to filter; the order stays.
    evaluation: what must not leak.
    ngram: words that make an overlap (13 in the literature); 0 keeps all.
  """
  if not ngram:
    return list(train)
  held_out = set().union(*(_ngrams(p, ngram) for p in evaluation))
  return [p for p in train if held_out.isdisjoint(_ngrams(p, ngram))]


def _records(path: pathlib.Path) -> Iterator[tuple[str, dict]]:
  """Each record with `file:line`, for messages."""
  with path.open(encoding="utf-8") as file:
    for number, line in enumerate(file, start=1):
      where = f"{path}:{number}"
      if not line.strip():
        continue
      try:
        record = json.loads(line)
      except json.JSONDecodeError as error:
        raise UsageError(f"{where}: not JSON: {error}") from error
      if not isinstance(record, dict):
        raise UsageError(f"{where}: a JSON object is needed, got {line[:40]!r}")
      yield where, record


def _problem(record: dict, split: str, where: str) -> Problem:
  name = _field(record, _NAME)
  text = _field(record, _STATEMENT)
  if not name or not text:
    missing = _STATEMENT if name else _NAME
    raise UsageError(f"{where}: missing field {' or '.join(missing)}")
  header, statement = _header_and_statement(
    _field(record, ("header",)), text, where
  )
  informal = _field(record, _INFORMAL)
  docstring = DOCSTRING.search(header)
  if docstring:
    header = header[: docstring.start()]
    informal = informal or docstring[0]
  quoted = DOCSTRING.fullmatch(informal.strip())
  return Problem(
    name=name,
    header=header,
    statement=statement,
    informal=(quoted[1] if quoted else informal).strip(),
    split=_field(record, ("split",)) or split,
    source=_field(record, ("source",)) or _source(name),
  )


def _source(name: str) -> str:
  """The competition or topic that a name begins with, in lower case."""
  known = _SOURCE.match(name)
  return known[0].lower() if known else ""


def _field(record: dict, spellings: Sequence[str]) -> str:
  """The first of the spellings that is there as text, else ""."""
  values = (record.get(spelling) for spelling in spellings)
  return next((v for v in values if isinstance(v, str) and v.strip()), "")


def _header_and_statement(
  header: str, text: str, where: str
) -> tuple[str, str]:
  """Splits at the last theorem, and ends the statement in `:= by`."""
  theorems = list(_DECLARATION.finditer(text))
  if not theorems:
    raise UsageError(f"{where}: no theorem in the statement {text[:60]!r}")
  start = theorems[-1].start()
  statement, num_proofs = _PROOF.subn(":= by", text[start:].rstrip())
  if not num_proofs:
    raise UsageError(
      f"{where}: the statement must end in `:= by`, with or without `sorry`; "
      f"it ends in {text[-40:]!r}"
    )
  # A statement that brings its own imports needs no header before it.
  own = text[:start]
  if header and "import " not in own:
    own = header.rstrip() + "\n\n" + own
  if not own.strip():
    raise UsageError(
      f"{where}: missing field header, and the statement has no import"
    )
  return own, statement


def _ngrams(problem: Problem, n: int) -> set[tuple[str, ...]]:
  # The theorem's keyword and name say nothing about the problem.
  statement = problem.statement.split(maxsplit=2)[-1]
  grams: set[tuple[str, ...]] = set()
  for kind, text in (("formal", statement), ("informal", problem.informal)):
    words = re.findall(r"\w+", text.lower())
    if words:
      starts = range(max(len(words) - n, 0) + 1)
      grams |= {(kind, *words[i : i + n]) for i in starts}
  return grams
