"""The house keeps its shape: layers, sizes, and a true tree in the README."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "kimina_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Who may import whom, besides itself. Entry points may import anything.
ALLOWED = {
  "types": set(),
  "problems": {"types"},
  "prompts": {"types"},
  "verification": {"types"},
  "rewards": {"types"},
  "infra": {"types"},
  "model": {"types", "infra"},
  "rollouts": {"types", "model", "infra"},
  "learning": {"types", "model", "infra"},
}
WITHOUT_JAX = {"types", "problems", "prompts", "verification", "rewards"}
HEAVY = {"jax", "flax", "optax", "orbax", "tensorstore"}


def imports(path: pathlib.Path) -> set[str]:
  """Dotted names that a module imports, at any depth."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path}: relative import"
      names.update(f"{node.module}.{alias.name}" for alias in node.names)
  return names


def layer(path: pathlib.Path) -> str:
  return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_layers(path):
  here = layer(path)
  if here not in ALLOWED:
    return
  names = imports(path)
  ours = {n.split(".")[1] for n in names if n.startswith("kimina_jax.")}
  assert ours <= ALLOWED[here] | {here}, f"{path} imports {ours}"
  if here in WITHOUT_JAX:
    assert not {n.split(".")[0] for n in names} & HEAVY, path
  if here == "model":
    infra = {n for n in names if n.startswith("kimina_jax.infra")}
    assert all(n.startswith("kimina_jax.infra.mesh") for n in infra), path


def test_no_cycle_between_layers():
  """The rules above leave an order in which every layer can be read."""
  order, left = [], dict(ALLOWED)
  while left:
    free = [name for name, needs in left.items() if needs <= set(order)]
    assert free, f"cycle among {sorted(left)}"
    order += free
    left = {k: v for k, v in left.items() if k not in free}


@pytest.mark.parametrize(
  "path",
  [*MODULES, *sorted((ROOT / "configs").glob("*.py"))],
  ids=lambda p: p.stem,
)
def test_sizes(path):
  text = path.read_text()
  assert text.count("\n") <= 350, f"{path} is too long"
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      lines = node.end_lineno - node.lineno + 1
      assert lines <= 60, f"{path}:{node.lineno} {node.name}: {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_every_module_says_what_it_is(path):
  assert ast.get_docstring(ast.parse(path.read_text())), path


def test_readme_tree_is_true():
  """Every file of the three folders is listed, and what is listed exists."""
  readme = (ROOT / "README.md").read_text()
  tree = re.search(r"```tree\n(.*?)```", readme, re.DOTALL).group(1)
  listed, folders = set(), []
  for line in tree.splitlines():
    entry = re.match(r"( *)(\S+)", line)
    depth = len(entry[1]) // 2
    name = entry[2]
    folders = folders[:depth]
    if name.endswith("/"):
      folders.append(name)
    else:
      listed.add("".join(folders) + name)
  present = {
    str(path.relative_to(ROOT))
    for folder in ("kimina_jax", "configs", "launch")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
  }
  present = {p for p in present if not p.endswith("__init__.py")}
  assert present <= listed, sorted(present - listed)
  assert all((ROOT / name).is_file() for name in listed)
