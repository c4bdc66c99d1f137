"""Paged attention against forwards without a cache, and JAX's reference.

The helpers lay sequences out as `BlockTables` describes: each has a table of
pages drawn at random from the pool, and is fed by chunks up to its prompt's
end, then in slots.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu import ragged_paged_attention as kernels
from jax.sharding import AxisType
from tiny_sampler import CONFIG, draw_params, one_device

from kimina_jax.infra.mesh import (
  ACTIVATIONS,
  AXES,
  MeshSettings,
  make_mesh,
  sharding,
)
from kimina_jax.model import kv_quantization, paged, paged_xla, ragged_kernel
from kimina_jax.model.paged import BlockTables, PagedCache
from kimina_jax.model.transformer import forward, unembed

TABLE = ACTIVATIONS["decode"]
TOLERANCE = 2e-5  # on normalised activations
NUM_SLOTS, NUM_CHUNKS = 3, 3
NUM_TOKENS, LONGEST = 120, 40


@pytest.fixture(autouse=True)
def on_one_device():
  """attend_paged runs on the mesh that is set."""
  with jax.set_mesh(one_device()):
    yield


# A page of one position, of several, and one larger than most sequences.
@pytest.mark.parametrize("page_size", [1, 4, 16])
def test_slots_and_chunks_equal_full_forwards(page_size):
  sequences = _sequences((21, 33, 5, 16, 1, 40), (13, 32, 4, 16, 0, 1))
  pool = _Pool(sequences, page_size, seed=page_size)
  got = pool.feed_all(draw_params(one_device()))
  _assert_equal(got, _full(sequences))


def test_the_order_of_feeding_does_not_matter():
  """Nor do the other sequences, the chunks or the pages."""
  sequences = _sequences((21, 33, 9), (13, 20, 4))
  for seed in range(3):
    pool = _Pool(sequences, 4, seed=seed)
    _assert_equal(pool.feed_all(draw_params(one_device())), _full(sequences))


@pytest.mark.parametrize("num_slots, num_chunks", [(5, 0), (0, 4), (1, 1)])
def test_slots_or_chunks_alone(num_slots, num_chunks):
  prompts = (0, 0, 0) if not num_chunks else (12, 8, 5)
  lengths = prompts if not num_slots else (14, 9, 11)
  sequences = _sequences(lengths, prompts)
  pool = _Pool(sequences, 4, seed=0, shape=(num_slots, num_chunks))
  _assert_equal(pool.feed_all(draw_params(one_device())), _full(sequences))


def test_unwritten_positions_change_nothing():
  """Finite garbage, however large; and NaN in pages that no table names."""
  sequences = _sequences((21, 9), (13, 4))
  params = draw_params(one_device())
  plain, dirty = (_Pool(sequences, 4, seed=0) for _ in range(2))
  pool = np.full(dirty.cache.kv_POYH.shape, 1e30, np.float32)
  named = {0, *np.concatenate(dirty.tables)}
  for layer in range(CONFIG.num_layers):
    unnamed = sorted(set(range(dirty.num_pages)) - named)
    pool[layer * dirty.num_pages + np.array(unnamed)] = np.nan
  dirty.cache = PagedCache(jnp.asarray(pool))
  got, want = (pool.feed_all(params) for pool in (dirty, plain))
  for mine, other in zip(got, want, strict=True):
    np.testing.assert_array_equal(mine, other)


def test_only_what_is_fed_is_stored():
  """A slot, an idle slot, a partial chunk, and an empty chunk."""
  (sequence,) = sequences = _sequences((15,), (14,))
  pool = _Pool(sequences, 4, seed=0)
  before = np.asarray(pool.cache.kv_POYH)
  places = [(0, position) for position in (12, 13)]
  pool.run(draw_params(one_device()), [(0, 14), None], [(0, 3), None])
  changed_PS = (np.asarray(pool.cache.kv_POYH) != before).any(axis=(2, 3))
  written = {
    (layer * pool.num_pages + pool.tables[0][position // 4], position % 4)
    for layer in range(CONFIG.num_layers)
    for _, position in [*places, (0, len(sequence.tokens) - 1)]
  }
  assert set(zip(*np.nonzero(changed_PS), strict=True)) == written


def test_pages_are_updated_in_place():
  """In the same buffer, with hardly any temporary memory."""
  sequences = _sequences((15,), (12,))
  pool = _Pool(sequences, 4, seed=0)
  params = draw_params(one_device())
  before = pool.cache.kv_POYH.unsafe_buffer_pointer()
  pool.run(params, [(0, 12)], [(0, 0), (0, 1), (0, 2)])
  assert pool.cache.kv_POYH.unsafe_buffer_pointer() == before
  shape = (CONFIG.num_layers * 8192, 4, 2 * CONFIG.num_kv_heads, 8)
  large = PagedCache(jax.ShapeDtypeStruct(shape, jnp.float32))
  row = pool.lay_out([(0, 12)], [(0, 0)])
  compiled = _runner(CONFIG).lower(params, *row, large).compile()
  memory, num_bytes = compiled.memory_analysis(), 4 * np.prod(shape)
  assert memory.alias_size_in_bytes >= num_bytes
  assert memory.temp_size_in_bytes < num_bytes / 20


def test_replicas_and_tensor_equal_one_device():
  """Four replicas of two devices, each with its own sequences and pages."""
  mesh = make_mesh(MeshSettings(data=2, fsdp=2, context=1, tensor=2))
  parts = [
    _Pool(_sequences((15, 13 + e), (8, 7), seed=e), 4, seed=e, shape=(2, 3))
    for e in range(4)
  ]
  feeds = [[(0, 8), None], [(0, 0), (0, 1), (1, 0)]], [[(0, 9), (1, 4)], []]
  with jax.set_mesh(mesh):
    params = draw_params(mesh)
    cache = jax.device_put(
      PagedCache(np.concatenate([part.cache.kv_POYH for part in parts])),
      sharding(mesh, "POYH", TABLE),
    )
    outs = []
    for feed in feeds:
      rows = [part.lay_out(*feed) for part in parts]
      row = jax.tree.map(lambda *x: np.concatenate(x), *rows)
      hidden, cache = _runner(CONFIG)(params, *row, cache)
      outs.append(np.asarray(hidden))
  assert cache.kv_POYH.sharding.is_equivalent_to(
    sharding(mesh, "POYH", TABLE), 4
  )
  kv_RPOYH = np.asarray(cache.kv_POYH).reshape(4, -1, *cache.kv_POYH.shape[1:])
  for e, part in enumerate(parts):
    for feed, out in zip(feeds, outs, strict=True):
      want, used = part.run(draw_params(one_device()), *feed)
      np.testing.assert_allclose(out[e][used], want[used], atol=TOLERANCE)
    np.testing.assert_allclose(kv_RPOYH[e], part.cache.kv_POYH, atol=TOLERANCE)


def test_two_rows_on_one_device_are_an_error():
  """A row is a replica; the second would be dropped silently."""
  pool = _Pool(_sequences((4,), (4,)), 4, seed=0)
  row = pool.lay_out([None], [(0, 0)])
  twice = jax.tree.map(lambda x: np.concatenate((x, x)), row)
  with pytest.raises(ValueError, match="2 rows; .* one for each replica"):
    _runner(CONFIG)(draw_params(one_device()), *twice, pool.cache)


def test_pages_take_no_segments():
  ones = np.ones((1, 1), np.int32)
  pool = _Pool(_sequences((4,), (4,)), 4, seed=0)
  with pytest.raises(ValueError, match="segments"):
    forward(
      draw_params(one_device()),
      CONFIG,
      ones,
      ones,
      segments_BT=ones,
      cache=pool.cache,
      block_tables=BlockTables(ones[None], ones[None, :0]),
    )


# Largest error of a log-probability, in nats; about twice what is found.
@pytest.mark.parametrize(
  "dtype, bound",
  [("bfloat16", 0.005), ("int8", 0.025), ("float8_e4m3fn", 0.06)],
)
@pytest.mark.parametrize("bias", [0, 20])
def test_quantized_pages_change_log_probs_by_little(dtype, bound, bias):
  params = _biased(bias)
  sequences = _sequences((21, 33, 40), (13, 20, 1))
  pool = _Pool(sequences, 4, seed=0, dtype=dtype, params=params)
  assert pool.cache.kv_POYH.dtype == dtype
  got, want = pool.feed_all(params), _full(sequences, params)
  errors = [
    np.abs(_log_probs(params, mine) - _log_probs(params, other)).max()
    for mine, other in zip(got, want, strict=True)
  ]
  assert 0 < max(errors) < bound


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn"])
@pytest.mark.parametrize("bias", [0, 20])
def test_quantized_pages_are_rounded_and_not_clipped(dtype, bias):
  """Within the precision of the dtype: keys and values of the first layer."""
  params = _biased(bias)
  sequences = _sequences((21, 33, 40), (13, 20, 1))
  exact, rough = (
    _Pool(sequences, 4, seed=0, dtype=name, params=params)
    for name in ("float32", dtype)
  )
  for pool in (exact, rough):
    pool.feed_all(params)
  used = np.concatenate([table[:5] for table in exact.tables])
  want_POYH = np.asarray(exact.cache.kv_POYH)[used]
  stored_POYH = np.asarray(rough.cache.kv_POYH)[used].astype(np.float32)
  scale_YH = np.asarray(rough.cache.scale_LYH)[0]
  largest = {"int8": 127, "float8_e4m3fn": 448}[dtype]
  ratio_YH = np.abs(want_POYH).max(axis=(0, 1)) / (scale_YH * largest)
  assert ratio_YH.max() < 1
  # Of a range of eight deviations, these few tokens use two or so.
  assert np.median(ratio_YH) > {"int8": 0.2, "float8_e4m3fn": 0.05}[dtype]
  error_POYH = np.abs(stored_POYH * scale_YH - want_POYH)
  if dtype == "int8":
    bound_POYH = np.broadcast_to(scale_YH / 2, error_POYH.shape)
  else:  # three bits after the first one; the least number is 2⁻⁹
    bound_POYH = np.maximum(np.abs(want_POYH) / 16, scale_YH / 1024)
  assert (error_POYH <= bound_POYH + 1e-5).all()


def test_only_quantized_dtypes_have_scales():
  params = draw_params(one_device())
  for dtype in kv_quantization.CACHE_DTYPES:
    scale = kv_quantization.kv_scales(params, CONFIG, dtype)
    assert (scale is not None) == kv_quantization.is_quantized(dtype)
    if scale is not None:
      assert scale.shape == (2, 4, 8) and scale.dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn"])
def test_weights_of_zero_have_scales(dtype):
  params = jax.tree.map(jnp.zeros_like, draw_params(one_device()))
  scale = np.asarray(kv_quantization.kv_scales(params, CONFIG, dtype))
  assert (scale > 0).all()


def test_copies_are_made_one_after_the_other():
  """On two replicas, where a copy may be the source of the next."""
  mesh = make_mesh(
    MeshSettings(data=2, fsdp=1, context=1, tensor=2), devices=jax.devices()[:4]
  )
  num_pages, rng = 6, np.random.default_rng(0)
  kv_RLPOYH = rng.standard_normal((2, 2, num_pages, 4, 4, 8), np.float32)
  copies_RQ2 = rng.integers(0, num_pages, (2, 7, 2)).astype(np.int32)
  num_copies_R = np.array([5, 0], np.int32)
  want = kv_RLPOYH.copy()
  for source, target in copies_RQ2[0, :5]:
    want[0, :, target] = want[0, :, source]
  copy = jax.jit(
    functools.partial(paged.copy_pages, config=CONFIG), donate_argnums=0
  )
  with jax.set_mesh(mesh):
    cache = jax.device_put(
      PagedCache(kv_RLPOYH.reshape(-1, 4, 4, 8)),
      sharding(mesh, "POYH", TABLE),
    )
    before = _pointers(cache)
    cache = copy(cache, copies_RQ2, num_copies_R)
  assert _pointers(cache) == before
  np.testing.assert_array_equal(cache.kv_POYH, want.reshape(-1, 4, 4, 8))


@dataclasses.dataclass(frozen=True)
class _Operands:
  """Queries of three slots, one of them idle, and of three chunks.

  Two chunks belong to one prompt, the third is the first of another.
  """

  q_TNH: np.ndarray
  kv_POYH: np.ndarray
  slots_BJ: np.ndarray
  chunks_CJ: np.ndarray
  slot_positions_B: np.ndarray
  first_C: np.ndarray

  @property
  def used_T(self) -> np.ndarray:
    page_size = self.kv_POYH.shape[1]
    idle_B = self.slot_positions_B < 0
    return np.append(~idle_B, np.ones(len(self.first_C) * page_size, bool))


def _operands(dtype: str, *, H: int = 16, S: int = 4) -> _Operands:
  rng, K, N = np.random.default_rng(H), 2, 6
  tables_BJ = rng.permutation(24).astype(np.int32).reshape(6, 4)
  return _Operands(
    rng.standard_normal((3 + 3 * S, N, H)).astype(dtype),
    rng.standard_normal((24, S, 2 * K, H)).astype(dtype),
    slots_BJ=tables_BJ[:3],
    chunks_CJ=tables_BJ[[3, 3, 4]],
    slot_positions_B=np.array([14, -1, 4], np.int32),
    first_C=np.array([8, 4, 0], np.int32),
  )


def _plain(x: _Operands, *, pages_at_once: int, layer: int = 0) -> np.ndarray:
  """The pool has as many pages before the layer's as it has layers before."""
  num_pages, page_size = x.kv_POYH.shape[:2]
  other_POYH = np.ones((layer * num_pages, *x.kv_POYH.shape[1:]))
  kv_POYH = np.concatenate((other_POYH.astype(x.kv_POYH.dtype), x.kv_POYH))
  positions_S = np.arange(page_size, dtype=np.int32)
  page_readers = paged_xla.group_pages(
    x.slots_BJ,
    x.slot_positions_B,
    page_size=page_size,
    pages_at_once=pages_at_once,
  )
  out_TNH = jax.jit(paged_xla.attend_pages)(
    x.q_TNH,
    kv_POYH,
    page_readers=page_readers,
    chunks_CJ=x.chunks_CJ,
    chunk_positions_CO=x.first_C[:, None] + positions_S[None],
    first_page=jnp.int32(layer * num_pages),
  )
  assert out_TNH.dtype == x.q_TNH.dtype
  return np.asarray(out_TNH, np.float32)


