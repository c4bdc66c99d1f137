"""One step of learning, and the log-probabilities it is anchored to.

In: a TrainState and Batches on the mesh. Out: the next TrainState and
metrics. Every function is compiled once: an update of many batches adds up
their gradients, then steps. Never touches a file or a random number.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kimina_jax.learning import losses
from kimina_jax.learning.batch import batch_shardings
from kimina_jax.learning.logprobs import token_logprobs
from kimina_jax.learning.losses import Loss, Metrics, Totals
from kimina_jax.learning.optimizer import Optimizer
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import (
  abstract_params,
  init_params,
  param_shardings,
)
from kimina_jax.types import Batch

PyTree = Any

# Positions per row whose logits exist at a time.
_CHUNK = 256


class TrainState(NamedTuple):
  """What learning changes.

  Attributes:
    params: master weights.
    opt_state: of Optimizer.transform, in float32.
    step: int32 scalar, updates since the run began.
  """

  params: PyTree
  opt_state: PyTree
  step: jax.Array


def abstract_state(
  config: ModelConfig, optimizer: Optimizer, *, mesh: Mesh
) -> TrainState:
  """The TrainState as jax.ShapeDtypeStructs with shardings."""
  params = abstract_params(config)
  opt_state = jax.eval_shape(_opt_init(optimizer), params)
  replicated = NamedSharding(mesh, PartitionSpec())
  shardings = TrainState(
    params=param_shardings(config, mesh, "train"),
    opt_state=optax.tree.map_params(
      optimizer.transform,
      lambda _, sharding: sharding,
      opt_state,
      param_shardings(config, mesh, "train"),
      transform_non_params=lambda _: replicated,
    ),
    step=replicated,
  )
  step = jax.ShapeDtypeStruct((), jnp.int32)
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding
    ),
    TrainState(params, opt_state, step),
    shardings,
  )


def init_state(
  key: jax.Array, config: ModelConfig, *, optimizer: Optimizer, mesh: Mesh
) -> TrainState:
  """A TrainState with fresh weights; no device ever holds more than its part.

  The weights depend on the key alone, not on the mesh.
  """
  shardings = _shardings(abstract_state(config, optimizer, mesh=mesh))
  init = jax.jit(init_params, static_argnums=1, out_shardings=shardings.params)
  return start_state(init(key, config), config, optimizer=optimizer, mesh=mesh)


def start_state(
  params: PyTree, config: ModelConfig, *, optimizer: Optimizer, mesh: Mesh
) -> TrainState:
  """A TrainState at step 0 around weights in the train layout."""
  shardings = _shardings(abstract_state(config, optimizer, mesh=mesh))
  init = jax.jit(_opt_init(optimizer), out_shardings=shardings.opt_state)
  step = jax.device_put(np.int32(0), shardings.step)
  return TrainState(params, init(params), step)


def make_begin_iteration(
  config: ModelConfig, optimizer: Optimizer, *, mesh: Mesh
) -> Callable[[TrainState], TrainState]:
  """Gives what prepares a state for an iteration: a fresh optimizer, if asked.

  The step, and with it the learning rate's schedule, goes on.
  """
  if not optimizer.reset:
    return lambda state: state
  shardings = _shardings(abstract_state(config, optimizer, mesh=mesh))
  init = jax.jit(_opt_init(optimizer), out_shardings=shardings.opt_state)
  return lambda state: state._replace(opt_state=init(state.params))


def make_scorer(
  config: ModelConfig, *, mesh: Mesh, chunk: int = _CHUNK
) -> Callable[[PyTree, Batch], Batch]:
  """Gives `score(params, batch)`: the batch with its `old_logp_BT` filled in.

  Call it on all batches of an iteration before the first update.
  """
  shardings = batch_shardings(mesh)

  def score(params: PyTree, batch: Batch) -> jax.Array:
    return _logprobs(params, config, batch, chunk)[0]

  score = jax.jit(
    score,
    in_shardings=(param_shardings(config, mesh, "train"), shardings),
    out_shardings=shardings.old_logp_BT,
  )

  def score_in_mesh(params: PyTree, batch: Batch) -> Batch:
    with jax.set_mesh(mesh):
      return batch._replace(old_logp_BT=score(params, batch))

  return score_in_mesh


def make_update(
  config: ModelConfig,
  optimizer: Optimizer,
  *,
  loss: Loss,
  mesh: Mesh,
  chunk: int = _CHUNK,
) -> Callable[[TrainState, Sequence[Batch], int], tuple[TrainState, Metrics]]:
  """Gives `update(state, batches, num_sequences)`: one optimizer step.

  `batches` together are one minibatch, all of one shape and on the mesh.
  `num_sequences` is its n, dropped and excluded samples included. The state
  is donated. If the loss or the gradient is not finite, the state comes back
  as it was; `check_finite` says so.

  Metrics are scalars on the device, exact under any packing: those of the
  loss, `loss`, `entropy` (nats per response token), `grad_norm` (before
  clipping), `learning_rate` and `finite` (1 or 0).

  Args:
    config: the model.
    optimizer: what steps.
    loss: of losses.py.
    mesh: where state and batches live.
    chunk: positions per row whose logits exist at a time.
  """
  shardings = _shardings(abstract_state(config, optimizer, mesh=mesh))
  replicated = shardings.step
  count = jax.jit(
    losses.add_to_totals, donate_argnums=0, out_shardings=replicated
  )
  zeros, accumulate = _make_accumulate(config, loss, mesh, chunk)
  apply = jax.jit(
    _make_apply(optimizer),
    donate_argnums=0,
    in_shardings=(shardings, (shardings.params, replicated)),
    out_shardings=(shardings, replicated),
  )

  def update(
    state: TrainState, batches: Sequence[Batch], num_sequences: int
  ) -> tuple[TrainState, Metrics]:
    with jax.set_mesh(mesh):
      totals = Totals(*np.float32([num_sequences, 0, 0]))
      totals = jax.device_put(totals, replicated)
      for batch in batches:
        totals = count(totals, batch)
      sums = zeros(state.params, batches[0], totals)
      for batch in batches:
        sums = accumulate(sums, state.params, batch, totals)
      return apply(state, sums)

  return update


def check_finite(metrics: Mapping[str, float], step: int) -> None:
  """Raises FloatingPointError if the update of this step was refused."""
  if not metrics["finite"]:
    raise FloatingPointError(
      f"step {step}: loss = {float(metrics['loss'])}, gradient norm = "
      f"{float(metrics['grad_norm'])}; the parameters are those before this "
      "step. Lower the learning rate or look at the batch"
    )


def _make_accumulate(
  config: ModelConfig, loss: Loss, mesh: Mesh, chunk: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
  """Sums of gradients (float32) and metrics: their zeros, and how they grow."""
  params = param_shardings(config, mesh, "train")
  replicated = NamedSharding(mesh, PartitionSpec())
  inputs = (params, batch_shardings(mesh), replicated)

  def objective(
    params: PyTree, batch: Batch, totals: Totals
  ) -> tuple[jax.Array, Metrics]:
    logp_BT, entropy_BT = _logprobs(params, config, batch, chunk)
    value, metrics = loss(logp_BT, batch, totals)
    entropy = losses.token_mean(entropy_BT, batch, totals)
    return value, {"loss": value, "entropy": entropy, **metrics}

  gradient = jax.grad(objective, has_aux=True)

  def zeros(*args: Any) -> tuple[PyTree, Metrics]:
    shapes = jax.eval_shape(gradient, *args)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), shapes)

  def accumulate(sums: PyTree, *args: Any) -> tuple[PyTree, Metrics]:
    return jax.tree.map(jnp.add, sums, gradient(*args))

  return (
    jax.jit(zeros, in_shardings=inputs, out_shardings=(params, replicated)),
    jax.jit(
      accumulate,
      donate_argnums=0,
      in_shardings=((params, replicated), *inputs),
      out_shardings=(params, replicated),
    ),
  )


def _make_apply(optimizer: Optimizer) -> Callable[..., Any]:
  """Steps with summed gradients, unless something is not finite."""

  def apply(
    state: TrainState, sums: tuple[PyTree, Metrics]
  ) -> tuple[TrainState, Metrics]:
    grads, metrics = sums
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(grad_norm)
    directions, opt_state = optimizer.transform.update(
      grads, state.opt_state, state.params
    )
    rate = optimizer.learning_rate(state.step)
    params = jax.tree.map(
      lambda p, d: (p.astype(jnp.float32) - rate * d).astype(p.dtype),
      state.params,
      directions,
    )
    moved = TrainState(params, opt_state, state.step + 1)
    state = jax.tree.map(
      lambda new, old: jnp.where(finite, new, old), moved, state
    )
    return state, {
      **metrics,
      "grad_norm": grad_norm,
      "learning_rate": rate,
      "finite": finite.astype(jnp.float32),
    }

  return apply


def _logprobs(
  params: PyTree, config: ModelConfig, batch: Batch, chunk: int
) -> tuple[jax.Array, jax.Array]:
  return token_logprobs(
    params,
    config,
    batch.tokens_BT,
    batch.positions_BT,
    batch.segments_BT,
    chunk=chunk,
  )


def _opt_init(optimizer: Optimizer) -> Callable[[PyTree], PyTree]:
  """The transform's state in float32, whatever the dtype of the weights."""
  return lambda params: optimizer.transform.init(
    jax.tree.map(lambda p: p.astype(jnp.float32), params)
  )


def _shardings(state: TrainState) -> TrainState:
  return jax.tree.map(lambda x: x.sharding, state)
