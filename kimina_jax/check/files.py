"""Lean files and the proofs in them.

In: the arguments of a command line (files, directories, `-` for stdin), and
optionally the problems that the files are to prove. Out: a LeanFile each, with
a problem and its proof, or with one line on why it cannot be checked. A bad
file does not stop the others, and files are read one at a time. With problems
given, the statement comes from the problem and never from the file.
"""

import dataclasses
import itertools
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence

from kimina_jax.types import Message, Problem, UsageError
from kimina_jax.verification.acceptance.lexer import (
  MAX_CHARS,
  LexError,
  Token,
  normalise,
  tokenize,
)
from kimina_jax.verification.acceptance.theorems import (
  THEOREM_KEYWORDS,
  UNNAMED_EXAMPLE,
  find_last_theorem,
  nesting_change,
  theorem_name,
)

STDIN = "-"

_MAX_BYTES = 4 * MAX_CHARS  # a longer file is rejected without reading it
_HEADER = ("import", "open", "set_option")
_REMEDY = "say `theorem name … : … := by …`"


@dataclasses.dataclass(frozen=True)
class TextEdit:
  """A replacement of text within one line.

  Attributes:
    start: offset into the text, in code points.
    line: 1-based.
    column: 0-based, in code points.
    removed: the old text.
    inserted: the new text, not empty.
  """

  start: int
  line: int
  column: int
  removed: str
  inserted: str


@dataclasses.dataclass(frozen=True)
class LeanFile:
  """A file, and the proof in it that is to be checked.

  Attributes:
    path: as given or found.
    error: why it cannot be checked, in one line; "" if it can.
    text: of the file.
    problem: the statement to be proved.
    final: the Lean text that is checked against the problem.
    edits: the changes from `text` to `final`, from left to right.
    states_itself: whether the statement was taken from the file.
  """

  path: str
  error: str = ""
  text: str = ""
  problem: Problem | None = None
  final: str = ""
  edits: tuple[TextEdit, ...] = ()
  states_itself: bool = False

  def locate(self, message: Message) -> Message:
    """The message with positions in the file instead of in `final`."""
    return dataclasses.replace(
      message,
      column=_original(self.edits, message.line, message.column),
      end_column=_original(self.edits, message.end_line, message.end_column),
    )


def find_files(arguments: Sequence[str]) -> Iterator[LeanFile]:
  """The files of the arguments, unread, in order.

  A directory stands for its `*.lean` files at any depth, sorted, except those
  in hidden directories, such as Lake's.
  """
  for argument in arguments:
    if argument == STDIN or not pathlib.Path(argument).is_dir():
      yield LeanFile(argument)
      continue
    num_found = 0
    for file in _walk(argument):
      num_found += 1
      yield file
    if not num_found:
      yield LeanFile(argument, "there is no *.lean file in this directory")


def load_file(
  file: LeanFile, problems: Mapping[str, Problem] | None
) -> LeanFile:
  """Reads a file and finds its statement and proof.

  Args:
    file: of `find_files`.
    problems: by name. The file's problem is the one with the name of its last
      theorem that is among them, else with the name of the file. None makes the
      file's last theorem the problem, and the imports, opens and options at its
      beginning the header.
  """
  if file.error:
    return file
  try:
    text = _read(file.path)
    if problems is None:
      return _with_own_statement(file.path, text)
    problem = _match(file.path, text, problems)
  except UsageError as error:
    return dataclasses.replace(file, error=str(error))
  return LeanFile(file.path, text=text, problem=problem, final=text)


def _walk(directory: str) -> Iterator[LeanFile]:
  errors: list[OSError] = []
  for folder, folders, files in os.walk(directory, onerror=errors.append):
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    for name in sorted(files):
      if name.endswith(".lean"):
        yield LeanFile(os.path.join(folder, name))
  for error in errors:
    yield LeanFile(str(error.filename), f"cannot be read: {error.strerror}")


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
    names = [stem]  # The checker will report the error with its position.
  for name in names:
    if name in problems:
      return problems[name]
  tried = ", ".join(list(dict.fromkeys(names))[:4])
  raise UsageError(
    f"none of the problems is called {tried}: name the theorem or the file so"
  )


