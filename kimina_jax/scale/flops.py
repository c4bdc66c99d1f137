"""FLOPs of a traced program, as executed, recomputation included.

In: a jaxpr. Out: floating-point operations of its matrix products, over all
devices. A multiply-add counts two. Elementwise operations are left out: they
run on other units and are never the bottleneck. A scan counts its length times
its body, a rematerialised layer as often as it is computed, a `shard_map` once
per shard.
Nothing is compiled, and nothing is estimated from the model's name.

Pallas kernels count grid size times body. The flash-attention kernel skips the
blocks above the diagonal; counted are the blocks that it computes, of which
those on the diagonal are half masked. A kernel whose work depends on the values
of its operands is counted by its KernelCosts.

`jax.experimental.roofline` (jax 0.10.2) does not replace this: it counts the
body of a scan or of a Pallas kernel once, whatever its length or grid, and
skips `while` and `cond`.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr

from kimina_jax.scale.specs import KernelCosts

_FLASH = "splash_"


def count_flops(
  jaxpr: ClosedJaxpr,
  *,
  trip_counts: Mapping[str, int] | None = None,
  kernels: KernelCosts | None = None,
) -> float:
  """FLOPs of a program over all devices.

  Args:
    jaxpr: of `jax.jit(f).trace(...)`, with global shapes.
    trip_counts: of `while` loops, by the name of the `jax.named_scope` around
      them; others count once.
    kernels: costs of kernels whose work depends on values.

  Example:
    count_flops(jax.jit(lambda x, y: x @ y).trace(a, b).jaxpr)
  """
  return float(_count(jaxpr.jaxpr, _Dynamic(trip_counts or {}, kernels or {})))


class _Dynamic(NamedTuple):
  """Costs that depend on values and are not in the jaxpr."""

  trip_counts: Mapping[str, int]
  kernels: KernelCosts


def _count(jaxpr: Any, dynamic: _Dynamic) -> float:
  return sum(_equation(eqn, dynamic) for eqn in jaxpr.eqns)


def _equation(eqn: Any, dynamic: _Dynamic) -> float:
  name = eqn.primitive.name
  if name == "dot_general":
    return _dot_general(eqn)
  if name == "conv_general_dilated":
    return _convolution(eqn)
  if name in _FUSED_ATTENTION:
    return _fused_attention(eqn, products=_FUSED_ATTENTION[name])
  if name == "cond":
    branches = eqn.params["branches"]
    return max(_count(branch.jaxpr, dynamic) for branch in branches)
  if name == "pallas_call":
    for label, work in dynamic.kernels.items():
      if _label(eqn).startswith(label):
        return work([v.aval.shape for v in eqn.invars]).flops
  inner = sum(_count(sub, dynamic) for sub in _subjaxprs(eqn))
  return inner * _times(eqn, dynamic.trip_counts) if inner else 0


def _times(eqn: Any, trip_counts: Mapping[str, int]) -> float:
  """Executions of the body of an equation, over all devices."""
  name = eqn.primitive.name
  if name == "scan":
    return eqn.params["length"]
  if name == "while":
    scope = str(eqn.source_info.name_stack).rpartition("/")[2]
    return trip_counts.get(scope, 1)
  if name == "shard_map":
    mesh, manual = eqn.params["mesh"], eqn.params["newly_manual_axes"]
    return math.prod(mesh.shape[axis] for axis in manual)
  if name == "pallas_call":
    return _kernel_times(eqn)
  return 1


def _subjaxprs(eqn: Any) -> Iterator[Any]:
  """All jaxprs among the parameters of an equation."""
  for name, value in eqn.params.items():
    if eqn.primitive.name == "while" and name == "cond_jaxpr":
      continue
    for item in value if isinstance(value, tuple | list) else (value,):
      item = getattr(item, "jaxpr", item)
      if hasattr(item, "eqns"):
        yield item


def _dot_general(eqn: Any) -> float:
  """2 · batch · rows · columns · contracted."""
  (contracted, _), _ = eqn.params["dimension_numbers"]
  lhs = eqn.invars[0].aval
  depth = math.prod(lhs.shape[dim] for dim in contracted)
  return 2 * math.prod(eqn.outvars[0].aval.shape) * depth


def _convolution(eqn: Any) -> float:
  """2 · outputs · window · input features of a group."""
  numbers = eqn.params["dimension_numbers"]
  kernel = eqn.invars[1].aval.shape
  depth = math.prod(kernel) // kernel[numbers.rhs_spec[0]]
  return 2 * math.prod(eqn.outvars[0].aval.shape) * depth


# cuDNN's attention is one equation: number of matrix products of forward
# (scores, values) and of backward (scores again; gradients of q, k, v, scores).
_FUSED_ATTENTION = {
  "dot_product_attention_fwd": 2,
  "dot_product_attention_fwd_wrapper": 2,
  "dot_product_attention_bwd": 5,
  "dot_product_attention_bwd_wrapper": 5,
}


def _fused_attention(eqn: Any, *, products: int) -> float:
  """Half of the square of a causal mask; layouts [B, T, N, H]."""
  q_BTNH, k_BSKH = (v.aval.shape for v in eqn.invars[:2])
  B, T, N, H = q_BTNH
  return products * 2 * B * T * k_BSKH[1] * N * H / 2


def _kernel_times(eqn: Any) -> float:
  """Size of the grid, without the blocks that causal attention skips."""
  grid = eqn.params["grid_mapping"].grid
  times = math.prod(size for size in grid if isinstance(size, int))
  label = _label(eqn)
  return times * (_computed_share(eqn, label) if _FLASH in label else 1)


def _label(eqn: Any) -> str:
  return str(eqn.params.get("name") or eqn.params.get("name_and_src_info"))


def _computed_share(eqn: Any, label: str) -> float:
  """Share of the blocks that touch the triangle s ≤ t.

  The last two sizes of the grid count blocks of queries and of keys, in the
  pass for the keys' gradients blocks of keys and of queries. Where a shard has
  some of the queries and all keys, the share is the mean over the shards.
  """
  q, k = [
    v.aval.shape
    for v in eqn.invars
    if v.aval.ndim >= 3 and jnp.issubdtype(v.aval.dtype, jnp.floating)
  ][:2]
  rows, columns = eqn.params["grid_mapping"].grid[-2:]
  if "dkv" in label:
    rows, columns = columns, rows
  block_q, block_kv = q[-2] // rows, k[-2] // columns
  num_blocks_q = k[-2] // block_q
  computed = sum(
    math.ceil((block + 1) * block_q / block_kv) for block in range(num_blocks_q)
  )
  return computed / (num_blocks_q * columns)