def _by_jax(q_TNH, kv_POYH, *ints, sm_scale: float) -> jax.Array:
  """JAX's own reference: the last queries of sequences that are so long."""
  ints = [np.asarray(x) for x in ints]

  @jax.jit
  def run(q_TNH, kv_POYH):
    return kernels.ref_ragged_paged_attention(
      q_TNH, kv_POYH, *ints, sm_scale=sm_scale
    )

  return run(q_TNH, kv_POYH)


@functools.cache
def _reference(dtype: str, H: int) -> np.ndarray:
  x = _operands(dtype, H=H)
  page_size = x.kv_POYH.shape[1]
  lens_B = [1] * len(x.slots_BJ) + [page_size] * len(x.chunks_CJ)
  out_TNH = _by_jax(
    x.q_TNH,
    x.kv_POYH,
    np.append(np.maximum(x.slot_positions_B, 0) + 1, x.first_C + page_size),
    np.concatenate((x.slots_BJ, x.chunks_CJ)),
    np.cumsum([0, *lens_B], dtype=np.int32),
    np.array([len(lens_B)], np.int32),
    sm_scale=x.q_TNH.shape[-1] ** -0.5,
  )
  return np.asarray(out_TNH, np.float32)


@pytest.mark.parametrize(
  "dtype, pages_at_once, layer, tolerance",
  [
    ("float32", 1, 0, 1e-5),
    ("float32", 5, 2, 1e-5),
    ("float32", 99, 1, 1e-5),
    ("bfloat16", 3, 0, 0.02),
  ],
)
def test_plain_attention_equals_the_reference(
  dtype, pages_at_once, layer, tolerance
):
  x = _operands(dtype)
  got = _plain(x, pages_at_once=pages_at_once, layer=layer)
  want = _reference(dtype, 16)
  np.testing.assert_allclose(got[x.used_T], want[x.used_T], atol=tolerance)
  assert (got[~x.used_T] == 0).all()


