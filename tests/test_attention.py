"""Attention against loops over rows, queries, heads and keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from kimina_jax.infra.mesh import ACTIVATIONS, AXES, MeshSettings, make_mesh
from kimina_jax.model import attention
from kimina_jax.types import UsageError

TABLE = ACTIVATIONS["train"]


@pytest.fixture(autouse=True)
def one_device():
  """packed_attention pins layouts in the mesh that is set."""
  with jax.set_mesh(_mesh(1, 1, 1, 1)):
    yield


@pytest.mark.parametrize("num_heads", [(6, 2), (3, 3)])
def test_packed_equals_loops(num_heads):
  segments = np.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 3, 3]])
  q, k, v = _draw(2, 6, *num_heads)
  got = _attend(q, k, v, jnp.array(segments))

  def visible(b, t, s):
    return s <= t and segments[b, t] == segments[b, s]

  np.testing.assert_allclose(got, _loops(q, k, v, visible), atol=1e-5)


def test_large_scores_do_not_overflow_in_bfloat16():
  q, k, v = (x.astype(jnp.bfloat16) * 100 for x in _draw(1, 4, 2, 1))
  got = _attend(q, k, v, jnp.ones((1, 4), jnp.int32))
  assert got.dtype == jnp.bfloat16
  assert np.isfinite(np.asarray(got, np.float32)).all()


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 2, 2, 2), (2, 1, 4, 1)])
def test_splash_equals_plain_attention(shape):
  """Values and gradients of packed rows, in Pallas's interpreter."""
  q, k, v = _draw(2, 512, 4, 2, H=64)
  lengths = np.array([[100, 300, 12, 100], [1, 130, 369, 12]])
  names = np.tile([1, 2, 3, 0], (2, 1))
  segments = np.stack(
    [np.repeat(*row) for row in zip(names, lengths, strict=True)]
  )
  weight = np.cos(np.arange(q.size)).reshape(q.shape)

  def loss(kernel, q, k, v):
    out = _bind(kernel)(q, k, v, jnp.array(segments))
    return jnp.sum(out * weight), out

  def run(kernel):
    fun = functools.partial(loss, kernel)
    grad = jax.value_and_grad(fun, argnums=(0, 1, 2), has_aux=True)
    return jax.jit(grad)(q, k, v)

  want = run("xla")
  with jax.set_mesh(_mesh(*shape)):
    got = run("splash")
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), got, want
  )


@pytest.mark.parametrize(
  "kernel, shapes, words",
  [
    ("splash", {"T": 500}, ("splash", "128 positions", "500")),
    ("splash", {"H": 32}, ("head dims", "32")),
    ("cudnn", {}, ("cudnn", "GPU", "cpu")),
  ],
)
def test_a_kernel_that_cannot_run_says_why(kernel, shapes, words):
  shapes = {"T": 512, "H": 64} | shapes
  q, k, v = _shapes(**shapes)
  segments = jnp.ones((2, shapes["T"]), jnp.int32)
  with pytest.raises(UsageError) as error:
    jax.eval_shape(_bind(kernel), q, k, v, segments)
  for word in (*words, "model.attention", "auto"):
    assert word in str(error.value)


def test_splash_wants_whole_blocks_on_every_device():
  q, k, v = _shapes(T=512, H=64)
  segments = jnp.ones((2, 512), jnp.int32)
  with jax.set_mesh(_mesh(1, 1, 8, 1)):
    with pytest.raises(UsageError, match="not 64"):
      jax.eval_shape(_bind("splash"), q, k, v, segments)


@pytest.mark.parametrize(
  "platform, length, kernels",
  [("tpu", 512, 1), ("tpu", 500, 0), ("cpu", 512, 0)],
)
def test_auto_follows_the_platform_of_the_mesh(platform, length, kernels):
  """The mesh need not be of this machine; XLA is the fallback."""
  q, k, v = _shapes(T=length, H=64)
  segments = jnp.ones((2, length), jnp.int32)
  device = jax.sharding.AbstractDevice(
    device_kind="any", num_cores=1, platform=platform
  )
  mesh = jax.sharding.AbstractMesh(
    (1, 1, 1, 1), AXES, (AxisType.Auto,) * 4, abstract_device=device
  )
  with jax.sharding.use_abstract_mesh(mesh):
    jaxpr = jax.make_jaxpr(_bind("auto"))(q, k, v, segments)
  assert str(jaxpr).count("pallas_call[") == kernels


def _bind(kernel):
  attend = attention.packed_attention
  return functools.partial(attend, kernel=kernel, table=TABLE)


def _shapes(*, T, H):
  return [
    jax.ShapeDtypeStruct((2, T, heads, H), jnp.float32) for heads in (4, 2, 2)
  ]


def _attend(q, k, v, segments):
  return jax.jit(_bind("auto"))(q, k, v, segments)


def _mesh(*sizes):
  devices = jax.devices()[: int(np.prod(sizes))]
  return make_mesh(
    MeshSettings(**dict(zip(AXES, sizes, strict=True))), devices=devices
  )


def _draw(B, T, N, K, H=8):
  keys = jax.random.split(jax.random.key(N), 3)
  shapes = ((B, T, N, H), (B, T, K, H), (B, T, K, H))
  return [
    np.asarray(jax.random.normal(key, shape))
    for key, shape in zip(keys, shapes, strict=True)
  ]


def _loops(q, k, v, visible) -> np.ndarray:
  """Textbook attention in float64, one query and head at a time."""
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  B, T, N, H = q.shape
  group = N // k.shape[2]
  out = np.zeros_like(q)
  for b, t, n in np.ndindex(B, T, N):
    keys = [s for s in range(k.shape[1]) if visible(b, t, s)]
    scores = [q[b, t, n] @ k[b, s, n // group] / np.sqrt(H) for s in keys]
    weights = np.exp(scores) / np.exp(scores).sum()
    for weight, s in zip(weights, keys, strict=True):
      out[b, t, n] += weight * v[b, s, n // group]
  return out
