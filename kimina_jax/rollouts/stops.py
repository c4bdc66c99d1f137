"""Why a rollout ends: decided on the device, one token at a time.

In: each slot's next token, and the state that its response left so far. Out:
the next state and a code, 0 while the response goes on. The host rebuilds the
same state from tokens (`replay`). Never looks at text on the device: stop
strings become a table over states and tokens beforehand. Q counts the states
of that table, X the values of a byte, P the periods of a repetition.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from kimina_jax.types import UsageError

# The reasons by code.
STOPS = ("", "stop", "string", "length", "repetition")
_STOP, _STRING, _LENGTH, _REPETITION = range(1, len(STOPS))

# The longest period, in tokens, at which a response counts as repetition.
PERIOD = 64


@dataclasses.dataclass(frozen=True)
class Rules:
  """What ends every rollout; static.

  Attributes:
    stop_id: the token that ends a response.
    window: a rollout ends when its last `window` tokens repeat with a period
      of at most PERIOD that fits into them twice; 0 never looks.
  """

  stop_id: int
  window: int

  @property
  def num_periods(self) -> int:
    """P: a response is watched for the periods 1 to P."""
    return min(PERIOD, self.window // 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Automaton:
  """Finds stop strings in a stream of tokens.

  Attributes:
    strings: what is looked for.
    next_QV: int16 or int32, the state after a token, given the one before. 0
      is where a response starts; in the last state a string has been seen,
      and nothing leads out of it. Without strings it is [[0]].
  """

  strings: tuple[str, ...]
  next_QV: np.ndarray


class StopState(NamedTuple):
  """What B responses so far leave to be known; int32.

  Attributes:
    state_B: of the automaton.
    recent_BP: the last P tokens, newest first; -1 where there is none.
    runs_BP: how many of the newest tokens in a row equal the one p = 1…P
      before them.
  """

  state_B: Any
  recent_BP: Any
  runs_BP: Any


def build_automaton(
  strings: Sequence[str], token_bytes: Sequence[bytes], *, vocab_size: int
) -> Automaton:
  """The table over tokens of Aho and Corasick's automaton over bytes.

  Strings are found across tokens and inside one (Aho & Corasick 1975,
  Efficient string matching). States are the beginnings of the strings; each
  stands for the longest one with which the response ends.

  Args:
    strings: what ends a response; any number, none of them empty.
    token_bytes: what each token stands for, see `Tokenizer.token_bytes`.
    vocab_size: V of the model; tokens beyond `token_bytes` have no text and
      leave the state alone.

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
    return Automaton((), np.zeros((1, 1), np.int16))
  bytes_QX = _byte_table([string.encode() for string in strings])
  dtype = np.int16 if len(bytes_QX) < 2**15 else np.int32
  next_QV = np.empty((len(bytes_QX), vocab_size), dtype)
  next_QV[:] = np.arange(len(bytes_QX))[:, None]
  next_QV[:, : len(token_bytes)] = _follow(bytes_QX.astype(dtype), token_bytes)
  return Automaton(tuple(strings), next_QV)


def start(num_rows: int, rules: Rules) -> StopState:
  """The state of responses without a token yet."""
  shape_BP = (num_rows, rules.num_periods)
  return StopState(
    state_B=jnp.zeros(num_rows, jnp.int32),
    recent_BP=jnp.full(shape_BP, -1, jnp.int32),
    runs_BP=jnp.zeros(shape_BP, jnp.int32),
  )


