"""The optimizer update, and the log-prob pass before it.

In: a TrainState and Batches on the mesh. Out: the next TrainState and metrics.
Every program is compiled once for a run: an update of several batches
accumulates their gradients, then applies them. Nothing here reads or writes a
file or draws a random number.

log π_old: the log-probabilities by the trainer's own forward at the start of an
iteration, before its first update; not those of the sampler. They come from
`make_old_logprobs`.
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
from kimina_jax.learning.losses import Loss, Metrics, UpdateTotals
from kimina_jax.learning.optimizer import Optimizer
from kimina_jax.model.config import ModelConfig
from kimina_jax.model.params import (
  abstract_params,
  param_shardings,
)
from kimina_jax.types import Batch

PyTree = Any

# Accumulated over batches: float32 gradients, sharded as the parameters, and
# metrics.
Sums = tuple[PyTree, Metrics]

# Memory kind of offloaded moments.
_HOST = "pinned_host"


class TrainState(NamedTuple):
  """Parameters and optimizer state of a run.

  Attributes:
    params: master weights.
    opt_state: state of Optimizer.transform, in float32.
    num_updates: int32 scalar, updates since the run began.

  The same structure holds shapes or shardings instead of arrays.
  """

  params: PyTree
  opt_state: PyTree
  num_updates: PyTree


class UpdatePrograms(NamedTuple):
  """The jitted programs of an update, to be called under `jax.set_mesh`.

  Attributes:
    gradient: (params, batch, totals) → sums, for the first batch.
    accumulate: (sums, params, batch, totals) → sums, for each further batch;
      the sums are donated.
    apply: (state, sums) → (state, metrics); the state is donated. The sums
      are not, because no output could reuse their memory.
  """

  gradient: Callable[[PyTree, Batch, UpdateTotals], Sums]
  accumulate: Callable[[Sums, PyTree, Batch, UpdateTotals], Sums]
  apply: Callable[[TrainState, Sums], tuple[TrainState, Metrics]]


def abstract_state(
  config: ModelConfig, optimizer: Optimizer, *, mesh: Mesh
) -> TrainState:
  """The TrainState as jax.ShapeDtypeStructs with shardings.

  Adam's moments lie in the host's memory if `optimizer.offload`.
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
    num_updates=replicated,
  )
  num_updates = jax.ShapeDtypeStruct((), jnp.int32)
  return jax.tree.map(
    lambda x, sharding: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding
    ),
    TrainState(params, opt_state, num_updates),
    shardings,
  )


def start_state(
  params: PyTree, config: ModelConfig, *, optimizer: Optimizer, mesh: Mesh
) -> TrainState:
  """A TrainState without updates, from weights in the train layout."""
  shardings = _shardings(abstract_state(config, optimizer, mesh=mesh))
  init = jax.jit(_opt_init(optimizer), out_shardings=shardings.opt_state)
  num_updates = jax.device_put(np.int32(0), shardings.num_updates)
  return TrainState(params, init(params), num_updates)


def make_begin_iteration(
  config: ModelConfig, optimizer: Optimizer, *, mesh: Mesh
) -> Callable[[TrainState], TrainState]:
  """Returns a function that resets the optimizer's state for an iteration.

  It returns the state as it is if `optimizer.reset` is false. The number of
  updates, and with it the learning rate's schedule, is never reset.
  """
  if not optimizer.reset:
    return lambda state: state
  shardings = _shardings(abstract_state(config, optimizer, mesh=mesh))
  init = jax.jit(_opt_init(optimizer), out_shardings=shardings.opt_state)
  return lambda state: state._replace(opt_state=init(state.params))


