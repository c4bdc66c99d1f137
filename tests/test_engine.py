"""The sampler against full forwards, a plain schedule, and other settings.

The tiny model's logits are nearly uniform over 64 tokens, one of which stops,
so responses have very different lengths and some are cut.
"""

import collections
import functools
import math

import jax
import numpy as np
import pytest
from scipy import special
from tiny_sampler import (
  CONFIG,
  MAX_RESPONSE_LEN,
  STOP_ID,
  LetterTokenizer,
  assert_same,
  by_index,
  draw_params,
  draw_prompt,
  generate,
  make_engine,
  one_device,
  options,
  some_prompts,
)

from kimina_jax.infra.mesh import MeshSettings, make_mesh
from kimina_jax.model.transformer import forward, unembed
from kimina_jax.rollouts.engine import Engine
from kimina_jax.types import Problem, Prompt, UsageError

# Options of engines that several tests share; the others have the default's.
WINDOW = 4
THREE = {"num_slots": 3, "steps_per_dispatch": 7}
# Thirteen pages of 8, where a rollout may need eleven.
SMALL = {"num_slots": 2, "steps_per_dispatch": 5, "cache_tokens": 104}
CUT = {
  "temperature": 0.9,
  "top_k": 4,
  "min_p": 0.1,
  "stop_strings": ("M", "QR", "RS"),
  "repetition_window": WINDOW,
}


