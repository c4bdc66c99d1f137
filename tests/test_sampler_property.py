"""Ten thousand random requests through one engine.

They differ in the lengths of prompts and responses, begin alike or not, and
are ended by the stop token, a stop string, their own limit, or the budget of a
call, after which they are continued in the next one; and the cache holds a
fraction of the pages of all running sequences.
"""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from tiny_sampler import (
  CONFIG,
  STOP_ID,
  LetterTokenizer,
  draw_params,
  make_engine,
  one_device,
)

from kimina_jax.model.transformer import forward, unembed
from kimina_jax.rollouts.sequence import new_sequences, resume_sequence
from kimina_jax.types import Problem, Prompt, Rollout

NUM_CALLS, NUM_PROMPTS, PER_PROMPT = 5, 500, 4
MAX_PROMPT_LEN, MAX_RESPONSE_LEN = 20, 24
BUDGET, NUM_SLOTS, NUM_PAGES, PAGE_SIZE = 14_000, 48, 120, 4
STRINGS = ("M", "NO")
ROWS_AT_ONCE = 250


@dataclasses.dataclass
class _Requests:
  """All requests so far, by iteration and row.

  Attributes:
    limits: tokens of a response at most.
    begun: rollouts that the last call did not finish.
    ended: finished rollouts.
    num_preempted: how often pages ran short.
  """

  limits: dict[tuple[int, int], int] = dataclasses.field(default_factory=dict)
  begun: list[Rollout] = dataclasses.field(default_factory=list)
  ended: list[Rollout] = dataclasses.field(default_factory=list)
  num_preempted: int = 0


def test_ten_thousand_requests():
  rng, requests = np.random.default_rng(0), _Requests()
  for iteration in range(NUM_CALLS):
    is_last = iteration == NUM_CALLS - 1
    _call(
      requests, rng, iteration=iteration, max_tokens=0 if is_last else BUDGET
    )
    assert is_last == (not requests.begun)
  ended = requests.ended
  assert len(ended) == len(set(map(_name, ended))) == 10_000
  for rollout in ended:
    _check_end(rollout, requests)
  _check_log_probs(ended)
  # What these requests are there for did happen.
  stops = collections.Counter(rollout.stop_reason for rollout in ended)
  assert set(stops) == {"stop", "string", "length"}
  assert min(stops.values()) > 100 and requests.num_preempted > 50
  assert sum(rollout.num_carried > 0 for rollout in ended) > 30


def _call(requests: _Requests, rng, *, iteration: int, max_tokens: int) -> None:
  """One call of the engine, with a limit of its own for each rollout."""
  engine, count = _engine(), NUM_PROMPTS * PER_PROMPT
  lens = rng.integers(1, MAX_RESPONSE_LEN + 1, count).tolist()
  new = new_sequences(
    _prompts(rng),
    range(NUM_PROMPTS),
    num_per_prompt=PER_PROMPT,
    iteration=iteration,
    max_len=lens,
  )
  # Continued rollouts may become as long as the longest.
  old = [[resume_sequence(r, MAX_RESPONSE_LEN)] for r in requests.begun]
  rollouts = engine.run(
    draw_params(one_device()), old + new, seed=7, max_tokens=max_tokens
  )
  limits = {(iteration, index): length for index, length in enumerate(lens)}
  limits |= {_name(rollout): MAX_RESPONSE_LEN for rollout in requests.begun}
  requests.limits |= limits
  found = list(rollouts)
  assert sorted(map(_name, found)) == sorted(limits)
  for scheduler in rollouts._schedulers:
    assert not scheduler.has_work and scheduler.pages.num_free == NUM_PAGES
  requests.begun = [rollout for rollout in found if not rollout.finished]
  requests.ended += [rollout for rollout in found if rollout.finished]
  requests.num_preempted += rollouts.stats["preemptions"]


def _engine():
  return make_engine(
    max_prompt_len=MAX_PROMPT_LEN,
    max_response_len=MAX_RESPONSE_LEN,
    num_slots=NUM_SLOTS,
    steps_per_dispatch=4,
    page_size=PAGE_SIZE,
    cache_tokens=NUM_PAGES * PAGE_SIZE,
    chunk_tokens=64,
    stop_strings=STRINGS,
  )


def _prompts(rng) -> list[Prompt]:
  """Every other one begins as others do."""
  stem, prompts = rng.integers(4, 64, MAX_PROMPT_LEN), []
  for number in range(NUM_PROMPTS):
    tokens = rng.integers(4, 64, rng.integers(1, MAX_PROMPT_LEN + 1))
    if number % 2:
      common = rng.integers(len(tokens))
      tokens[:common] = stem[:common]
    problem = Problem(f"problem_{number}", "", "")
    prompts.append(Prompt(problem, "", tokens.astype(np.int32)))
  return prompts


def _name(rollout: Rollout) -> tuple[int, int]:
  return rollout.iteration, rollout.index


def _check_end(rollout: Rollout, requests: _Requests) -> None:
  """Its stop reason is right, and no reason held before its last token."""
  name, length = _name(rollout), len(rollout.tokens)
  limit = requests.limits[name]
  reasons = [_why(rollout.tokens[: n + 1], limit) for n in range(length)]
  assert rollout.stop_reason == reasons[-1] and not any(reasons[:-1])
  assert len(rollout.logps) == len(rollout.model_logps) == length


def _why(tokens: np.ndarray, limit: int) -> str:
  text = LetterTokenizer().decode(tokens[-2:])
  if tokens[-1] == STOP_ID:
    return "stop"
  if text.endswith(STRINGS):
    return "string"
  return "length" if len(tokens) == limit else ""


def _check_log_probs(rollouts: list[Rollout]) -> None:
  """Of every token, by forwards without a cache."""
  params, longest = draw_params(one_device()), MAX_PROMPT_LEN + MAX_RESPONSE_LEN
  positions_BT = np.tile(np.arange(longest, dtype=np.int32), (ROWS_AT_ONCE, 1))
  for start in range(0, len(rollouts), ROWS_AT_ONCE):
    some = rollouts[start : start + ROWS_AT_ONCE]
    tokens_BT = np.zeros((ROWS_AT_ONCE, longest + 1), np.int32)
    for tokens_T, rollout in zip(tokens_BT, some, strict=True):
      whole = np.concatenate((rollout.prompt.tokens, rollout.tokens))
      tokens_T[: len(whole)] = whole
    with jax.set_mesh(one_device()):
      logp_BT = np.asarray(_score(params, tokens_BT, positions_BT))
    for logp_T, rollout in zip(logp_BT, some, strict=True):
      first = len(rollout.prompt.tokens) - 1
      want = logp_T[first : first + len(rollout.tokens)]
      np.testing.assert_allclose(rollout.model_logps, want, atol=1e-4)
      np.testing.assert_array_equal(rollout.logps, rollout.model_logps)


@jax.jit
def _score(params, tokens_BT, positions_BT):
  """[B, T]: log-probability of token t + 1, given those before it."""
  hidden_BTD, _ = forward(params, CONFIG, tokens_BT[:, :-1], positions_BT)
  logp_BTV = jax.nn.log_softmax(unembed(params, CONFIG, hidden_BTD))
  next_BT1 = tokens_BT[:, 1:, None]
  return jnp.take_along_axis(logp_BTV, next_BT1, axis=-1)[..., 0]
