"""Stops on the device against searches in plain bytes and lists."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kimina_jax.prompts.tokenizer import load_tokenizer
from kimina_jax.rollouts import stops
from kimina_jax.types import UsageError

# Few letters, so that strings and repetitions turn up; tokens of one byte, of
# several, of part of a character, and without text.
_TOKENS = [b"a", b"b", b"aa", b"ab", b"ba", b"abab", b"bbb", b""]
_TOKENS += ["ℝ".encode(), "ℝ".encode()[:2], "ℝ".encode()[2:], "∀x".encode()]
_STOP_ID = len(_TOKENS)
_TOKENS += [b"<|im_end|>"]
# Ids beyond the tokenizer's, which have no text.
_VOCAB_SIZE = len(_TOKENS) + 3
_NUM_ROWS, _MAX_LEN = 4, 24


@pytest.fixture(scope="module")
def embedded():
  return load_tokenizer("embedded")


@pytest.fixture(scope="module")
def qwen(data_dir):
  return load_tokenizer(data_dir / "qwen2.5-tokenizer")


@functools.partial(jax.jit, static_argnames="rules")
def _scan(tokens_TB, max_len_B, table, rules):
  """States and codes after every token, [T, B, …]."""

  def step(state, inputs):
    tokens_B, t = inputs
    drawn_B = jnp.full(tokens_B.shape, t + 1, jnp.int32)
    state, code_B = stops.update_stop_state(
      state, tokens_B, drawn_B, max_len_B, rules=rules, table_AV=table
    )
    return state, (state, code_B)

  num_steps, num_rows = tokens_TB.shape
  _, outputs = jax.lax.scan(
    step,
    stops.initial_state(num_rows, rules),
    (tokens_TB, jnp.arange(num_steps, dtype=jnp.int32)),
  )
  return outputs


def _run(tokens_BT, max_len_B, automaton, rules):
  return _scan(
    jnp.asarray(np.array(tokens_BT, np.int32).T),
    jnp.asarray(max_len_B, jnp.int32),
    jnp.asarray(automaton.table_AV),
    rules,
  )


def _naive(tokens, strings, max_len, rules, token_bytes):
  """The stop reason of a response whose last token is the last of these."""
  known = [token for token in tokens if token < len(token_bytes)]
  text = b"".join(token_bytes[token] for token in known)
  if tokens[-1] == rules.stop_id:
    return "stop"
  if any(string.encode() in text for string in strings):
    return "string"
  if len(tokens) >= max_len:
    return "length"
  last = tokens[-rules.window :] if rules.window else []
  if len(last) == rules.window:
    for period in range(1, min(stops.PERIOD, rules.window // 2) + 1):
      if last[period:] == last[:-period]:
        return "repetition"
  return ""


_STREAMS = st.one_of(
  st.lists(
    st.integers(0, _VOCAB_SIZE - 1), min_size=_MAX_LEN, max_size=_MAX_LEN
  ),
  # Something, and then a few tokens over and over.
  st.tuples(
    st.lists(st.integers(0, _VOCAB_SIZE - 1), max_size=9),
    st.lists(st.integers(0, 8), min_size=1, max_size=7),
  ).map(lambda parts: (parts[0] + parts[1] * _MAX_LEN)[:_MAX_LEN]),
)
_STRINGS = st.lists(
  st.text("abℝ∀x", min_size=1, max_size=5), max_size=4, unique=True
)


@given(
  streams=st.lists(_STREAMS, min_size=_NUM_ROWS, max_size=_NUM_ROWS),
  strings=_STRINGS,
  max_lens=st.lists(
    st.integers(1, _MAX_LEN + 5), min_size=_NUM_ROWS, max_size=_NUM_ROWS
  ),
  window=st.sampled_from([0, 5, 14]),
)
@example(
  streams=[[0] * _MAX_LEN] * _NUM_ROWS,
  strings=[],
  max_lens=[_MAX_LEN] * _NUM_ROWS,
  window=_MAX_LEN,
)
@example(
  streams=[[0, 1] * (_MAX_LEN // 2)] * _NUM_ROWS,
  strings=["abb"],
  max_lens=[1, 2, 3, _MAX_LEN],
  window=1,
)
@settings(max_examples=80, deadline=None)
def test_device_stops_as_a_search_does(streams, strings, max_lens, window):
  rules = stops.StopRules(stop_id=_STOP_ID, window=window)
  automaton = stops.build_automaton(strings, _TOKENS, vocab_size=_VOCAB_SIZE)
  states, codes_TB = _run(streams, max_lens, automaton, rules)
  for b, stream in enumerate(streams):
    for t in range(_MAX_LEN):
      tokens = stream[: t + 1]
      expected = _naive(tokens, strings, max_lens[b], rules, _TOKENS)
      assert stops.STOPS[codes_TB[t, b]] == expected
      replayed = stops.replay(
        np.array(tokens), rules=rules, automaton=automaton
      )
      for here, there in zip(replayed, states, strict=True):
        assert here.dtype == np.int32
        np.testing.assert_array_equal(here, np.asarray(there)[t, b])


def test_nothing_drawn_is_the_start():
  rules = stops.StopRules(stop_id=_STOP_ID, window=20)
  automaton = stops.build_automaton(["ab"], _TOKENS, vocab_size=_VOCAB_SIZE)
  replayed = stops.replay(np.zeros(0, int), rules=rules, automaton=automaton)
  for here, there in zip(replayed, stops.initial_state(3, rules), strict=True):
    np.testing.assert_array_equal(np.stack([here] * 3), there)


@pytest.mark.parametrize("period", [1, 2, 63, 64, 65])
def test_long_repetitions(period):
  rules, length = stops.StopRules(stop_id=-1, window=200), 300
  automaton = stops.build_automaton([], [], vocab_size=1000)
  rng = np.random.default_rng(period)
  stream = rng.permutation(1000)[:length]
  # From token 40 on: the window is full of it at token 239.
  stream[40 + period :] = stream[40 + np.arange(260 - period) % period]
  states, codes_TB = _run([stream.tolist()], [999], automaton, rules)
  expected_T = np.zeros(length, int)
  if period <= 64:
    expected_T[239:] = stops.STOPS.index("repetition")
  np.testing.assert_array_equal(codes_TB[:, 0], expected_T)
  for t in (0, 1, 63, 64, 65, 150, 239, 299):
    replayed = stops.replay(stream[: t + 1], rules=rules, automaton=automaton)
    np.testing.assert_array_equal(replayed.recent, states.recent[t, 0])
    np.testing.assert_array_equal(replayed.runs, states.runs[t, 0])


@given(strings=_STRINGS.filter(bool), text=st.text("abℝ∀x", max_size=30))
@settings(max_examples=300, deadline=None)
def test_single_bytes_show_where_a_string_is_complete(strings, text):
  token_bytes = [bytes([i]) for i in range(256)]
  automaton = stops.build_automaton(strings, token_bytes, vocab_size=256)
  matched, state, data = len(automaton.table_AV) - 1, 0, text.encode()
  for t, byte in enumerate(data):
    state = automaton.table_AV[state, byte]
    seen = any(string.encode() in data[: t + 1] for string in strings)
    assert (state == matched) == seen


@pytest.mark.parametrize("kind", ["embedded", "qwen"])
@pytest.mark.parametrize(
  "strings, text",
  [
    (["```\n"], "by\n  simp\n```\nDone"),
    (["</answer>", "<|im_start|>"], "so <|im_start|>user\n"),
    (["ℝ≥0∞", "∀ᶠ", "𝓝"], "theorem : ∀ ε, ε ∈ 𝓝 0"),
    (["theorem", "rem x", "m"], "theorem x"),
    (["qed"], "nothing of the kind"),
  ],
)
def test_strings_of_real_tokens(kind, strings, text, request):
  tokenizer = request.getfixturevalue(kind)
  token_bytes = tokenizer.token_bytes()
  automaton = stops.build_automaton(
    strings, token_bytes, vocab_size=tokenizer.vocab_size + 100
  )
  rules = stops.StopRules(stop_id=tokenizer.stop_id, window=0)
  tokens = tokenizer.encode(text).tolist()
  tokens.insert(1, tokenizer.vocab_size + 5)
  _, codes_TB = _run([tokens], [999], automaton, rules)
  expected = [
    _naive(tokens[: t + 1], strings, 999, rules, token_bytes)
    for t in range(len(tokens))
  ]
  assert [stops.STOPS[code] for code in codes_TB[:, 0]] == expected
  if "string" in expected:
    end = expected.index("string") + 1
    kept = stops.cut(tokenizer.decode(tokens[:end]), strings)
    assert kept == stops.cut(text, strings)
    assert not any(string in kept for string in strings)


@pytest.mark.parametrize(
  "text, strings, kept",
  [
    ("x ≤ y\n```\nQED", ["```"], "x ≤ y\n"),
    ("one two", [], "one two"),
    ("one two", ["three"], "one two"),
    ("abcd", ["abcd", "bc"], "a"),  # complete first
    ("xabc", ["bc", "abc", "c"], "x"),  # complete at once, longest
    ("a.b.", ["."], "a"),
    ("stop", ["stop"], ""),
  ],
)
def test_cut(text, strings, kept):
  assert stops.cut(text, strings) == kept


@given(text=st.text("abℝ∀x", max_size=30), strings=_STRINGS, data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_cut_does_not_depend_on_what_was_drawn_after(text, strings, data):
  whole = stops.cut(text, strings)
  ends = [
    t for t in range(len(text) + 1) if any(s in text[:t] for s in strings)
  ]
  end = data.draw(st.sampled_from(ends or [len(text)]))
  assert stops.cut(text[:end], strings) == whole
  if ends:
    assert any(text[: ends[0]] == whole + string for string in strings)


def test_no_strings_cost_nothing():
  automaton = stops.build_automaton([], _TOKENS, vocab_size=_VOCAB_SIZE)
  assert automaton.table_AV.shape == (1, 1)
  state = stops.initial_state(8, stops.StopRules(stop_id=_STOP_ID, window=0))
  assert state.recent.shape == state.runs.shape == (8, 0)


def test_many_states_are_wider_integers():
  string = "ab" * 20_000
  automaton = stops.build_automaton([string], [b"ab", b"b"], vocab_size=2)
  assert automaton.table_AV.dtype == np.int32
  state = 0
  for _ in range(20_000):
    assert state < 40_000
    state = automaton.table_AV[state, 0]
  assert state == 40_000 == len(automaton.table_AV) - 1


def test_wrong_strings_are_usage_errors():
  with pytest.raises(UsageError, match="empty"):
    stops.build_automaton(["a", ""], _TOKENS, vocab_size=_VOCAB_SIZE)
  with pytest.raises(UsageError, match="13 tokens .* 12"):
    stops.build_automaton(["a"], _TOKENS, vocab_size=12)
