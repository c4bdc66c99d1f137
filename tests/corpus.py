"""The texts that the acceptance is tested on, packed in two JSONL files.

attacks.jsonl: one attack a line, a whole final block as a model might write it
for the problem in acceptance.py. The statement is the same in all of them, and
false, so that accepting any of them is a bug of the checker.
  name     says which attack it is; the file is sorted by it.
  idea     of a group of attacks.
  stage    `acceptance`: refused before Lean sees the text; `checker`: the text
           does not show what it does, so it is sent to Lean, and a comment
           tells the REPL of the tests (fake_repl.py) how to behave.
  status   of the verdict, which is never `proved`.
  reason   words of the verdict's detail; empty for the stage `checker`.
  text     the final block.

fuzz_corpus.jsonl: one text a line, with its name, that fuzz_acceptance.py has
left; those whose name begins with `proof_` are accepted.

To add an attack, append its line to attacks.jsonl and sort the file with
  python tests/corpus.py
which also adds the files of a folder to the fuzz corpus:
  python tests/corpus.py FOLDER
"""

import json
import pathlib
import sys
import unicodedata
from collections.abc import Iterable

_HERE = pathlib.Path(__file__).parent
ATTACKS = _HERE / "attacks.jsonl"
FUZZ_CORPUS = _HERE / "fuzz_corpus.jsonl"


def load(path: pathlib.Path) -> list[dict[str, str]]:
  """Reads the records of a packed file, in its order."""
  lines = path.read_text(encoding="utf-8").split("\n")
  return [json.loads(line) for line in lines if line]


def pack(records: Iterable[dict[str, str]]) -> str:
  """The text of a packed file: sorted, with unseen characters escaped."""
  ordered = sorted(records, key=lambda record: record["name"])
  lines = (json.dumps(record, ensure_ascii=False) for record in ordered)
  return "".join(f"{_visible(line)}\n" for line in lines)


def to_bytes(text: str) -> bytes:
  """The bytes of a text, which need not be UTF-8."""
  return text.encode(errors="surrogateescape")


def add_files(folder: pathlib.Path) -> None:
  """Adds the files of a folder to the fuzz corpus, known texts left out."""
  records = load(FUZZ_CORPUS)
  known = {record["text"] for record in records}
  for path in sorted(folder.iterdir()):
    text = path.read_bytes().decode(errors="surrogateescape")
    if text not in known:
      records.append({"name": path.stem, "text": text})
  FUZZ_CORPUS.write_text(pack(records), encoding="utf-8")


def _visible(line: str) -> str:
  return "".join(c if _is_visible(c) else _escaped(c) for c in line)


def _is_visible(char: str) -> bool:
  category = unicodedata.category(char)
  return char == " " or (category[0] not in "CZ" and category != "Mn")


def _escaped(char: str) -> str:
  """The character as JSON escapes it, a pair beyond U+FFFF."""
  return json.dumps(char)[1:-1]


if __name__ == "__main__":
  ATTACKS.write_text(pack(load(ATTACKS)), encoding="utf-8")
  for argument in sys.argv[1:]:
    add_files(pathlib.Path(argument))