def make_old_logprobs(
  config: ModelConfig, *, mesh: Mesh, vocab_block_size: int | None = None
) -> Callable[[PyTree, Batch], Batch]:
  """Returns `compute_old_logprobs(params, batch)`, which adds log π_old.

  log π_old: the log-probabilities by the trainer's own forward at the start of
  an iteration. It is the batch's `old_logp_BT`; call the function on all
  batches of an iteration before the first update.
  """
  program = make_old_logprobs_program(
    config, mesh=mesh, vocab_block_size=vocab_block_size
  )

  def compute_old_logprobs(params: PyTree, batch: Batch) -> Batch:
    with jax.set_mesh(mesh):
      return batch._replace(old_logp_BT=program(params, batch))

  return compute_old_logprobs


def make_old_logprobs_program(
  config: ModelConfig, *, mesh: Mesh, vocab_block_size: int | None = None
) -> Callable[[PyTree, Batch], jax.Array]:
  """Returns the jitted log-prob pass (params, batch) → old_logp_BT.

  Call it under `jax.set_mesh(mesh)`.

  Args:
    config: the model.
    mesh: of parameters and batches.
    vocab_block_size: see `token_logprobs`.
  """
  shardings = batch_shardings(mesh)
  return jax.jit(
    lambda params, batch: _logprobs(params, config, batch, vocab_block_size)[0],
    in_shardings=(param_shardings(config, mesh, "train"), shardings),
    out_shardings=shardings.old_logp_BT,
  )


def make_update(
  config: ModelConfig,
  optimizer: Optimizer,
  *,
  loss: Loss,
  mesh: Mesh,
  vocab_block_size: int | None = None,
) -> Callable[[TrainState, Sequence[Batch], int], tuple[TrainState, Metrics]]:
  """Returns `update(state, batches, num_sequences)`: one optimizer update.

  `batches` together are one minibatch, all of one shape and on the mesh.
  `num_sequences` is the minibatch's n, with dropped and excluded samples. The
  state is donated. If the loss or the gradient is not finite, the returned
  state is the old one, and `check_finite` raises an error.

  Metrics are scalars on the device, exact under any packing: those of the
  loss, `loss`, `entropy` (nats per response token), `grad_norm` (before
  clipping), `learning_rate` and `finite` (1 or 0).

  Args:
    config: the model.
    optimizer: the optimizer.
    loss: a loss of losses.py.
    mesh: of state and batches.
    vocab_block_size: see `token_logprobs`.
  """
  replicated = NamedSharding(mesh, PartitionSpec())
  count = jax.jit(
    losses.add_to_totals, donate_argnums=0, out_shardings=replicated
  )
  programs = make_update_programs(
    config, optimizer, loss=loss, mesh=mesh, vocab_block_size=vocab_block_size
  )

  def update(
    state: TrainState, batches: Sequence[Batch], num_sequences: int
  ) -> tuple[TrainState, Metrics]:
    with jax.set_mesh(mesh):
      totals = UpdateTotals(
        np.float32(num_sequences), np.float32(0), np.float32(0)
      )
      totals = jax.device_put(totals, replicated)
      for batch in batches:
        totals = count(totals, batch)
      sums = programs.gradient(state.params, batches[0], totals)
      for batch in batches[1:]:
        sums = programs.accumulate(sums, state.params, batch, totals)
      return programs.apply(state, sums)

  return update


