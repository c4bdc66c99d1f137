"""The command line: flags, exit codes, and one-line messages of usage errors.

A command's module begins with `cli.run(cli.Command(…))` under
`if __name__ == "__main__":`, above its other imports. So the flags are parsed,
`--help` is printed and signals are handled before JAX is imported, which takes
seconds; then the command's function is imported and called.

Exit codes:
  0    done (for check and prove: proved)
  1    wrong input, a loss that is not finite, or a checker that accepts a false
       statement: one line, `error: …`; also an exception that is a bug, which
       keeps its traceback
  2    check and prove: not proved
  130  SIGINT before there was anything to save
  141  the reader of standard output closed it
  143  SIGTERM, or SIGINT with the state saved: the same command resumes

Every command takes `--coordinator`, `--num_processes` and `--process_id`. The
processes of an experiment work together; other commands are run by process 0,
and the others end at once.
"""

import argparse
import dataclasses
import difflib
import logging as py_logging
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from kimina_jax.infra import interruption

if TYPE_CHECKING:
  from kimina_jax.types import UsageError

_SHOW_CURSOR = "\x1b[?25h"
_OVERRIDE = re.compile(r"--?(?P<no>no)?config\.(?P<key>[^=]+)(=(?P<text>.*))?")


@dataclasses.dataclass(frozen=True)
class Flag:
  """A flag of a command.

  Attributes:
    name: without the dashes.
    default: also defines the type: str, bool, int, float, or a tuple of strings
      for a flag that takes several values, by comma or by repetition.
    help: what it means.
    kind: type of the value, where the default is None.
    choices: the values allowed; any by default.
    minimum: the smallest number allowed.
    by_comma: whether a comma separates values of a tuple.
  """

  name: str
  default: Any
  help: str
  kind: type = str
  choices: Sequence[str] = ()
  minimum: float | None = None
  by_comma: bool = True


@dataclasses.dataclass(frozen=True)
class Command:
  """A program: its name, its command line, and the function that it calls.

  Attributes:
    name: as in `kimina NAME` and `python -m kimina_jax.NAME`.
    main: "module:function". Called with the options, an argparse.Namespace of
      the flags and `arguments`; an experiment is called with its ConfigDict
      and the flags by name. Returns the exit code, or None for 0.
    summary: what it does, in a sentence.
    example: command lines.
    arguments: what follows the flags, for the usage line; "" if nothing may.
    flags: its own.
    config: name of the default experiment; "" if it takes no `--config`.
      Options then hold `config` (a ConfigDict), `config_name` ("" unless it
      was given) and `overrides` (parsed values by dotted key).
    takes_several_configs: `--config` takes several names, by comma; options
      then hold `configs`, ConfigDicts by name, instead of `config`.
    is_experiment: in a job of several processes, all run it together.
    needs_jax: whether it uses JAX, and compiled programs are to be cached.
    when_interrupted: what was kept, if a signal ends it before it has a state
      to save.
  """

  name: str
  main: str
  summary: str
  example: str
  arguments: str = ""
  flags: Sequence[Flag] = ()
  config: str = ""
  takes_several_configs: bool = False
  is_experiment: bool = False
  needs_jax: bool = True
  when_interrupted: str = "nothing is lost; the same command starts again"


# Flags of several commands.
RUN_DIR = Flag("run_dir", "", "Directory of this run; made if it is missing.")
CHECKPOINT = Flag("checkpoint", "", "Run or model directory with the weights.")
DRY_RUN = Flag(
  "dry_run", False, "Only check the experiment and print what would run."
)

_PROCESS_FLAGS = (
  Flag("coordinator", "", "host:port of process 0."),
  Flag("num_processes", 1, "Processes of the job.", minimum=1),
  Flag("process_id", 0, "Number of this process, from 0.", minimum=0),
)
_CACHE_FLAG = Flag(
  "compilation_cache",
  "~/.cache/kimina_jax",
  "Directory that keeps compiled programs for the next start; empty for none.",
)


def run(command: Command) -> NoReturn:
  """Runs a command with sys.argv, and exits with its code."""
  interruption.install(lambda signum: _exit_now(command, signum))
  code: Any
  try:
    try:
      code = _run(command, sys.argv[1:])
    except SystemExit as end:  # of --help
      code = end.code
    sys.stdout.flush()
  except BrokenPipeError:
    # stdout was closed, as by `head`. Python would flush it again at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    code = 141
  interruption.uninstall()
  sys.exit(code)


def parse(command: Command, argv: Sequence[str]) -> argparse.Namespace:
  """Parses a command line; `--help` prints and exits.

  Args:
    command: whose command line.
    argv: without the program's name.

  Raises:
    UsageError: an unknown flag, a value out of range, or an error in an
      experiment file or an override.
  """
  from kimina_jax.types import UsageError

  rest, overrides = _split_overrides(argv) if command.config else (argv, [])
  parser = _make_parser(command)
  options, unknown = parser.parse_known_intermixed_args(list(rest))
  if unknown:
    raise _unknown_argument(unknown[0], parser)
  if options.arguments and not command.arguments:
    raise UsageError(
      f"unexpected argument {options.arguments[0]!r}; flags look like"
      " --name=value"
    )
  if command.config:
    _load_config(command, options, overrides)
  return options


