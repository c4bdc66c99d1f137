"""The layers of the package: import rules, sizes, and an up-to-date file map.

The counts are those of docs/architecture.md: a room is a package or a
top-level module of kimina_jax, or another folder of the project that holds
code; an arrow is a pair of rooms of which one imports the other.
"""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "kimina_jax"
# `configs` is a link to the folder of the same name at the top.
MODULES = sorted(
  path
  for path in PACKAGE.rglob("*.py")
  if path.relative_to(PACKAGE).parts[0] != "configs"
)
NAMES = {
  ".".join(path.relative_to(ROOT).with_suffix("").parts): path
  for path in MODULES
}
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
FOLDERS = ("benchmarks", "configs", "scripts")

# Which rooms a room may import, besides itself.
LIBRARY = {
  "types": set(),
  "minilean": set(),
  "configs": set(),
  "infra": {"types", "configs"},
  "problems": {"types"},
  "prompts": {"types"},
  "verification": {"types"},
  "rewards": {"types"},
  "model": {"types", "infra"},
  "rollouts": {"types", "model", "infra"},
  "learning": {"types", "model", "infra"},
}
PIPELINE = {**LIBRARY, "pipeline": set(LIBRARY) - {"minilean"}}
COMMANDS = {"check", "prove", "convert", "scale", "report"}
LOOPS = {"train", "sft", "evaluate"}
ALLOWED = PIPELINE | {
  name: set(PIPELINE) - {"minilean"} | ({"report"} if name in LOOPS else set())
  for name in COMMANDS | LOOPS
}
# `kimina NAME` imports a command by its name, when it is asked for.
ALLOWED |= {"__main__": set(), "__init__": set()}
WITHOUT_JAX = {
  *("types", "problems", "prompts", "verification", "rewards", "minilean"),
  *("check", "report"),
}
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


def room(path: pathlib.Path) -> str:
  """The room that a module belongs to."""
  parts = path.relative_to(ROOT).parts
  return (parts[1] if parts[0] == "kimina_jax" else parts[0]).removesuffix(
    ".py"
  )


def rooms_of(names: set[str]) -> set[str]:
  """The rooms that a module with these imports draws on."""
  ours = (name.split(".") for name in names if name.startswith("kimina_jax."))
  return {parts[1] for parts in ours}


@pytest.mark.parametrize(
  "path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_layers(path):
  here, names = room(path), imports(path)
  assert rooms_of(names) <= ALLOWED[here] | {here}
  if here in WITHOUT_JAX:
    assert not {name.split(".")[0] for name in names} & HEAVY
  if here == "model":
    infra = {name for name in names if name.startswith("kimina_jax.infra")}
    assert all(name.startswith("kimina_jax.infra.mesh") for name in infra)


def test_rooms_and_arrows_are_few_and_without_a_circle():
  paths = [*MODULES]
  for folder in FOLDERS:
    paths += (ROOT / folder).rglob("*.py")
  arrows: dict[str, set[str]] = {}
  for path in paths:
    here = room(path)
    arrows.setdefault(here, set()).update(rooms_of(imports(path)) - {here})
  for face in ("__init__", "__main__"):
    assert not arrows.pop(face)
  assert len(arrows) <= 23, sorted(arrows)
  assert sum(map(len, arrows.values())) <= 76, arrows
  placed: set[str] = set()
  while left := arrows.keys() - placed:
    free = {name for name in left if arrows[name] <= placed}
    assert free, f"circle among {sorted(left)}"
    placed |= free


def test_no_circle_of_modules():
  """Modules of one room do not import each other in a loop either."""
  needs = {
    name: {
      found
      for target in imports(path)
      for found in (target, target.rpartition(".")[0])
      if found in NAMES and found != name
    }
    for name, path in NAMES.items()
  }
  while free := {name for name in needs if not needs[name] & needs.keys()}:
    needs = {name: needs[name] for name in needs.keys() - free}
  assert not needs, f"in a circle, or above one: {sorted(needs)}"


@pytest.mark.parametrize(
  "path", [*MODULES, *CONFIGS], ids=lambda p: str(p.relative_to(ROOT))
)
def test_sizes(path):
  text = path.read_text()
  assert text.count("\n") <= 500, "the module is too long"
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      lines = node.end_lineno - node.lineno + 1
      assert lines <= 80, f"line {node.lineno}, {node.name}: {lines} lines"


@pytest.mark.parametrize(
  "path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_every_module_says_what_it_is(path):
  assert ast.get_docstring(ast.parse(path.read_text()))


def test_tree_in_the_documentation_is_true():
  """Every file of these folders is listed, and what is listed exists."""
  text = (ROOT / "docs" / "architecture.md").read_text()
  tree = re.search(r"```tree\n(.*?)```", text, re.DOTALL).group(1)
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
    for folder in ("kimina_jax", "configs", "launch", "scripts")
    for path in (ROOT / folder).rglob("*")
    if path.is_file()
    and "__pycache__" not in path.parts
    and not path.is_relative_to(PACKAGE / "configs")
  }
  present = {name for name in present if not name.endswith("__init__.py")}
  assert present <= listed, sorted(present - listed)
  assert all((ROOT / name).is_file() for name in listed)