def test_large_scores_do_not_overflow():
  x = _operands("bfloat16")
  huge = dataclasses.replace(x, q_TNH=x.q_TNH * 100, kv_POYH=x.kv_POYH * 100)
  assert np.isfinite(_plain(huge, pages_at_once=2)).all()


def test_the_kernel_gets_the_same_sequences(monkeypatch):
  """JAX's reference in the place of its kernel, which needs a TPU."""
  x = _operands("bfloat16", H=128)

  def kernel(*operands, sm_scale, **blocks):
    assert blocks["num_kv_pages_per_block"] >= 1
    assert blocks["num_queries_per_block"] >= 1
    return _by_jax(*operands, sm_scale=sm_scale)

  monkeypatch.setattr(kernels, "ragged_paged_attention", kernel)
  got = ragged_kernel.attend_ragged(
    jnp.asarray(x.q_TNH),
    jnp.asarray(x.kv_POYH),
    slots_BJ=x.slots_BJ,
    chunks_CJ=x.chunks_CJ,
    slot_positions_B=x.slot_positions_B,
    chunk_positions_C=x.first_C,
  )
  got, want = np.asarray(got, np.float32), _reference("bfloat16", 128)
  np.testing.assert_allclose(got[x.used_T], want[x.used_T], atol=1e-5)


