"""Losses: from log-probabilities to one number to minimise.

In: `logp_BT` of the current policy and a Batch. Out: this batch's share of
the loss of an update, and of its metrics. An update may spread over several
batches; `Totals` holds what the whole update divides by, hence the shares of
loss, gradient and metrics simply add up, whatever the packing.
Never sees a model, a mesh or a parameter.

Notation: y is a response, |y| its length, A its advantage, n the number of
sequences of the update (dropped ones included), L the maximum response
length, m the number of response tokens of the update, and

  δ_t = log π_θ(y_t) − log π_old(y_t)     ratio r_t = exp(δ_t)
  ρ   = Σ_t δ_t                           over response tokens

Of a response that several iterations drew, y is what the last one drew.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kimina_jax.types import Batch, UsageError, check_numbers


class Totals(NamedTuple):
  """What all batches of one update divide by.

  Attributes:
    num_sequences: n, dropped and excluded samples included.
    num_kept: sequences with weight 1.
    num_tokens: m, response tokens of sequences with weight 1.
  """

  num_sequences: jax.Array | float
  num_kept: jax.Array | float
  num_tokens: jax.Array | float


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
Loss = Callable[[jax.Array, Batch, Totals], tuple[jax.Array, Metrics]]


def make_loss(settings: LossSettings, *, max_len: int) -> Loss:
  """The loss function that the settings name.

  Args:
    settings: the loss section.
    max_len: L, the maximum response length in tokens.
  """
  return functools.partial(
    LOSSES[settings.name], settings=settings, max_len=max_len
  )


def kimi(
  logp_BT: jax.Array,
  batch: Batch,
  totals: Totals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """Kimina-Prover's loss: the squared surrogate of Kimi k1.5.

    1/(n·L) Σ_y [ −A ρ + (τ/2) ρ² ]

  Its descent direction is (A − τρ) ∇log π_θ(y): no importance weight, no
  clip. Eq. 1 of arXiv 2504.11354, which prints it without the square, and
  §2.3.2 of arXiv 2501.12599.
  """
  A_BS, w_BS = batch.advantage_BS, batch.weight_BS
  rho_BS = _per_sequence(_delta(logp_BT, batch), batch)
  loss_BS = -A_BS * rho_BS + settings.tau / 2 * rho_BS**2
  loss = jnp.sum(w_BS * loss_BS) / (totals.num_sequences * max_len)
  flipped_BS = (A_BS - settings.tau * rho_BS) * A_BS < 0
  return loss, {
    **_drift_metrics(logp_BT, batch, totals),
    "sign_flips": _kept_mean(flipped_BS, batch, totals),
  }


def reinforce(
  logp_BT: jax.Array,
  batch: Batch,
  totals: Totals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """REINFORCE with a baseline: −1/(n·L) Σ_y A Σ_t log π_θ(y_t).

  Williams, Machine Learning 8, 1992, §4. With the `leave_one_out` advantage
  it is RLOO (arXiv 2402.14740).
  """
  loss_BS = -batch.advantage_BS * _per_sequence(logp_BT, batch)
  loss = jnp.sum(batch.weight_BS * loss_BS) / (totals.num_sequences * max_len)
  return loss, _drift_metrics(logp_BT, batch, totals)


def grpo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: Totals,
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
  mean_BS = _per_sequence(surrogate_BT, batch) / _lengths(batch)
  return -jnp.sum(batch.weight_BS * mean_BS) / totals.num_sequences, metrics


def dr_grpo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: Totals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """Dr. GRPO: GRPO without its bias by length.

    −1/(n·L) Σ_y Σ_t min(r_t A, clip(r_t, 1 − ε_low, 1 + ε_high) A)

  §3 of arXiv 2503.20783, where the advantage is reward minus `mean`.
  """
  surrogate_BT, metrics = _clipped_surrogate(logp_BT, batch, totals, settings)
  sum_BS = _per_sequence(surrogate_BT, batch)
  loss = -jnp.sum(batch.weight_BS * sum_BS) / (totals.num_sequences * max_len)
  return loss, metrics


def dapo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: Totals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """DAPO: clip-higher, and the mean over all tokens of the update.

    −1/m Σ_y Σ_t min(r_t A, clip(r_t, 1 − ε_low, 1 + ε_high) A)

  Eq. 8 of arXiv 2503.14476, where ε_high > ε_low and the advantage is
  `standardized`. Its overlong shaping would be a reward, and is left out.
  """
  surrogate_BT, metrics = _clipped_surrogate(logp_BT, batch, totals, settings)
  return -token_mean(surrogate_BT, batch, totals), metrics


def gspo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: Totals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """GSPO: one ratio per sequence, s = exp(ρ / |y|).

    −1/n Σ_y min(s A, clip(s, 1 − ε_low, 1 + ε_high) A)

  Eq. 5 and 7 of arXiv 2507.18071, where ε is near 3e-4 and the advantage is
  `standardized`. The sampler's ratio is per sequence in the same way.
  """
  A_BS, w_BS = batch.advantage_BS, batch.weight_BS
  length_BS = _lengths(batch)
  ratio_BS = jnp.exp(_per_sequence(_delta(logp_BT, batch), batch) / length_BS)
  gap_BS = _per_sequence(_sampler_gap(batch), batch) / length_BS
  clipped_BS = jnp.clip(ratio_BS, 1 - settings.clip_low, 1 + settings.clip_high)
  surrogate_BS = jnp.minimum(ratio_BS * A_BS, clipped_BS * A_BS)
  surrogate_BS *= _truncated_ratio(gap_BS, settings)
  loss = -jnp.sum(w_BS * surrogate_BS) / totals.num_sequences
  hit_BS = clipped_BS * A_BS < ratio_BS * A_BS
  return loss, {
    **_drift_metrics(logp_BT, batch, totals),
    "clip_fraction": _kept_mean(hit_BS, batch, totals),
  }


def cispo(
  logp_BT: jax.Array,
  batch: Batch,
  totals: Totals,
  *,
  settings: LossSettings,
  max_len: int,
) -> tuple[jax.Array, Metrics]:
  """CISPO: clips the importance weight, never the gradient of a token.

    −1/m Σ_y Σ_t sg[clip(r_t, 1 − ε_low, 1 + ε_high)] A log π_θ(y_t)

  sg stops the gradient. Eq. 4 and 5 of arXiv 2506.13585, where ε_low is so
  large that only the upper bound acts.
  """
  A_BT = _per_token(batch.advantage_BS, batch)
  ratio_BT = jnp.exp(jax.lax.stop_gradient(_delta(logp_BT, batch)))
  clipped_BT = jnp.clip(ratio_BT, 1 - settings.clip_low, 1 + settings.clip_high)
  weight_BT = clipped_BT * _truncated_ratio(_sampler_gap(batch), settings)
  return -token_mean(weight_BT * A_BT * logp_BT, batch, totals), {
    **_drift_metrics(logp_BT, batch, totals),
    "clip_fraction": token_mean(clipped_BT != ratio_BT, batch, totals),
  }


# The losses that `loss.name` may be. A new one is a function like those above
# and an entry here.
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
  logp_BT: jax.Array, batch: Batch, totals: Totals
) -> tuple[jax.Array, Metrics]:
  """Negative log-likelihood per response token: −1/m Σ_y Σ_t log π_θ(y_t)."""
  return -token_mean(logp_BT, batch, totals), {}


def add_to_totals(totals: Totals, batch: Batch) -> Totals:
  """Counts what a batch adds; start from (n, 0, 0)."""
  weight_BS = batch.weight_BS
  num_tokens = jnp.sum(weight_BS * _per_sequence(batch.response_BT, batch))
  return totals._replace(
    num_kept=totals.num_kept + jnp.sum(weight_BS),
    num_tokens=totals.num_tokens + num_tokens,
  )


def token_mean(x_BT: jax.Array, batch: Batch, totals: Totals) -> jax.Array:
  """This batch's share of the mean over response tokens that count.

  Here and in `_kept_mean`, an update without samples is 0, not 0 / 0.
  """
  sum_BS = _per_sequence(x_BT, batch)
  return jnp.sum(batch.weight_BS * sum_BS) / jnp.maximum(totals.num_tokens, 1)


def _clipped_surrogate(
  logp_BT: jax.Array, batch: Batch, totals: Totals, settings: LossSettings
) -> tuple[jax.Array, Metrics]:
  """PPO's min(r A, clip(r) A) per token, Eq. 7 of arXiv 1707.06347."""
  A_BT = _per_token(batch.advantage_BS, batch)
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
  """min(π_old / π_sampler, max_sampler_ratio), a constant; 1 if that is 0.

  Corrects for a sampler whose arithmetic differs from the trainer's.
  """
  if not settings.max_sampler_ratio:
    return jnp.ones_like(gap)
  return jax.lax.stop_gradient(
    jnp.minimum(jnp.exp(gap), settings.max_sampler_ratio)
  )


