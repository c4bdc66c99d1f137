"""Experiment files: found by name or path, loaded, and overridden.

In: what `--config` names and `--config.key=value` overrides. Out: a locked
ConfigDict with exactly the keys of kimina_jax/configs/common.py. An error in
a file or an override is a UsageError of one line, with file and line number.
"""

import difflib
import importlib.util
import pathlib
import re
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import tuple_parser

from kimina_jax.types import UsageError

# Where the experiments of this package are, in a checkout and installed.
DIRECTORY = pathlib.Path(__file__).resolve().parent.parent / "configs"
_KEYS = DIRECTORY / "common.py"

_PARSERS: dict[type, flags.ArgumentParser] = {
  bool: flags.BooleanParser(),
  int: flags.IntegerParser(),
  float: flags.FloatParser(),
  str: flags.ArgumentParser(),
  tuple: tuple_parser.TupleParser(),
}
_EXPECTED = {
  bool: "true or false",
  int: "a whole number",
  float: "a number",
  tuple: "values in parentheses, such as '(1, 8)' or '(\"a\", \"b\")'",
}

# How ml_collections reports a key that a ConfigDict does not have.
_UNKNOWN_KEY = re.compile(
  r"""Key "(\w+)" does not exist|instead of "(\w+)"|^["']+(\w+)["']+$"""
)


def names() -> list[str]:
  """Names of the experiments that are installed with the package."""
  return sorted(
    path.stem for path in DIRECTORY.glob("*.py") if path.stem != "__init__"
  )


def find(name: str) -> pathlib.Path:
  """The file that an experiment's name or path means.

  Args:
    name: of an installed experiment ("rl_7b"), or the path of a file, with or
      without ".py".

  Raises:
    UsageError: there is no such file.
  """
  if name in names():
    return DIRECTORY / f"{name}.py"
  path = pathlib.Path(name).expanduser()
  for candidate in (path, path.with_name(path.name + ".py")):
    if candidate.is_file():
      return candidate
  near = difflib.get_close_matches(path.stem, names(), n=1)
  suggestion = f"did you mean {near[0]}? " if near else ""
  raise UsageError(
    f"--config={name}: no such file or experiment; {suggestion}Installed are"
    f" {', '.join(names())}"
  )


def load_config(
  name: str, overrides: Sequence[tuple[str, str | None]] = ()
) -> ConfigDict:
  """Loads an experiment and applies the overrides of the command line.

  Args:
    name: as for `find`; what follows a colon is the argument of get_config.
    overrides: (dotted key, text) pairs, see `parse_overrides`.

  Raises:
    UsageError: an error in the file or in an override.
  """
  path_or_name, _, argument = name.partition(":")
  config = _execute(find(path_or_name), argument)
  config.update_from_flattened_dict(parse_overrides(config, overrides))
  return config


def parse_overrides(
  config: ConfigDict, overrides: Iterable[tuple[str, str | None]]
) -> dict[str, Any]:
  """Values of `--config.key=value` overrides, by dotted key.

  A text is parsed by the type of the key's value in the config, as
  ml_collections does it: `(1, 8)` for a tuple, whose elements may also be given
  by repeating the override. A boolean key without a value becomes True.

  Args:
    config: the experiment.
    overrides: (dotted key, text) pairs; None for an override without a value.

  Raises:
    UsageError: no such key, or a value of another type.
  """
  known = flatten(config)
  values: dict[str, Any] = {}
  for key, text in overrides:
    if key not in known:
      raise UsageError(_unknown_key(key, known))
    old = known[key]
    if text is None:
      if not isinstance(old, bool):
        raise UsageError(
          f"--config.{key} has no value: write --config.{key}={old}"
        )
      text = "true"
    new = _parse(key, text, old)
    # An override of a tuple that is given again adds elements.
    is_more = isinstance(new, tuple) and key in values
    values[key] = values[key] + new if is_more else new
  return values


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Nested sections as one dict with dotted keys."""
  flat = {}
  for key, value in tree.items():
    if isinstance(value, Mapping | ConfigDict):
      flat.update(flatten(value, f"{prefix}{key}."))
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def _parse(key: str, text: str, old: Any) -> Any:
  kind = type(old)
  try:
    value: Any = _PARSERS[kind].parse(text)
    if kind is tuple and len(value) == 1 and isinstance(value[0], str):
      # Quoted once more than the shell removed: "'(1, 8)'".
      if value[0].startswith(("(", "[")):
        value = _PARSERS[tuple].parse(value[0])
    if kind is tuple and not _has_types_of(value, old):
      raise ValueError(f"elements are like those of {old}")
  except (ValueError, TypeError, KeyError):
    raise UsageError(
      f"--config.{key}={text}: {_EXPECTED.get(kind, kind.__name__)} is"
      f" expected, as in --config.{key}={_spell(old)}"
    ) from None
  return value


def _has_types_of(new: tuple[Any, ...], old: tuple[Any, ...]) -> bool:
  """Whether elements have the type of the default's; true without default."""
  kinds = {type(element) for element in old}
  return not kinds or {type(element) for element in new} <= kinds


