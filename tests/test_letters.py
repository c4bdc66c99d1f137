"""Shape suffixes and shapes in docstrings use the letters of one table."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "kimina_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))


def letters() -> dict[str, str]:
  """The table of docs/architecture.md."""
  text = (ROOT / "docs" / "architecture.md").read_text()
  section = text.partition("## Letters\n")[2].partition("\n## ")[0]
  rows = re.findall(r"^\| (\S+) \| (.+) \|$", section, re.MULTILINE)
  return {letter: meaning for letter, meaning in rows if letter != "letter"}


def suffixes(tree: ast.AST) -> set[tuple[int, str, str]]:
  """Line, identifier and shape suffix of every identifier that has one.

  A suffix is a last part, after an underscore, of capitals and digits with at
  least one capital; a constant (ALL_CAPS) has none, unless a variable is named
  by one letter, as the advantage `A_BT`. Parts of capitals behind lower-case
  letters (`x_nBT`) count as suffixes too, so that they are refused.
  """
  found = set()
  for node in ast.walk(tree):
    match node:
      case ast.Name(id=name) | ast.arg(arg=name) | ast.keyword(arg=name):
        variable = True
      case ast.Attribute(attr=name):
        variable = False
      case _:
        continue
    suffix = re.search(r"[^_]_([a-z]*[A-Z0-9]*[A-Z][A-Z0-9]*)$", name or "")
    constant = re.fullmatch(r"[A-Z0-9_]+", name or "")
    if constant and not (variable and re.match(r"[A-Z]_", name)):
      continue
    if suffix:
      found.add((node.lineno, name, suffix[1]))
  return found


def docstrings(tree: ast.AST) -> list[str]:
  nodes = ast.Module | ast.ClassDef | ast.FunctionDef
  return [
    ast.get_docstring(node) or ""
    for node in ast.walk(tree)
    if isinstance(node, nodes)
  ]


def shapes(tree: ast.AST) -> set[str]:
  """Shapes in docstrings whose dims are letters: "B, T, H/2" of [B, T, H/2]."""
  dim = r"(?:…|\.\.\.|\d+|[A-Z](?: ?[/·] ?\w+)?)"
  pattern = rf"\[({dim}(?:, {dim})*)\]"
  return {
    shape for text in docstrings(tree) for shape in re.findall(pattern, text)
  }


def definitions(tree: ast.AST) -> list[str]:
  """Sentences in docstrings that give a letter a meaning: "Q is the lanes"."""
  pattern = (
    r"(?<![\w.`])[A-Z] (?:is|are|counts?|stands for) (?:the|its|an?) \w+"
  )
  return [
    found for text in docstrings(tree) for found in re.findall(pattern, text)
  ]


def test_the_table_has_one_meaning_for_each_letter():
  table = letters()
  assert len(table) > 20
  assert all(re.fullmatch("[A-Z]", letter) for letter in table)
  assert len(set(table.values())) == len(table)


def test_the_rule_finds_suffixes_and_nothing_else():
  source = """
x_BTD = layer.k_bias_KH[None]
def f(A_BT, rows_per_batch, *, z_nM): return os.O_RDWR + MAX_LEN + _TABLE_VD
g(x_B1=1, _Frame=2, sha_256=3)
"""
  found = {name for _, name, _ in suffixes(ast.parse(source))}
  assert found == {"x_BTD", "k_bias_KH", "A_BT", "z_nM", "x_B1"}
  docstring = '"""Of [B, T, H/2] or […, V], not [None], [rows, B] or [1]."""'
  assert shapes(ast.parse(docstring)) == {"B, T, H/2", "…, V", "1"}
  docstring = '"""Q counts the lanes. B is merged into T. x_C is the key."""'
  assert definitions(ast.parse(docstring)) == ["Q counts the lanes"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_arrays_use_the_letters_of_the_table(path):
  tree, known = ast.parse(path.read_text()), set(letters())
  for line, name, suffix in sorted(suffixes(tree)):
    wrong = [x for x in suffix if not x.isdigit() and x not in known]
    assert not wrong, f"{path}:{line} {name}: no {wrong} in the table"
  for shape in shapes(tree):
    wrong = set(re.findall(r"[A-Z]", shape)) - known
    assert not wrong, f"{path}: [{shape}] in a docstring: no {wrong}"
  if suffixes(tree):
    assert not definitions(tree), f"{path} defines letters anew"


def test_the_mesh_tables_use_the_letters_of_the_table():
  from kimina_jax.infra import mesh

  for tables in (mesh.PARAMS, mesh.ACTIVATIONS, mesh.STREAMS):
    for table in tables.values():
      assert set(table) <= set(letters())
