"""Policy-gradient losses: from log-probabilities to one number to minimise.

In: `logp_BT` of the current policy and a Batch. Out: the batch's share of the
loss of an update, and of its metrics. An update may consist of several
batches; UpdateTotals holds the denominators of the whole update, so the
shares of loss, gradient and metrics add up exactly, whatever the packing.
A loss depends on no model, mesh or parameter.

Notation: y is a response, |y| its length, A its advantage, n the number of
sequences of the update (dropped ones included), max_len the maximum response
length, m the number of response tokens of the update, and

  δ_t = log π_θ(y_t) − log π_old(y_t)     ratio r_t = exp(δ_t)
  ρ   = Σ_t δ_t                           over response tokens

If several iterations sampled a response (partial rollouts), y is the part
that the last one sampled.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kimina_jax.types import Batch, UsageError, check_numbers


class UpdateTotals(NamedTuple):
  """Denominators of an update, summed over all of its batches.

  Attributes:
    num_sequences: n, with dropped and excluded samples.
    num_kept: sequences with weight 1.
    num_tokens: m, response tokens of sequences with weight 1.
  """

  num_sequences: jax.typing.ArrayLike
  num_kept: jax.typing.ArrayLike
  num_tokens: jax.typing.ArrayLike


@dataclasses.dataclass(frozen=True)
class LossSettings:
  """The `loss` section of an experiment.

  Attributes:
    name: a key of LOSSES.
    tau: τ of kimi.
    clip_low: ε_low; importance ratios are clipped below 1 − ε_low ...
    clip_high: ε_high; ... and above 1 + ε_high.
    max_sampler_ratio: upper bound of the sampler's ratio, π_old / π_sampler
      per token (truncated importance sampling; Ionides, Journal of
      Computational and Graphical Statistics 17, 2008); 0 is off.
  """

  name: str
  tau: float
  clip_low: float
  clip_high: float
  max_sampler_ratio: float

  def __post_init__(self):
    check_numbers("loss", self)
    if self.name not in LOSSES:
      raise UsageError(
        f"loss.name = {self.name!r}; choose one of {', '.join(LOSSES)}"
      )
    if self.max_sampler_ratio and self.name in _WITHOUT_RATIO:
      raise UsageError(
        f"loss.max_sampler_ratio = {self.max_sampler_ratio}: {self.name} has "
        "no importance ratio; set it to 0 or choose a ratio-based loss"
      )


Metrics = dict[str, jax.Array]
Loss = Callable[[jax.Array, Batch, UpdateTotals], tuple[jax.Array, Metrics]]


def make_loss(settings: LossSettings, *, max_len: int) -> Loss:
  """The loss function of the settings.

  Args:
    settings: the loss section.
    max_len: the maximum response length in tokens.
  """
  return functools.partial(
    LOSSES[settings.name], settings=settings, max_len=max_len
  )


def kimi(
  logp_BT: jax.Array,
  batch: Batch,
  totals: UpdateTotals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """Kimina-Prover's loss: the squared surrogate of Kimi k1.5.

    1/(n·max_len) Σ_y [ −A ρ + (τ/2) ρ² ]

  Its descent direction is (A − τρ) ∇log π_θ(y): no importance weight, no
  clip. Eq. 1 of arXiv 2504.11354, which prints it without the square, and
  §2.3.2 of arXiv 2501.12599.
  """
  A_BM, w_BM = batch.advantage_BM, batch.weight_BM
  rho_BM = _per_sequence(_delta(logp_BT, batch), batch)
  loss_BM = -A_BM * rho_BM + settings.tau / 2 * rho_BM**2
  loss = jnp.sum(w_BM * loss_BM) / (totals.num_sequences * max_len)
  flipped_BM = (A_BM - settings.tau * rho_BM) * A_BM < 0
  return loss, {
    **_drift_metrics(logp_BT, batch, totals),
    "sign_flips": _kept_mean(flipped_BM, batch, totals),
  }


def reinforce(
  logp_BT: jax.Array,
  batch: Batch,
  totals: UpdateTotals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """REINFORCE with a baseline: −1/(n·max_len) Σ_y A Σ_t log π_θ(y_t).

  Williams, Machine Learning 8, 1992, §4. With the `leave_one_out` advantage
  it is RLOO (arXiv 2402.14740).
  """
  loss_BM = -batch.advantage_BM * _per_sequence(logp_BT, batch)
  loss = jnp.sum(batch.weight_BM * loss_BM) / (totals.num_sequences * max_len)
  return loss, _drift_metrics(logp_BT, batch, totals)


def grpo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: UpdateTotals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """GRPO without its KL term: mean over sequences of the mean over tokens.

    −1/n Σ_y 1/|y| Σ_t min(r_t A, clip(r_t, 1 − ε_low, 1 + ε_high) A)

  Eq. 3 of arXiv 2402.03300, where ε_low = ε_high and the advantage is
  `standardized`.
  """
  surrogate_BT, metrics = _clipped_surrogate(logp_BT, batch, totals, settings)
  mean_BM = _per_sequence(surrogate_BT, batch) / _lengths(batch)
  return -jnp.sum(batch.weight_BM * mean_BM) / totals.num_sequences, metrics


def dr_grpo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: UpdateTotals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """Dr. GRPO: GRPO without its length bias.

    −1/(n·max_len) Σ_y Σ_t min(r_t A, clip(r_t, 1 − ε_low, 1 + ε_high) A)

  §3 of arXiv 2503.20783, where the advantage is reward minus `mean`.
  """
  surrogate_BT, metrics = _clipped_surrogate(logp_BT, batch, totals, settings)
  sum_BM = _per_sequence(surrogate_BT, batch)
  loss = -jnp.sum(batch.weight_BM * sum_BM) / (totals.num_sequences * max_len)
  return loss, metrics


def dapo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: UpdateTotals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """DAPO: clip-higher, and the mean over all tokens of the update.

    −1/m Σ_y Σ_t min(r_t A, clip(r_t, 1 − ε_low, 1 + ε_high) A)

  Eq. 8 of arXiv 2503.14476, where ε_high > ε_low and the advantage is
  `standardized`. Its overlong reward shaping is not implemented.
  """
  surrogate_BT, metrics = _clipped_surrogate(logp_BT, batch, totals, settings)
  return -token_mean(surrogate_BT, batch, totals), metrics


def gspo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: UpdateTotals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """GSPO: one ratio per sequence, s = exp(ρ / |y|).

    −1/n Σ_y min(s A, clip(s, 1 − ε_low, 1 + ε_high) A)

  Eq. 5 and 7 of arXiv 2507.18071, where ε is near 3e-4 and the advantage is
  `standardized`. The sampler's ratio is per sequence in the same way.
  """
  A_BM, w_BM = batch.advantage_BM, batch.weight_BM
  length_BM = _lengths(batch)
  ratio_BM = jnp.exp(_per_sequence(_delta(logp_BT, batch), batch) / length_BM)
  gap_BM = _per_sequence(_sampler_gap(batch), batch) / length_BM
  clipped_BM = jnp.clip(ratio_BM, 1 - settings.clip_low, 1 + settings.clip_high)
  surrogate_BM = jnp.minimum(ratio_BM * A_BM, clipped_BM * A_BM)
  surrogate_BM *= _truncated_ratio(gap_BM, settings)
  loss = -jnp.sum(w_BM * surrogate_BM) / totals.num_sequences
  hit_BM = clipped_BM * A_BM < ratio_BM * A_BM
  return loss, {
    **_drift_metrics(logp_BT, batch, totals),
    "clip_fraction": _kept_mean(hit_BM, batch, totals),
  }


def cispo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: UpdateTotals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """CISPO: clips the importance weight and keeps every token's gradient.

    −1/m Σ_y Σ_t sg[clip(r_t, 1 − ε_low, 1 + ε_high)] A log π_θ(y_t)

  sg stops the gradient. Eq. 4 and 5 of arXiv 2506.13585, where ε_low is so
  large that only the upper bound has an effect.
  """
  A_BT = _per_token(batch.advantage_BM, batch)
  ratio_BT = jnp.exp(jax.lax.stop_gradient(_delta(logp_BT, batch)))
  clipped_BT = jnp.clip(ratio_BT, 1 - settings.clip_low, 1 + settings.clip_high)
  weight_BT = clipped_BT * _truncated_ratio(_sampler_gap(batch), settings)
  return -token_mean(weight_BT * A_BT * logp_BT, batch, totals), {
    **_drift_metrics(logp_BT, batch, totals),
    "clip_fraction": token_mean(clipped_BT != ratio_BT, batch, totals),
  }


# The losses by `loss.name`. To add one, write a function like those above and
# an entry here.
LOSSES: dict[str, Callable[..., tuple[jax.Array, Metrics]]] = {
  "kimi": kimi,
  "reinforce": reinforce,
  "grpo": grpo,
  "dr_grpo": dr_grpo,
  "dapo": dapo,
  "gspo": gspo,
  "cispo": cispo,
}
_WITHOUT_RATIO = ("kimi", "reinforce")


def sft(
  logp_BT: jax.Array, batch: Batch, totals: UpdateTotals
) -> tuple[jax.Array, Metrics]:
  """Negative log-likelihood per response token: −1/m Σ_y Σ_t log π_θ(y_t)."""
  return -token_mean(logp_BT, batch, totals), {}


def add_to_totals(totals: UpdateTotals, batch: Batch) -> UpdateTotals:
  """The totals with a batch added; the first are (n, 0, 0)."""
  weight_BM = batch.weight_BM
  num_tokens = jnp.sum(weight_BM * _per_sequence(batch.response_BT, batch))
  return totals._replace(
    num_kept=totals.num_kept + jnp.sum(weight_BM),
    num_tokens=totals.num_tokens + num_tokens,
  )


def token_mean(
  x_BT: jax.Array, batch: Batch, totals: UpdateTotals
) -> jax.Array:
  """The batch's share of the mean over response tokens of kept sequences.

  Like `_kept_mean`, it is 0 in an update without samples, not 0 / 0.
  """
  sum_BM = _per_sequence(x_BT, batch)
  return jnp.sum(batch.weight_BM * sum_BM) / jnp.maximum(totals.num_tokens, 1)


def _clipped_surrogate(
  logp_BT: jax.Array, batch: Batch, totals: UpdateTotals, settings: LossSettings
) -> tuple[jax.Array, Metrics]:
  """PPO's min(r A, clip(r) A) per token, Eq. 7 of arXiv 1707.06347."""
  A_BT = _per_token(batch.advantage_BM, batch)
  ratio_BT = jnp.exp(_delta(logp_BT, batch))
  clipped_BT = jnp.clip(ratio_BT, 1 - settings.clip_low, 1 + settings.clip_high)
  surrogate_BT = jnp.minimum(ratio_BT * A_BT, clipped_BT * A_BT)
  surrogate_BT *= _truncated_ratio(_sampler_gap(batch), settings)
  hit_BT = clipped_BT * A_BT < ratio_BT * A_BT
  return surrogate_BT, {
    **_drift_metrics(logp_BT, batch, totals),
    "clip_fraction": token_mean(hit_BT, batch, totals),
  }


