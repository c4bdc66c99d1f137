"""The sampling engine: continuous batching over a paged KV cache.

In: weights in decode layout and prompts. Out: a stream of Rollouts, each as it
ends. Between two dispatches the host plans the next one (scheduler.py) and
reads the outputs of the dispatch before the last one, so that the device is
busy while the host and the caller work.

A replica is a group of devices that share one copy of the weights. In a job of
several processes each runs an engine on its own replicas and samples every n-th
prompt, without communication; rollouts are numbered through the job. Processes
that share a replica run the same schedule on the same outputs.

The random numbers of a rollout depend on nothing but seed, iteration and index.
The other sequences of the batch can change its logits in the last bit, where
sums have another order. Between two calls of `generate` the engine holds no
device memory. It never verifies and never trains.
"""

import collections
from collections import abc
from typing import Any, Protocol, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from kimina_jax.infra import interruption
from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.rollouts import stops
from kimina_jax.rollouts.device_state import (
  DeviceState,
  DispatchOutputs,
  make_inputs,
)
from kimina_jax.rollouts.programs import make_programs
from kimina_jax.rollouts.resharding import local_part
from kimina_jax.rollouts.scheduler import Scheduler
from kimina_jax.rollouts.sequence import (
  Sequence,
  new_sequences,
  resume_sequence,
)
from kimina_jax.rollouts.settings import (
  RolloutSettings,
  check_model,
  engine_sizes,
)
from kimina_jax.types import Prompt, Rollout, UsageError

T = TypeVar("T")

OnTokens = abc.Callable[[int, np.ndarray], None]


class EngineTokenizer(Protocol):
  """The part of a tokenizer that the engine needs."""

  vocab_size: int
  stop_id: int

  def decode(self, ids: np.ndarray) -> str: ...

  def token_bytes(self) -> list[bytes]: ...


class Engine:
  """Compiled sampling programs for one model, mesh and RolloutSettings.

  Attributes:
    replicas: mesh of the whole job's replicas; the weights have to be on it.
    process_group: the processes that share this process's replicas.
    mesh: the replicas of this process.
    settings: how to sample, and with how much memory.
    sizes: of each replica.
    stop_rules: when responses end.
    automaton: finds stop strings.
    programs: compiled for `mesh` at first use.
    tokenizer: decodes responses.
  """

  def __init__(
    self,
    config: ModelConfig,
    tokenizer: EngineTokenizer,
    mesh: Mesh,
    settings: RolloutSettings,
  ):
    """Compiles nothing yet: that happens at first use and is logged.

    Args:
      config: of the model.
      tokenizer: for the stop token and the text of a rollout.
      mesh: of the whole job, whatever its axes are.
      settings: how to sample, and with how much memory.

    Raises:
      UsageError: the settings do not fit the model, the replicas do not divide
        the slots, or the processes do not fit the replicas.
    """
    check_model(settings, config, num_tokens=tokenizer.vocab_size)
    self.replicas = meshes.replica_mesh(mesh, tensor=settings.tensor)
    self.process_group = meshes.process_group(self.replicas)
    self.mesh = meshes.local_mesh(self.replicas)
    self.settings, self.tokenizer = settings, tokenizer
    self.sizes = engine_sizes(
      settings, num_replicas=self.replicas.shape["data"]
    )
    self.stop_rules = stops.StopRules(
      tokenizer.stop_id, settings.repetition_window
    )
    self.automaton = stops.build_automaton(
      tuple(settings.stop_strings),
      tokenizer.token_bytes() if settings.stop_strings else [],
      vocab_size=config.vocab_size,
    )
    self.programs = make_programs(
      config,
      self.mesh,
      settings=settings,
      sizes=self.sizes,
      stop_rules=self.stop_rules,
    )

  def share(self, items: abc.Sequence[T]) -> abc.Sequence[T]:
    """The part of the job's prompts that this process group samples."""
    return items[self.process_group.index :: self.process_group.count]

  def generate(
    self,
    params: dict[str, Any],
    prompts: abc.Sequence[Prompt],
    *,
    num_per_prompt: int,
    seed: int,
    iteration: int,
    unfinished: abc.Sequence[Rollout] = (),
    max_tokens: int = 0,
    poll: abc.Callable[[], None] = lambda: None,
    on_tokens: OnTokens | None = None,
  ) -> "GenerationStream":
    """Samples num_per_prompt rollouts of each prompt.

    In a job of several processes, those of every n-th prompt from the index of
    the process group on. What the caller does between two rollouts overlaps
    with the device. The iterator may be dropped at any point.

    Args:
      params: in decode layout and compute dtype on `replicas`, see
        resharding.py. They must not be donated before the iterator is
        exhausted.
      prompts: rollout j of prompt i has index i × num_per_prompt + j.
      num_per_prompt: rollouts of each prompt, at least 1.
      seed: in [0, 2³²).
      iteration: in [0, 2³²), of the run; draws differ between iterations.
      unfinished: rollouts carried over from earlier iterations, which are
        continued first; this process continues all that it is given.
      max_tokens: after this process has drawn so many tokens, the unfinished
        rollouts are yielded as they are (stop_reason "budget"); 0 is no limit.
      poll: called between dispatches; may raise to end the call.
      on_tokens: called with the index of a rollout and its new tokens after
        each dispatch.

    Raises:
      UsageError: a prompt is longer than max_prompt_len.
      FloatingPointError: from the iterator, for a rollout whose
        log-probabilities are not finite.
    """
    for prompt in prompts:
      _check_prompt(prompt, self.settings.max_prompt_len)
    max_len = self.settings.max_response_len
    resumed = [[resume_sequence(rollout, max_len)] for rollout in unfinished]
    new = new_sequences(
      prompts,
      self.share(range(len(prompts))),
      num_per_prompt=num_per_prompt,
      iteration=iteration,
      max_len=max_len,
    )
    return self.run(
      params,
      resumed + new,
      seed=seed,
      max_tokens=max_tokens,
      poll=poll,
      on_tokens=on_tokens,
    )

  def run(
    self,
    params: dict[str, Any],
    groups: abc.Iterable[list[Sequence]],
    *,
    seed: int,
    max_tokens: int = 0,
    poll: abc.Callable[[], None] = lambda: None,
    on_tokens: OnTokens | None = None,
  ) -> "GenerationStream":
    """Samples sequences; as `generate`, which makes them of prompts.

    Args:
      params: as in `generate`.
      groups: sequences of this process, in groups of one prompt each. They
        must be new, and are changed.
      seed: as in `generate`.
      max_tokens: as in `generate`.
      poll: as in `generate`.
      on_tokens: as in `generate`.
    """
    return GenerationStream(
      self,
      local_part(params, self.mesh),
      groups,
      seed=seed,
      max_tokens=max_tokens,
      poll=poll,
      on_tokens=on_tokens,
    )


