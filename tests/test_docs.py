"""Paths, modules and links in the documentation name what exists."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [
  *sorted(ROOT.glob("*.md")),
  *sorted((ROOT / "docs").glob("*.md")),
]
# A path below a folder of the project, anywhere in a page.
IN_FOLDER = re.compile(
  r"(?<![\w/.-])((?:kimina_jax|tests|docs|configs|launch|scripts|benchmarks)/"
  r"[\w./-]*[\w/])"
)
# A program in backticks, perhaps by the end of its path alone.
PROGRAM = re.compile(r"`([\w./-]+\.(?:py|sh))`")
MODULE = re.compile(r"-m (kimina_jax[\w.]*)")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def files() -> set[str]:
  """Files of the project, without what git ignores."""
  listed = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  if listed.returncode == 0 and listed.stdout:
    names = listed.stdout.splitlines()
    return {name for name in names if (ROOT / name).is_file()}
  return {
    str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()
  }


def missing(text: str, files: set[str]) -> list[str]:
  """Names in a page of things that the project does not have."""
  found = []
  for path in IN_FOLDER.findall(text):
    if not (ROOT / path).exists():
      found.append(path)
  for path in PROGRAM.findall(text):
    ending = "/" + path.removeprefix("./")
    if not any(f"/{name}".endswith(ending) for name in files):
      found.append(path)
  for module in MODULE.findall(text):
    path = ROOT / module.rstrip(".").replace(".", "/")
    if not (path.is_dir() or path.with_suffix(".py").is_file()):
      found.append(module)
  return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_files(page, files):
  assert missing(page.read_text(), files) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
  links = LINK.findall(page.read_text())
  assert [link for link in links if not (page.parent / link).exists()] == []


def test_what_is_missing_is_found(files):
  text = "`no_such.py`, tests/no_such.jsonl, `train.py`, -m kimina_jax.no_such"
  assert missing(text, files) == [
    "tests/no_such.jsonl",
    "no_such.py",
    "kimina_jax.no_such",
  ]