def _run(command: Command, argv: Sequence[str]) -> int:
  from kimina_jax.types import UsageError

  try:
    options = parse(command, argv)
  except UsageError as error:
    return _print_error(f"error: {error}")
  if options.process_id and not command.is_experiment:
    return 0
  _set_up_logging(is_first=options.process_id == 0)
  if command.needs_jax:
    _keep_compiled(options.compilation_cache)
  if not command.is_experiment:
    return _call(command, options, _print_error)
  return _run_together(command, options)


def _run_together(command: Command, options: argparse.Namespace) -> int:
  """Connects the processes, runs the command, disconnects them at its end."""
  from kimina_jax.infra import distributed

  try:
    code = _call(command, options, distributed.fail)
  except Exception as error:
    if options.num_processes == 1 or isinstance(error, BrokenPipeError):
      raise
    return distributed.fail_with_traceback()
  distributed.shutdown()
  return code


def _call(
  command: Command, options: argparse.Namespace, fail: Callable[[str], int]
) -> int:
  """Imports and calls the function of a command; errors become one line."""
  import importlib

  from kimina_jax.types import CheckerFooled, UsageError

  try:
    if command.is_experiment:
      _connect(options)
    module, _, function = command.main.partition(":")
    main = getattr(importlib.import_module(module), function)
    if not command.is_experiment:
      return main(options) or 0
    values = {flag.name: getattr(options, flag.name) for flag in command.flags}
    return main(options.config, **values) or 0
  except (UsageError, FloatingPointError, CheckerFooled) as error:
    return fail(f"error: {error}")
  except interruption.Interrupted as error:
    # In a job of several processes, all have agreed to stop.
    if options.process_id == 0:
      _print_error(f"stopped: {error}")
    if error.is_resumable:
      return 143
    return interruption.exit_code(interruption.reason())


def _connect(options: argparse.Namespace) -> None:
  from kimina_jax.infra import distributed

  distributed.initialize(
    coordinator=options.coordinator,
    num_processes=options.num_processes,
    process_id=options.process_id,
  )


def _exit_now(command: Command, signum: signal.Signals) -> NoReturn:
  """Ends the process, and the others of its job, after an early signal."""
  message = f"stopped: {signum.name}; {command.when_interrupted}"
  code = interruption.exit_code(signum.name)
  # Unless it is being imported just now.
  distributed: Any = sys.modules.get("kimina_jax.infra.distributed")
  if hasattr(distributed, "fail") and distributed.is_connected():
    distributed.fail(message, code=code)
  if sys.stderr.isatty():
    message = f"{_SHOW_CURSOR}{message}"  # a progress display may hide it
  os.write(sys.stderr.fileno(), f"{message}\n".encode())
  os._exit(code)


def _print_error(message: str, *, code: int = 1) -> int:
  print(message, file=sys.stderr, flush=True)
  return code


def _split_overrides(
  argv: Sequence[str],
) -> tuple[list[str], list[tuple[str, str | None]]]:
  """Takes `--config.key=value` out of a command line."""
  rest: list[str] = []
  overrides: list[tuple[str, str | None]] = []
  for word in argv:
    match = _OVERRIDE.fullmatch(word)
    if not match:
      rest.append(word)
    elif match["no"]:
      overrides.append((match["key"], "false"))
    else:
      overrides.append((match["key"], match["text"]))
  return rest, overrides


def _load_config(
  command: Command,
  options: argparse.Namespace,
  overrides: Sequence[tuple[str, str | None]],
) -> None:
  """Puts the experiment, or experiments, that the options name into them."""
  from kimina_jax.infra import config_file

  if command.takes_several_configs:
    options.configs = {
      name: config_file.load_config(name, overrides)
      for name in options.config or (command.config,)
    }
    return
  options.config_name = options.config
  name = options.config or command.config
  options.config = config_file.load_config(name)
  options.overrides = config_file.parse_overrides(options.config, overrides)
  options.config.update_from_flattened_dict(options.overrides)


class _Parser(argparse.ArgumentParser):
  """Raises UsageError where argparse prints the usage and exits with 2."""

  def error(self, message: str) -> NoReturn:
    from kimina_jax.types import UsageError

    message = message.replace("argument ", "", 1).replace(": ", ", ", 1)
    raise UsageError(f"{message}; {self.prog} --help lists the flags")