@pytest.mark.parametrize(
  "q_dtype, kv_dtype, K, H, words",
  [
    ("bfloat16", "bfloat16", 1, 128, ""),
    ("bfloat16", "int8", 2, 256, ""),
    ("bfloat16", "bfloat16", 2, 64, "head_dim 64 is no multiple of 128"),
    ("bfloat16", "int8", 1, 128, "1 kv heads on a device do not fill a word"),
    ("float32", "bfloat16", 2, 128, "queries are float32, not bfloat16"),
  ],
)
def test_unsupported_shapes_of_the_kernel(q_dtype, kv_dtype, K, H, words):
  q_TNH = jax.ShapeDtypeStruct((5, 4, H), q_dtype)
  kv_POYH = jax.ShapeDtypeStruct((6, 16, 2 * K, H), kv_dtype)
  fault = ragged_kernel.unsupported_reason(q_TNH, kv_POYH)
  assert words in fault and bool(words) == bool(fault)


@pytest.mark.parametrize(
  "platform, attention, head_dim, count",
  [
    ("tpu", "auto", 128, 1),
    ("tpu", "auto", 64, 0),
    ("tpu", "xla", 128, 0),
    ("cpu", "auto", 128, 0),
  ],
)
def test_the_kernel_follows_the_platform_of_the_mesh(
  platform, attention, head_dim, count
):
  config = dataclasses.replace(
    CONFIG,
    head_dim=head_dim,
    attention=attention,
    compute_dtype="bfloat16",
  )
  shape = jax.ShapeDtypeStruct
  pages = shape((2 * 8, 16, 4, head_dim), jnp.bfloat16)
  ints = shape((1, 3), jnp.int32)
  block_tables = BlockTables(
    shape((1, 3, 2), jnp.int32), shape((1, 0, 2), jnp.int32)
  )
  device = jax.sharding.AbstractDevice(
    device_kind="any", num_cores=1, platform=platform
  )
  mesh = jax.sharding.AbstractMesh(
    (1, 1, 1, 1), AXES, (AxisType.Auto,) * 4, abstract_device=device
  )
  heads = [shape((1, 3, n, head_dim), jnp.bfloat16) for n in (4, 2, 2)]

  def attend(q, k, v, kv, positions, block_tables):
    cache = PagedCache(kv)
    metadata = paged.make_metadata(
      block_tables, positions, cache=cache, table=TABLE
    )
    return paged.attend_paged(
      *(q, k, v, cache),
      layer=jnp.int32(1),
      metadata=metadata,
      config=config,
      table=TABLE,
    )

  with jax.sharding.use_abstract_mesh(mesh):
    jaxpr = jax.make_jaxpr(attend)(*heads, pages, ints, block_tables)
  assert str(jaxpr).count("pallas_call[") == count