def advance(
  state: StopState,
  tokens_B: jax.Array,
  num_drawn_B: jax.Array,
  max_len_B: jax.Array,
  *,
  rules: Rules,
  table: jax.Array,
) -> tuple[StopState, jax.Array]:
  """Takes one token per response.

  Args:
    state: before the token.
    tokens_B: int32 [B], the tokens just drawn.
    num_drawn_B: int32 [B], tokens of the response, this one included.
    max_len_B: int32 [B], the response ends with its token of that number.
    rules: static.
    table: `Automaton.next_QV`.

  Returns:
    The state after the token, and why the response ends with it: int32 [B],
    an index of STOPS. Of several reasons the first in STOPS counts.
  """
  state_B, string_B = state.state_B, jnp.zeros(tokens_B.shape, bool)
  if table.shape[0] > 1:
    state_B = table[state_B, tokens_B].astype(jnp.int32)
    string_B = state_B == table.shape[0] - 1
  same_BP = state.recent_BP == tokens_B[:, None]
  runs_BP = jnp.where(same_BP, state.runs_BP + 1, 0)
  shifted_BP = jnp.concatenate([tokens_B[:, None], state.recent_BP], axis=-1)
  # A window of period p is one whose tokens from number p on equal the one p
  # before them.
  needed_P = rules.window - 1 - np.arange(rules.num_periods, dtype=np.int32)
  code_B = jnp.select(
    [
      tokens_B == rules.stop_id,
      string_B,
      num_drawn_B >= max_len_B,
      jnp.any(runs_BP >= needed_P[None], axis=-1),
    ],
    [jnp.int32(code) for code in (_STOP, _STRING, _LENGTH, _REPETITION)],
    jnp.int32(0),
  )
  return StopState(state_B, shifted_BP[:, : rules.num_periods], runs_BP), code_B


def replay(
  tokens: np.ndarray, *, rules: Rules, automaton: Automaton
) -> StopState:
  """The state after the tokens int [length] of one response, on the host.

  Returns:
    NumPy int32 arrays, without the B: a scalar, [P] and [P].
  """
  tokens = np.asarray(tokens, np.int32)
  state = 0
  if automaton.strings:
    for token in tokens.tolist():
      state = automaton.next_QV[state, token]
  newest = tokens[::-1]
  recent_P = np.full(rules.num_periods, -1, np.int32)
  known = newest[: rules.num_periods]
  recent_P[: len(known)] = known
  runs_P = np.zeros(rules.num_periods, np.int32)
  for i in range(min(rules.num_periods, len(tokens) - 1)):
    differs = newest[: -1 - i] != newest[1 + i :]
    runs_P[i] = differs.argmax() if differs.any() else len(differs)
  return StopState(np.int32(state), recent_P, runs_P)


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
  """int64 [Q, 256]: the state after a byte, given the one before."""
  children, ends = _trie(patterns)
  next_QX = np.zeros((len(children), 256), np.int64)
  # The state of a state's longest proper ending. Its row answers for the bytes
  # on which the state itself has no child, so it has to be filled before.
  falls = [0] * len(children)
  queue = collections.deque([0])
  while queue:
    state = queue.popleft()
    row_X = next_QX[falls[state]].copy()
    for byte, child in children[state].items():
      falls[child] = row_X[byte]
      row_X[byte] = child
      queue.append(child)
    # A pattern has been seen too when it ends what another one begins with.
    ends[state] |= ends[falls[state]]
    next_QX[state] = row_X
  return _merge(next_QX, np.array(ends))


def _trie(patterns: list[bytes]) -> tuple[list[dict[int, int]], list[bool]]:
  """Children of each state by byte, and whether a pattern ends in it."""
  children, ends = [{}], [False]
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


def _merge(next_QX: np.ndarray, seen_Q: np.ndarray) -> np.ndarray:
  """The table with one last state, never left, for all that have seen one."""
  num_kept = np.count_nonzero(~seen_Q)
  new_Q = np.where(seen_Q, num_kept, np.cumsum(~seen_Q) - 1)
  kept_QX = new_Q[next_QX[~seen_Q]]
  return np.concatenate([kept_QX, np.full((1, 256), num_kept)])


def _follow(bytes_QX: np.ndarray, token_bytes: Sequence[bytes]) -> np.ndarray:
  """[Q, number of tokens]: the state after all bytes of each token."""
  sizes = np.array([len(text) for text in token_bytes], np.int64)
  starts = np.cumsum(sizes) - sizes
  text = np.frombuffer(b"".join(token_bytes), np.uint8)
  # Longest first: the tokens that have a byte number i are the first ones.
  order = np.argsort(-sizes, kind="stable")
  num_left = np.searchsorted(-sizes[order], -np.arange(max(sizes, default=0)))
  next_QV = np.empty((len(bytes_QX), len(sizes)), bytes_QX.dtype)
  for state, next_V in enumerate(next_QV):
    states = np.full(len(sizes), state, bytes_QX.dtype)
    for i, count in enumerate(num_left):
      read = text[starts[order[:count]] + i]
      states[:count] = bytes_QX[states[:count], read]
    next_V[order] = states
  return next_QV
