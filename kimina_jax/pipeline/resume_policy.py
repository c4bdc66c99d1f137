"""Resume policy: the config keys that may change between starts of a run.

A resumed run computes what the uninterrupted run would have computed. Hence a
key of the experiment that changes results must keep its value; a key that
belongs to the machine (sizes of caches, addresses, timeouts) may change. The
two tables below hold every key of configs/common.py; a test compares them.

Experiments of older versions can be resumed: a key that did not exist then has
the default of configs/common.py, which is what the older version did; a
removed key must have had its old default.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from kimina_jax.infra import config_file
from kimina_jax.infra.rundir import has_begun
from kimina_jax.pipeline.experiment import Experiment
from kimina_jax.types import UsageError

# Keys that change no number, or only the last bits of sums whose order changes.
MACHINE: Mapping[str, tuple[str, ...]] = {
  # The weights and the tokenizer are in the run's directory by then.
  "": ("init_from", "tokenizer"),
  "model": ("remat", "attention"),
  "mesh": ("data", "fsdp", "context", "tensor"),
  "rollouts": (
    "tensor",
    "num_slots",
    "steps_per_dispatch",
    "page_size",
    "cache_tokens",
    "chunk_tokens",
  ),
  "checker": (
    "command",
    "lean_path",
    "urls",
    "num_workers",
    "num_standby",
    "max_imports",
    "max_pending",
    "queue_timeout_s",
    "load_timeout_s",
    "exec_timeout_s",
    "max_uses",
    "memory_gib",
    "address_gib",
    "isolation",
    "allow_none",
    "verdict_cache",
    "second_timeout_s",
  ),
  "optimizer": ("offload",),
  "train": ("num_iterations", "sequence_len", "rows_per_batch"),
  "sft": ("save_every", "log_every"),
  "eval": ("every", "ks"),
  "checkpoint": ("every", "max_to_keep"),
  "metrics": ("tensorboard", "wandb_project"),
}

RESULTS: Mapping[str, tuple[str, ...]] = {
  "": ("seed", "prompt"),
  "model": ("name", "param_dtype", "compute_dtype", "yarn_factor"),
  "problems": (
    "train",
    "eval",
    "eval_split",
    "decontaminate_ngram",
    "num_train",
    "num_eval",
  ),
  "curriculum": ("prioritized", "prune_after"),
  "rollouts": (
    "max_prompt_len",
    "max_response_len",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop_strings",
    "repetition_window",
    "cache_dtype",
  ),
  "checker": (
    "backend",
    "max_heartbeats",
    "native_decide",
    "second_command",
    "second_share",
  ),
  "reward": ("min_coverage", "format_failure", "truncated"),
  "advantage": ("baseline", "length_penalty", "drop_negative"),
  "loss": (
    "name",
    "tau",
    "clip_low",
    "clip_high",
    "max_sampler_ratio",
  ),
  "optimizer": (
    "learning_rate",
    "b1",
    "b2",
    "eps",
    "weight_decay",
    "clip_norm",
    "reset",
  ),
  "train": (
    "num_problems",
    "num_per_problem",
    "canary_share",
    "num_minibatches",
    "tokens_per_iteration",
    "learn_from_carried",
  ),
  "sft": (
    "sources",
    "confirmed_only",
    "num_examples",
    "num_epochs",
    "rows_per_batch",
    "sequence_len",
    "learning_rate",
    "warmup_fraction",
    "weight_decay",
    "skill",
  ),
  "eval": ("num_samples",),
}

# Sections that a program does not read.
_UNUSED: Mapping[str, tuple[str, ...]] = {
  "train": ("sft",),
  "sft": ("curriculum", "checker", "reward", "advantage", "loss", "train"),
  "evaluate": ("curriculum", "advantage", "loss", "optimizer", "train", "sft"),
}
# In training, evaluation metrics are only logged, so eval.num_samples may
# change. `evaluate` sizes its parts by rollouts.num_slots and is tied to one
# checkpoint.
_EXCEPTIONS: Mapping[str, Mapping[str, bool]] = {
  "train": {"eval.num_samples": True},
  "sft": {"eval.num_samples": True},
  "evaluate": {"rollouts.num_slots": False, "init_from": False},
}

# Old name → new name, of keys that were renamed.
_RENAMED: Mapping[str, str] = {
  "checker.num_spares": "checker.num_standby",
  "checker.store": "checker.verdict_cache",
}
# Removed keys → the value at which this version behaves the same.
_REMOVED: Mapping[str, Any] = {"loss.sft_kl": 0.0}


@dataclasses.dataclass(frozen=True)
class Change:
  """A key whose value differs from that of an earlier start.

  Attributes:
    key: with its section, as in `--config.section.key`.
    old: JSON value that the run has; "absent" if it has none.
    new: JSON value of this start.
    allowed: whether the run may be resumed with the new value.
  """

  key: str
  old: Any
  new: Any
  allowed: bool

  def __str__(self) -> str:
    return f"{self.key}: {self.old!r} there, {self.new!r} now"


def changes_of_run(
  run_dir: str | pathlib.Path, experiment: Experiment, *, program: str
) -> list[Change]:
  """The keys that differ from those of the run in a directory.

  Args:
    run_dir: directory of the run; it need not exist.
    experiment: the settings of this start.
    program: `train`, `sft` or `evaluate`.

  Raises:
    UsageError: the directory's config.json cannot be read.
  """
  path = pathlib.Path(run_dir) / "config.json"
  if not path.exists() or not has_begun(path.parent):
    return []
  try:
    old = json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UsageError(
      f"{path} cannot be read ({error}); restore it, or choose another "
      "--run_dir"
    ) from error
  return compare(old, {"program": program, **dataclasses.asdict(experiment)})


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
  """The keys that differ between two config.json, sorted by name.

  Args:
    old: program and experiment of an earlier start, of any version.
    new: program and experiment of this start.
  """
  program = new["program"]
  now = config_file.flatten(json.loads(json.dumps(new)))
  before = upgrade_config(old)
  defaults = config_file.flatten(
    json.loads(config_file.load_config("common").to_json())
  )
  found = []
  for key in sorted(before.keys() | now.keys()):
    if key.split(".")[0] in _UNUSED[program]:
      continue
    old_value = before.get(key, defaults.get(key, "absent"))
    new_value = now.get(key, "absent")
    if old_value != new_value:
      allowed = _may_change(key, program)
      found.append(Change(key, old_value, new_value, allowed))
  return found


def upgrade_config(saved: Mapping[str, Any]) -> dict[str, Any]:
  """A run's config.json of any version: values by this version's dotted keys.

  A removed key is left out if its value was the one at which this version does
  the same.
  """
  named = {
    _RENAMED.get(key, key): value
    for key, value in config_file.flatten(saved).items()
  }
  return {
    key: value
    for key, value in named.items()
    if key not in _REMOVED or value != _REMOVED[key]
  }


def check_changes(run_dir: str | pathlib.Path, found: list[Change]) -> None:
  """Raises UsageError if a run cannot be resumed with these changes."""
  refused = [str(change) for change in found if not change.allowed]
  if refused:
    raise UsageError(
      f"{run_dir} holds a run with another configuration "
      f"({'; '.join(refused)}). Resume it with the same one, or choose another "
      "--run_dir"
    )


def _may_change(key: str, program: str) -> bool:
  """Whether a run of this program may be resumed with another value."""
  exceptions = _EXCEPTIONS[program]
  if key in exceptions:
    return exceptions[key]
  section, _, name = key.rpartition(".")
  return name in MACHINE.get(section, ())