def _declared(tokens: Sequence[Token]) -> list[str]:
  """The names of the theorems and lemmas, in order."""
  pairs = zip(tokens, tokens[1:], strict=False)
  return [
    name.text
    for keyword, name in pairs
    if keyword.text in THEOREM_KEYWORDS[:2] and name.kind == "name"
  ]


def _with_own_statement(path: str, text: str) -> LeanFile:
  try:
    text = normalise(text)
    tokens = tokenize(text)
  except LexError as error:
    raise UsageError(f"this is not Lean: {error}") from error
  index = find_last_theorem(tokens)
  if index is None:
    raise UsageError(f"there is no theorem in this file: {_REMEDY}")
  is_example = tokens[index].text == "example"
  name = theorem_name(tokens, index)
  if not name:
    raise UsageError(f"its last theorem has no name: {_REMEDY}")
  assign = _assignment(tokens, index)
  edits = []
  if is_example:
    edits.append(_replace(tokens[index], f"theorem {UNNAMED_EXAMPLE}"))
  if tokens[assign + 1].text != "by":
    edits.append(_add(tokens[assign], " by exact"))
  begin = f"theorem {UNNAMED_EXAMPLE}" if is_example else tokens[index].text
  stated = text[tokens[index].end : tokens[assign].start]
  length = _header_length(tokens[:index])
  header = f"{text[: tokens[length - 1].end]}\n\n" if length else ""
  problem = Problem(name, header, f"{begin}{stated}:= by", split="test")
  return LeanFile(
    path,
    text=text,
    problem=problem,
    final=_apply(edits, text),
    edits=tuple(edits),
    states_itself=True,
  )


def _assignment(tokens: Sequence[Token], index: int) -> int:
  """Index of the `:=` that begins a theorem's proof."""
  depth, num_pending = 0, 0
  for position in range(index + 1, len(tokens) - 1):
    token = tokens[position]
    if token.column == 0 and token.kind == "name":
      break  # the next command
    depth += nesting_change(token)
    if depth:
      continue
    if token.text in ("let", "have"):  # each has its own `:=`
      num_pending += 1
    elif token.text == ":=" and not num_pending:
      return position
    elif token.text == ":=":
      num_pending -= 1
  line = tokens[index].line
  raise UsageError(f"the theorem in line {line} has no proof: {_REMEDY}")


def _header_length(tokens: Sequence[Token]) -> int:
  """Number of tokens of the imports, opens and options at the beginning."""
  starts = [i for i, token in enumerate(tokens) if token.column == 0]
  end = 0
  for start, after in itertools.pairwise([*starts, len(tokens)]):
    texts = [token.text for token in tokens[start:after]]
    # With `in` it applies to the next command only.
    if start != end or texts[0] not in _HEADER or "in" in texts:
      break
    end = after
  return end


def _replace(token: Token, text: str) -> TextEdit:
  return TextEdit(token.start, token.line, token.column, token.text, text)


def _add(token: Token, text: str) -> TextEdit:
  column = token.column + len(token.text)
  return TextEdit(token.end, token.line, column, "", text)


def _apply(edits: Sequence[TextEdit], text: str) -> str:
  for edit in reversed(edits):
    end = edit.start + len(edit.removed)
    text = text[: edit.start] + edit.inserted + text[end:]
  return text


def _original(edits: Sequence[TextEdit], line: int, column: int) -> int:
  """A column before the edits; within inserted text, the column of the edit."""
  for edit in edits:
    if edit.line != line or column <= edit.column:
      continue
    if column < edit.column + len(edit.inserted):
      return edit.column
    column += len(edit.removed) - len(edit.inserted)
  return column