def _truncated_ratio(gap: jax.Array, settings: LossSettings) -> jax.Array:
  """min(π_old / π_sampler, max_sampler_ratio) without a gradient.

  Corrects for a sampler whose arithmetic differs from the trainer's. It is 1
  if max_sampler_ratio is 0.
  """
  if not settings.max_sampler_ratio:
    return jnp.ones_like(gap)
  return jax.lax.stop_gradient(
    jnp.minimum(jnp.exp(gap), settings.max_sampler_ratio)
  )


def _drift_metrics(
  logp_BT: jax.Array, batch: Batch, totals: UpdateTotals
) -> Metrics:
  """Metrics of the distance to the old policy, and from it to the sampler.

  `kl_old` estimates KL(π_old ‖ π_θ) per token by exp(δ) − 1 − δ, which is
  unbiased under π_old and never negative.
  """
  delta_BT = _delta(logp_BT, batch)
  rho_BM = _per_sequence(delta_BT, batch)
  gap_BT = jnp.abs(_sampler_gap(batch))
  return {
    "rho_mean": _kept_mean(rho_BM, batch, totals),
    "rho_abs": _kept_mean(jnp.abs(rho_BM), batch, totals),
    "kl_old": token_mean(jnp.expm1(delta_BT) - delta_BT, batch, totals),
    "sampler_gap": token_mean(gap_BT, batch, totals),
  }


