"""Coverage-guided fuzzing of the acceptance of final blocks.

  python tests/fuzz_acceptance.py CORPUS FINDINGS [-max_total_time=3600 …]

In: a folder of final blocks to start from, which grows and, if it is empty,
gets those of fuzz_corpus.jsonl first; a folder for what is found; any argument
of libFuzzer. Needs the package atheris. Texts are changed token by token, with
relevant words and marks inserted at random, and sometimes byte by byte; most
keep their header and the statement, so that many are accepted. A finding (see
acceptance.py) is written to a file, and the search continues. fuzz_corpus.jsonl
keeps the texts of such runs that are no findings (`python tests/corpus.py
CORPUS` adds a folder to it), and test_fuzz_corpus.py tests them without
atheris.
"""

import hashlib
import pathlib
import random
import re
import sys

import corpus

_PIECE = re.compile(r"[A-Za-z_][\w'!?]*|[0-9]+|[ ]+|.", re.DOTALL)
_MARKS = (
  "/-",
  "-/",
  "--",
  "/--",
  "/-!",
  "/-/-",
  '"',
  '\\"',
  "\\\\",
  "\\\n",
  "'",
  "'a'",
  "'\"'",
  "'\n'",
  "'\\''",
  'r"',
  'r#"',
  '"#',
  '.r"',
  '`r"',
  "«",
  "»",
  "«a b»",
  ".",
  "1.",
  "1",
  "0x1F",
  "#",
  "@[",
  "@",
  "[",
  "]",
  "(",
  ")",
  "{",
  "}",
  "⟨",
  "⟩",
  "\n",
  "\n  ",
  " ",
  ";",
  ":=",
  "by",
  "`",
  "``",
  "{x}",
  "¬",
  "λ",
  "∑'",
  "⁻¹'",
  " '' ",
  "é",
  "ￇ",
  "\u00a0",
  "\u200b",
  "\t",
  "\r\n",
)
_LINES = (
  "end\n",
  "end A\n",
  "section\n",
  "section A\n",
  "namespace A\n",
  "open A in\n",
  "open Nat\n",
  "@[simp] ",
  "@[simp, csimp] ",
  "example : ",
  "set_option maxHeartbeats 400000 in\n",
  "set_option maxRecDepth 0 in\n",
  "lemma a : True := trivial\n",
  "def target := 1\n",
  "theorem target ",
  "structure A where\n  x : ℕ\n",
  "inductive A | a\n",
  "axiom a : False\n",
  "(x).end\n",
  "| end\n",
  "|>.section\n",
  "(config := {})",
  "config := f",
  'def a := "',
  "/-- doc -/ ",
  "/- -- -/",
  "-- /-\n",
  "theorem __ok_a ",
)


class Mutator:
  """Changes one text at a time, with a dictionary and texts to cut from."""

  def __init__(self, texts: list[str], words: list[str], frame: str):
    """Keeps what `change` draws from.

    Args:
      texts: to cut pieces from.
      words: to insert, besides the marks above.
      frame: header and statement, which most texts should keep.
    """
    self._texts = texts
    self._words = [*words, *_MARKS, *_LINES]
    self._frame = frame

  def change(self, text: str, seed: int) -> str:
    """Makes one to eight changes; a function of its arguments."""
    draw = random.Random(seed)
    header, statement = self._frame.rsplit("\n", 1)
    body = text.removeprefix(header)
    pieces = _PIECE.findall(body)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
      self._change_once(pieces, draw)
    body = "".join(pieces)
    if statement not in body and draw.random() < 0.8:
      lines = body.split("\n")
      lines.insert(draw.randrange(len(lines) + 1), statement)
      body = "\n".join(lines)
    keeps_header = text.startswith(header) or draw.random() < 0.5
    return header + body if keeps_header else body

  def _change_once(self, pieces: list[str], draw: random.Random) -> None:
    at = draw.randrange(len(pieces) + 1)
    until = min(len(pieces), at + draw.choice((1, 1, 2, 5, 20)))
    kind = draw.randrange(6)
    if kind == 0:
      pieces[at:until] = []
    elif kind == 1:
      pieces[at:at] = [draw.choice(self._words)]
    elif kind == 2:
      pieces[at:until] = [draw.choice(self._words)]
    elif kind == 3:
      to = draw.randrange(len(pieces) + 1)
      pieces[to:to] = pieces[at:until]
    elif kind == 4:
      pieces[at:until] = pieces[at:until][::-1]
    else:
      other = _PIECE.findall(draw.choice(self._texts))
      start = draw.randrange(len(other) + 1)
      pieces[at:at] = other[start : start + draw.choice((1, 4, 16, 64))]


def main() -> None:
  import atheris  # not a dependency of the tests

  start, findings = map(pathlib.Path, sys.argv[1:3])
  for folder in (start, findings):
    folder.mkdir(parents=True, exist_ok=True)
  if not any(start.iterdir()):
    for record in corpus.load(corpus.FUZZ_CORPUS):
      path = start / f"{record['name']}.lean"
      path.write_bytes(corpus.to_bytes(record["text"]))
  with atheris.instrument_imports(include=["kimina_jax.verification"]):
    import acceptance
  from plain_syntax_rules import PARTS, WORDS

  texts = [record["text"] for record in corpus.load(corpus.ATTACKS)]
  texts += [
    path.read_bytes().decode(errors="replace") for path in start.iterdir()
  ]
  frame = acceptance.HEADER + "\n" + acceptance.STATEMENT
  mutator = Mutator(texts, sorted(WORDS | PARTS), frame)

  def run(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    found = acceptance.finding(text)
    if found:
      _write_down(findings, found, data)

  def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    if seed % 8 == 0:
      return atheris.Mutate(data, max_size)
    changed = mutator.change(data.decode(errors="replace"), seed)
    return changed.encode(errors="replace")[:max_size]

  arguments = [sys.argv[0], str(start), *sys.argv[3:]]
  atheris.Setup(arguments, run, custom_mutator=mutate)
  atheris.Fuzz()


def _write_down(folder: pathlib.Path, found: str, data: bytes) -> None:
  """Keeps the shortest text for each kind of finding."""
  kind = re.sub(r"[0-9]+", "N", found)
  path = folder / hashlib.sha256(kind.encode()).hexdigest()[:12]
  known = path.with_suffix(".lean")
  if known.exists() and len(known.read_bytes()) <= len(data):
    return
  known.write_bytes(data)
  path.with_suffix(".txt").write_text(f"{found}\n")
  print(f"finding: {found}", file=sys.stderr, flush=True)


if __name__ == "__main__":
  main()