def _make_parser(command: Command) -> argparse.ArgumentParser:
  own = "[--config=NAME] [--config.KEY=VALUE …] " if command.config else ""
  usage = f"%(prog)s {own}[flags] {command.arguments}".strip()
  parser = _Parser(
    prog=f"kimina {command.name}",
    usage=usage,
    description=command.summary,
    epilog=_epilog(command),
    allow_abbrev=False,
    add_help=False,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
  flags = parser.add_argument_group("flags")
  flags.add_argument("--help", action="help", help="Print this and exit.")
  if command.config:
    is_several = command.takes_several_configs
    _add(
      flags,
      Flag(
        "config",
        () if is_several else "",
        f"Experiment{', or several by comma' if is_several else ''}: a name or"
        f" the path of a file; {command.config} by default.",
      ),
    )
  for flag in command.flags:
    _add(flags, flag)
  if command.needs_jax:
    _add(flags, _CACHE_FLAG)
  group = parser.add_argument_group("in a job of several processes")
  for flag in _PROCESS_FLAGS:
    _add(group, flag)
  return parser


def _epilog(command: Command) -> str:
  parts = ["example:\n" + textwrap.indent(command.example, "  ")]
  if command.config:
    from kimina_jax.infra import config_file

    directory = config_file.DIRECTORY
    parts.append(
      f"experiments:\n  {', '.join(config_file.names())}\n"
      f"  Every key, its default and its meaning: {directory / 'common.py'}"
    )
  return "\n\n".join(parts)


def _add(group: "argparse._ArgumentGroup", flag: Flag) -> None:
  default = flag.default
  kind = flag.kind if default is None else type(default)
  options: dict[str, Any] = {"help": flag.help.replace("%", "%%")}
  shown = str(default)
  if kind is bool:
    options["action"] = "store_true"
  elif kind is tuple:
    options |= {
      "action": _Extend,
      "by_comma": flag.by_comma,
      "metavar": "VALUE",
    }
    shown = ",".join(default)
  else:
    options["type"] = _number(kind, flag.minimum) if kind is not str else str
    options["metavar"] = {str: "TEXT", int: "N", float: "X"}[kind]
  if flag.choices:
    options |= {"choices": flag.choices, "metavar": "|".join(flag.choices)}
  if default and kind is not bool:
    options["help"] += f" Default: {shown}."
  group.add_argument(f"--{flag.name}", default=default, **options)


class _Extend(argparse.Action):
  """Collects the values of a flag that may be given several times."""

  def __init__(self, *args: Any, by_comma: bool, **kwargs: Any):
    super().__init__(*args, **kwargs)
    self._by_comma = by_comma

  def __call__(self, parser, namespace, values, option_string=None) -> None:
    old = getattr(namespace, self.dest)
    before = () if old is self.default else old
    words = values.split(",") if self._by_comma else [values]
    new = tuple(word.strip() for word in words if word.strip())
    setattr(namespace, self.dest, (*before, *new))


def _number(kind: type, minimum: float | None) -> Callable[[str], Any]:
  def convert(text: str) -> Any:
    number = kind(text)
    if minimum is not None and not number >= minimum:
      raise argparse.ArgumentTypeError(
        f"{text} is too small: it must be at least {minimum}"
      )
    return number

  convert.__name__ = {int: "whole number", float: "number"}[kind]
  return convert


def _unknown_argument(
  word: str, parser: argparse.ArgumentParser
) -> "UsageError":
  from kimina_jax.types import UsageError

  name = word.split("=")[0]
  known = [text for action in parser._actions for text in action.option_strings]
  near = difflib.get_close_matches(name, known, n=1)
  suggestion = f"did you mean {near[0]}? " if near else ""
  return UsageError(
    f"unknown flag {name}; {suggestion}{parser.prog} --help lists the flags"
  )


def _set_up_logging(*, is_first: bool) -> None:
  import faulthandler

  from absl import flags, logging

  faulthandler.enable()
  # absl writes to stderr with a warning until its own flags are parsed.
  flags.FLAGS(["kimina"])
  logging.use_absl_handler()
  logging.get_absl_handler().addFilter(_is_worth_a_line)
  logging.set_verbosity(logging.INFO if is_first else logging.ERROR)


def _is_worth_a_line(record: py_logging.LogRecord) -> bool:
  """This package's messages and all warnings; not the libraries' others."""
  return "kimina_jax" in record.pathname or record.levelno >= py_logging.WARNING


def _keep_compiled(directory: str) -> None:
  """Sets JAX's compilation cache, unless the environment has set one.

  Each kind of CPU has its own, as programs for a CPU use all its instructions.
  """
  import hashlib
  import pathlib

  import jax

  config: Any = jax.config  # its attributes are made at run time
  if not directory or config.jax_compilation_cache_dir:
    return
  cpu = hashlib.sha256(_cpu_features().encode()).hexdigest()[:8]
  place = pathlib.Path(directory).expanduser() / cpu
  config.update("jax_compilation_cache_dir", str(place))


def _cpu_features() -> str:
  import platform

  try:
    with open("/proc/cpuinfo") as file:
      lines = file.read().splitlines()
  except OSError:
    return platform.processor()
  names = ("flags", "Features", "model name")
  return "".join(sorted({x for x in lines if x.startswith(names)}))
