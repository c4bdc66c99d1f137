"""FLOPs and collectives of real programs against counts by hand."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_kernel as kernels,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_mask as masks,
)
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from kimina_jax.infra import config_file
from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.model.config import ModelSettings, model_config
from kimina_jax.rollouts.device_state import blank_inputs
from kimina_jax.rollouts.engine import Engine
from kimina_jax.rollouts.settings import RolloutSettings
from kimina_jax.scale import cases, flops, hlo, study, traffic
from kimina_jax.scale.programs import make_case_programs
from tests.tiny_sampler import LetterTokenizer

OPTIONS = study.StudyOptions("", 1, 300.0, False, False)
B, T, D, F, L = 4, 32, 16, 48, 3


def abstract(*shape, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(shape, dtype)


def scanned(w_LDF, x_BTD):
  """L layers of x ← x + (x W) Wᵀ, recomputed in backward."""

  @jax.checkpoint
  def layer(x_BTD, w_DF):
    return x_BTD + jnp.sin(x_BTD @ w_DF) @ w_DF.T

  x_BTD, _ = jax.lax.scan(lambda x, w: (layer(x, w), None), x_BTD, w_LDF)
  return jnp.sum(x_BTD)


def test_flops_of_a_scan():
  jaxpr = jax.jit(scanned).trace(abstract(L, D, F), abstract(B, T, D)).jaxpr
  assert flops.count_flops(jaxpr) == L * 2 * (2 * B * T * D * F)


def test_flops_of_gradients_with_remat():
  """Backward is twice forward; of the two products one is computed again."""
  gradient = jax.jit(jax.grad(scanned, argnums=(0, 1)))
  jaxpr = gradient.trace(abstract(L, D, F), abstract(B, T, D)).jaxpr
  assert flops.count_flops(jaxpr) == L * (2 + 4 + 1) * (2 * B * T * D * F)


def test_flops_of_convolution_while_and_cond():
  def program(x_BTD, w_3DF):
    y_BTF = jax.lax.conv_general_dilated(
      x_BTD, w_3DF, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    with jax.named_scope("products"):
      _, y_BTF = jax.lax.while_loop(
        lambda state: jnp.all(state[1] < 0),
        lambda state: (state[0] + 1, y_BTF @ (w_3DF[0].T @ w_3DF[0])),
        (0, y_BTF),
      )
    return jax.lax.cond(
      y_BTF[0, 0, 0] > 0,
      lambda: jnp.sum(y_BTF),
      lambda: y_BTF[0, 0] @ y_BTF[0, 1],
    )

  jaxpr = jax.jit(program).trace(abstract(B, T, D), abstract(3, D, F)).jaxpr
  body = 2 * F * D * F + 2 * B * T * F * F
  expected = 2 * B * T * 3 * D * F + 5 * body + 2 * F
  assert flops.count_flops(jaxpr, trip_counts={"products": 5}) == expected


@pytest.mark.parametrize("axes", [("a",), ("a", "b")])
def test_flops_of_shards(axes):
  """Each shard multiplies its rows with all columns."""
  mesh = jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
  product = jax.shard_map(
    lambda x, y: x @ y, mesh=mesh, in_specs=(P(axes), P()), out_specs=P(axes)
  )
  jaxpr = jax.jit(product).trace(abstract(8, D), abstract(D, F)).jaxpr
  # Over `b` the work is done twice if the rows are not split over it.
  times = 4 if axes == ("a",) else 1
  assert flops.count_flops(jaxpr) == 2 * 8 * D * F * (2 if times == 4 else 1)


@pytest.mark.parametrize(("block_q", "block_kv"), [(128, 256), (256, 128)])
def test_flops_of_flash_attention(block_q, block_kv):
  """Forward, then four products for k and v and three for q, by blocks."""
  T, N, K, H = 1024, 4, 2, 64
  kernel = kernels.make_splash_mha(
    masks.MultiHeadMask([masks.CausalMask((T, T))]),
    block_sizes=kernels.BlockSizes(
      *(block_q, block_kv, 128, block_q, block_kv, 128, block_q, block_kv)
    ),
    head_shards=1,
    q_seq_shards=1,
  )

  def attend(q_BNTH, k_BKTH, v_BKTH, segments_BT):
    ids = kernels.SegmentIds(segments_BT, segments_BT)
    return jnp.sum(jax.vmap(kernel)(q_BNTH, k_BKTH, v_BKTH, ids))

  jaxpr = (
    jax.jit(jax.grad(attend, argnums=(0, 1, 2)))
    .trace(
      *(abstract(B, heads, T, H) for heads in (N, K, K)),
      abstract(B, T, dtype=jnp.int32),
    )
    .jaxpr
  )
  visible = np.tril(np.ones((T, T), bool))
  blocks = visible.reshape(T // block_q, block_q, T // block_kv, block_kv)
  area = blocks.any(axis=(1, 3)).sum() * block_q * block_kv
  expected = 9 * 2 * B * N * H * area
  assert flops.count_flops(jaxpr) == pytest.approx(expected, rel=1e-3)


def make_case(program, mesh, *, remat, topology="cpu:8", **model):
  config = config_file.load_config("debug", [("model.remat", remat)])
  config.model.update(model)
  (case,) = cases.plan_cases(
    {"debug": config},
    [topology],
    meshes=[mesh],
    programs=[program],
    sequence_lens=[128],
    num_rows=8,
  )
  return case


@pytest.mark.parametrize(
  ("program", "remat", "passes", "products"),
  [
    ("logprobs", "none", 1, 2),
    ("update", "none", 3, 7),
    ("update", "full", 4, 9),
  ],
)
def test_flops_of_the_model(program, remat, passes, products):
  """Full remat computes a layer again, all but its last product.

  Logits and the scores of plain attention are always computed again, and 128
  positions are one block, whose whole square is computed: forward has two
  products of attention, backward four and the scores.
  """
  case = make_case(program, "fsdp=4,tensor=2", remat=remat)
  plan = make_case_programs(case, jax.devices())
  part = plan.programs[0]
  with jax.set_mesh(plan.mesh):
    counted = flops.count_flops(part.function.trace(*part.args).jaxpr)
  model = model_config(ModelSettings(**case.sections["model"]))
  V, D, L, N, K, H, F = (model.sizes[dim] for dim in "VDLNKHF")
  tokens, T = 8 * 128, 128
  weights = 2 * D * N * H + 2 * D * K * H + 3 * D * F
  layer = passes * 2 * tokens * weights + products * 2 * tokens * T * N * H
  if remat == "full":
    layer -= 2 * tokens * D * F
  logits = 2 * tokens * V * D * (1 if program == "logprobs" else 4)
  assert counted == pytest.approx(L * layer + logits, rel=1e-3)
  # What the model needs counts half the square, and nothing twice.
  needed = L * (2 * tokens * weights + 2 * tokens * (T + 1) * N * H)
  needed += 2 * tokens * V * D
  assert plan.model_flops == needed * (1 if program == "logprobs" else 3)


def test_collectives_of_a_compiled_scan():
  """Forward gathers each layer over `fsdp`, once per layer; rows add up."""
  mesh = jax.make_mesh(
    (4, 2), ("fsdp", "tensor"), axis_types=(AxisType.Auto,) * 2
  )
  where = NamedSharding(mesh, P(None, "fsdp", "tensor"))

  def program(w_LDF, x_BD):
    def layer(x_BD, w_DF):
      w_DF = jax.lax.with_sharding_constraint(
        w_DF, NamedSharding(mesh, P(None, "tensor"))
      )
      return jnp.sin(x_BD @ w_DF) @ w_DF.T, None

    return jax.lax.scan(layer, x_BD, w_LDF)[0]

  rows = NamedSharding(mesh, P("fsdp"))
  compiled = (
    jax.jit(program, in_shardings=(where, rows), out_shardings=rows)
    .lower(abstract(L, D, F), abstract(8, D))
    .compile()
  )
  module = hlo.parse_module(compiled.as_text())
  found = traffic.find_collectives(module, {"fsdp": 4, "tensor": 2})
  assert traffic.bytes_per_axis(found) == {
    "fsdp": {"all-gather": L * D * (F // 2) * 4},
    "tensor": {"all-reduce": L * (8 // 4) * D * 4},
  }


def test_flops_of_loops_in_loops():
  """A matrix product in an open-ended loop in an open-ended loop."""

  def often(x_DD):
    def halve(y_DD):
      with jax.named_scope("inner"):
        return jax.lax.while_loop(
          lambda z: jnp.all(z > 1), lambda z: z @ x_DD, y_DD
        )

    with jax.named_scope("outer"):
      return jax.lax.while_loop(lambda y: jnp.all(y > 0), halve, x_DD)

  jaxpr = jax.jit(often).trace(abstract(D, D)).jaxpr
  once = 2 * D * D * D
  trip_counts = {"outer": 3, "inner": 7}
  assert flops.count_flops(jaxpr, trip_counts=trip_counts) == 3 * 7 * once
  assert flops.count_flops(jaxpr, trip_counts={"outer": 3}) == 3 * once


@pytest.mark.parametrize("program", ["decode", "prefill"])
def test_loops_of_a_dispatch_are_found_by_name(program):
  """In the jaxpr and in the compiled program; these run on CPU, by XLA."""
  plan = make_case_programs(make_sampler_case(program, "cpu:8"), jax.devices())
  part = plan.programs[0]
  with jax.set_mesh(plan.mesh):
    traced = part.function.trace(*part.args, **part.options)
  module = hlo.parse_module(traced.lower().compile().as_text())
  loops = [
    line.scope
    for lines in module.computations.values()
    for line in lines
    if line.op == "while" and hlo.trip_count(module, line) is None
  ]
  absent = {"decode": "chunk_pages", "prefill": "decode_steps"}[program]
  assert set(loops) == set(part.trip_counts) - {absent}
  assert set(map(loops.count, loops)) == {1}


def make_sampler_case(program, topology, **rollouts):
  overrides = {"tensor": 2, "chunk_tokens": 128, "page_size": 32, **rollouts}
  config = config_file.load_config(
    "debug", [(f"rollouts.{k}", str(v)) for k, v in overrides.items()]
  )
  (case,) = cases.plan_cases(
    {"debug": config},
    [topology],
    meshes=["config"],
    programs=[program],
    sequence_lens=[256],
    num_rows=16,
  )
  return case


@pytest.mark.parametrize("program", ["decode", "prefill"])
def test_sampler_rows_are_what_the_engine_runs(program):
  """Sizes and shapes of the engine's own setup, for the same experiment."""
  case = make_sampler_case(program, "cpu:8", cache_tokens=1024)
  section = case.sections["rollouts"]
  section = {
    **section,
    "num_slots": case.num_rows,
    "max_response_len": case.sequence_len - section["max_prompt_len"],
  }
  model = model_config(ModelSettings(**case.sections["model"]))
  mesh = make_mesh(MeshSettings(data=8, fsdp=1, context=1, tensor=1))
  engine = Engine(model, LetterTokenizer(), mesh, RolloutSettings(**section))
  plan = make_case_programs(case, jax.devices())
  part = plan.programs[0]
  assert dict(plan.mesh.shape) == dict(engine.mesh.shape)
  num_chunks = engine.sizes.num_chunks if program == "prefill" else 0
  inputs = blank_inputs(4, engine.sizes, num_chunks, engine.stop_rules)
  assert jax.tree.map(np.shape, inputs) == jax.tree.map(np.shape, part.args[2])
  assert part.options == {"num_slots": engine.sizes.num_slots}
  with jax.set_mesh(plan.mesh):
    state = jax.eval_shape(engine.programs.start, part.args[0])
  shapes = jax.tree.map(lambda x: (x.shape, x.dtype), state)
  assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), part.args[1])
  # Pages of 1024 positions for each of four replicas, of four slots each.
  assert plan.dispatch.cached_positions == 4 * 1024
  assert plan.dispatch.live_positions == 4 * min(1024, 4 * 256)


