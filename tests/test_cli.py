"""Wrong input: one clear line, exit code 1, and nothing saved is lost."""

import os
import pathlib
import subprocess
import sys

import pytest

from kimina_jax import evaluate, sft, train
from kimina_jax.configs import debug
from kimina_jax.types import UsageError

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(program, *flags):
  return subprocess.run(
    [sys.executable, "-m", f"kimina_jax.{program}", *flags],
    cwd=ROOT,
    env=os.environ,
    capture_output=True,
    text=True,
    timeout=120,
  )


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--config.sed=1"], "did you mean seed?"),
    (["--config.seed=many"], "--config.seed=many: a whole number is expected"),
    (["--config=configs/no_such.py"], "no_such.py"),
    (["--run_dri=x"], "did you mean --run_dir?"),
    (["run_dir"], "unexpected argument 'run_dir'"),
    ([], "--run_dir is missing"),
  ],
)
def test_one_line_and_exit_code_1(flags, message):
  done = run("train", *flags)
  assert done.returncode == 1
  assert message in done.stderr
  assert done.stderr.startswith("error: ")
  assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"model.compute_dtype": "float8"}, "float8.*choose one of"),
    ({"model.name": "qwen9"}, "qwen9"),
    ({"mesh.data": 3, "mesh.fsdp": 1}, "asks for 3 devices, there are 8"),
    ({"train.rows_per_batch": 6}, "6 rows of a batch.*8"),
    ({"rollouts.num_slots": 12}, "12.*8"),
    ({"train.sequence_len": 100}, "do not fit.*100"),
    ({"train.num_minibatches": 3}, "3 equal parts"),
    ({"init_from": "no/such/run"}, "no/such/run"),
    ({"tokenizer": "no/such.model"}, "no/such.model"),
    ({"problems.train": "no/such.jsonl"}, "no/such.jsonl"),
    ({"problems.num_train": 10**9}, "1000000000"),
    ({"checker.backend": "coq"}, "coq"),
    (
      {"checker.backend": "repl", "checker.command": "no_such_repl"},
      "no_such_repl",
    ),
    ({"checker.isolation": "hope"}, "hope"),
    ({"loss.name": "ppo"}, "ppo"),
    ({"advantage.baseline": "best"}, "best"),
    ({"reward.truncated": "half"}, "half"),
    ({"eval.ks": (1, 99)}, "99"),
    ({"checkpoint.every": 0}, "every.*0"),
    ({"train.num_minibatches": 0}, "num_minibatches = 0"),
    ({"train.num_per_problem": 0}, "num_per_problem = 0"),
    ({"sft.log_every": 0}, "log_every = 0"),
    ({"optimizer.learning_rate": -1.0}, "learning_rate = -1.0"),
    ({"seed": -1}, "seed = -1"),
    ({"rollouts.max_response_len": 4000, "train.sequence_len": 8192}, "2048"),
  ],
  ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refused_before_anything_is_compiled(changes, message, tmp_path):
  config = debug.get_config()
  config.update_from_flattened_dict(changes)
  with pytest.raises(UsageError, match=message):
    train.train(config, str(tmp_path / "run"))
  assert not (tmp_path / "run" / "checkpoints" / "0").exists()


def test_sft_sources_are_checked(tmp_path):
  config = debug.get_config()
  config.sft.sources = (("arithmetic", 0.0),)
  with pytest.raises(UsageError, match="positive"):
    sft.train(config, str(tmp_path / "run"))


def test_evaluation_needs_a_checkpoint(tmp_path):
  with pytest.raises(UsageError, match="--checkpoint is missing"):
    evaluate.evaluate(debug.get_config(), "", str(tmp_path / "run"))