def test_rollouts_are_complete():
  rollouts = by_index(generate(make_engine()))
  assert [rollout.index for rollout in rollouts] == list(range(15))
  assert {rollout.stop_reason for rollout in rollouts} == {"stop", "length"}
  for rollout in rollouts:
    assert rollout.prompt is some_prompts()[rollout.index // 3]
    assert rollout.tokens.dtype == np.int32
    assert rollout.logps.dtype == rollout.model_logps.dtype == np.float32
    assert len(rollout.logps) == len(rollout.tokens) == len(rollout.model_logps)
    *body, last = rollout.tokens
    assert STOP_ID not in body
    if rollout.stop_reason == "stop":
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
@pytest.mark.parametrize("changes", [THREE, SMALL], ids=["three", "small"])
def test_a_rollout_does_not_depend_on_the_other_sequences(changes):
  engine = make_engine(**changes)
  other = generate(engine)
  assert_same(by_index(other), by_index(generate(make_engine())))
  assert (other.stats["preemptions"] > 0) == (changes is SMALL)


def test_rollouts_keep_their_draws_when_there_are_fewer_prompts():
  # Rollouts 0 … 5 are of the same prompts and attempts in both calls.
  few = by_index(generate(make_engine(), prompts=some_prompts()[:2]))
  assert_same(few, by_index(generate(make_engine()))[:6])


def test_seed_and_iteration_select_the_draws():
  first = by_index(generate(make_engine()))
  assert_same(first, by_index(generate(make_engine())))
  for other in ({"seed": 1}, {"iteration": 1}):
    second = by_index(generate(make_engine(), **other))
    same = [
      np.array_equal(a.tokens, b.tokens)
      for a, b in zip(first, second, strict=True)
    ]
    assert not any(same)
  # Attempts at one prompt differ too.
  assert len({first[index].text for index in range(3)}) == 3


@pytest.mark.parametrize("changes, sizes", [({}, (4, 8)), (THREE, (3, 7))])
def test_slots_are_refilled_in_order(changes, sizes):
  """One prompt, so that all sequences are ready at once; and room for all."""
  rollouts = list(
    generate(
      make_engine(**changes),
      prompts=some_prompts()[2:3],
      num_per_prompt=30,
      max_lens=np.random.default_rng(3).integers(1, 25, 30).tolist(),
    )
  )
  lengths = {rollout.index: len(rollout.tokens) for rollout in rollouts}
  assert len(set(lengths.values())) > 10
  expected = _plain_schedule(lengths, *sizes)
  assert [rollout.index for rollout in rollouts] == expected


def test_each_prompt_is_computed_once():
  """All but its last token, which the first decode step feeds."""
  stream = generate(make_engine())
  rollouts = list(stream)
  lengths = [len(prompt.tokens) for prompt in some_prompts()]
  stats = stream.stats
  assert stats["prompt_tokens_computed"] == sum(lengths) - len(lengths)
  assert stats["prompt_tokens_cached"] == stats["preemptions"] == 0
  assert stats["tokens"] == sum(len(r.tokens) for r in rollouts)
  assert 0 < stats["slot_utilization"] <= 1
  assert 0 < stats["peak_pages"] <= 4 * 12


def test_a_common_prefix_of_prompts_is_computed_once():
  """Twenty tokens in common are two full pages of 8, and four more."""
  rng = np.random.default_rng(2)
  stem = draw_prompt(rng, 20).tokens
  prompts = [
    Prompt(
      Problem(f"{length}", "", ""),
      "",
      np.append(stem, draw_prompt(rng, length).tokens),
    )
    for length in (3, 20, 9)
  ]
  stream = generate(make_engine(), prompts=prompts, num_per_prompt=2)
  rollouts = list(stream)
  assert stream.stats["prompt_tokens_cached"] == 2 * 16
  assert stream.stats["prompt_tokens_computed"] == 22 + 39 + 28 - 2 * 16
  for rollout in rollouts:
    np.testing.assert_allclose(
      rollout.model_logps, _full_logps(rollout), atol=1e-4
    )


def test_the_prefix_cache_is_not_kept_between_calls():
  """A second call computes its prompts again: the weights may have changed."""
  engine = make_engine()
  for _ in range(2):
    stream = generate(engine, prompts=some_prompts()[1:2])
    list(stream)
    assert stream.stats["prompt_tokens_computed"] == 39


def test_eight_devices_draw_the_same_tokens():
  mesh = make_mesh(MeshSettings(data=2, fsdp=2, context=1, tensor=2))
  engine = Engine(
    CONFIG, LetterTokenizer(), mesh, options(num_slots=8, tensor=2)
  )
  assert dict(engine.replicas.shape) == {
    "data": 4,
    "fsdp": 1,
    "context": 1,
    "tensor": 2,
  }
  many = generate(engine, params=draw_params(engine.replicas))
  assert_same(by_index(many), by_index(generate(make_engine())))


def test_no_prompts_give_no_rollouts():
  assert list(generate(make_engine(), prompts=[])) == []


def test_an_abandoned_stream_has_no_effect_on_others():
  engine = make_engine()
  expected = by_index(generate(make_engine()))
  dropped = generate(engine)
  next(dropped)
  # The engine's mesh is not set for the caller between two rollouts.
  assert jax.sharding.get_abstract_mesh().empty
  other = generate(engine, iteration=1)
  next(other)
  dropped.close()
  assert_same(by_index(generate(engine)), expected)
  assert len(list(other)) == 14


def test_no_hidden_transfers():
  engine, params = make_engine(), draw_params(one_device())
  with jax.transfer_guard("disallow"):
    assert len(list(generate(engine, params=params))) == 15


def test_the_cache_is_updated_in_place():
  rollouts = generate(make_engine())
  pointers = set()
  for _ in rollouts:
    # The state before the running dispatch was donated.
    cache = rollouts._state.cache.kv_POYH
    pointers.add(cache.unsafe_buffer_pointer())
  assert len(pointers) == 1


def test_nothing_is_compiled_twice(caplog):
  """Whatever the call, once an engine has compiled its programs."""
  engine, calls = make_engine(), {"num_per_prompt": 2}
  prompts = [draw_prompt(np.random.default_rng(0)) for _ in range(9)]
  list(generate(engine))
  with jax.log_compiles(), caplog.at_level("INFO"):
    list(generate(engine, prompts=prompts, iteration=3, seed=2, **calls))
    some = list(generate(engine, max_tokens=50, **calls))
    begun = [rollout for rollout in some if not rollout.finished]
    list(generate(engine, prompts=[], unfinished=begun))
    assert begun and not [x for x in caplog.messages if "ompiling" in x]
    jax.jit(lambda x: x + 1)(1.0)
    assert [x for x in caplog.messages if "ompiling" in x]


def test_max_lens_are_those_of_the_sequences():
  lens = [1 + 3 * index for index in range(15)]
  cut = by_index(generate(make_engine(), max_lens=lens))
  for mine, full in zip(cut, by_index(generate(make_engine())), strict=True):
    length = min(lens[mine.index], len(full.tokens))
    np.testing.assert_array_equal(mine.tokens, full.tokens[:length])
    assert mine.stop_reason == (
      full.stop_reason if length == len(full.tokens) else "length"
    )
  assert {rollout.stop_reason for rollout in cut} == {"stop", "length"}


def test_on_tokens_gets_every_token_in_order():
  told = collections.defaultdict(list)

  def on_tokens(index, tokens):
    told[index].extend(tokens)

  rollouts = list(generate(make_engine(), on_tokens=on_tokens))
  assert told == {r.index: r.tokens.tolist() for r in rollouts}


def test_poll_may_end_the_call():
  class EndError(Exception):
    pass

  calls = []

  def poll():
    calls.append(1)
    if len(calls) == 4:
      raise EndError

  with pytest.raises(EndError):
    list(generate(make_engine(), poll=poll))
  assert len(calls) == 4


@pytest.mark.parametrize("max_tokens", [1, 130, 300])
def test_partial_rollouts_are_continued_as_if_uncut(max_tokens):
  full = by_index(generate(make_engine()))
  first = by_index(generate(make_engine(), max_tokens=max_tokens))
  assert [rollout.index for rollout in first] == list(range(15))
  begun = [rollout for rollout in first if not rollout.finished]
  assert begun and {rollout.stop_reason for rollout in begun} == {"budget"}
  for rollout in begun:
    whole = full[rollout.index].tokens
    np.testing.assert_array_equal(rollout.tokens, whole[: len(rollout.tokens)])
    assert len(rollout.tokens) < len(whole)
  drawn = sum(len(rollout.tokens) for rollout in first)
  # Seen one dispatch late: two of four slots and eight steps may be too many.
  assert max_tokens <= drawn < max_tokens + 2 * 32
  told = collections.Counter()
  then = generate(
    make_engine(),
    prompts=some_prompts()[:2],
    iteration=1,
    unfinished=begun,
    on_tokens=lambda index, tokens: told.update({index: len(tokens)}),
  )
  rest = [rollout for rollout in then if rollout.iteration == 0]
  done = [rollout for rollout in first if rollout.finished]
  assert_same(by_index(done + rest), full)
  carried = {r.index: r.num_carried for r in rest}
  assert carried == {r.index: len(r.tokens) for r in begun}


def test_stops_are_found_across_any_number_of_calls():
  """Stop strings and repetitions that one call begins and another ends."""
  engine = make_engine(**CUT)
  full = by_index(generate(engine))
  done, begun, num_calls = [], [], 0
  while begun or not num_calls:
    prompts = [] if num_calls else some_prompts()
    some = list(
      generate(engine, prompts=prompts, unfinished=begun, max_tokens=5)
    )
    done += [rollout for rollout in some if rollout.finished]
    begun = [rollout for rollout in some if not rollout.finished]
    num_calls += 1
  assert num_calls > 5
  assert {"string", "repetition"} <= {rollout.stop_reason for rollout in done}
  assert_same(by_index(done), full)


def test_filters_and_stops_are_those_of_plain_loops():
  """top-k, min-p, stop strings and repetition, on one engine."""
  rollouts = list(generate(make_engine(**CUT), num_per_prompt=16))
  for rollout in rollouts:
    text = LetterTokenizer().decode(rollout.tokens)
    for length in range(1, len(rollout.tokens)):
      assert not _stop_reason(rollout.tokens[:length], MAX_RESPONSE_LEN)
    assert rollout.stop_reason == _stop_reason(rollout.tokens, MAX_RESPONSE_LEN)
    if rollout.stop_reason == "string":
      (found,) = (x for x in CUT["stop_strings"] if x in text)
      assert rollout.text + found == text
    logits_TV = _full_logits(rollout)
    steps = np.arange(len(rollout.tokens))
    drawn_TV = _log_filtered(logits_TV, CUT)
    np.testing.assert_allclose(
      rollout.logps, drawn_TV[steps, rollout.tokens], atol=1e-4
    )
  stops = {rollout.stop_reason for rollout in rollouts}
  assert stops == {"stop", "string", "length", "repetition"}


# Largest error of a token's log-probability, in nats.
@pytest.mark.parametrize(
  "cache_dtype, bound",
  [("bfloat16", 0.005), ("int8", 0.025), ("float8_e4m3fn", 0.025)],
)
def test_quantized_caches(cache_dtype, bound):
  engine = make_engine(cache_dtype=cache_dtype)
  errors = [
    np.abs(rollout.model_logps - _full_logps(rollout)).max()
    for rollout in generate(engine)
  ]
  assert len(errors) == 15 and 1e-5 < max(errors) < bound


def test_weights_that_are_not_finite_are_an_error():
  params = jax.tree.map(lambda leaf: leaf * math.nan, draw_params(one_device()))
  with pytest.raises(FloatingPointError, match=r"rollout 0 \(problem_1\)"):
    list(generate(make_engine(), params=params, prompts=some_prompts()[:1]))


def test_a_prompt_that_is_too_long_is_refused_at_once():
  problem = Problem("long_one", "", "")
  prompt = Prompt(problem, "", np.ones(41, np.int32))
  with pytest.raises(UsageError, match="'long_one' has 41 .* is 40"):
    generate(make_engine(), prompts=[prompt])


@pytest.mark.parametrize(
  "option, value, message",
  [
    ("temperature", -0.5, "temperature = -0.5"),
    ("temperature", math.nan, "temperature = nan"),
    ("top_p", 0.0, "top_p is 0.0"),
    ("top_p", 1.5, "top_p is 1.5"),
    ("tensor", 0, "tensor = 0"),
    ("num_slots", 0, "num_slots = 0"),
    ("max_response_len", 0, "max_response_len = 0"),
    ("steps_per_dispatch", -1, "steps_per_dispatch = -1"),
    ("top_k", -1, "top_k = -1"),
    ("min_p", -0.1, "min_p = -0.1"),
    ("min_p", 1.5, "min_p is 1.5"),
    ("page_size", 0, "page_size = 0"),
    ("chunk_tokens", 0, "chunk_tokens = 0"),
    ("cache_tokens", 95, "cache_tokens is 95, .* at least 96"),
    ("cache_dtype", "int4", "cache_dtype is 'int4'; .* int8"),
    ("repetition_window", 3, "repetition_window is 3; .* at least 4"),
    ("repetition_window", -1, "repetition_window = -1"),
    ("stop_strings", ("a", ""), "stop_strings is .*an empty text"),
  ],
)
def test_options_out_of_range_are_refused(option, value, message):
  with pytest.raises(UsageError, match=message):
    Engine(CONFIG, LetterTokenizer(), one_device(), options(**{option: value}))


def test_slots_that_the_mesh_does_not_divide_are_refused():
  mesh = make_mesh(MeshSettings(data=2, fsdp=2, context=1, tensor=2))
  with pytest.raises(UsageError, match="num_slots is 6, .* 4 replicas"):
    Engine(CONFIG, LetterTokenizer(), mesh, options(num_slots=6, tensor=2))


def test_replicas_that_do_not_divide_model_or_devices_are_refused():
  mesh = make_mesh(MeshSettings(data=2, fsdp=2, context=1, tensor=2))
  with pytest.raises(UsageError, match="tensor = 4 .* 2 kv heads of model"):
    Engine(CONFIG, LetterTokenizer(), mesh, options(tensor=4))
  with pytest.raises(UsageError, match="tensor = 2 .* 1 devices"):
    Engine(CONFIG, LetterTokenizer(), one_device(), options(tensor=2))


def test_a_tokenizer_larger_than_the_model_is_refused():
  tokenizer = LetterTokenizer()
  tokenizer.vocab_size = 65
  with pytest.raises(UsageError, match="65 tokens, model tiny 64"):
    Engine(CONFIG, tokenizer, one_device(), options())


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


def _full_logps(rollout) -> np.ndarray:
  """Log-probability of each token of the response, under the model."""
  logp_TV = special.log_softmax(_full_logits(rollout), axis=-1)
  return logp_TV[np.arange(len(rollout.tokens)), rollout.tokens]


def _log_filtered(logits_TV, settings) -> np.ndarray:
  """log of softmax(logits / temperature), cut by top-k and then min-p."""
  logp_TV = special.log_softmax(logits_TV / settings["temperature"], axis=-1)
  for logp_V in logp_TV:
    logp_V[np.argsort(-logp_V)[settings["top_k"] :]] = -np.inf
    logp_V[logp_V < logp_V.max() + np.log(settings["min_p"])] = -np.inf
  return special.log_softmax(logp_TV, axis=-1)


def _stop_reason(tokens, max_len: int) -> str:
  """Stop reason of a response; the order of the tests is the precedence."""
  text, tail = LetterTokenizer().decode(tokens), list(tokens[-WINDOW:])
  if tokens[-1] == STOP_ID:
    return "stop"
  if any(string in text for string in CUT["stop_strings"]):
    return "string"
  if len(tokens) == max_len:
    return "length"
  for period in range(1, WINDOW // 2 + 1):
    if len(tail) == WINDOW and tail[period:] == tail[:-period]:
      return "repetition"
  return ""


def _plain_schedule(lengths, num_slots: int, num_steps: int) -> list[int]:
  """Indices in the order in which the rollouts end, dispatch by dispatch.

  The host knows the outputs of the dispatch before the last one. Twice as many
  sequences as slots are running; a free index goes to the next in the queue,
  the lowest first.
  """
  queue, ended = collections.deque(sorted(lengths)), []
  running: list[int | None] = [None] * (2 * num_slots)
  admitted, left, unread = [], dict(lengths), []
  while len(ended) < len(lengths):
    for index, sequence in enumerate(running):
      if sequence is None and queue:
        running[index] = queue.popleft()
        admitted.append(running[index])
    unread.append((list(running), _play(admitted, left, num_slots, num_steps)))
    if len(unread) == 1:
      continue
    then, over = unread.pop(0)
    for index, sequence in enumerate(then):
      if sequence in over and sequence not in ended:
        ended.append(sequence)
        running[index] = None
  return ended


def _play(admitted, left, num_slots: int, num_steps: int) -> set[int]:
  """One dispatch, in order of admission; returns the sequences that ended."""
  waiting = [sequence for sequence in admitted if left[sequence]]
  slots: list[int] = []
  for _ in range(num_steps):
    slots = [sequence for sequence in slots if left[sequence]]
    while waiting and len(slots) < num_slots:
      slots.append(waiting.pop(0))
    for sequence in slots:
      left[sequence] -= 1
  return {sequence for sequence in admitted if not left[sequence]}
