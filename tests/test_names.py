"""Public names of the package: each has one meaning."""

import ast
import collections
import pathlib

import kimina_jax

ROOT = pathlib.Path(kimina_jax.__file__).parent
# Every command that runs as a program of its own has a function of this name.
SHARED = {"main"}


def test_no_two_modules_define_the_same_class_or_function():
  modules = collections.defaultdict(list)
  for path in sorted(ROOT.rglob("*.py")):
    name = path.relative_to(ROOT)
    if name.parts[0] == "configs" or path.name == "__main__.py":
      continue
    for node in ast.parse(path.read_text()).body:
      if isinstance(node, ast.FunctionDef | ast.ClassDef):
        if not node.name.startswith("_") and node.name not in SHARED:
          modules[node.name].append(str(name))
  assert len(modules) > 500
  assert {n: where for n, where in modules.items() if len(where) > 1} == {}
