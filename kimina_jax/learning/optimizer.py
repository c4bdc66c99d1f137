"""Adam with decoupled weight decay, and learning rates.

In: the configuration. Out: an Optimizer, whose transform turns gradients
into directions and whose learning rate is a function of the step.
Never holds state: that is part of TrainState.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from kimina_jax.types import check_numbers, require

Schedule = Callable[[jax.Array], jax.Array]

# Parts of the names of parameters that do not decay.
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
  """How gradients become updates.

  Attributes:
    transform: gradients to directions of ascent, without the learning rate.
    learning_rate: the rate at a step of the run. It is not in the transform
      because a reset of the transform must not restart the schedule.
    reset: whether an iteration starts with a fresh state of the transform.
    offload: whether the moments live in the host's memory, and visit the
      devices in each step.
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
      schedule or (lambda step: jnp.float32(settings.learning_rate))
    ),
    reset=settings.reset,
    offload=settings.offload,
  )


def cosine(peak: float, num_steps: int, *, warmup_fraction: float) -> Schedule:
  """Linear warm-up over w = warmup_fraction · num_steps, then half a cosine.

    step < w:  peak · (step + 1) / (w + 1)
    else:      peak · ½ (1 + cos(π (step − w) / (num_steps − w)))

  Neither the first nor the last step is lost to a rate of zero.
  """
  warmup = int(warmup_fraction * num_steps)

  def learning_rate(step: jax.Array) -> jax.Array:
    rise = (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, num_steps - warmup)
    fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1)))
    return peak * jnp.where(step < warmup, rise, fall)

  return learning_rate


def _decays(params: Any) -> Any:
  """True for matrices, which have neither of _UNDECAYED in their names."""
  return jax.tree.map_with_path(
    lambda path, _: not any(part in path[-1].key for part in _UNDECAYED),
    params,
  )