@dataclasses.dataclass(frozen=True)
class _Sequence:
  """The first `num_prompt` tokens are fed by chunks, the others in slots."""

  tokens: np.ndarray
  num_prompt: int


def _sequences(lengths, prompts, *, seed: int = 0) -> list[_Sequence]:
  rng = np.random.default_rng(seed)
  return [
    _Sequence(rng.integers(0, CONFIG.vocab_size, length), num_prompt)
    for length, num_prompt in zip(lengths, prompts, strict=True)
  ]


class _Pool:
  """Pages of some sequences, and the outputs of feeding them."""

  def __init__(
    self,
    sequences: list[_Sequence],
    page_size: int,
    *,
    seed: int,
    shape: tuple[int, int] = (NUM_SLOTS, NUM_CHUNKS),
    dtype: str = "auto",
    params=None,
  ):
    self.sequences, self.page_size, self.shape = sequences, page_size, shape
    self.rng = np.random.default_rng(seed)
    counts = [-(-len(s.tokens) // page_size) for s in sequences]
    # The same for all tests, so that they share a compiled forward.
    self.num_pages = 8 + NUM_TOKENS // page_size
    self.table_len = -(-LONGEST // page_size)
    # Page 0 belongs to no sequence: it fills the tables.
    order = 1 + self.rng.permutation(self.num_pages - 1)
    ends = np.cumsum(counts)
    self.tables = np.split(order[: ends[-1]], ends[:-1])
    self.cache = paged.init_pages(
      CONFIG,
      num_pages=self.num_pages,
      page_size=page_size,
      dtype=dtype,
      scale_LYH=params and kv_quantization.kv_scales(params, CONFIG, dtype),
    )
    self.outs = [
      np.full((len(s.tokens), CONFIG.model_dim), np.nan) for s in sequences
    ]

  def feed_all(self, params) -> list[np.ndarray]:
    """Feeds all sequences, in random order."""
    size, fed = self.page_size, [0] * len(self.sequences)
    while sum(fed) < sum(len(s.tokens) for s in self.sequences):
      slots, chunks = [], []
      # A sequence in a slot was fed its prompt in earlier forwards.
      for i in self.rng.permutation(len(fed)):
        tokens, num_prompt = (
          self.sequences[i].tokens,
          self.sequences[i].num_prompt,
        )
        if num_prompt <= fed[i] < len(tokens) and len(slots) < self.shape[0]:
          slots.append((i, fed[i]) if self.rng.random() < 0.8 else None)
          fed[i] += slots[-1] is not None
      for i in self.rng.permutation(len(fed)):
        while fed[i] < self.sequences[i].num_prompt:
          if len(chunks) == self.shape[1] or self.rng.random() < 0.2:
            break
          chunks.append((i, fed[i] // size))
          fed[i] = min(fed[i] + size, self.sequences[i].num_prompt)
      self.rng.shuffle(chunks)
      self.run(params, slots, chunks)
    return self.outs

  def run(self, params, slots, chunks) -> tuple[np.ndarray, np.ndarray]:
    """One forward: its outputs, and which of them count."""
    row = self.lay_out(slots, chunks)
    hidden_BTD, self.cache = _runner(CONFIG)(params, *row, self.cache)
    hidden_TD = np.asarray(hidden_BTD[0])
    used_T = row[1][0] >= 0
    owners = [slot[0] if slot else 0 for slot in slots]
    owners += [0] * (self.shape[0] - len(slots))
    owners += np.repeat(
      [i for i, _ in filter(None, chunks)], self.page_size
    ).tolist()
    for t in np.flatnonzero(used_T):
      self.outs[owners[t]][row[1][0, t]] = hidden_TD[t]
    return hidden_TD, used_T

  def lay_out(self, slots, chunks) -> tuple:
    """Tokens, positions and pages of one row; padded."""
    (num_slots, num_chunks), size = self.shape, self.page_size
    tokens_T = np.zeros(num_slots + num_chunks * size, np.int32)
    positions_T = np.full_like(tokens_T, -1)
    tables_BJ = np.zeros((num_slots + num_chunks, self.table_len), np.int32)
    for at, (i, position) in _numbered(slots):
      tokens_T[at], positions_T[at] = (
        self.sequences[i].tokens[position],
        position,
      )
      tables_BJ[at, : len(self.tables[i])] = self.tables[i]
    for place, (i, page) in _numbered(chunks):
      end = min((page + 1) * size, self.sequences[i].num_prompt)
      places = np.arange(page * size, end)
      at = num_slots + place * size + np.arange(len(places))
      tokens_T[at], positions_T[at] = self.sequences[i].tokens[places], places
      table = self.tables[i]
      tables_BJ[num_slots + place, : len(table)] = table
    block_tables = BlockTables(
      tables_BJ[None, :num_slots], tables_BJ[None, num_slots:]
    )
    return tokens_T[None], positions_T[None], block_tables


def _numbered(feeds):
  return [(place, feed) for place, feed in enumerate(feeds) if feed]


@functools.cache
def _runner(config):
  @functools.partial(jax.jit, donate_argnums=4)
  def run(params, tokens_BT, positions_BT, block_tables, cache):
    return forward(
      params,
      config,
      tokens_BT,
      positions_BT,
      cache=cache,
      block_tables=block_tables,
      layout="decode",
    )

  return run


@functools.cache
def _full_runner():
  @jax.jit
  def run(params, tokens_BT, positions_BT):
    return forward(params, CONFIG, tokens_BT, positions_BT)[0]

  return run


def _full(sequences, params=None) -> list[np.ndarray]:
  """Hidden states by one forward without a cache."""
  params = draw_params(one_device()) if params is None else params
  tokens_BT = np.zeros((6, LONGEST), np.int32)
  for b, sequence in enumerate(sequences):
    tokens_BT[b, : len(sequence.tokens)] = sequence.tokens
  positions_BT = np.tile(np.arange(LONGEST, dtype=np.int32), (6, 1))
  hidden_BTD = np.asarray(_full_runner()(params, tokens_BT, positions_BT))
  return [hidden_BTD[b, : len(s.tokens)] for b, s in enumerate(sequences)]


def _log_probs(params, hidden_TD) -> np.ndarray:
  logits_TV = unembed(params, CONFIG, jnp.asarray(hidden_TD, jnp.float32))
  return np.asarray(jax.nn.log_softmax(logits_TV))


def _biased(size: float):
  """Weights whose keys have two outlier channels, as Qwen's have."""
  params = jax.tree.map(lambda x: x, draw_params(one_device()))
  attention = params["layers"]["attention"]
  bias_LKH = attention["k_bias_KH"]
  attention["k_bias_KH"] = bias_LKH.at[:, :, 1].add(size).at[:, 0, 3].add(-size)
  return params


def _pointers(cache: PagedCache) -> list[int]:
  shards = cache.kv_POYH.addressable_shards
  return [shard.data.unsafe_buffer_pointer() for shard in shards]


def _assert_equal(got, want) -> None:
  for mine, other in zip(got, want, strict=True):
    np.testing.assert_allclose(mine, other, atol=TOLERANCE)
