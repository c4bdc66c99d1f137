"""Continuous batching: prompts in, rollouts out as each one ends.

In: weights in decode layout and prompts. Out: a stream of Rollouts. B slots
decode side by side. Between two dispatches the host looks, hands slots that
ended to the next rows in line, and yields what ended once the device is busy
again. Each prompt is prefilled once, and its keys are copied to the slots of
its rollouts; a prefill is kept until the last of them has its slot.

A replica is a group of devices that share one copy of the weights. In a job of
several processes each runs an engine on its own replicas and answers every
n-th prompt, without a word to the others; rows are numbered through the job.

The schedule depends on prompts and drawn tokens alone, never on time. A row's
random numbers depend on nothing but seed, step and row; its company can change
its logits in the last bit, where another shape adds up in another order.
Between two calls of `generate` the engine holds no device memory. It never
verifies and never trains.
"""

import collections
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from kimina_jax.infra import distributed
from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.rollouts import cache as caches
from kimina_jax.rollouts import programs
from kimina_jax.rollouts.schedule import Prefilled, Row, collect, seat
from kimina_jax.rollouts.weights import local_part
from kimina_jax.types import Prompt, Rollout, UsageError

# Bounds the activations of one prefill, whatever the number of slots.
_PREFILL_TOKENS = 16_384


class Tokenizer(Protocol):
  """What the engine asks of a tokenizer."""

  vocab_size: int
  stop_id: int

  def decode(self, ids: np.ndarray) -> str: ...


