"""The sampler against full forwards, a plain scheduler, and itself elsewhere.

The tiny model's logits are nearly uniform over 64 tokens, one of which stops,
so responses have very different lengths and some are cut.
"""

import collections
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from tiny_sampler import (
  CONFIG,
  MAX_RESPONSE_LEN,
  STOP_ID,
  LetterTokenizer,
  assert_same,
  by_row,
  draw_params,
  draw_prompt,
  generate,
  make_engine,
  one_device,
  options,
  some_prompts,
)

from kimina_jax.infra.mesh import make_mesh
from kimina_jax.model.transformer import forward, unembed
from kimina_jax.rollouts import programs
from kimina_jax.rollouts.engine import Engine
from kimina_jax.types import Problem, Prompt, UsageError


def test_rollouts_are_whole():
  rollouts = by_row(generate(make_engine()))
  assert [rollout.row for rollout in rollouts] == list(range(15))
  assert {rollout.stop for rollout in rollouts} == {"stop", "length"}
  for rollout in rollouts:
    assert rollout.prompt is some_prompts()[rollout.row // 3]
    assert rollout.tokens.dtype == np.int32
    assert rollout.logps.dtype == rollout.model_logps.dtype == np.float32
    assert len(rollout.logps) == len(rollout.tokens) == len(rollout.model_logps)
    *body, last = rollout.tokens
    assert STOP_ID not in body
    if rollout.stop == "stop":
      assert last == STOP_ID
      assert rollout.text == LetterTokenizer().decode(body)
    else:
      assert last != STOP_ID and len(rollout.tokens) == MAX_RESPONSE_LEN
      assert rollout.text == LetterTokenizer().decode(rollout.tokens)


@pytest.mark.parametrize("temperature, top_p", [(1.0, 1.0), (0.7, 0.8)])
def test_log_probs_are_those_of_a_full_forward(temperature, top_p):
  engine = make_engine(temperature=temperature, top_p=top_p)
  for rollout in generate(engine):
    logits_TV = _full_logits(rollout)
    model_TV = special.log_softmax(logits_TV, axis=-1)
    drawn_TV = _log_distribution(logits_TV, temperature, top_p)
    steps = np.arange(len(rollout.tokens))
    np.testing.assert_allclose(
      rollout.model_logps, model_TV[steps, rollout.tokens], atol=1e-4
    )
    np.testing.assert_allclose(
      rollout.logps, drawn_TV[steps, rollout.tokens], atol=1e-4
    )


def test_zero_temperature_follows_the_most_likely_token():
  rollouts = generate(make_engine(temperature=0.0), num_per_prompt=1)
  for rollout in rollouts:
    best_T = _full_logits(rollout).argmax(axis=-1)
    np.testing.assert_array_equal(rollout.tokens, best_T)


# Eight slots: see the test on eight devices.
@pytest.mark.parametrize("num_slots", [1, 3])
def test_a_row_does_not_depend_on_its_company(num_slots):
  engine = make_engine(num_slots=num_slots, steps_per_dispatch=4 + num_slots)
  alone = by_row(generate(engine))
  assert_same(alone, by_row(generate(make_engine())))


def test_rows_keep_their_draws_when_prompts_leave():
  # Rows 0 … 5 are the same prompts and attempts in both calls.
  few = by_row(generate(make_engine(), prompts=some_prompts()[:2]))
  assert_same(few, by_row(generate(make_engine()))[:6])


def test_seed_and_step_name_the_draws():
  first = by_row(generate(make_engine()))
  assert_same(first, by_row(generate(make_engine())))
  for other in ({"seed": 1}, {"step": 1}):
    second = by_row(generate(make_engine(), **other))
    same = [
      np.array_equal(a.tokens, b.tokens)
      for a, b in zip(first, second, strict=True)
    ]
    assert not any(same)
  # Attempts at one prompt differ too.
  assert len({first[row].text for row in range(3)}) == 3


def test_slots_are_refilled_in_line():
  for num_slots, num_steps in ((4, 8), (3, 7)):
    engine = make_engine(num_slots=num_slots, steps_per_dispatch=num_steps)
    rollouts = list(generate(engine))
    lengths = {rollout.row: len(rollout.tokens) for rollout in rollouts}
    expected = _plain_schedule(lengths, num_slots, num_steps)
    assert [rollout.row for rollout in rollouts] == expected


def test_each_prompt_is_prefilled_once(monkeypatch):
  engine, seen = make_engine(num_slots=4), []
  compiled = engine._programs

  def prefill(params, tokens_BT):
    seen.append(np.asarray(tokens_BT))
    return compiled.prefill(params, tokens_BT)

  monkeypatch.setattr(engine, "_programs", compiled._replace(prefill=prefill))
  list(generate(engine))
  # ⌈4 slots / 3 rollouts⌉ = 2 prompts at a time; the sixth is padding.
  rows_BT = np.concatenate(seen)
  assert [tokens_BT.shape for tokens_BT in seen] == [(2, 64)] * 3
  for tokens_T, prompt in zip(rows_BT, some_prompts(), strict=False):
    np.testing.assert_array_equal(tokens_T[: len(prompt.tokens)], prompt.tokens)
  assert not rows_BT[-1].any()


def test_eight_devices_draw_the_same_tokens():
  mesh = make_mesh(data=2, fsdp=2, context=1, tensor=2)
  engine = Engine(
    CONFIG, LetterTokenizer(), mesh, **options(num_slots=8, tensor=2)
  )
  assert dict(engine.replicas.shape) == {
    "data": 4,
    "fsdp": 1,
    "context": 1,
    "tensor": 2,
  }
  many = generate(engine, params=draw_params(engine.replicas))
  assert_same(by_row(many), by_row(generate(make_engine())))


def test_random_workloads_yield_every_row_once():
  rng = np.random.default_rng(0)
  for _ in range(8):
    num_prompts, num_per_prompt = (int(n) for n in rng.integers(1, 8, 2))
    prompts = [draw_prompt(rng) for _ in range(num_prompts)]
    rollouts = generate(
      make_engine(num_slots=4),
      prompts=prompts,
      num_per_prompt=num_per_prompt,
      step=int(rng.integers(100)),
    )
    rows = sorted(rollout.row for rollout in rollouts)
    assert rows == list(range(num_prompts * num_per_prompt))


def test_no_prompts_no_rollouts():
  assert list(generate(make_engine(), prompts=[])) == []


def test_an_abandoned_iterator_leaves_nothing_behind():
  engine = make_engine()
  expected = by_row(generate(make_engine()))
  dropped = generate(engine)
  next(dropped)
  # The engine's mesh is not the caller's, not even halfway.
  assert jax.sharding.get_abstract_mesh().empty
  other = generate(engine, step=1)
  next(other)
  dropped.close()
  assert_same(by_row(generate(engine)), expected)
  assert len(list(other)) == 14


def test_no_hidden_transfers():
  engine, params = make_engine(), draw_params(one_device())
  with jax.transfer_guard("disallow"):
    assert len(list(generate(engine, params=params))) == 15


def test_the_cache_is_updated_in_place():
  limits = programs.Limits(
    temperature=1.0, top_p=1.0, stop_id=-1, max_response_len=99, num_steps=2
  )
  program = jax.jit(
    functools.partial(programs.decode, config=CONFIG, limits=limits),
    static_argnames="kv_len",
    donate_argnums=1,
  )
  params = draw_params(one_device())
  with jax.set_mesh(one_device()):
    slots = jax.jit(functools.partial(programs.start, CONFIG, 4, 128))()
    slots = slots._replace(active_B=jnp.ones(4, bool))
    before = [x.unsafe_buffer_pointer() for x in slots.cache]
    slots, trace = program(params, slots, jnp.zeros(2, jnp.uint32), kv_len=64)
  assert [x.unsafe_buffer_pointer() for x in slots.cache] == before
  np.testing.assert_array_equal(trace.drawn_B, [2] * 4)
  # Two steps wrote two positions, no more.
  written_S = np.any(np.asarray(slots.cache.k_LBSKH) != 0, axis=(0, 1, 3, 4))
  np.testing.assert_array_equal(written_S, np.arange(128) < 2)


def test_weights_that_are_not_finite_are_an_error():
  params = jax.tree.map(lambda leaf: leaf * math.nan, draw_params(one_device()))
  with pytest.raises(FloatingPointError, match=r"row 0 \(problem_1\)"):
    list(generate(make_engine(), params=params, prompts=some_prompts()[:1]))


def test_a_prompt_that_is_too_long_is_refused_at_once():
  problem = Problem("long_one", "", "")
  prompt = Prompt(problem, "", np.ones(41, np.int32))
  with pytest.raises(UsageError, match="'long_one' has 41 .* is 40"):
    generate(make_engine(), prompts=[prompt])


@pytest.mark.parametrize(
  "option, value, message",
  [
    ("temperature", -0.5, "temperature is -0.5"),
    ("temperature", math.nan, "temperature is nan"),
    ("top_p", 0.0, "top_p is 0.0"),
    ("top_p", 1.5, "top_p is 1.5"),
    ("tensor", 0, "tensor is 0"),
    ("num_slots", 0, "num_slots is 0"),
    ("max_response_len", 0, "max_response_len is 0"),
    ("steps_per_dispatch", -1, "steps_per_dispatch is -1"),
  ],
)
def test_options_out_of_range_are_refused(option, value, message):
  with pytest.raises(UsageError, match=message):
    Engine(
      CONFIG, LetterTokenizer(), one_device(), **options(**{option: value})
    )


def test_slots_that_the_mesh_does_not_divide_are_refused():
  mesh = make_mesh(data=2, fsdp=2, context=1, tensor=2)
  with pytest.raises(UsageError, match="num_slots is 6, .* 4 replicas"):
    Engine(CONFIG, LetterTokenizer(), mesh, **options(num_slots=6, tensor=2))


def test_replicas_that_do_not_divide_model_or_devices_are_refused():
  mesh = make_mesh(data=2, fsdp=2, context=1, tensor=2)
  with pytest.raises(UsageError, match="tensor = 4 .* 2 kv heads of model"):
    Engine(CONFIG, LetterTokenizer(), mesh, **options(tensor=4))
  with pytest.raises(UsageError, match="tensor = 2 .* 1 devices"):
    Engine(CONFIG, LetterTokenizer(), one_device(), **options(tensor=2))


def test_a_tokenizer_larger_than_the_model_is_refused():
  tokenizer = LetterTokenizer()
  tokenizer.vocab_size = 65
  with pytest.raises(UsageError, match="65 tokens, model tiny 64"):
    Engine(CONFIG, tokenizer, one_device(), **options())


@functools.cache
def _forward_all():
  def logits(params, tokens_BT, positions_BT):
    hidden_BTD, _ = forward(params, CONFIG, tokens_BT, positions_BT)
    return unembed(params, CONFIG, hidden_BTD)

  return jax.jit(logits)


def _full_logits(rollout) -> np.ndarray:
  """Logits before each token of the response, by one forward without cache."""
  num_prompt, num_response = len(rollout.prompt.tokens), len(rollout.tokens)
  tokens_BT = np.zeros((1, 96), np.int32)
  tokens_BT[0, :num_prompt] = rollout.prompt.tokens
  tokens_BT[0, num_prompt : num_prompt + num_response] = rollout.tokens
  positions_BT = np.arange(96, dtype=np.int32)[None]
  with jax.set_mesh(one_device()):
    logits_BTV = _forward_all()(
      draw_params(one_device()), tokens_BT, positions_BT
    )
  first = num_prompt - 1
  return np.asarray(logits_BTV[0], np.float64)[first : first + num_response]


def _log_distribution(logits_TV, temperature, top_p) -> np.ndarray:
  """log of softmax(logits / temperature), sorted and cut at top_p."""
  logp_TV = special.log_softmax(logits_TV / temperature, axis=-1)
  if top_p == 1:
    return logp_TV
  for logp_V in logp_TV:
    order_V = np.argsort(-logp_V)
    size = 1 + np.searchsorted(np.cumsum(np.exp(logp_V[order_V])), top_p)
    logp_V[order_V[size:]] = -np.inf
  return special.log_softmax(logp_TV, axis=-1)


def _plain_schedule(lengths, num_slots: int, num_steps: int) -> list[int]:
  """Rows in the order in which they end, told slot by slot."""
  line, ended = collections.deque(sorted(lengths)), []
  slots: list[list[int] | None] = [None] * num_slots
  while line or any(slots):
    for slot in range(num_slots):
      if slots[slot] is None and line:
        row = line.popleft()
        slots[slot] = [row, lengths[row]]
    for slot in range(num_slots):
      if slots[slot] is None:
        continue
      slots[slot][1] -= num_steps
      if slots[slot][1] <= 0:
        ended.append(slots[slot][0])
        slots[slot] = None
  return ended