def test_flops_of_a_dispatch():
  """Layers and logits of every slot and step; attention looks at all pages."""
  case = make_sampler_case("decode", "cpu:8")
  plan = make_case_programs(case, jax.devices())
  part = plan.programs[0]
  with jax.set_mesh(plan.mesh):
    jaxpr = part.function.trace(*part.args, **part.options).jaxpr
  counted = flops.count_flops(jaxpr, trip_counts=part.trip_counts)
  model = model_config(ModelSettings(**case.sections["model"]))
  V, D, L, N, K, H, F = (model.sizes[dim] for dim in "VDLNKHF")
  tokens = 16 * case.sections["rollouts"]["steps_per_dispatch"]
  layer = 2 * D * N * H + 2 * D * K * H + 3 * D * F + 2 * N * H * 256
  assert counted == pytest.approx(2 * tokens * (L * layer + V * D), rel=1e-3)
  assert plan.model_flops == 2 * tokens * (L * layer + V * D)


def test_memory_of_a_case():
  """Shards are counted on one device; Adam has two moments and a count."""
  case = make_case("update", "fsdp=4,tensor=2", remat="none")
  plan = make_case_programs(case, jax.devices())
  model = model_config(ModelSettings(**case.sections["model"]))
  V, D, L, N, K, H, F = (model.sizes[dim] for dim in "VDLNKHF")
  both = V * D + L * (2 * D * N * H + 2 * D * K * H + 3 * D * F)
  split = both // 8 + L * (N * H + 2 * K * H) // 2 + (2 * L + 1) * D // 4
  assert plan.memory["parameters"] == 4 * split
  assert plan.memory["gradients"] == 4 * split
  assert plan.memory["optimizer"] == 2 * 4 * split + 4


needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="libtpu is not installed: pip install 'jax[tpu]'",
)


@pytest.fixture(scope="module")
def tpu_rows():
  """Rows of an update and of a decode dispatch with too large a cache."""
  update = make_case(
    "update",
    "fsdp=4",
    remat="full",
    topology="v5e:2x2",
    compute_dtype="bfloat16",
  )
  decode = make_case("decode", "fsdp=4", remat="none", topology="v5e:2x2")
  rollouts = {**decode.sections["rollouts"], "cache_tokens": 2**28}
  sections = {**decode.sections, "rollouts": rollouts}
  decode = dataclasses.replace(decode, sections=sections)
  options = dataclasses.replace(OPTIONS, jobs=2)
  return {
    case.program: row
    for case, row in study.make_rows([update, decode], options)
  }


@needs_libtpu
def test_fsdp_gathers_the_weights_twice(tpu_rows):
  """Under full remat each layer's weights are gathered in bfloat16 by forward
  and by backward; the unembedding once, by forward."""
  row = tpu_rows["update"]
  assert row["status"] == "fits", row
  model = model_config(ModelSettings(**row["case"]["sections"]["model"]))
  V, D, L, N, K, H, F = (model.sizes[dim] for dim in "VDLNKHF")
  layers = L * (2 * D * N * H + 2 * D * K * H + 3 * D * F)
  gathered = row["parts"]["gradient"]["collective_bytes"]["fsdp"]["all-gather"]
  assert gathered - 2 * V * D == pytest.approx(2 * 2 * layers, rel=0.05)


@needs_libtpu
def test_too_large_for_the_chip_is_a_row(tpu_rows):
  row = tpu_rows["decode"]
  assert row["status"] == "does not fit", row
  assert row["peak_bytes"] > row["limit_bytes"]
