"""One call of the sampler, from the first prompt to the last rollout.

In: rows in groups, weights, compiled programs. Out: Rollouts, as each ends.
Each turn plans a dispatch, starts it, and reads the one before it. It owns the
devices' state, which goes with it. Never compiles more than a few shapes: all
lanes with or without chunks, and fewer lanes for when few rows are left.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from kimina_jax.infra import interruption
from kimina_jax.infra import mesh as meshes
from kimina_jax.rollouts import stops
from kimina_jax.rollouts.orders import make_orders
from kimina_jax.rollouts.programs import Programs
from kimina_jax.rollouts.scheduler import Schedule
from kimina_jax.rollouts.sequence import Row
from kimina_jax.rollouts.state import Limits, Sizes, Trace
from kimina_jax.rollouts.stops import Automaton
from kimina_jax.types import Rollout

# Lanes of a dispatch: all, or so many times fewer, unless those are very few.
_PARTS = (1, 8)
_MIN_LANES = 4

Watch = Callable[[int, np.ndarray], None]


class Tokenizer(Protocol):
  """What the engine asks of a tokenizer."""

  vocab_size: int
  stop_id: int

  def decode(self, ids: np.ndarray) -> str: ...

  def token_bytes(self) -> list[bytes]: ...


@dataclasses.dataclass(frozen=True)
class Setup:
  """What all calls of one engine share.

  Attributes:
    mesh: the replicas that this process takes part in.
    programs: compiled for them.
    limits: how to draw, when to stop.
    sizes: of the devices' state.
    table_len: J, pages of the longest sequence.
    num_lanes: of each replica.
    num_chunks: pages of prompts that go along with a dispatch.
    tokenizer: for the text of a rollout.
    automaton: finds stop strings.
    is_alone: whether no other process shares the replicas.
  """

  mesh: Mesh
  programs: Programs
  limits: Limits
  sizes: Sizes
  table_len: int
  num_lanes: int
  num_chunks: int
  tokenizer: Tokenizer
  automaton: Automaton
  is_alone: bool


class Generation(Iterator[Rollout]):
  """Rollouts as they end; may be dropped at any point."""

  def __init__(
    self,
    setup: Setup,
    params: dict[str, Any],
    groups: list[list[Row]],
    *,
    seed: int,
    max_tokens: int,
    poll: Callable[[], None],
    watch: Watch | None,
    stats: dict[str, float],
  ):
    """Starts nothing yet.

    Args:
      setup: of the engine.
      params: in decode layout, the part of this process.
      groups: rows, those of a group with a common prompt.
      seed: of the draws.
      max_tokens: see Engine.generate.
      poll: called once a turn; may raise.
      watch: told a row's number and its new tokens.
      stats: is filled in while it runs:
        dispatches: programs started.
        tokens: drawn.
        lane_use: tokens, of what the steps of all lanes could have drawn.
        prefix_computed: tokens of prompts computed.
        prefix_found: tokens of prompts that were in the cache.
        preempted: rollouts whose pages others needed.
        peak_pages: most pages in use on a replica.
    """
    self._setup, self._params = setup, params
    self._groups = collections.deque(groups)
    self._left = sum(map(len, groups))
    self._max_tokens, self._poll, self._watch = max_tokens, poll, watch
    self._stats = stats
    self._num_tokens = self._num_steps = self._num_dispatches = 0
    self._schedules = [
      Schedule(
        num_lanes=setup.num_lanes,
        num_residents=setup.sizes.num_residents,
        num_pages=setup.sizes.num_pages,
        page_size=setup.sizes.page_size,
        num_steps=setup.limits.num_steps,
        num_chunks=setup.num_chunks,
      )
      for _ in range(setup.sizes.num_replicas)
    ]
    parts = {-(-setup.num_lanes // part) for part in _PARTS}
    self._widths = sorted(w for w in parts if w >= _MIN_LANES)
    self._rows = {(row.iteration, row.index): row for g in groups for row in g}
    self._constants = self._put((np.uint32(seed), setup.automaton.next_QV), "")
    self._state: Any = None
    self._asked = ""
    self._traces: collections.deque[tuple[Trace, int]] = collections.deque()
    self._ended: collections.deque[Row] = collections.deque()
    self._note()

  def __next__(self) -> Rollout:
    while not self._ended:
      if not self._left:
        self.close()
        raise StopIteration
      self._turn()
    self._left -= 1
    return self._rollout(self._ended.popleft())

  def cancel(self, index: int, *, iteration: int) -> None:
    """Ends a rollout; it is yielded once, as it is, if it had not ended.

    Args:
      index: of the rollout.
      iteration: the iteration in which it began.

    Raises:
      KeyError: there is no such rollout.
    """
    found = self._rows[iteration, index]
    if not found.stop:
      self._remove(found, "cancelled")

  def close(self) -> None:
    """Lets go of the devices' memory; what has not ended is lost."""
    self._left = 0
    self._state = self._params = None
    self._traces.clear()

  def _turn(self) -> None:
    """Plans and starts a dispatch, then reads the one before it."""
    self._listen()
    self._feed()
    is_work = any(s.line or s.num_resident for s in self._schedules)
    if is_work:
      self._dispatch()
    if self._traces and (not is_work or len(self._traces) > 1):
      self._collect()
    self._note()

  def _feed(self) -> None:
    """Schedules whose lines are short take the next groups, in turns."""
    hungry = [s for s in self._schedules if s.is_hungry]
    while hungry and self._groups:
      for schedule in hungry:
        if self._groups:
          schedule.join(self._groups.popleft())
      hungry = [s for s in hungry if s.is_hungry]

  def _dispatch(self) -> None:
    setup = self._setup
    if self._state is None:
      self._state = self._call(setup.programs.start, self._params)
      self._params = self._call(setup.programs.prepare, self._params)
    plans = [schedule.plan() for schedule in self._schedules]
    num_chunks = setup.num_chunks if any(p.chunks for p in plans) else 0
    most = max(len(plan.tables) for plan in plans)
    wide = [w for w in self._widths if w >= most and not num_chunks]
    num_lanes = wide[0] if wide else setup.num_lanes
    orders = make_orders(
      plans,
      sizes=setup.sizes,
      table_len=setup.table_len,
      num_chunks=num_chunks,
      rules=setup.limits.rules,
      automaton=setup.automaton,
    )
    self._state, trace = self._call(
      setup.programs.dispatch,
      self._params,
      self._state,
      self._put(orders, "B"),
      *self._constants,
      meshes.put_flag(setup.mesh, bool(self._asked)),
      num_lanes=num_lanes,
    )
    self._num_dispatches += 1
    self._traces.append((trace, num_lanes))

  def _collect(self) -> None:
    """Takes in the oldest trace that is out."""
    trace, num_lanes = self._traces.popleft()
    trace = jax.device_get(trace)
    if trace.asked:
      raise interruption.Interrupted(self._asked or "asked to, elsewhere")
    none = self._setup.sizes.num_residents
    used_T = (trace.resident_TEB != none).any(axis=(1, 2))
    self._num_steps += int(used_T.sum()) * num_lanes * len(self._schedules)
    for index, schedule in enumerate(self._schedules):
      mine = Trace(
        *(x[:, index] for x in trace[:4]), trace.code_ER[index], trace.asked
      )
      drew, ended = schedule.collect(mine)
      self._ended += ended
      for row in drew:
        self._num_tokens += len(row.pieces[-1][0])
        if self._watch:
          self._watch(row.index, row.pieces[-1][0])
    if 0 < self._max_tokens <= self._num_tokens:
      self._stop_all("budget")

  def _stop_all(self, stop: str) -> None:
    """Everybody who has not ended is to end."""
    while self._groups:
      for row in self._groups.popleft():
        row.stop = stop
        self._ended.append(row)
    for row in self._rows.values():
      if not (row.stop or row.leave):
        self._remove(row, stop)

  def _remove(self, row: Row, stop: str) -> None:
    for group in self._groups:
      if row in group:
        group.remove(row)
        if not group:
          self._groups.remove(group)
        row.stop = stop
        self._ended.append(row)
        return
    for schedule in self._schedules:
      if schedule.remove(row, stop):
        self._ended.append(row)
        return

  def _listen(self) -> None:
    """Lets the caller's poll raise; in all processes of a replica at once.

    Alone at once. Who shares its replicas says so with the next dispatch, and
    all of them stop when they read that one's trace.
    """
    try:
      self._poll()
    except interruption.Interrupted as reason:
      if self._setup.is_alone:
        raise
      self._asked = str(reason)

  def _call(self, program: Any, *args: Any, **static: Any) -> Any:
    """Runs a program in the engine's mesh, which no yield may leak."""
    with jax.set_mesh(self._setup.mesh):
      return program(*args, **static)

  def _put(self, tree: Any, dims: str) -> Any:
    """Host arrays onto the mesh, one letter per dim that is split."""
    where = meshes.sharding(
      self._setup.mesh, dims, meshes.ACTIVATIONS["decode"]
    )
    return meshes.put(tree, where)

  def _note(self) -> None:
    schedules = self._schedules
    self._stats.update(
      dispatches=self._num_dispatches,
      tokens=self._num_tokens,
      lane_use=self._num_tokens / max(1, self._num_steps),
      prefix_computed=sum(s.num_computed for s in schedules),
      prefix_found=sum(s.num_found for s in schedules),
      preempted=sum(s.num_preempted for s in schedules),
      peak_pages=max(s.pages.peak for s in schedules),
    )

  def _rollout(self, row: Row) -> Rollout:
    """What the caller sees of a row that ended."""
    tokens = row.response
    if row.stop == "stop":
      tokens = tokens[:-1]
    text = self._setup.tokenizer.decode(tokens)
    if row.stop == "string":
      text = stops.cut(text, self._setup.automaton.strings)
    rollout = row.rollout(text)
    if not np.isfinite(rollout.model_logps).all():
      raise FloatingPointError(
        f"rollout {row.index} ({row.prompt.problem.name}): log-probabilities"
        " are not finite, so the weights or the activations are not"
      )
    return rollout
