"""Lean files as people keep them, and the proofs that they hold.

Comes in: what stands on a command line (files, directories, `-` for stdin),
and perhaps the problems that were to be proved. Goes out: of each file an
Entry, with a problem and its proof or with one line on why there is none. A
bad file stops nothing, and one file is held at a time. With problems given,
nothing that a file says of itself is taken for what was to be proved.
"""

import dataclasses
import itertools
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.prove.statement import UNNAMED
from kimina_jax.types import Message, Problem, UsageError
from kimina_jax.verification.acceptance.lexer import (
  MAX_CHARS,
  LexError,
  Token,
  normalise,
  tokenize,
)

STDIN = "-"

_MAX_BYTES = 4 * MAX_CHARS  # A longer text is refused unread.
_THEOREMS = ("theorem", "lemma", "example")
_HEADER = ("import", "open", "set_option")
_REMEDY = "say `theorem name … : … := by …`"


@dataclasses.dataclass(frozen=True)
class Edit:
  """Text that was put in the place of other text, within one line.

  Attributes:
    start: offset into the text, in code points.
    line: 1-based.
    column: 0-based, in code points.
    removed: the other text.
    inserted: the text, which is not empty.
  """

  start: int
  line: int
  column: int
  removed: str
  inserted: str


@dataclasses.dataclass(frozen=True)
class Entry:
  """A file, and what is to be checked of it.

  Attributes:
    path: as it was given or found.
    error: why there is nothing to check, in one line; "" if there is.
    text: of the file.
    problem: what is to be proved.
    final: the text that is checked against the problem.
    edits: what makes `final` of `text`, from left to right.
    states_itself: whether the problem is what the file says that it proves.
  """

  path: str
  error: str = ""
  text: str = ""
  problem: Problem | None = None
  final: str = ""
  edits: tuple[Edit, ...] = ()
  states_itself: bool = False

  def locate(self, message: Message) -> Message:
    """A message about `final`, with its positions in the file."""
    return dataclasses.replace(
      message,
      column=_original(self.edits, message.line, message.column),
      end_column=_original(self.edits, message.end_line, message.end_column),
    )


def find(arguments: Sequence[str]) -> Iterator[Entry]:
  """The files that are named, unread, in order.

  A directory stands for its `*.lean` files at any depth, sorted, without those
  in hidden directories, such as Lake's own.
  """
  for argument in arguments:
    if argument == STDIN or not pathlib.Path(argument).is_dir():
      yield Entry(argument)
      continue
    num_found = 0
    for entry in _walk(argument):
      num_found += 1
      yield entry
    if not num_found:
      yield Entry(argument, "there is no *.lean file in this directory")


def load(entry: Entry, problems: Mapping[str, Problem] | None) -> Entry:
  """The same file with its text, and what is to be checked of it.

  Args:
    entry: of `find`.
    problems: by name. The one that is meant has the name of the file's last
      theorem that is among them, else that of the file. None makes the file's
      last theorem the problem, and what is imported, opened and set at its
      beginning the header.
  """
  if entry.error:
    return entry
  try:
    text = _read(entry.path)
    if problems is None:
      return _of_its_own(entry.path, text)
    problem = _match(entry.path, text, problems)
  except UsageError as error:
    return dataclasses.replace(entry, error=str(error))
  return Entry(entry.path, text=text, problem=problem, final=text)


def _walk(directory: str) -> Iterator[Entry]:
  errors: list[OSError] = []
  for folder, folders, files in os.walk(directory, onerror=errors.append):
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    for name in sorted(files):
      if name.endswith(".lean"):
        yield Entry(os.path.join(folder, name))
  for error in errors:
    yield Entry(str(error.filename), f"cannot be read: {error.strerror}")


def _read(path: str) -> str:
  try:
    if path == STDIN:
      data = sys.stdin.buffer.read(_MAX_BYTES + 1)
    else:
      with open(path, "rb") as file:
        data = file.read(_MAX_BYTES + 1)
  except FileNotFoundError:
    raise UsageError("there is no such file") from None
  except OSError as error:
    raise UsageError(f"cannot be read: {error.strerror}") from error
  if len(data) > _MAX_BYTES:
    raise UsageError(f"more than {_MAX_BYTES} bytes are no proof")
  try:
    text = data.decode()
  except UnicodeDecodeError as error:
    raise UsageError(
      f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
    ) from error
  if not text.strip():
    raise UsageError("the file is empty")
  return text


