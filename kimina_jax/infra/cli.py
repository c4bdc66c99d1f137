"""Entry points: flags in, an exit code out, one line for the user's mistakes.

A UsageError, a bad flag, an unknown configuration key, a loss that is not
finite or a fooled checker ends it with `error: …` on stderr and exit code 1; an
interruption with 143, a reader that leaves its output with 141. Anything else
is a bug and keeps its traceback.

Every program takes `--coordinator`, `--num_processes` and `--process_id`. An
experiment connects the processes; what is one process's work is done by
process 0, and the others have nothing to do.
"""

import hashlib
import logging as py_logging
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Sequence

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from kimina_jax.infra import distributed
from kimina_jax.infra.interruption import Interrupted
from kimina_jax.types import CheckerFooled, UsageError

_COORDINATOR = flags.DEFINE_string(
  "coordinator", "", "host:port of process 0, in a job of several processes."
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", 1, "How many processes the job has.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", 0, "Which of them this is.", lower_bound=0
)
_COMPILED = flags.DEFINE_string(
  "compilation_cache",
  "~/.cache/kimina_jax",
  "Directory that keeps compiled programs for the next start; empty for none.",
)


def run_experiment(
  main: Callable[..., None], *, default: str, **flag_helps: str
) -> None:
  """Runs `main(config, flag=value, …)` as a program.

  Args:
    main: takes the experiment, and each flag by its name.
    default: experiment file if `--config` is not given.
    **flag_helps: a string flag, and what it means.
  """
  config = define_config(default)
  values = {
    name: flags.DEFINE_string(name, "", meaning)
    for name, meaning in flag_helps.items()
  }

  def call(argv: Sequence[str]) -> None:
    if len(argv) > 1:
      raise UsageError(
        f"unexpected argument {argv[1]!r}; flags look like --name=value"
      )
    main(config(), **{name: flag.value for name, flag in values.items()})

  run(call, by_all=True)


def define_config(default: str) -> Callable[[], ConfigDict]:
  """Defines `--config`.

  Args:
    default: experiment file if the flag is not given.

  Returns:
    The experiment; to be called when the flags are parsed.
  """
  flag = config_flags.DEFINE_config_file(
    "config", None, "Experiment file; override with --config.key=value."
  )
  # As a flag, not as its default: defaults are loaded outside of parsing.
  if not any(word.split("=")[0] == "--config" for word in sys.argv):
    sys.argv.insert(1, f"--config={default}")

  def load() -> ConfigDict:
    try:
      flag.value.keys()
    except OSError as error:
      raise UsageError(_one_line(error)) from None
    return flag.value

  return load


def run(
  main: Callable[[Sequence[str]], int | None], *, by_all: bool = False
) -> None:
  """Runs `main(argv)` under absl and exits with its code.

  Args:
    main: the program.
    by_all: in a job of several processes, all run it together; else process 0
      does alone.
  """
  logging.use_absl_handler()
  logging.get_absl_handler().addFilter(_is_worth_a_line)
  call = _call_together if by_all else _call_alone
  app.run(lambda argv: call(main, argv), flags_parser=_parse)


def _call_alone(main: Callable, argv: Sequence[str]) -> int:
  logging.set_verbosity(logging.INFO)
  return _call(main, argv) if _PROCESS_ID.value == 0 else 0


def _call_together(main: Callable, argv: Sequence[str]) -> int:
  """Connects the processes, calls, and parts when all have come to the end."""
  is_first = _PROCESS_ID.value == 0
  logging.set_verbosity(logging.INFO if is_first else logging.ERROR)

  def connected(argv: Sequence[str]) -> int | None:
    distributed.initialize(
      coordinator=_COORDINATOR.value,
      num_processes=_NUM_PROCESSES.value,
      process_id=_PROCESS_ID.value,
    )
    return main(argv)

  try:
    code = _call(connected, argv)
  except Exception:
    if _NUM_PROCESSES.value == 1:
      raise
    return distributed.fail_with_traceback()
  distributed.shutdown()
  return code


def _call(main: Callable, argv: Sequence[str]) -> int:
  _keep_compiled(_COMPILED.value)
  try:
    return main(argv) or 0
  except (UsageError, FloatingPointError, CheckerFooled) as error:
    return distributed.fail(f"error: {error}")
  except Interrupted as reason:
    if distributed.is_first():
      print(f"stopped: {reason}", file=sys.stderr)
    return 143
  except BrokenPipeError:
    # Who read our output has seen enough; Python shall not try again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
  except KeyboardInterrupt:
    return distributed.fail(
      "stopped: SIGINT, before the run had begun", code=130
    )


def _keep_compiled(directory: str) -> None:
  """Names JAX's cache on disk, unless the environment has named one.

  Of each kind of CPU its own: programs for a CPU use all that it can do.
  """
  if not directory or jax.config.jax_compilation_cache_dir:
    return
  cpu = hashlib.sha256(_cpu_features().encode()).hexdigest()[:8]
  place = pathlib.Path(directory).expanduser() / cpu
  jax.config.update("jax_compilation_cache_dir", str(place))


def _cpu_features() -> str:
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return platform.processor()
  names = ("flags", "Features", "model name")
  return "".join(sorted({x for x in lines if x.startswith(names)}))


def _parse(argv: Sequence[str]) -> list[str]:
  """Parses flags; ml_collections reports unknown keys as AttributeError."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    message = f"{error}"
  except AttributeError as error:
    message = f"unknown configuration key {_one_line(error)}"
  except (ImportError, ValueError, SyntaxError) as error:
    message = (
      f"the configuration does not load: {_one_line(error)}; start from the "
      "project's directory, where configs/ is"
    )
  print(f"error: {message}", file=sys.stderr)
  sys.exit(1)


def _is_worth_a_line(record: py_logging.LogRecord) -> bool:
  """Our own words and everybody's warnings; libraries' chatter is hidden."""
  return "kimina_jax" in record.pathname or record.levelno >= py_logging.WARNING


def _one_line(error: Exception) -> str:
  return " ".join(str(error).replace("\\n", " ").split())