class GenerationStream(abc.Iterator[Rollout]):
  """Iterator over the rollouts of one `Engine.generate`, each as it ends.

  Each turn plans a dispatch, starts it, and reads the outputs of the one
  before it. It owns the devices' state, which is freed with it. It compiles a
  few shapes at most: all slots with and without chunks, and the smaller
  dispatch widths.
  """

  def __init__(
    self,
    engine: Engine,
    params: dict[str, Any],
    groups: abc.Iterable[list[Sequence]],
    *,
    seed: int,
    max_tokens: int,
    poll: abc.Callable[[], None],
    on_tokens: OnTokens | None,
  ):
    """Starts nothing yet; the arguments are those of `Engine.run`."""
    self._engine = engine
    self._params: dict[str, Any] | None = params
    self._groups = collections.deque(groups)
    self._sequences = [s for group in self._groups for s in group]
    self._num_left = len(self._sequences)
    self._max_tokens, self._poll = max_tokens, poll
    self._on_tokens = on_tokens
    self._schedulers = [
      Scheduler(engine.sizes) for _ in range(engine.mesh.shape["data"])
    ]
    self._constants = self._put(
      (np.uint32(seed), engine.automaton.table_AV), ""
    )
    self._state: DeviceState | None = None
    self._interruption = ""
    # Outputs of the dispatches in flight, and how many slots each has.
    self._in_flight: collections.deque[tuple[DispatchOutputs, int]] = (
      collections.deque()
    )
    self._ended: collections.deque[Sequence] = collections.deque()
    self._num_tokens = self._num_slot_steps = self._num_dispatches = 0

  @property
  def stats(self) -> dict[str, float]:
    """Counts so far, of this process's replicas.

    dispatches: programs started.
    tokens: drawn.
    slot_utilization: tokens / (slots × decode steps), in [0, 1].
    prompt_tokens_computed: by prefill.
    prompt_tokens_cached: found in the prefix cache instead.
    preemptions: sequences evicted because pages ran short.
    peak_pages: largest number of pages in use on a replica.
    """
    schedulers = self._schedulers
    return {
      "dispatches": self._num_dispatches,
      "tokens": self._num_tokens,
      "slot_utilization": self._num_tokens / max(1, self._num_slot_steps),
      "prompt_tokens_computed": sum(s.num_computed for s in schedulers),
      "prompt_tokens_cached": sum(s.num_cached for s in schedulers),
      "preemptions": sum(s.num_preempted for s in schedulers),
      "peak_pages": max(s.pages.peak for s in schedulers),
    }

  def __next__(self) -> Rollout:
    while not self._ended:
      if not self._num_left:
        self.close()
        raise StopIteration
      self._turn()
    self._num_left -= 1
    return self._to_rollout(self._ended.popleft())

  def close(self) -> None:
    """Frees the device memory; unfinished sequences are lost."""
    self._num_left = 0
    self._state = self._params = None
    self._in_flight.clear()

  def _turn(self) -> None:
    """Plans and starts a dispatch, then reads the one before it."""
    self._check_interruption()
    self._fill_queues()
    has_work = any(scheduler.has_work for scheduler in self._schedulers)
    if has_work:
      self._start_dispatch()
    if self._in_flight and (not has_work or len(self._in_flight) > 1):
      self._read_outputs()

  def _fill_queues(self) -> None:
    """Adds groups to the schedulers whose queues are short, round robin."""
    short = [s for s in self._schedulers if s.has_queue_room]
    while short and self._groups:
      for scheduler in short:
        if self._groups:
          scheduler.add(self._groups.popleft())
      short = [s for s in short if s.has_queue_room]

  def _start_dispatch(self) -> None:
    """Plans the next dispatch of all replicas and starts it."""
    engine = self._engine
    if self._state is None:
      self._state = self._call(engine.programs.start, self._params)
    plans = [scheduler.plan() for scheduler in self._schedulers]
    num_chunks = engine.sizes.num_chunks if any(p.chunks for p in plans) else 0
    num_running = max(len(plan.block_tables) for plan in plans)
    num_slots = engine.sizes.num_slots
    if not num_chunks:
      widths = [w for w in engine.sizes.dispatch_widths if w >= num_running]
      num_slots = min(widths, default=num_slots)
    inputs = make_inputs(
      plans,
      sizes=engine.sizes,
      num_chunks=num_chunks,
      stop_rules=engine.stop_rules,
      automaton=engine.automaton,
    )
    self._state, outputs = self._call(
      engine.programs.dispatch,
      self._params,
      self._state,
      self._put(inputs, "R"),
      *self._constants,
      meshes.put_flag(engine.mesh, bool(self._interruption)),
      num_slots=num_slots,
    )
    self._num_dispatches += 1
    self._in_flight.append((outputs, num_slots))

  def _read_outputs(self) -> None:
    """Waits for the oldest dispatch in flight and processes its outputs."""
    outputs, num_slots = self._in_flight.popleft()
    outputs = jax.device_get(outputs)
    if outputs.stop_requested:
      reason = self._interruption or "another process was asked to stop"
      raise interruption.Interrupted(reason)
    none = self._engine.sizes.num_running
    num_steps = int((outputs.sequence != none).any(axis=(1, 2)).sum())
    self._num_slot_steps += num_steps * num_slots * len(self._schedulers)
    for replica, scheduler in enumerate(self._schedulers):
      drew, ended = scheduler.process_outputs(outputs.of_replica(replica))
      self._ended += ended
      for sequence in drew:
        tokens_T = sequence.outputs[-1][0]
        self._num_tokens += len(tokens_T)
        if self._on_tokens:
          self._on_tokens(sequence.index, tokens_T)
    if 0 < self._max_tokens <= self._num_tokens:
      self._stop_all("budget")

  def _stop_all(self, reason: str) -> None:
    """Ends all unfinished sequences."""
    for group in self._groups:
      for sequence in group:
        sequence.stop_reason = reason
        self._ended.append(sequence)
    self._groups.clear()
    for sequence in self._sequences:
      if not (sequence.stop_reason or sequence.abort_reason):
        # A scheduler that does not have the sequence only marks it.
        if any(s.abort(sequence, reason) for s in self._schedulers):
          self._ended.append(sequence)

  def _check_interruption(self) -> None:
    """Lets the caller's poll raise, in all processes of a replica at once.

    A process that shares no replica raises here. The others pass the request
    on with the next dispatch, and all of them raise when they read its outputs.
    """
    try:
      self._poll()
    except interruption.Interrupted as reason:
      if self._engine.process_group.size == 1:
        raise
      self._interruption = str(reason)

  def _call(self, program: Any, *args: Any, **static: Any) -> Any:
    """Calls a program with the engine's mesh set, for this call only.

    A mesh that stayed set over a `yield` would become the caller's.
    """
    with jax.set_mesh(self._engine.mesh):
      return program(*args, **static)

  def _put(self, tree: Any, dims: str) -> Any:
    """Host arrays on the mesh; `dims` are the letters of their leading dims."""
    where = meshes.sharding(
      self._engine.mesh, dims, meshes.ACTIVATIONS["decode"]
    )
    return meshes.put(tree, where)

  def _to_rollout(self, sequence: Sequence) -> Rollout:
    """The rollout of a sequence that ended, with its text."""
    tokens = sequence.response
    if sequence.stop_reason == "stop":
      tokens = tokens[:-1]
    text = self._engine.tokenizer.decode(tokens)
    if sequence.stop_reason == "string":
      text = stops.cut(text, self._engine.automaton.strings)
    rollout = sequence.to_rollout(text)
    if not np.isfinite(rollout.model_logps).all():
      raise FloatingPointError(
        f"rollout {sequence.index} ({sequence.prompt.problem.name}):"
        " log-probabilities are not finite, so the weights or the activations"
        " are not"
      )
    return rollout


def _check_prompt(prompt: Prompt, max_prompt_len: int) -> None:
  if len(prompt.tokens) > max_prompt_len:
    raise UsageError(
      f"the prompt of problem {prompt.problem.name!r} has"
      f" {len(prompt.tokens)} tokens, rollouts.max_prompt_len is"
      f" {max_prompt_len}; raise it or leave the problem out"
    )