class Engine:
  """Owns the compiled programs of one model, mesh and way of drawing.

  Attributes:
    replicas: mesh of the whole job's replicas, where weights are to come from.
  """

  def __init__(
    self,
    config: ModelConfig,
    tokenizer: Tokenizer,
    mesh: Mesh,
    *,
    tensor: int,
    max_prompt_len: int,
    max_response_len: int,
    temperature: float,
    top_p: float,
    num_slots: int,
    steps_per_dispatch: int,
  ):
    """Compiles nothing yet: that happens at first use and is logged.

    Args:
      config: of the model.
      tokenizer: for the stop token and the text of a rollout.
      mesh: of the whole job, however its axes are cut.
      tensor: devices of one replica, over which its heads are split.
      max_prompt_len: tokens; a longer prompt is an error.
      max_response_len: tokens, the stop token included.
      temperature: of the draws; 0 takes the most likely token.
      top_p: mass of the nucleus, in (0, 1].
      num_slots: B of the whole job, a multiple of the replicas.
      steps_per_dispatch: tokens per slot between two looks of the host.

    Raises:
      UsageError: a value out of range, slots that replicas do not divide, or a
        replica that spans several processes.
    """
    _check_positive(
      tensor=tensor,
      max_prompt_len=max_prompt_len,
      max_response_len=max_response_len,
      num_slots=num_slots,
      steps_per_dispatch=steps_per_dispatch,
    )
    _check_sampling(temperature, top_p)
    _check_model(config, tokenizer, tensor)
    self.replicas = meshes.replica_mesh(mesh, tensor=tensor)
    self._mesh = meshes.local_mesh(self.replicas)
    self._num_replicas = self._mesh.shape["data"]
    self._num_slots = self._num_replicas * _slots_each(self.replicas, num_slots)
    self._tokenizer = tokenizer
    self._max_prompt_len = max_prompt_len
    self._num_steps = steps_per_dispatch
    self._cache_len = caches.cache_len(max_prompt_len, max_response_len)
    limits = programs.Limits(
      temperature=temperature,
      top_p=top_p,
      stop_id=tokenizer.stop_id,
      max_response_len=max_response_len,
      num_steps=steps_per_dispatch,
    )
    self._programs = self._make_programs(config, limits)

  def generate(
    self,
    params: dict[str, Any],
    prompts: Sequence[Prompt],
    *,
    num_per_prompt: int,
    seed: int,
    step: int,
    poll: Callable[[], None] = lambda: None,
  ) -> Iterator[Rollout]:
    """Yields num_per_prompt rollouts of each prompt, as each one ends.

    In a job of several processes, those of every n-th prompt from the
    process's own number on.

    What the caller does between two rollouts runs beside the device. The
    iterator may be dropped at any point.

    Args:
      params: in decode layout and compute dtype on `replicas`, see weights.py.
        Not to be donated before the iterator is exhausted.
      prompts: rollout j of prompt i is row i × num_per_prompt + j.
      num_per_prompt: R, rollouts of each prompt, at least 1.
      seed: in [0, 2³²).
      step: in [0, 2³²), the iteration; draws differ between steps.
      poll: called between dispatches; may raise to end it all.

    Raises:
      UsageError: a prompt is longer than max_prompt_len.
      FloatingPointError: later, for a rollout that is not finite.
    """
    for prompt in prompts:
      _check_prompt(prompt, self._max_prompt_len)
    numbers = distributed.share(range(len(prompts)))
    rows = collections.deque(
      Row(number * num_per_prompt + attempt, index, prompts[number])
      for index, number in enumerate(numbers)
      for attempt in range(num_per_prompt)
    )
    params = local_part(params, self._mesh)
    num_prefilled = self._num_prefilled(num_per_prompt)
    seeds = self._put(np.array([seed, step], np.uint32), "")
    return self._run(params, rows, seeds, num_prefilled, poll=poll)

  def _run(
    self,
    params: dict[str, Any],
    waiting: collections.deque[Row],
    seeds: jax.Array,
    num_prefilled: int,
    *,
    poll: Callable[[], None],
  ) -> Iterator[Rollout]:
    table: list[Row | None] = [None] * self._num_slots
    slots, prefilled, ended = self._call(self._programs.start), None, []
    while waiting or any(table):
      poll()
      while waiting and None in table:
        if prefilled is None or waiting[0].index >= prefilled.end:
          prefilled = self._prefill_next(params, waiting, num_prefilled)
        admission = seat(table, waiting, prefilled)
        slots = self._call(
          self._programs.admit,
          slots,
          prefilled.cache,
          self._put(admission, "B"),
        )
      slots, trace = self._call(
        self._programs.decode, params, slots, seeds, kv_len=self._kv_len(table)
      )
      # The device is at work: time for the host, and for the caller's.
      yield from map(self._rollout, ended)
      # Looking one dispatch late instead would leave each ended slot idle for
      # a whole dispatch, which costs more than the gap that it closes.
      ended = collect(table, jax.device_get(trace))
    yield from map(self._rollout, ended)

  def _make_programs(
    self, config: ModelConfig, limits: programs.Limits
  ) -> programs.Programs:
    return programs.make_programs(
      config,
      self._mesh,
      limits=limits,
      num_slots=self._num_slots,
      cache_len=self._cache_len,
    )

  def _call(self, program: Any, *args: Any, **static: Any) -> Any:
    """Runs a program in the engine's mesh, which no yield may leak."""
    with jax.set_mesh(self._mesh):
      return program(*args, **static)

  def _put(self, tree: Any, dims: str) -> Any:
    """Host arrays onto the mesh, one letter per dim that is split."""
    return jax.device_put(
      tree,
      meshes.sharding(self._mesh, dims, meshes.ACTIVATIONS["decode"]),
    )

  def _prefill_next(
    self,
    params: dict[str, Any],
    waiting: collections.deque[Row],
    num_prompts: int,
  ) -> Prefilled:
    """Prefills the next prompts in line, in one of a few shapes."""
    first = waiting[0].index
    batch = {}
    for row in waiting:
      batch[row.index] = row.prompt.tokens
      if len(batch) == num_prompts:
        break
    length = caches.bucket(max(map(len, batch.values())), self._cache_len)
    tokens_PT = np.zeros((num_prompts, length), np.int32)
    for index, tokens in batch.items():
      tokens_PT[index - first, : len(tokens)] = tokens
    cache = self._call(
      self._programs.prefill, params, self._put(tokens_PT, "BT")
    )
    return Prefilled(cache, first, first + len(batch))

  def _num_prefilled(self, num_per_prompt: int) -> int:
    """P: prompts that fill the slots, if a prefill of that size is bearable."""
    wanted = min(
      -(-self._num_slots // num_per_prompt),
      max(1, _PREFILL_TOKENS // self._max_prompt_len),
    )
    return caches.round_up(wanted, self._num_replicas)

  def _kv_len(self, table: list[Row | None]) -> int:
    """Positions that the next dispatch reads, for its longest row."""
    longest = max(row.position for row in table if row)
    return caches.bucket(longest + self._num_steps, self._cache_len)

  def _rollout(self, row: Row) -> Rollout:
    """What the caller sees of a row that ended."""
    tokens, logps, model_logps = map(
      np.concatenate, zip(*row.pieces, strict=True)
    )
    if not np.isfinite(model_logps).all():
      raise FloatingPointError(
        f"row {row.row} ({row.prompt.problem.name}): log-probabilities are not"
        " finite, so the weights or the activations are not"
      )
    stopped = tokens[-1] == self._tokenizer.stop_id
    return Rollout(
      prompt=row.prompt,
      row=row.row,
      tokens=tokens,
      logps=logps,
      model_logps=model_logps,
      text=self._tokenizer.decode(tokens[:-1] if stopped else tokens),
      stop="stop" if stopped else "length",
    )


def _check_positive(**sizes: int) -> None:
  for name, size in sizes.items():
    if size < 1:
      raise UsageError(f"rollouts.{name} is {size}; it must be at least 1")


def _check_sampling(temperature: float, top_p: float) -> None:
  if not 0 <= temperature < math.inf:
    raise UsageError(
      f"rollouts.temperature is {temperature}; choose 0 (most likely token)"
      " or a positive number"
    )
  if not 0 < top_p <= 1:
    raise UsageError(
      f"rollouts.top_p is {top_p}; choose a mass above 0 and at most 1"
    )


def _slots_each(replicas: Mesh, num_slots: int) -> int:
  """The slots of one replica."""
  num_replicas = replicas.shape["data"]
  if num_slots % num_replicas:
    raise UsageError(
      f"rollouts.num_slots is {num_slots}, which the {num_replicas} replicas of"
      f" rollouts.tensor = {replicas.shape['tensor']} devices do not divide;"
      f" choose a multiple of {num_replicas}"
    )
  return num_slots // num_replicas


def _check_model(
  config: ModelConfig, tokenizer: Tokenizer, tensor: int
) -> None:
  if tokenizer.vocab_size > config.vocab_size:
    raise UsageError(
      f"the tokenizer has {tokenizer.vocab_size} tokens, model {config.name}"
      f" {config.vocab_size}; choose the tokenizer of this model"
    )
  sizes = {
    "kv heads": config.num_kv_heads,
    "query heads": config.num_q_heads,
    "ffn units": config.ffn_dim,
    "vocabulary": config.vocab_size,
  }
  faults = [f"{size} {what}" for what, size in sizes.items() if size % tensor]
  if faults:
    raise UsageError(
      f"rollouts.tensor = {tensor} does not divide {', '.join(faults)} of model"
      f" {config.name}; choose a common divisor"
    )


def _check_prompt(prompt: Prompt, max_prompt_len: int) -> None:
  if len(prompt.tokens) > max_prompt_len:
    raise UsageError(
      f"the prompt of problem {prompt.problem.name!r} has"
      f" {len(prompt.tokens)} tokens, rollouts.max_prompt_len is"
      f" {max_prompt_len}; raise it or leave the problem out"
    )
