"""Installed files, dependencies and commands."""

import ast
import os
import pathlib
import re
import subprocess
import sys

import pytest

from kimina_jax.__main__ import COMMANDS

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "kimina_jax"
# Import name → distribution, where they differ.
DISTRIBUTIONS = {
  "absl": "absl-py",
  "ml_collections": "ml-collections",
  "orbax": "orbax-checkpoint",
  "z3": "z3-solver",
}
# Rooms whose dependencies are extras.
EXTRAS = {"minilean": "MINILEAN", "scale": "SCALE"}


def declared(name: str) -> set[str]:
  """Distributions of a list of setup.py."""
  for node in ast.parse((ROOT / "setup.py").read_text()).body:
    if isinstance(node, ast.Assign) and node.targets[0].id == name:
      words = ast.literal_eval(node.value)
      return {re.match(r"[\w-]+", word)[0].lower() for word in words}
  raise KeyError(name)


def imported(path: pathlib.Path) -> set[str]:
  """Distributions that a module imports, at any depth."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names.add(node.module.split(".")[0])
  names -= {*sys.stdlib_module_names, "kimina_jax"}
  return {DISTRIBUTIONS.get(name, name).lower() for name in names}


def test_every_import_is_declared_and_the_reverse():
  required, used = declared("REQUIRES"), set()
  for path in PACKAGE.rglob("*.py"):
    room = path.relative_to(PACKAGE).parts[0]
    allowed = set(required)
    if room in EXTRAS:
      allowed |= declared(EXTRAS[room])
    if path.name == "metrics.py":
      allowed |= declared("WANDB")
    found = imported(path)
    assert found <= allowed, f"{path} imports {sorted(found - allowed)}"
    used |= found
  assert required <= used, f"not imported: {sorted(required - used)}"


def test_every_dependency_is_bounded():
  text = (ROOT / "setup.py").read_text()
  for word in re.findall(r'^ +"([\w-]+[<>=][^"]*)",', text, re.MULTILINE):
    assert "<" in word or "==" in word, word


def test_installed_files(tmp_path):
  """Everything but tests and scripts: configs, grammar, tokenizer, page."""
  done = subprocess.run(
    [
      *(sys.executable, "setup.py", "-q"),
      *("egg_info", f"--egg-base={tmp_path}"),
      *("build", f"--build-base={tmp_path}"),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  built = tmp_path / "lib" / "kimina_jax"
  files = {str(p.relative_to(built)) for p in built.rglob("*") if p.is_file()}
  expected = {
    os.path.relpath(os.path.join(folder, name), PACKAGE)
    for folder, _, names in os.walk(PACKAGE, followlinks=True)
    for name in names
    if "__pycache__" not in folder
  }
  assert files == expected
  assert {"configs/rl_7b.py", "py.typed", "report/page.html"} <= files


def test_commands_are_the_modules_that_run_one():
  names = set()
  for path in PACKAGE.rglob("*.py"):
    if "\n  cli.run(\n" in path.read_text():
      names.add(path.parent.name if path.stem == "__main__" else path.stem)
  assert names == set(COMMANDS)


def test_no_module_defines_a_flag():
  """A program that imports the package has its own flags."""
  for path in PACKAGE.rglob("*.py"):
    assert not re.search(r"flags\.DEFINE|DEFINE_config", path.read_text()), path


@pytest.mark.parametrize("script", ["demo.sh", "test.sh"])
def test_help_of_a_script_installs_nothing(script, tmp_path):
  done = subprocess.run(
    ["bash", ROOT / "launch" / script, "--help"],
    capture_output=True,
    text=True,
    env=os.environ | {"PYTHON": "/no/such/python"},
    timeout=30,
  )
  assert (done.returncode, done.stderr) == (0, "")
  assert f"./launch/{script}" in done.stdout and "#" not in done.stdout
