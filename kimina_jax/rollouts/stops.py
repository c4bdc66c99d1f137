"""Stop conditions: stop token, stop strings, length and repetition.

In: the token that each slot drew, and the state of its response so far. Out:
the next state and a code, 0 while the response is unfinished. It runs on the
device, one token at a time; the host rebuilds the same state from tokens
(`replay`). There is no text on the device: stop strings are compiled to a
transition table over automaton states and tokens beforehand.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kimina_jax.types import UsageError

# The stop reasons by code.
STOPS = ("", "stop", "string", "length", "repetition")
_STOP, _STRING, _LENGTH, _REPETITION = range(1, len(STOPS))

# The longest period, in tokens, at which a response counts as repetition.
PERIOD = 64


@dataclasses.dataclass(frozen=True)
class StopRules:
  """Stop conditions besides stop strings; static under jit.

  Attributes:
    stop_id: the token that ends a response.
    window: a response ends when its last `window` tokens repeat with a period
      of at most PERIOD that fits into them twice; 0 turns the detection off.
  """

  stop_id: int
  window: int

  @property
  def num_periods(self) -> int:
    """U: the periods that are looked for are 1 to U."""
    return min(PERIOD, self.window // 2)


@dataclasses.dataclass(frozen=True, eq=False)
class StopAutomaton:
  """Finite automaton that finds stop strings in a stream of tokens.

  Attributes:
    strings: the stop strings.
    table_AV: int16 or int32, the state after a token, given the state before.
      State 0 is that of an empty response; the last state means that a string
      has been found, and is never left. Without strings the table is [[0]].
  """

  strings: tuple[str, ...]
  table_AV: np.ndarray


class StopState(NamedTuple):
  """State of the stop conditions of B responses; int32.

  Attributes:
    automaton_state: [B], of the automaton that finds stop strings.
    recent: [B, U], the last U tokens, newest first; -1 where there is none.
    runs: [B, U], how many of the newest tokens in a row equal the one u = 1…U
      before them.
  """

  automaton_state: Any
  recent: Any
  runs: Any


def build_automaton(
  strings: Sequence[str], token_bytes: Sequence[bytes], *, vocab_size: int
) -> StopAutomaton:
  """Compiles stop strings to a transition table over tokens.

  Strings are found across tokens and inside one, by the automaton over bytes
  of Aho & Corasick (1975, Efficient string matching). States are the prefixes
  of the strings: the longest one with which the response ends.

  Args:
    strings: texts that end a response; any number, none of them empty.
    token_bytes: bytes of each token, see `Tokenizer.token_bytes`.
    vocab_size: V of the model; tokens beyond `token_bytes` have no text and
      do not change the state.

  Raises:
    UsageError: a string is empty, or there are more tokens than V.
  """
  if "" in strings:
    raise UsageError(f"stop strings {list(strings)}: one of them is empty")
  if len(token_bytes) > vocab_size:
    raise UsageError(
      f"{len(token_bytes)} tokens of the tokenizer are more than the "
      f"{vocab_size} of the model"
    )
  if not strings:
    return StopAutomaton((), np.zeros((1, 1), np.int16))
  bytes_A256 = _byte_table([string.encode() for string in strings])
  dtype = np.int16 if len(bytes_A256) < 2**15 else np.int32
  table_AV = np.empty((len(bytes_A256), vocab_size), dtype)
  table_AV[:] = np.arange(len(bytes_A256))[:, None]
  table_AV[:, : len(token_bytes)] = _follow(
    bytes_A256.astype(dtype), token_bytes
  )
  return StopAutomaton(tuple(strings), table_AV)


def initial_state(num_responses: int, rules: StopRules) -> StopState:
  """The state of responses without a token."""
  shape = (num_responses, rules.num_periods)
  return StopState(
    automaton_state=jnp.zeros(num_responses, jnp.int32),
    recent=jnp.full(shape, -1, jnp.int32),
    runs=jnp.zeros(shape, jnp.int32),
  )


def update_stop_state(
  state: StopState,
  tokens_B: jax.Array,
  num_drawn_B: jax.Array,
  max_len_B: jax.Array,
  *,
  rules: StopRules,
  table_AV: jax.Array,
) -> tuple[StopState, jax.Array]:
  """Updates the state with one token per response.

  Args:
    state: before the token.
    tokens_B: int32 [B], the tokens just drawn.
    num_drawn_B: int32 [B], tokens of the response, this one included.
    max_len_B: int32 [B], the response ends with its token of that number.
    rules: static.
    table_AV: of the automaton.

  Returns:
    The state after the token, and why the response ends with it: int32 [B],
    an index of STOPS. Of several reasons the first in STOPS counts.
  """
  state_B, string_B = state.automaton_state, jnp.zeros(tokens_B.shape, bool)
  if table_AV.shape[0] > 1:
    state_B = table_AV[state_B, tokens_B].astype(jnp.int32)
    string_B = state_B == table_AV.shape[0] - 1
  same_BU = state.recent == tokens_B[:, None]
  runs_BU = jnp.where(same_BU, state.runs + 1, 0)
  shifted_BU = jnp.concatenate([tokens_B[:, None], state.recent], axis=-1)
  # A window has period u if each of its tokens from number u on equals the one
  # u before it.
  needed_U = rules.window - 1 - np.arange(rules.num_periods, dtype=np.int32)
  code_B = jnp.select(
    [
      tokens_B == rules.stop_id,
      string_B,
      num_drawn_B >= max_len_B,
      jnp.any(runs_BU >= needed_U[None], axis=-1),
    ],
    [jnp.int32(code) for code in (_STOP, _STRING, _LENGTH, _REPETITION)],
    jnp.int32(0),
  )
  return StopState(state_B, shifted_BU[:, : rules.num_periods], runs_BU), code_B


def replay(
  tokens: np.ndarray, *, rules: StopRules, automaton: StopAutomaton
) -> StopState:
  """The state after the tokens int [length] of one response, on the host.

  Returns:
    NumPy int32 arrays, without the dim B: a scalar, [U] and [U].
  """
  tokens = np.asarray(tokens, np.int32)
  state = 0
  if automaton.strings:
    for token in tokens.tolist():
      state = automaton.table_AV[state, token]
  newest = tokens[::-1]
  recent_U = np.full(rules.num_periods, -1, np.int32)
  known = newest[: rules.num_periods]
  recent_U[: len(known)] = known
  runs_U = np.zeros(rules.num_periods, np.int32)
  for i in range(min(rules.num_periods, len(tokens) - 1)):
    differs = newest[: -1 - i] != newest[1 + i :]
    runs_U[i] = differs.argmax() if differs.any() else len(differs)
  return StopState(np.int32(state), recent_U, runs_U)


def cut(text: str, strings: Sequence[str]) -> str:
  """The text before the stop string in it, or all of it if there is none.

  The string is the one complete first, and of those complete at once the
  longest: which it is does not depend on how the text was cut into tokens.
  """
  starts = {string: text.find(string) for string in strings}
  spans = [
    (place + len(string), place)
    for string, place in starts.items()
    if place >= 0
  ]
  return text[: min(spans)[1]] if spans else text


def _byte_table(patterns: list[bytes]) -> np.ndarray:
  """The state after a byte, given the state before: int64 [A, 256]."""
  children, ends = _trie(patterns)
  next_A256 = np.zeros((len(children), 256), np.int64)
  # Failure links: the state of the longest proper suffix of a state. Its row
  # holds the transitions for the bytes on which the state itself has no child,
  # so it has to be filled first.
  failure = [0] * len(children)
  queue = collections.deque([0])
  while queue:
    state = queue.popleft()
    row_256 = next_A256[failure[state]].copy()
    for byte, child in children[state].items():
      failure[child] = row_256[byte]
      row_256[byte] = child
      queue.append(child)
    # A pattern is found, too, where it is a suffix of a prefix of another one.
    ends[state] |= ends[failure[state]]
    next_A256[state] = row_256
  return _merge(next_A256, np.array(ends))


def _trie(patterns: list[bytes]) -> tuple[list[dict[int, int]], list[bool]]:
  """Children of each state by byte, and whether a pattern ends in it."""
  children: list[dict[int, int]] = [{}]
  ends = [False]
  for pattern in patterns:
    state = 0
    for byte in pattern:
      if byte not in children[state]:
        children[state][byte] = len(children)
        children.append({})
        ends.append(False)
      state = children[state][byte]
    ends[state] = True
  return children, ends


def _merge(next_A256: np.ndarray, seen_A: np.ndarray) -> np.ndarray:
  """Merges all states in which a pattern is found into one last state."""
  num_kept = np.count_nonzero(~seen_A)
  new_A = np.where(seen_A, num_kept, np.cumsum(~seen_A) - 1)
  kept_A256 = new_A[next_A256[~seen_A]]
  return np.concatenate([kept_A256, np.full((1, 256), num_kept)])


def _follow(bytes_A256: np.ndarray, token_bytes: Sequence[bytes]) -> np.ndarray:
  """The state after all bytes of each token: [A, number of tokens]."""
  sizes = np.array([len(text) for text in token_bytes], np.int64)
  starts = np.cumsum(sizes) - sizes
  text = np.frombuffer(b"".join(token_bytes), np.uint8)
  # Longest first, so that the tokens with more than i bytes are the first ones.
  order = np.argsort(-sizes, kind="stable")
  num_left = np.searchsorted(-sizes[order], -np.arange(max(sizes, default=0)))
  table_AV = np.empty((len(bytes_A256), len(sizes)), bytes_A256.dtype)
  for state, next_V in enumerate(table_AV):
    states = np.full(len(sizes), state, bytes_A256.dtype)
    for i, count in enumerate(num_left):
      read = text[starts[order[:count]] + i]
      states[:count] = bytes_A256[states[:count], read]
    next_V[order] = states
  return table_AV