def _drift_metrics(logp_BT: jax.Array, batch: Batch, totals: Totals) -> Metrics:
  """How far the policy has moved, and how far the sampler is from it.

  `kl_old` estimates KL(π_old ‖ π_θ) per token by exp(δ) − 1 − δ, which is
  unbiased under π_old and never negative.
  """
  delta_BT = _delta(logp_BT, batch)
  rho_BS = _per_sequence(delta_BT, batch)
  gap_BT = jnp.abs(_sampler_gap(batch))
  return {
    "rho_mean": _kept_mean(rho_BS, batch, totals),
    "rho_abs": _kept_mean(jnp.abs(rho_BS), batch, totals),
    "kl_old": token_mean(jnp.expm1(delta_BT) - delta_BT, batch, totals),
    "sampler_gap": token_mean(gap_BT, batch, totals),
  }


def _kept_mean(x_BS: jax.Array, batch: Batch, totals: Totals) -> jax.Array:
  """This batch's share of the mean over the sequences that count."""
  return jnp.sum(batch.weight_BS * x_BS) / jnp.maximum(totals.num_kept, 1)


def _delta(logp_BT: jax.Array, batch: Batch) -> jax.Array:
  """δ, zero off the response."""
  return (logp_BT - batch.old_logp_BT) * batch.response_BT


