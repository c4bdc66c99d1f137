"""The command line: help, wrong input in one line, signals, exit codes."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from kimina_jax import evaluate, sft, train
from kimina_jax.__main__ import COMMANDS
from kimina_jax.configs import debug
from kimina_jax.infra import cli
from kimina_jax.model.config import DTYPES
from kimina_jax.scale.cases import PROGRAM_SECTIONS
from kimina_jax.types import UsageError

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEAVY = ("jax", "transformers", "orbax", "tensorboardX", "torch", "flax")


def run(program, *flags):
  return subprocess.run(
    [sys.executable, "-m", f"kimina_jax.{program}", *flags],
    cwd=ROOT,
    env=os.environ,
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_the_list_of_commands():
  for flags in ([], ["--help"]):
    done = subprocess.run(
      [sys.executable, "-m", "kimina_jax", *flags],
      cwd=ROOT,
      capture_output=True,
      text=True,
      timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name, summary in COMMANDS.items():
      assert re.search(f"  {name} +{re.escape(summary)}\n", done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_flags_and_an_example_and_imports_little(name):
  done = subprocess.run(
    [*(sys.executable, "-X", "importtime", "-m", "kimina_jax"), name, "--help"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 0
  assert done.stdout.startswith(f"usage: kimina {name} ")
  assert f"example:\n  kimina {name} " in done.stdout
  assert ("configs/common.py" in done.stdout) == (
    name not in ("convert", "report")
  )
  imported = {
    line.rpartition("|")[2].strip() for line in done.stderr.splitlines()
  }
  assert "argparse" in imported and not imported & set(HEAVY)
  if name == "convert":
    assert "|".join(DTYPES) in done.stdout
  if name == "scale":
    assert ", ".join(PROGRAM_SECTIONS) in " ".join(done.stdout.split())


@pytest.mark.parametrize("words", [[], ["train", "--help"]])
def test_a_reader_that_closes_the_output_early(words):
  process = subprocess.Popen(
    [sys.executable, "-m", "kimina_jax", *words],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  process.stdout.close()
  errors = process.stderr.read()
  process.stderr.close()
  assert process.wait(60) in (0, 141)  # argparse ignores it
  assert not errors


def test_a_command_that_is_none():
  done = subprocess.run(
    [sys.executable, "-m", "kimina_jax", "tain"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.returncode == 1
  assert done.stderr == (
    "error: no command 'tain'; did you mean train? kimina --help lists them\n"
  )


COMMAND = cli.Command(
  "test",
  main="none:none",
  summary="",
  example="",
  arguments="FILES",
  flags=(
    cli.Flag("jobs", None, "", kind=int, minimum=1),
    cli.Flag("quiet", False, ""),
    cli.Flag("topology", (), ""),
    cli.Flag("mesh", ("config",), "", by_comma=False),
    cli.Flag("dtype", None, "", choices=("a", "b")),
    cli.Flag("size", 5.0, "", minimum=1e-6),
  ),
  config="common",
)


def test_flags_and_arguments_in_any_order():
  options = cli.parse(
    COMMAND,
    [
      *("a.lean", "--jobs=3", "-", "--quiet", "b.lean", "--topology=x,y"),
      *("--topology", "z", "--mesh=a=1,b=2", "--mesh=auto", "--size=7"),
      *("--config.seed=3", "--noconfig.optimizer.reset", "--config=debug"),
    ],
  )
  assert options.arguments == ["a.lean", "-", "b.lean"]
  assert (options.jobs, options.quiet, options.dtype) == (3, True, None)
  assert options.topology == ("x", "y", "z")
  assert options.mesh == ("a=1,b=2", "auto")
  assert options.size == 7.0
  assert options.overrides == {"seed": 3, "optimizer.reset": False}
  assert (options.config.seed, options.config_name) == (3, "debug")
  assert cli.parse(COMMAND, []).mesh == ("config",)
  assert cli.parse(COMMAND, []).config_name == ""


@pytest.mark.parametrize(
  ("word", "message"),
  [
    ("--jobs=0", "--jobs, 0 is too small: it must be at least 1; kimina test"),
    ("--jobs=x", "--jobs, invalid whole number value: 'x'"),
    ("--size=nan", "--size, nan is too small"),
    ("--dtype=c", "--dtype, invalid choice: 'c'"),
    ("--quite", "unknown flag --quite; did you mean --quiet?"),
    ("--jobs", "--jobs, expected one argument"),
  ],
)
def test_a_wrong_flag_is_one_line(word, message):
  with pytest.raises(UsageError) as caught:
    cli.parse(COMMAND, [word])
  assert str(caught.value).startswith(message)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.0, 0.4, 1.2, 2.5])
def test_a_signal_before_the_loop(after_s, signum, tmp_path):
  """From the first imports on: one line, nothing swallowed, no traceback."""
  process = subprocess.Popen(
    [
      *(sys.executable, "-m", "kimina_jax.train"),
      f"--run_dir={tmp_path / 'r'}",
    ],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  while not catches(process.pid, signal.SIGTERM):
    time.sleep(0.001)
  time.sleep(after_s)
  process.send_signal(signum)
  out, errors = process.communicate(timeout=60)
  lines = errors.splitlines()
  if process.returncode == 143 and "are saved" in lines[-1]:
    return  # on a fast machine the loop has begun
  assert process.returncode == 128 + signum, errors
  assert lines[-1] == (
    f"stopped: {signum.name}; nothing is lost; the same command starts again"
  )
  assert "Traceback" not in errors and "ignored" not in errors


def catches(pid: int, signum: int) -> bool:
  """Whether a process has a handler of its own for a signal."""
  status = pathlib.Path(f"/proc/{pid}/status").read_text()
  mask = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
  return bool(mask >> (signum - 1) & 1)


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
    sft.run_sft(config, str(tmp_path / "run"))


def test_evaluation_needs_a_checkpoint(tmp_path):
  with pytest.raises(UsageError, match="--checkpoint is missing"):
    evaluate.evaluate(debug.get_config(), "", str(tmp_path / "run"))