def _match(path: str, text: str, problems: Mapping[str, Problem]) -> Problem:
  stem = "stdin" if path == STDIN else pathlib.Path(path).stem
  try:
    names = [*reversed(_declared(tokenize(normalise(text)))), stem]
  except LexError:
    names = [stem]  # What is wrong, the checker says at its place.
  for name in names:
    if name in problems:
      return problems[name]
  told = ", ".join(list(dict.fromkeys(names))[:4])
  raise UsageError(
    f"none of the problems is called {told}: name the theorem or the file so"
  )


def _declared(tokens: Sequence[Token]) -> list[str]:
  """The names of the theorems, in order."""
  pairs = zip(tokens, tokens[1:], strict=False)
  return [
    name.text
    for keyword, name in pairs
    if keyword.text in _THEOREMS[:2] and name.kind == "name"
  ]


def _of_its_own(path: str, text: str) -> Entry:
  try:
    text = normalise(text)
    tokens = tokenize(text)
  except LexError as error:
    raise UsageError(f"this is not Lean: {error}") from error
  found = [i for i, token in enumerate(tokens) if token.text in _THEOREMS]
  if not found:
    raise UsageError(f"there is no theorem in this file: {_REMEDY}")
  index = found[-1]
  is_example = tokens[index].text == "example"
  name = UNNAMED if is_example else _name(tokens, index)
  assign = _assignment(tokens, index)
  edits = []
  if is_example:
    edits.append(_replace(tokens[index], f"theorem {UNNAMED}"))
  if tokens[assign + 1].text != "by":
    edits.append(_add(tokens[assign], " by exact"))
  begin = f"theorem {UNNAMED}" if is_example else tokens[index].text
  stated = text[tokens[index].end : tokens[assign].start]
  length = _header_length(tokens[:index])
  header = f"{text[: tokens[length - 1].end]}\n\n" if length else ""
  problem = Problem(name, header, f"{begin}{stated}:= by", split="test")
  return Entry(
    path,
    text=text,
    problem=problem,
    final=_apply(edits, text),
    edits=tuple(edits),
    states_itself=True,
  )


def _name(tokens: Sequence[Token], index: int) -> str:
  if index + 1 == len(tokens) or tokens[index + 1].kind != "name":
    raise UsageError(f"its last theorem has no name: {_REMEDY}")
  return tokens[index + 1].text


def _assignment(tokens: Sequence[Token], index: int) -> int:
  """Where the `:=` stands that begins a theorem's proof."""
  depth, num_owed = 0, 0
  for position in range(index + 1, len(tokens) - 1):
    token = tokens[position]
    if token.column == 0 and token.kind == "name":
      break  # the next command
    depth += _bracket_step(token)
    if depth:
      continue
    if token.text in ("let", "have"):  # has one of its own
      num_owed += 1
    elif token.text == ":=" and not num_owed:
      return position
    elif token.text == ":=":
      num_owed -= 1
  line = tokens[index].line
  raise UsageError(f"the theorem in line {line} has no proof: {_REMEDY}")


def _bracket_step(token: Token) -> int:
  if token.kind != "symbol":
    return 0
  return (token.text[-1] in "([{⟨⦃") - (token.text in ")]}⟩⦄")


def _header_length(tokens: Sequence[Token]) -> int:
  """How many tokens import, open and set, before anything else is done."""
  starts = [i for i, token in enumerate(tokens) if token.column == 0]
  end = 0
  for start, after in itertools.pairwise([*starts, len(tokens)]):
    words = [token.text for token in tokens[start:after]]
    # With `in` it belongs to the command that follows.
    if start != end or words[0] not in _HEADER or "in" in words:
      break
    end = after
  return end


def _replace(token: Token, text: str) -> Edit:
  return Edit(token.start, token.line, token.column, token.text, text)


def _add(token: Token, text: str) -> Edit:
  column = token.column + len(token.text)
  return Edit(token.end, token.line, column, "", text)


def _apply(edits: Sequence[Edit], text: str) -> str:
  for edit in reversed(edits):
    end = edit.start + len(edit.removed)
    text = text[: edit.start] + edit.inserted + text[end:]
  return text


def _original(edits: Sequence[Edit], line: int, column: int) -> int:
  """A column as it was before the edits; in what they put in, their place."""
  for edit in edits:
    if edit.line != line or column <= edit.column:
      continue
    if column < edit.column + len(edit.inserted):
      return edit.column
    column += len(edit.removed) - len(edit.inserted)
  return column