def _sampler_gap(batch: Batch) -> jax.Array:
  """log π_old − log π_sampler, zero off the response."""
  return (batch.old_logp_BT - batch.sampler_logp_BT) * batch.response_BT


def _lengths(batch: Batch) -> jax.Array:
  """|y|, and 1 where there is no sequence."""
  return jnp.maximum(_per_sequence(batch.response_BT, batch), 1)


def _per_sequence(x_BT: jax.Array, batch: Batch) -> jax.Array:
  """Σ over the response tokens of each sequence: [B, S]."""
  x_BT = x_BT * batch.response_BT
  member_BST = _membership(batch)
  return jnp.sum(jnp.where(member_BST, x_BT[:, None, :], 0), axis=2)


def _per_token(x_BS: jax.Array, batch: Batch) -> jax.Array:
  """The value of the sequence that each token belongs to: [B, T]."""
  member_BST = _membership(batch)
  return jnp.sum(jnp.where(member_BST, x_BS[:, :, None], 0), axis=1)


def _membership(batch: Batch) -> jax.Array:
  """Whether token t belongs to sequence s.

  Compiled, it fuses into the sums that use it: no [B, S, T] array exists.
  Unlike a scatter, such a sum has one order on every platform.
  """
  segment_S = 1 + jnp.arange(batch.weight_BS.shape[1])
  return batch.segments_BT[:, None, :] == segment_S[None, :, None]
