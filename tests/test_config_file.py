"""Experiments: by name or path, overridden, and one line for each mistake."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from kimina_jax.infra import config_file
from kimina_jax.types import UsageError

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEAD = """from kimina_jax.configs import common

def get_config():
  config = common.get_config()
"""


def write(path, *lines):
  path.write_text(HEAD + "".join(f"  {line}\n" for line in lines))
  return str(path)


@pytest.mark.parametrize("name", ["debug", "{root}/debug", "{root}/debug.py"])
def test_a_name_and_a_path_mean_the_same(name):
  config = config_file.load_config(name.format(root=ROOT / "configs"))
  assert config == config_file.load_config("debug")
  assert config.is_locked


def test_a_relative_path_from_any_directory(tmp_path, monkeypatch):
  write(tmp_path / "mine.py", "config.seed = 7", "return config")
  monkeypatch.chdir(tmp_path)
  for name in ("mine.py", "mine", "./mine"):
    assert config_file.load_config(name).seed == 7


def test_an_argument_follows_a_colon(tmp_path):
  path = tmp_path / "mine.py"
  write(path, "config.model.name = name", "return config")
  path.write_text(
    path.read_text().replace("get_config():", "get_config(name):")
  )
  assert (
    config_file.load_config(f"{path}:qwen2.5-7b").model.name == "qwen2.5-7b"
  )


@pytest.mark.parametrize(
  ("override", "value"),
  [
    (("seed", "3"), 3),
    (("optimizer.learning_rate", "3"), 3.0),
    (("optimizer.reset", "false"), False),
    (("optimizer.reset", None), True),
    (("model.name", "qwen2.5-7b"), "qwen2.5-7b"),
    (("eval.ks", "(1, 2)"), (1, 2)),
    (("eval.ks", "'(1, 2)'"), (1, 2)),
    (("eval.ks", "1"), (1,)),
    (("rollouts.stop_strings", "('a', 'b')"), ("a", "b")),
    (("checker.urls", "http://a"), ("http://a",)),
    (("sft.sources", "(('a.jsonl', 1.0),)"), (("a.jsonl", 1.0),)),
  ],
)
def test_overrides(override, value):
  config = config_file.load_config("debug", [override])
  found = config_file.flatten(config)[override[0]]
  assert (found, type(found)) == (value, type(value))


def test_a_repeated_override_replaces_and_that_of_a_tuple_adds():
  overrides = [("seed", "1"), ("seed", "2")]
  overrides += [("checker.urls", "http://a"), ("checker.urls", "http://b")]
  config = config_file.load_config("debug", overrides)
  assert (config.seed, config.checker.urls) == (2, ("http://a", "http://b"))


@pytest.mark.parametrize(
  ("key", "text", "message"),
  [
    ("sed", "1", "did you mean seed?"),
    ("optimiser.learning_rate", "3", "did you mean optimizer.learning_rate?"),
    ("train.num_iteration", "3", "did you mean train.num_iterations?"),
    (
      "learning_rate",
      "3",
      "mean optimizer.learning_rate or sft.learning",
    ),
    ("train", "3", "is a section: set its keys"),
    ("seed", "many", "a whole number is expected, as in --config.seed=0"),
    ("eval.ks", "many", "values in parentheses"),
    ("sft.sources", "('arithmetic',1.0)", "as in --config.sft.sources='(("),
    ("sft.sources", "'arithmetic'", "as in --config.sft.sources='(("),
    ("optimizer.reset", "maybe", "true or false is expected"),
    ("seed", None, "has no value: write --config.seed=0"),
  ],
)
def test_a_wrong_override_is_one_line(key, text, message):
  with pytest.raises(UsageError) as caught:
    config_file.load_config("debug", [(key, text)])
  assert message in str(caught.value) and "\n" not in str(caught.value)
  assert str(caught.value).startswith(f"--config.{key}")


@pytest.mark.parametrize(
  ("lines", "message"),
  [
    (("config.train.num_iteration = 3", "return config"), ":5: no key num_it"),
    (
      ("config.trian.num_iterations = 3", "return config"),
      "did you mean train?",
    ),
    (("config.seed = 'many'", "return config"), ":5: TypeError: "),
    (("return config.to_dict()",), "returns dict, not a ConfigDict"),
    (("import no_such_module",), ":5: ModuleNotFoundError: No module named"),
    (("config.seed = = 3",), ":5: invalid syntax"),
    (("return config.no_such",), ":5: no key no_such; "),
    (
      (
        "with config.unlocked():",
        "  config.train.num_steps = 3",
        "return config",
      ),
      ":6: unknown key train.num_steps",
    ),
    (
      ("with config.unlocked():", "  del config.seed", "return config"),
      "key seed is missing",
    ),
  ],
)
def test_a_mistake_in_a_file_is_one_line_with_its_place(
  lines, message, tmp_path
):
  path = write(tmp_path / "mine.py", *lines)
  with pytest.raises(UsageError) as caught:
    config_file.load_config(path)
  assert message in str(caught.value) and "\n" not in str(caught.value)
  assert str(caught.value).startswith(path)


def test_a_file_that_is_no_experiment(tmp_path, monkeypatch):
  path = tmp_path / "mine.py"
  path.write_text("config = 3\n")
  with pytest.raises(UsageError, match="no function get_config"):
    config_file.load_config(str(path))
  path.write_bytes("# Grüße\n".encode("utf-16"))
  with pytest.raises(UsageError, match="mine.py"):
    config_file.load_config(str(path))
  path.write_text("from configs import common\n")
  monkeypatch.setitem(sys.modules, "configs", None)
  with pytest.raises(UsageError, match="from kimina_jax.configs import common"):
    config_file.load_config(str(path))


def test_a_missing_file_lists_what_there_is():
  with pytest.raises(UsageError, match="mean debug.*Installed are common"):
    config_file.load_config("debgu")
  with pytest.raises(UsageError, match="no_such.py: no such file"):
    config_file.load_config("configs/no_such.py")


def test_an_own_experiment_in_another_directory(tmp_path):
  """The copy of an experiment is an experiment, wherever it lies."""
  shutil.copy(ROOT / "configs" / "debug.py", tmp_path / "mine.py")
  done = subprocess.run(
    [
      *(sys.executable, "-m", "kimina_jax.train", "--config=mine"),
      *("--config.train.num_problems=0", "--run_dir=r"),
    ],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert done.returncode == 1
  assert "num_problems = 0" in done.stderr
