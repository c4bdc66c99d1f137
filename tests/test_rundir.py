"""The directory of a run: complete or absent, and of one process at a time."""

import json
import subprocess
import sys

import pytest

from kimina_jax.infra.rundir import has_begun, open_run_dir
from kimina_jax.types import UsageError

CONFIG = {"program": "train", "seed": 0, "eval": {"ks": (1, 8)}}


def write_model(path):
  path.mkdir(exist_ok=True)
  (path / "config.json").write_text("{}")


def start(path, config=CONFIG):
  with open_run_dir(path, config, write_model=write_model) as root:
    return root


def test_the_experiment_of_the_last_start_is_in_it(tmp_path):
  root = start(tmp_path / "run")
  assert start(tmp_path / "run") == root
  saved = json.loads((root / "config.json").read_text())
  assert saved == json.loads(json.dumps(CONFIG))
  start(root, {**CONFIG, "seed": 7})
  assert json.loads((root / "config.json").read_text())["seed"] == 7


def test_a_run_begins_with_a_row_or_a_checkpoint(tmp_path):
  assert not has_begun(start(tmp_path))
  (tmp_path / "metrics.jsonl").touch()
  assert not has_begun(tmp_path)
  (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
  assert has_begun(tmp_path)
  (tmp_path / "metrics.jsonl").unlink()
  (tmp_path / "checkpoints" / "3").mkdir(parents=True)
  assert has_begun(tmp_path)


def test_two_processes_in_one_directory(tmp_path):
  code = (
    "from kimina_jax.infra.rundir import open_run_dir\n"
    f"with open_run_dir({str(tmp_path)!r}, {CONFIG!r}, "
    "write_model=lambda path: None): pass"
  )
  command = [sys.executable, "-c", code]
  with open_run_dir(tmp_path, CONFIG, write_model=write_model):
    done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode
  assert "another process holds the lock" in done.stderr
  assert subprocess.run(command).returncode == 0


def test_unwritable(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UsageError, match="cannot write the run directory"):
    start(tmp_path / "file" / "run")