def _kept_mean(
  x_BM: jax.Array, batch: Batch, totals: UpdateTotals
) -> jax.Array:
  """The batch's share of the mean over kept sequences."""
  return jnp.sum(batch.weight_BM * x_BM) / jnp.maximum(totals.num_kept, 1)


def _delta(logp_BT: jax.Array, batch: Batch) -> jax.Array:
  """δ_t, and 0 outside of the response."""
  return (logp_BT - batch.old_logp_BT) * batch.response_BT


def _sampler_gap(batch: Batch) -> jax.Array:
  """log π_old − log π_sampler, and 0 outside of the response."""
  return (batch.old_logp_BT - batch.sampler_logp_BT) * batch.response_BT


def _lengths(batch: Batch) -> jax.Array:
  """|y|, and 1 where a row has no more sequences: [B, M]."""
  return jnp.maximum(_per_sequence(batch.response_BT, batch), 1)


def _per_sequence(x_BT: jax.Array, batch: Batch) -> jax.Array:
  """Sum over the response tokens of each sequence: [B, M]."""
  x_BT = x_BT * batch.response_BT
  member_BMT = _membership(batch)
  return jnp.sum(jnp.where(member_BMT, x_BT[:, None, :], 0), axis=2)


def _per_token(x_BM: jax.Array, batch: Batch) -> jax.Array:
  """The value of each token's sequence: [B, T]."""
  member_BMT = _membership(batch)
  return jnp.sum(jnp.where(member_BMT, x_BM[:, :, None], 0), axis=1)


def _membership(batch: Batch) -> jax.Array:
  """Whether token t belongs to sequence m: bool [B, M, T].

  XLA fuses it into the sums that use it, so the array is never in memory.
  Unlike a scatter, such a sum has the same order on every platform.
  """
  segment_M = 1 + jnp.arange(batch.weight_BM.shape[1])
  return batch.segments_BT[:, None, :] == segment_M[None, :, None]
