"""Starts whole programs (train, sft, evaluate) as processes of their own.

All are forked from one server that has imported the package once, so that a
start takes a tenth of a second instead of several. A `Program` has what the
tests need of a process.
"""

import atexit
import concurrent.futures
import functools
import json
import multiprocessing
import os
import pathlib
import runpy
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = pathlib.Path(__file__).resolve().parent / "tiny_config.py"
SECONDS = ("queue_s", "load_s", "exec_s")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
  ["kimina_jax.train", "kimina_jax.sft", "kimina_jax.evaluate"]
)


@functools.cache
def scratch() -> pathlib.Path:
  """A directory for the programs' outputs, until the tests end."""
  path = pathlib.Path(tempfile.mkdtemp(prefix="kimina_jax_tests_"))
  atexit.register(shutil.rmtree, path, ignore_errors=True)
  return path


def environment(devices: int) -> dict[str, str]:
  """Of a program that is started in another way than by `start`."""
  return os.environ | {
    "PYTHON": sys.executable,
    "JAX_PLATFORMS": "cpu",
    # Unoptimized code is compiled in half the time.
    "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"
    " --xla_backend_optimization_level=0",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }


class Program:
  """A running program; its output goes to a file."""

  def __init__(self, name: str, flags: list[str], *, devices: int):
    """Starts `python -m kimina_jax.NAME FLAGS` on so many CPU devices."""
    handle, self._output = tempfile.mkstemp(dir=scratch())
    os.close(handle)
    self.process = _context.Process(
      target=_run,
      args=(name, flags, self._output, environment(devices)),
    )
    self.process.start()

  @property
  def output(self) -> str:
    return pathlib.Path(self._output).read_text()

  def finish(self, code: int = 0, timeout_s: float = 300) -> str:
    """Waits for the end; returns the output."""
    self.process.join(timeout_s)
    assert self.process.exitcode == code, self.output
    return self.output

  def wait_for_rows(self, run_dir: pathlib.Path, count: int) -> None:
    """Waits until the metrics have so many rows; the program must still run."""
    wait_for_rows(run_dir, count, lambda: self.process.exitcode is None)

  def interrupt(self) -> None:
    """Sends SIGTERM."""
    self.process.terminate()

  def kill(self) -> None:
    """Sends SIGKILL and waits for the end."""
    self.process.kill()
    self.process.join()


def start(
  name: str, run_dir: pathlib.Path, *flags: str, devices: int = 1, **overrides
) -> Program:
  """Starts a program on the tiny experiment with some keys changed."""
  return Program(
    name, command_line(run_dir, *flags, **overrides), devices=devices
  )


def start_pod(
  name: str,
  run_dir: pathlib.Path,
  *flags: str,
  num_processes: int = 2,
  devices: int = 1,
  **overrides,
) -> list[Program]:
  """As `start`, as several processes that form one job."""
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    address = f"localhost:{probe.getsockname()[1]}"
  return [
    start(
      name,
      run_dir,
      f"--coordinator={address}",
      f"--num_processes={num_processes}",
      f"--process_id={process}",
      *flags,
      devices=devices,
      **overrides,
    )
    for process in range(num_processes)
  ]


class Scenarios:
  """Runs functions side by side, two at a time, and keeps what they return.

  A program is busy with Python most of the time, which uses one core.
  """

  def __init__(self, **functions: Callable[[], Any]):
    self._pool = concurrent.futures.ThreadPoolExecutor(2)
    self._futures = {
      name: self._pool.submit(function) for name, function in functions.items()
    }

  def __getitem__(self, name: str) -> Any:
    """What the function returned; raises what it raised."""
    return self._futures[name].result()

  def close(self) -> None:
    self._pool.shutdown(cancel_futures=True)


def command_line(run_dir: pathlib.Path, *flags: str, **overrides) -> list[str]:
  settings = [f"--config.{key}={value}" for key, value in overrides.items()]
  return [f"--config={TINY}", f"--run_dir={run_dir}", *settings, *flags]


def wait_for_rows(run_dir: pathlib.Path, count: int, is_running) -> None:
  path = run_dir / "metrics.jsonl"
  while not path.exists() or path.read_text().count("\n") < count:
    assert is_running(), "the program ended too early"
    time.sleep(0.01)


def read_rows(path: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


def read_rollouts(run_dir: pathlib.Path) -> list[dict]:
  """Rows of rollouts.jsonl without the measured seconds."""
  return [
    {key: value for key, value in row.items() if key not in SECONDS}
    for row in read_rows(run_dir / "rollouts.jsonl")
  ]


def newest(run_dir: pathlib.Path) -> int:
  """Step of the newest checkpoint."""
  return max(int(p.name) for p in (run_dir / "checkpoints").glob("[0-9]*"))


def _run(
  name: str, flags: list[str], output: str, environment: dict[str, str]
) -> None:
  """In the forked process: runs the program as its `__main__`."""
  descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
  os.dup2(descriptor, 1)
  os.dup2(descriptor, 2)
  sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
  # The backend reads it when it starts, which is later than this.
  os.environ.update(environment)
  os.chdir(ROOT)
  import jax

  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  sys.argv = [name, *flags]
  try:
    runpy.run_module(f"kimina_jax.{name}", run_name="__main__", alter_sys=True)
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
