"""Parsing: from Lean source to the syntax trees of its commands.

In: Lean source. Out: for each command a tree of grammar.lark with its span, or
a SyntaxFailure. Names and types are resolved later, by elaborate.py.

Columns delimit Lean's blocks of tactics. `_Layout` does what Lean's
`many1Indent` does: a block opens at the column of its first tactic, a line
that starts in this column is the next tactic, one that starts left of it
ends the block, and inside brackets columns are ignored.
"""

import dataclasses
import functools
import importlib.resources
import itertools
import re
from collections.abc import Iterator
from typing import Any

import lark

from kimina_jax.minilean.syntax import MAX_DEPTH

Tree = lark.Tree
# A lark.Token whose line and column are set; lark's types leave them optional.
_PlacedToken = Any

_COMMANDS = (
  r"theorem|lemma|example|def|open|set_option|import|abbrev|axiom|instance|"
  r"structure|inductive|class|namespace|section|end|variable|universe|mutual|"
  r"macro|macro_rules|notation|infix|infixl|infixr|prefix|postfix|syntax|elab|"
  r"elab_rules|noncomputable|private|protected|unsafe|partial|opaque|local|"
  r"attribute|deriving|initialize|run_cmd|run_elab|run_meta|#\w+|@\["
)
_COMMAND = re.compile(rf"(?<![\w.'!?])(?:{_COMMANDS})(?![\w'!?])")
_COMMENT = re.compile(r"/-|-/|--")
_BLOCK_STARTERS = ("by", "try", "all_goals")
_OPENING = ("(", "[", "{", "⟨")
_CLOSING = (")", "]", "}", "⟩")
# Tokens that begin no tactic, even in the column of a block.
_TRAILING = ("<;>", *_CLOSING)


@dataclasses.dataclass(frozen=True)
class Span:
  """A span of the source: 1-based lines, 0-based columns in code points."""

  line: int
  column: int
  end_line: int
  end_column: int


class SyntaxFailure(Exception):
  """The text is not in the fragment's grammar."""

  def __init__(self, message: str, span: Span):
    super().__init__(message)
    self.span = span


def parse_commands(source: str) -> Iterator[Tree | SyntaxFailure]:
  """Yields the commands of `source`, with a failure for each that is bad."""
  try:
    text = _blank_comments(source)
  except SyntaxFailure as failure:
    yield failure
    return
  starts = [match.start() for match in _COMMAND.finditer(text)]
  if text[: starts[0] if starts else None].strip():
    starts.insert(0, len(text) - len(text.lstrip()))
  for start, end in itertools.pairwise([*starts, len(text)]):
    try:
      yield _parse_command(text[:start], text[start:end])
    except SyntaxFailure as failure:
      yield failure


def span_of(node: Tree | lark.Token) -> Span:
  """The source span of a tree or a token."""
  place: Any = node.meta if isinstance(node, Tree) else node
  return Span(
    place.line, place.column - 1, place.end_line, place.end_column - 1
  )


def children_of(tree: Tree) -> list[Any]:
  """The children of a tree: trees and tokens, as grammar.lark orders them.

  Their types are Any because only the grammar says which child is which.
  """
  return tree.children


@functools.cache
def _grammar() -> lark.Lark:
  text = importlib.resources.files(__package__).joinpath("grammar.lark")
  return lark.Lark(
    text.read_text(encoding="utf-8"),
    parser="lalr",
    lexer="basic",
    postlex=_Layout(),
    propagate_positions=True,
    maybe_placeholders=False,
  )


def _parse_command(before: str, command: str) -> Tree:
  # Blanks in place of the text before it keep lines and columns right.
  line_start = before.rfind("\n") + 1
  padding = "\n" * before.count("\n") + " " * (len(before) - line_start)
  try:
    tree = _grammar().parse(padding + command.rstrip())
  except lark.exceptions.UnexpectedCharacters as error:
    span = Span(error.line, error.column - 1, error.line, error.column)
    raise SyntaxFailure("unexpected character; not in minilean", span) from None
  except lark.exceptions.UnexpectedToken as error:
    raise _explain(error, before + command) from None
  if _depth(tree) > MAX_DEPTH:
    raise SyntaxFailure(
      "maximum recursion depth has been reached", span_of(tree)
    )
  return children_of(tree)[0]


def _explain(error: lark.exceptions.UnexpectedToken, text: str) -> Exception:
  token = error.token
  if token.type in ("$END", "_OPEN", "_NEXT", "_CLOSE"):
    lines = text.rstrip().split("\n")
    line = getattr(token, "line", None) or len(lines)
    column = getattr(token, "end_column", None) or len(lines[-1]) + 1
    message = "unexpected end of input or of the block of tactics"
    return SyntaxFailure(message, Span(line, column - 1, line, column - 1))
  if "OMEGA" in error.expected:
    message = f"unknown tactic '{token}'"
  elif "THEOREM" in error.expected:
    message = f"unexpected token '{token}'; expected command"
  else:
    message = f"unexpected token '{token}'; not in minilean's fragment"
  return SyntaxFailure(message, span_of(token))


