"""Run state of a checkpoint: the training state and a host record.

The host record is JSON: its version, the number of updates, and what the
program adds (for RL the curriculum and the partial rollouts). Records of older
versions are upgraded when they are read.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from kimina_jax.infra.checkpoint import Checkpointer
from kimina_jax.learning.optimizer import Optimizer
from kimina_jax.learning.update import TrainState, abstract_state, start_state
from kimina_jax.pipeline.setup import Setup, first_params
from kimina_jax.types import UsageError

# Version of the host record. 0 has no key `version`; its partial rollouts are
# under `carried`, with the keys `judged`, `begun`, `step` and `row`.
HOST_VERSION = 1

_OLD_GROUP_KEYS = {"judged": "finished", "begun": "unfinished"}
_OLD_ROLLOUT_KEYS = {"step": "iteration", "row": "index"}


class Resumed(NamedTuple):
  """The state that a run starts or resumes from.

  Attributes:
    state: parameters and optimizer state for the next update.
    step: iterations of RL, or updates of supervised training, done so far.
    host: the host record; {} at the start of a run.
  """

  state: TrainState
  step: int
  host: dict[str, Any]


def save_state(
  checkpoints: Checkpointer,
  state: TrainState,
  step: int,
  *,
  with_optimizer: bool,
  host: Mapping[str, Any],
  force: bool = False,
) -> None:
  """Saves the training state and the host record, if a save is due.

  Args:
    checkpoints: the run's checkpoints.
    state: the state after `step`.
    step: iterations or updates done so far.
    with_optimizer: whether the next step needs the optimizer's state.
    host: JSON that the program resumes from.
    force: save even if no save is due.
  """
  checkpoints.save(
    step,
    params=state.params,
    opt_state=state.opt_state if with_optimizer else None,
    host={
      "version": HOST_VERSION,
      **host,
      "num_updates": int(jax.device_get(state.num_updates)),
    },
    force=force,
  )


def resume_state(
  setup: Setup, optimizer: Optimizer, checkpoints: Checkpointer
) -> Resumed:
  """The state of the newest checkpoint, or that of a new run."""
  step = checkpoints.latest_step()
  if step is None:
    state = start_state(
      first_params(setup), setup.model, optimizer=optimizer, mesh=setup.mesh
    )
    return Resumed(state, 0, {})
  wanted = abstract_state(setup.model, optimizer, mesh=setup.mesh)
  found = checkpoints.restore(
    step,
    params=wanted.params,
    opt_state=None if optimizer.reset else wanted.opt_state,
  )
  host = upgrade_host(found.host)
  state = start_state(
    found.params, setup.model, optimizer=optimizer, mesh=setup.mesh
  )
  num_updates = np.int32(host["num_updates"])
  state = state._replace(
    opt_state=found.opt_state or state.opt_state,
    num_updates=jax.device_put(num_updates, wanted.num_updates.sharding),
  )
  return Resumed(state, step, host)


def upgrade_host(host: Mapping[str, Any]) -> dict[str, Any]:
  """A host record of any version as one of HOST_VERSION.

  Raises:
    UsageError: a newer version of this package wrote it.
  """
  version = host.get("version", 0)
  if version > HOST_VERSION:
    raise UsageError(
      f"the checkpoint's host record has version {version}, this kimina_jax "
      f"reads up to version {HOST_VERSION}; resume with the version that wrote "
      "it"
    )
  host = dict(host)
  if version < 1 and "carried" in host:
    host["partial_rollouts"] = [_upgrade_group(g) for g in host.pop("carried")]
  return {**host, "version": HOST_VERSION}


def _upgrade_group(group: Mapping[str, Any]) -> dict[str, Any]:
  """A partial group of version 0."""
  group = _renamed(group, _OLD_GROUP_KEYS)
  return {
    **group,
    "finished": [
      {**sample, "rollout": _renamed(sample["rollout"], _OLD_ROLLOUT_KEYS)}
      for sample in group["finished"]
    ],
    "unfinished": [
      _renamed(rollout, _OLD_ROLLOUT_KEYS) for rollout in group["unfinished"]
    ],
  }


def _renamed(
  record: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
  return {names.get(name, name): value for name, value in record.items()}