def make_update_programs(
  config: ModelConfig,
  optimizer: Optimizer,
  *,
  loss: Loss,
  mesh: Mesh,
  vocab_block_size: int | None = None,
) -> UpdatePrograms:
  """The programs that `make_update` runs; the scaling study compiles them.

  Args: see `make_update`.
  """
  state = _shardings(abstract_state(config, optimizer, mesh=mesh))
  replicated = state.num_updates
  inputs = (state.params, batch_shardings(mesh), replicated)
  sums = (state.params, replicated)
  gradient = _make_gradient(config, loss, vocab_block_size)

  def accumulate(
    sums: Sums, params: PyTree, batch: Batch, totals: UpdateTotals
  ) -> Sums:
    return jax.tree.map(jnp.add, sums, gradient(params, batch, totals))

  return UpdatePrograms(
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


def check_finite(metrics: Mapping[str, float], when: str) -> None:
  """Raises FloatingPointError if an update was skipped as not finite.

  Args:
    metrics: of the update, on the host.
    when: names the update in the message, such as "iteration 7".
  """
  if not metrics["finite"]:
    raise FloatingPointError(
      f"{when}: loss = {float(metrics['loss'])}, gradient norm = "
      f"{float(metrics['grad_norm'])}; the parameters are those before this "
      "update. Lower the learning rate or look at the batch"
    )


def _make_gradient(
  config: ModelConfig, loss: Loss, vocab_block_size: int | None
) -> Callable[[PyTree, Batch, UpdateTotals], Sums]:
  """The program of a batch's share of gradient and metrics, in float32."""

  def objective(
    params: PyTree, batch: Batch, totals: UpdateTotals
  ) -> tuple[jax.Array, Metrics]:
    logp_BT, entropy_BT = _logprobs(params, config, batch, vocab_block_size)
    with jax.named_scope("loss"):
      value, metrics = loss(logp_BT, batch, totals)
      entropy = losses.token_mean(entropy_BT, batch, totals)
    return value, {"loss": value, "entropy": entropy, **metrics}

  def gradient(params: PyTree, batch: Batch, totals: UpdateTotals) -> Sums:
    shares = jax.grad(objective, has_aux=True)(params, batch, totals)
    return jax.tree.map(lambda x: x.astype(jnp.float32), shares)

  return gradient


def _make_apply(
  optimizer: Optimizer, shardings: PyTree
) -> Callable[[TrainState, Sums], tuple[TrainState, Metrics]]:
  """The program that applies accumulated gradients, unless not finite.

  `shardings` are those of the optimizer's state.
  """
  # optax.apply_if_finite does not look at the loss, and its counters would be
  # part of every checkpoint.

  def apply(state: TrainState, sums: Sums) -> tuple[TrainState, Metrics]:
    grads, metrics = sums
    opt_state = _to_devices(state.opt_state, shardings)
    state = state._replace(opt_state=opt_state)
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(grad_norm)
    directions, opt_state = optimizer.transform.update(
      grads, state.opt_state, state.params
    )
    rate = optimizer.learning_rate(state.num_updates)
    params = jax.tree.map(
      lambda p, d: (p.astype(jnp.float32) - rate * d).astype(p.dtype),
      state.params,
      directions,
    )
    updated = TrainState(params, opt_state, state.num_updates + 1)
    state = jax.tree.map(
      lambda new, old: jnp.where(finite, new, old), updated, state
    )
    return state, {
      **metrics,
      "grad_norm": grad_norm,
      "learning_rate": rate,
      "finite": finite.astype(jnp.float32),
    }

  return apply


def _logprobs(
  params: PyTree,
  config: ModelConfig,
  batch: Batch,
  vocab_block_size: int | None,
) -> tuple[jax.Array, jax.Array]:
  return token_logprobs(
    params,
    config,
    batch.tokens_BT,
    batch.positions_BT,
    batch.segments_BT,
    vocab_block_size=vocab_block_size,
  )


def _to_devices(opt_state: PyTree, shardings: PyTree) -> PyTree:
  """The optimizer's state with offloaded moments copied to the devices."""

  def copy(x: jax.Array, sharding: NamedSharding) -> jax.Array:
    if sharding.memory_kind != _HOST:
      return x
    return jax.device_put(x, sharding.with_memory_kind("device"))

  return jax.tree.map(copy, opt_state, shardings)


def _opt_init(optimizer: Optimizer) -> Callable[[PyTree], PyTree]:
  """Initializes the transform in float32, whatever the weights' dtype."""
  return lambda params: optimizer.transform.init(
    jax.tree.map(lambda p: p.astype(jnp.float32), params)
  )


def _shardings(state: TrainState) -> TrainState:
  return jax.tree.map(lambda x: x.sharding, state)
