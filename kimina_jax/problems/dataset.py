r"""Problems from JSONL files of statements, with the field names of provers.

In: a file with one JSON object per line, as of DeepSeek-Prover, Kimina-Prover
or Goedel-Prover. Out: problems whose statement ends in `:= by`. No field is
guessed, and no two problems have the same name.

A record needs a name and a statement; the other fields may be missing:
  {"name": "sum_two", "split": "test", "source": "own",
   "header": "import Mathlib\n\nopen Real\n\n",
   "informal_prefix": "/-- Show that $1 + 1 = 2$. -/",
   "formal_statement": "theorem sum_two : (1 : ℝ) + 1 = 2 := by"}
or, with the header and a docstring in the statement, and a proof by `sorry`:
  {"name": "sum_two",
   "statement": "import Mathlib\n\n/-- Show that … -/\ntheorem sum_two … := by
                 sorry"}

Each field has several names; the first one that the record has counts:
  name       name, problem_id, uuid, id (a text or an integer)
  statement  formal_statement, statement, lean4_code
  informal   informal_prefix, informal_statement, natural_language, informal,
             problem
  header     header; needed if the statement has no import
  split      split; else the requested split
  source     source; else the competition or topic that the name begins with
"""

import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kimina_jax.types import Problem, UsageError

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
# The docstring at the end of a text.
DOCSTRING = re.compile(r"/--((?:(?!-/).)*)-/\s*\Z", re.DOTALL)
_PROOF = re.compile(r":=\s*(?:by\s*)?(?:sorry\s*)?\Z")
_SOURCE = re.compile(
  r"mathd_algebra|mathd_numbertheory|amc|aime|imo|[a-z]+(?=_)", re.IGNORECASE
)


def load_statements(
  path: str | pathlib.Path, *, split: str = ""
) -> list[Problem]:
  """Reads the problems of a JSONL file, in its order.

  The Lean text before the last theorem is the header; a docstring there is
  the informal problem, unless the record gives one.

  Args:
    path: of the file.
    split: keeps the records of this split; "" keeps all. A record without a
      split belongs to this split (to `train` if it is "").

  Raises:
    UsageError: names the file, the line and what is wrong: no UTF-8 text, no
      JSON object, a missing field, a statement without `:=`, a name that came
      before; or no record belongs to `split`.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UsageError(f"no problem file at {str(path)!r}")
  problems: list[Problem] = []
  first_line: dict[str, str] = {}
  for where, record in read_records(path):
    problem = parse_problem(record, where=where, split=split or "train")
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


def read_records(path: pathlib.Path) -> Iterator[tuple[str, dict]]:
  """Yields each object of a JSONL file with `file:line`, for messages.

  Raises:
    UsageError: a line that is no UTF-8 text, no JSON or no object.
  """
  with path.open("rb") as file:
    for number, line in enumerate(file, start=1):
      where = f"{path}:{number}"
      try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        record = json.loads(text) if text else None
      except UnicodeDecodeError as error:
        raise UsageError(
          f"{where}: not UTF-8 text ({error.reason} at byte {error.start} of "
          "the line); save the file as UTF-8"
        ) from error
      except json.JSONDecodeError as error:
        raise UsageError(f"{where}: not JSON: {error}") from error
      if not text:
        continue
      if not isinstance(record, dict):
        raise UsageError(f"{where}: a JSON object is needed, got {text[:40]!r}")
      yield where, record


def parse_problem(
  record: Mapping[str, Any], *, where: str, split: str, name: str = ""
) -> Problem:
  """The problem of one record, under any of the field names.

  Args:
    record: the fields.
    where: file and line, for messages.
    split: of a record that names none.
    name: of a record that has none; "" demands one.

  Raises:
    UsageError: names `where` and what is wrong.
  """
  name = _name(record) or name
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


def has_statement(record: Mapping[str, Any]) -> bool:
  """Whether a record has a statement, under any of the field names."""
  return bool(_field(record, _STATEMENT))


def remove_contaminated(
  train: Sequence[Problem], evaluation: Sequence[Problem], *, ngram: int
) -> list[Problem]:
  """Filters out problems that share a word n-gram with an evaluation problem.

  Words are runs of letters and digits, in lower case; a theorem's name does
  not count. Statements are compared with statements, informal texts with
  informal texts. A text shorter than the n-gram is compared as a whole.

  Args:
    train: problems to filter; their order stays.
    evaluation: problems that must not leak.
    ngram: number of words that make an overlap (13 in the literature); 0
      keeps all.
  """
  if not ngram:
    return list(train)
  held_out: set[tuple[str, ...]] = set()
  held_out.update(*(_ngrams(p, ngram) for p in evaluation))
  return [p for p in train if held_out.isdisjoint(_ngrams(p, ngram))]


def _name(record: Mapping[str, Any]) -> str:
  """The first name in the record; an integer becomes its digits."""
  numbered = {
    spelling: str(record[spelling])
    for spelling in _NAME
    if type(record.get(spelling)) is int
  }
  return _field({**record, **numbered}, _NAME)


def _source(name: str) -> str:
  """The competition or topic that a name begins with, in lower case."""
  known = _SOURCE.match(name)
  return known[0].lower() if known else ""


def _field(record: Mapping[str, Any], spellings: Sequence[str]) -> str:
  """The first of these fields that the record has as text, else ""."""
  values = (record.get(spelling) for spelling in spellings)
  return next((v for v in values if isinstance(v, str) and v.strip()), "")


def _header_and_statement(
  header: str, text: str, where: str
) -> tuple[str, str]:
  """Splits a text at its last theorem; the statement then ends in `:= by`."""
  theorems = list(_DECLARATION.finditer(text))
  if not theorems:
    raise UsageError(
      f"{where}: no theorem in the statement {text[:60]!r}; one of its lines "
      "must begin with `theorem`, `lemma` or `example`, without spaces, "
      "attributes or modifiers before it"
    )
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
  """The word n-grams of the statement and of the informal text."""
  # The theorem's keyword and name are independent of the problem.
  statement = problem.statement.split(maxsplit=2)[-1]
  grams: set[tuple[str, ...]] = set()
  for kind, text in (("formal", statement), ("informal", problem.informal)):
    words = re.findall(r"\w+", text.lower())
    if words:
      starts = range(max(len(words) - n, 0) + 1)
      grams |= {(kind, *words[i : i + n]) for i in starts}
  return grams
