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
  param_shardings,
)
from kimina_jax.types import Batch

PyTree = Any

# Gradients in float32, sharded as the parameters, and metrics.
Sums = tuple[PyTree, Metrics]

# Where the moments live if they are offloaded.
_HOST = "pinned_host"


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


class Programs(NamedTuple):
  """The parts of an update, jitted, for calls inside `jax.set_mesh(mesh)`.

  Attributes:
    gradient: (params, batch, totals) → sums, of the first batch.
    accumulate: (sums, params, batch, totals) → sums, of every further one;
      the sums are donated.
    apply: (state, sums) → (state, metrics); the state is donated. The sums
      are not: no output has a use for their memory.
  """

  gradient: Callable[[PyTree, Batch, Totals], Sums]
  accumulate: Callable[[Sums, PyTree, Batch, Totals], Sums]
  apply: Callable[[TrainState, Sums], tuple[TrainState, Metrics]]


def abstract_state(
  config: ModelConfig, optimizer: Optimizer, *, mesh: Mesh
) -> TrainState:
  """The TrainState as jax.ShapeDtypeStructs with shardings.

  Adam's moments are in the host's memory if `optimizer.offload`.
  """
  params = abstract_params(config)
  opt_state = jax.eval_shape(_opt_init(optimizer), params)
  replicated = NamedSharding(mesh, PartitionSpec())
  by_param = param_shardings(config, mesh, "train")
  moments = by_param
  if optimizer.offload:
    moments = jax.tree.map(lambda x: x.with_memory_kind(_HOST), by_param)
  shardings = TrainState(
    params=by_param,
    opt_state=optax.tree.map_params(
      optimizer.transform,
      lambda _, sharding: sharding,
      opt_state,
      moments,
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
  config: ModelConfig, *, mesh: Mesh, chunk: int | None = None
) -> Callable[[PyTree, Batch], Batch]:
  """Gives `score(params, batch)`: the batch with its `old_logp_BT` filled in.

  Call it on all batches of an iteration before the first update.
  """
  program = make_score_program(config, mesh=mesh, chunk=chunk)

  def score(params: PyTree, batch: Batch) -> Batch:
    with jax.set_mesh(mesh):
      return batch._replace(old_logp_BT=program(params, batch))

  return score


def make_score_program(
  config: ModelConfig, *, mesh: Mesh, chunk: int | None = None
) -> Callable[[PyTree, Batch], jax.Array]:
  """Gives the jitted (params, batch) → old_logp_BT, for `jax.set_mesh(mesh)`.

  Args:
    config: the model.
    mesh: where parameters and batches live.
    chunk: see `token_logprobs`.
  """
  shardings = batch_shardings(mesh)
  return jax.jit(
    lambda params, batch: _logprobs(params, config, batch, chunk)[0],
    in_shardings=(param_shardings(config, mesh, "train"), shardings),
    out_shardings=shardings.old_logp_BT,
  )


def make_update(
  config: ModelConfig,
  optimizer: Optimizer,
  *,
  loss: Loss,
  mesh: Mesh,
  chunk: int | None = None,
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
    chunk: see `token_logprobs`.
  """
  replicated = NamedSharding(mesh, PartitionSpec())
  count = jax.jit(
    losses.add_to_totals, donate_argnums=0, out_shardings=replicated
  )
  programs = make_programs(config, optimizer, loss=loss, mesh=mesh, chunk=chunk)

  def update(
    state: TrainState, batches: Sequence[Batch], num_sequences: int
  ) -> tuple[TrainState, Metrics]:
    with jax.set_mesh(mesh):
      totals = Totals(*np.float32([num_sequences, 0, 0]))
      totals = jax.device_put(totals, replicated)
      for batch in batches:
        totals = count(totals, batch)
      sums = programs.gradient(state.params, batches[0], totals)
      for batch in batches[1:]:
        sums = programs.accumulate(sums, state.params, batch, totals)
      return programs.apply(state, sums)

  return update


def make_programs(
  config: ModelConfig,
  optimizer: Optimizer,
  *,
  loss: Loss,
  mesh: Mesh,
  chunk: int | None = None,
) -> Programs:
  """What `make_update` runs, for who wants to compile it without running it.

  Args: see `make_update`.
  """
  state = _shardings(abstract_state(config, optimizer, mesh=mesh))
  replicated = state.step
  inputs = (state.params, batch_shardings(mesh), replicated)
  sums = (state.params, replicated)
  gradient = _make_gradient(config, loss, chunk)

  def accumulate(
    sums: Sums, params: PyTree, batch: Batch, totals: Totals
  ) -> Sums:
    return jax.tree.map(jnp.add, sums, gradient(params, batch, totals))

  return Programs(
    gradient=jax.jit(gradient, in_shardings=inputs, out_shardings=sums),
    accumulate=jax.jit(
      accumulate,
      donate_argnums=0,
      in_shardings=(sums, *inputs),
      out_shardings=sums,
    ),
    apply=jax.jit(
      _make_apply(optimizer, state.opt_state),
      donate_argnums=0,
      in_shardings=(state, sums),
      out_shardings=(state, replicated),
    ),
  )


def check_finite(metrics: Mapping[str, float], step: int) -> None:
  """Raises FloatingPointError if the update of this step was refused."""
  if not metrics["finite"]:
    raise FloatingPointError(
      f"step {step}: loss = {float(metrics['loss'])}, gradient norm = "
      f"{float(metrics['grad_norm'])}; the parameters are those before this "
      "step. Lower the learning rate or look at the batch"
    )


def _make_gradient(
  config: ModelConfig, loss: Loss, chunk: int | None
) -> Callable[[PyTree, Batch, Totals], Sums]:
  """A batch's share of gradient and metrics, in float32."""

  def objective(
    params: PyTree, batch: Batch, totals: Totals
  ) -> tuple[jax.Array, Metrics]:
    logp_BT, entropy_BT = _logprobs(params, config, batch, chunk)
    value, metrics = loss(logp_BT, batch, totals)
    entropy = losses.token_mean(entropy_BT, batch, totals)
    return value, {"loss": value, "entropy": entropy, **metrics}

  def gradient(params: PyTree, batch: Batch, totals: Totals) -> Sums:
    shares = jax.grad(objective, has_aux=True)(params, batch, totals)
    return jax.tree.map(lambda x: x.astype(jnp.float32), shares)

  return gradient


def _make_apply(
  optimizer: Optimizer, shardings: PyTree
) -> Callable[[TrainState, Sums], tuple[TrainState, Metrics]]:
  """Steps with summed gradients, unless something is not finite.

  `shardings` are those of the optimizer's state.
  """

  def apply(state: TrainState, sums: Sums) -> tuple[TrainState, Metrics]:
    grads, metrics = sums
    state = state._replace(opt_state=_fetch(state.opt_state, shardings))
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
  params: PyTree, config: ModelConfig, batch: Batch, chunk: int | None
) -> tuple[jax.Array, jax.Array]:
  return token_logprobs(
    params,
    config,
    batch.tokens_BT,
    batch.positions_BT,
    batch.segments_BT,
    chunk=chunk,
  )


def _fetch(opt_state: PyTree, shardings: PyTree) -> PyTree:
  """What lives in the host's memory, on the devices."""

  def fetch(x: jax.Array, sharding: NamedSharding) -> jax.Array:
    if sharding.memory_kind != _HOST:
      return x
    return jax.device_put(x, sharding.with_memory_kind("device"))

  return jax.tree.map(fetch, opt_state, shardings)


def _opt_init(optimizer: Optimizer) -> Callable[[PyTree], PyTree]:
  """The transform's state in float32, whatever the dtype of the weights."""
  return lambda params: optimizer.transform.init(
    jax.tree.map(lambda p: p.astype(jnp.float32), params)
  )


def _shardings(state: TrainState) -> TrainState:
  return jax.tree.map(lambda x: x.sharding, state)