def _spell(value: Any) -> str:
  """A value as it would be given on a command line."""
  return f"'{value}'" if isinstance(value, tuple) else str(value)


def _unknown_key(key: str, known: Mapping[str, Any]) -> str:
  if any(name.startswith(f"{key}.") for name in known):
    return f"--config.{key} is a section: set its keys, --config.{key}.KEY=…"
  return (
    f"--config.{key}: no such key; {_suggest(key, known)}{_KEYS} explains all"
  )


def _suggest(key: str, known: Iterable[str]) -> str:
  """'did you mean …? ' for the known keys that are most alike, or ''."""
  candidates = list(known)
  section, _, last = key.rpartition(".")
  same = [name for name in candidates if name.rpartition(".")[2] == last]
  near = difflib.get_close_matches(key, candidates, n=1, cutoff=0.7)
  # A name without its section, a misspelling, a name in a wrong section.
  near = (not section and same) or near or same
  return f"did you mean {' or '.join(near)}? " if near else ""


def _execute(path: pathlib.Path, argument: str) -> ConfigDict:
  """get_config() of a file, checked against the keys of common.py."""
  try:
    spec = importlib.util.spec_from_file_location("kimina_jax_config", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
      raise UsageError(
        f"{path}: no function get_config(); an experiment file defines one that"
        " returns a ConfigDict"
      )
    config = module.get_config(argument) if argument else module.get_config()
  except UsageError:
    raise
  except Exception as error:
    raise UsageError(_explain(error, path)) from error
  if not isinstance(config, ConfigDict):
    raise UsageError(
      f"{path}: get_config() returns {type(config).__name__}, not a ConfigDict;"
      " start from common.get_config() and return it"
    )
  _check_keys(config, path)
  return config.lock()


def _check_keys(config: ConfigDict, path: pathlib.Path) -> None:
  from kimina_jax.configs import common

  known, found = flatten(common.get_config()), flatten(config)
  unknown = sorted(found.keys() - known.keys())
  if unknown:
    raise UsageError(
      f"{path}{_line_of(unknown[0], path)}: unknown key {unknown[0]};"
      f" {_suggest(unknown[0], known)}{_KEYS} explains all"
    )
  missing = sorted(known.keys() - found.keys())
  if missing:
    raise UsageError(
      f"{path}: key {missing[0]} is missing; start from common.get_config() of"
      " kimina_jax.configs"
    )


def _line_of(key: str, path: pathlib.Path) -> str:
  """ ":line" of the first line of a file that names a key's last part."""
  word = re.compile(rf"\b{re.escape(key.rpartition('.')[2])}\b")
  lines = path.read_text("utf-8").splitlines()
  for number, line in enumerate(lines, start=1):
    if word.search(line):
      return f":{number}"
  return ""


def _explain(error: Exception, path: pathlib.Path) -> str:
  """An exception of an experiment file as one line, with file and line."""
  if isinstance(error, SyntaxError) and error.filename:
    return f"{error.filename}:{error.lineno}: {error.msg}"
  if isinstance(error, UnicodeDecodeError):
    return f"{path}: not UTF-8 text"
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if pathlib.Path(frame.filename) == path
  ]
  place = f"{path}:{lines[-1]}" if lines else str(path)
  return f"{place}: {_reason(error)}"


def _reason(error: Exception) -> str:
  text = " ".join(str(error).split())
  if isinstance(error, ModuleNotFoundError) and error.name == "configs":
    return f"{text}; write `from kimina_jax.configs import common`"
  unknown = _UNKNOWN_KEY.search(text)
  if isinstance(error, AttributeError | KeyError) and unknown:
    from kimina_jax.configs import common

    known = flatten(common.get_config())
    sections = {key.rpartition(".")[0] for key in known} - {""}
    name = next(filter(None, unknown.groups()))
    near = re.search(r'Did you mean "(\w+)" instead', text)
    suggestion = (
      f"did you mean {near[1]}? "
      if near
      else _suggest(name, [*known, *sections])
    )
    return f"no key {name}; {suggestion}{_KEYS} explains all"
  return f"{type(error).__name__}: {text}"
