"""AdamW and learning-rate schedules.

In: the optimizer section of an experiment. Out: an Optimizer, whose Optax
transform turns gradients into update directions and whose learning rate is a
function of the number of updates. The optimizer's state is part of TrainState.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from kimina_jax.types import check_numbers, require

Schedule = Callable[[jax.Array], jax.Array]

# Parameters with one of these in their names do not decay.
_UNDECAYED = ("scale", "bias")


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
  """The `optimizer` section of an experiment.

  Attributes:
    learning_rate: constant learning rate of RL.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the denominator.
    weight_decay: decoupled weight decay; 0 is off.
    clip_norm: maximum global norm of the gradient; 0 is off.
    reset: whether each iteration starts with fresh moments.
    offload: whether the moments are kept in the host's memory between updates.
  """

  learning_rate: float
  b1: float
  b2: float
  eps: float
  weight_decay: float
  clip_norm: float
  reset: bool
  offload: bool

  def __post_init__(self):
    check_numbers("optimizer", self)
    for key in ("b1", "b2"):
      decay = getattr(self, key)
      require(decay < 1, f"optimizer.{key}", decay, "choose a number below 1")


class Optimizer(NamedTuple):
  """An Optax transform with its learning rate.

  Attributes:
    transform: gradients to directions; parameters move against them by the
      learning rate.
    learning_rate: the rate by number of updates since the run began. It is no
      part of the transform, because a reset of the transform's state must not
      restart the schedule.
    reset: whether each iteration starts with a fresh state of the transform.
    offload: whether the moments are kept in the host's memory, and copied to
      the devices for each update.
  """

  transform: optax.GradientTransformation
  learning_rate: Schedule
  reset: bool
  offload: bool


def make_optimizer(
  settings: OptimizerSettings, *, schedule: Schedule | None = None
) -> Optimizer:
  """AdamW (arXiv 1711.05101, Algorithm 2) after clipping by the global norm.

    g ← g · min(1, clip_norm / ‖g‖)
    m ← b1 m + (1 − b1) g,  v ← b2 v + (1 − b2) g²
    θ ← θ − learning_rate · (m̂ / (√v̂ + eps) + weight_decay · θ)

  m̂ = m / (1 − b1ᵗ) and v̂ = v / (1 − b2ᵗ), t counted from the last reset.
  Norms and biases do not decay.

  Args:
    settings: the optimizer section.
    schedule: learning rate by number of updates; settings.learning_rate if
      None.
  """
  transforms = [optax.scale_by_adam(settings.b1, settings.b2, settings.eps)]
  if settings.clip_norm:
    transforms.insert(0, optax.clip_by_global_norm(settings.clip_norm))
  if settings.weight_decay:
    transforms.append(
      optax.add_decayed_weights(settings.weight_decay, mask=_decays)
    )
  return Optimizer(
    transform=optax.chain(*transforms),
    learning_rate=(
      schedule or (lambda update: jnp.float32(settings.learning_rate))
    ),
    reset=settings.reset,
    offload=settings.offload,
  )


def warmup_cosine(
  peak: float, num_updates: int, *, warmup_fraction: float
) -> Schedule:
  """Linear warm-up over w = warmup_fraction · num_updates, then half a cosine.

    update < w:  peak · (update + 1) / (w + 1)
    else:        peak · ½ (1 + cos(π (update − w) / (num_updates − w)))

  Neither the first nor the last update has a rate of zero.
  """
  # optax.warmup_cosine_decay_schedule is the same function, but rounds π t / n
  # in another order. Runs are repeatable to the bit, so this order stays.
  warmup = int(warmup_fraction * num_updates)

  def learning_rate(update: jax.Array) -> jax.Array:
    rise = (update + 1) / (warmup + 1)
    done = (update - warmup) / max(1, num_updates - warmup)
    fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1)))
    return peak * jnp.where(update < warmup, rise, fall)

  return learning_rate


def _decays(params: Any) -> Any:
  """Mask of the parameters that decay: True for matrices."""
  return jax.tree.map_with_path(
    lambda path, _: not any(part in path[-1].key for part in _UNDECAYED),
    params,
  )