def _depth(tree: Tree) -> int:
  deepest = 0
  stack: list[tuple[Any, int]] = [(tree, 1)]
  while stack:
    node, depth = stack.pop()
    deepest = max(deepest, depth)
    if isinstance(node, Tree):
      stack.extend((child, depth + 1) for child in node.children)
  return deepest


def _blank_comments(source: str) -> str:
  """Replaces comments by blanks; block comments nest."""
  pieces, done, depth, opened = [], 0, 0, 0
  position = 0
  while found := _COMMENT.search(source, position):
    position = found.end()
    if found.group() == "--" and not depth:
      end = source.find("\n", found.start())
      position = len(source) if end < 0 else end
      pieces += [source[done : found.start()], " " * (position - found.start())]
      done = position
    elif found.group() == "/-":
      opened = opened if depth else found.start()
      depth += 1
    elif found.group() == "-/" and depth:
      depth -= 1
      if not depth:
        pieces.append(source[done:opened])
        pieces.append(re.sub(r"[^\n]", " ", source[opened:position]))
        done = position
    elif found.group() == "--":
      # `--/` inside a comment ends it, so only the first dash is skipped.
      position = found.start() + 1
  if depth:
    line = source.count("\n") + 1
    raise SyntaxFailure("unterminated comment", Span(line, 0, line, 0))
  return "".join([*pieces, source[done:]])


@dataclasses.dataclass
class _Frame:
  """An open block (column > 0) or an open bracket (column 0)."""

  column: int = 0
  binders: int = 0  # number of `∀` and `∃` whose comma has not come yet


class _Layout(lark.lark.PostLex):
  """Inserts the block delimiters _OPEN, _NEXT and _CLOSE into the tokens."""

  always_accept = ("SEMICOLON",)

  def process(self, stream: Iterator[_PlacedToken]) -> Iterator[lark.Token]:
    frames, opening = [_Frame()], False
    last: _PlacedToken = None
    for token in stream:
      starts_line = last is not None and token.line > last.line
      starts_tactic = False
      if opening:
        yield _mark("_OPEN", last)
        starts_tactic = _fits(frames, token, starts_line)
        if starts_tactic:
          frames.append(_Frame(token.column))
        else:
          yield _mark("_CLOSE", last)
      if not starts_tactic:
        yield from _leave(frames, token, last, starts_line)
        starts_tactic = last is not None and str(last) in ("<;>", ";")
        in_column = starts_line and token.column == frames[-1].column
        if in_column and not starts_tactic and str(token) not in _TRAILING:
          yield _mark("_NEXT", last)
          starts_tactic = True
      separates = token == ";" and frames[-1].column
      yield _mark("_NEXT", token) if separates else token
      opening = _enter(frames, token, starts_tactic)
      last = token
    if opening:
      yield from (_mark("_OPEN", last), _mark("_CLOSE", last))
    yield from (_mark("_CLOSE", last) for frame in frames if frame.column)


def _mark(kind: str, place: _PlacedToken) -> lark.Token:
  return lark.Token.new_borrow_pos(kind, "", place)


def _fits(frames: list[_Frame], token: _PlacedToken, starts_line: bool) -> bool:
  """Whether `token` is the first of the block that the last token opens."""
  if str(token) in _CLOSING or token == ",":
    return False
  enclosing = max((frame.column for frame in frames if frame.column), default=1)
  return not starts_line or token.column > enclosing


def _leave(
  frames: list[_Frame],
  token: _PlacedToken,
  last: _PlacedToken,
  starts_line: bool,
) -> Iterator[lark.Token]:
  """Closes the blocks that `token` ends, and the bracket that it closes."""
  closes = str(token) in _CLOSING
  in_brackets = any(not frame.column for frame in frames[1:])
  comma = token == "," and in_brackets
  while frames[-1].column and (
    closes
    or (comma and not frames[-1].binders)
    or (starts_line and token.column < frames[-1].column)
  ):
    frames.pop()
    yield _mark("_CLOSE", last)
  if closes and len(frames) > 1:
    frames.pop()


def _enter(frames: list[_Frame], token: lark.Token, starts: bool) -> bool:
  """Opens the frame that `token` opens; True if a tactic block comes next."""
  if token.type in ("FORALL", "EXISTS"):
    frames[-1].binders += 1
  elif token == "," and frames[-1].binders:
    frames[-1].binders -= 1
  elif str(token) in _OPENING:
    frames.append(_Frame())
    return starts and str(token) in ("(", "{")
  return str(token) in _BLOCK_STARTERS or token.type == "BULLET"
