"""Settings records for tests: plain values, and the changes of a test."""

import dataclasses

from kimina_jax.learning.losses import LossSettings
from kimina_jax.learning.optimizer import OptimizerSettings
from kimina_jax.model.config import ModelSettings

_MODEL = ModelSettings(
  name="debug",
  param_dtype="float32",
  compute_dtype="float32",
  remat="none",
  attention="auto",
  yarn_factor=1.0,
)
_LOSS = LossSettings(
  name="kimi", tau=0.4, clip_low=0.2, clip_high=0.28, max_sampler_ratio=0.0
)
# An eps as large as 1e-2 keeps Adam from amplifying the rounding of gradients
# that are zero in exact arithmetic (the bias of keys) to full steps.
_OPTIMIZER = OptimizerSettings(
  learning_rate=1e-2,
  b1=0.9,
  b2=0.95,
  eps=1e-2,
  weight_decay=0.0,
  clip_norm=1.0,
  reset=True,
  offload=False,
)


def model_settings(**changes) -> ModelSettings:
  return dataclasses.replace(_MODEL, **changes)


def loss_settings(**changes) -> LossSettings:
  return dataclasses.replace(_LOSS, **changes)


def optimizer_settings(**changes) -> OptimizerSettings:
  return dataclasses.replace(_OPTIMIZER, **changes)
