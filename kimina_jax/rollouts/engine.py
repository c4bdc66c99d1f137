"""Continuous batching over pages: prompts in, rollouts out as each one ends.

In: weights in decode layout and prompts. Out: a stream of Rollouts. B lanes
decode side by side, and twice as many rollouts are resident, so that a lane
whose rollout ends goes on with the next at once, on the device. Between two
dispatches the host plans (schedule.py), and reads what the dispatch before the
last one drew: while it works, and while its caller does, the device is busy.

A replica is a group of devices that share one copy of the weights. In a job of
several processes each runs an engine on its own replicas and answers every
n-th prompt, without a word to the others; rows are numbered through the job.
Processes that share a replica run the same schedule on the same traces.

A row's random numbers depend on nothing but seed, iteration and row; its
company can change its logits in the last bit, where sums have another order.
Between two calls of `generate` the engine holds no device memory. It never
verifies and never trains.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jax.sharding import Mesh

from kimina_jax.infra import mesh as meshes
from kimina_jax.model.config import ModelConfig
from kimina_jax.rollouts import checks, programs, stops
from kimina_jax.rollouts.generation import Generation, Setup, Tokenizer, Watch
from kimina_jax.rollouts.pages import num_pages, pages_of_cache
from kimina_jax.rollouts.sequence import resume_row, start_rows
from kimina_jax.rollouts.settings import RolloutSettings
from kimina_jax.rollouts.state import Limits, Sizes
from kimina_jax.rollouts.weights import local_part
from kimina_jax.types import Prompt, Rollout

T = TypeVar("T")


class Engine:
  """Owns the compiled programs of one model, mesh and way of drawing.

  Attributes:
    replicas: mesh of the whole job's replicas, where weights are to come from.
    group: the processes that share this one's replicas.
    stats: what the last call of `generate` did so far, see `Generation`.
  """

  def __init__(
    self,
    config: ModelConfig,
    tokenizer: Tokenizer,
    mesh: Mesh,
    settings: RolloutSettings,
  ):
    """Compiles nothing yet: that happens at first use and is logged.

    Args:
      config: of the model.
      tokenizer: for the stop token and the text of a rollout.
      mesh: of the whole job, however its axes are cut.
      settings: how to draw, and with how much memory.

    Raises:
      UsageError: lanes that the replicas do not divide, or replicas that the
        processes do not, or a model that the settings do not fit.
    """
    checks.check_model(config, tokenizer, settings.tensor)
    self.replicas = meshes.replica_mesh(mesh, tensor=settings.tensor)
    self.group = meshes.process_group(self.replicas)
    self.stats: dict[str, float] = {}
    self._settings = settings
    self._setup = _make_setup(
      config,
      tokenizer,
      settings,
      local=meshes.local_mesh(self.replicas),
      num_lanes=checks.slots_each(self.replicas, settings.num_slots),
      is_alone=self.group.size == 1,
    )

  def share(self, items: Sequence[T]) -> Sequence[T]:
    """What of the job's prompts falls to this process, and its group."""
    return items[self.group.index :: self.group.count]

  def generate(
    self,
    params: dict[str, Any],
    prompts: Sequence[Prompt],
    *,
    num_per_prompt: int,
    seed: int,
    iteration: int,
    begun: Sequence[Rollout] = (),
    max_lens: Sequence[int] | None = None,
    max_tokens: int = 0,
    poll: Callable[[], None] = lambda: None,
    watch: Watch | None = None,
  ) -> Generation:
    """Yields num_per_prompt rollouts of each prompt, as each one ends.

    In a job of several processes, those of every n-th prompt from the
    process's own number on. What the caller does between two rollouts runs
    beside the device. The iterator may be dropped at any point.

    Args:
      params: in decode layout and compute dtype on `replicas`, see weights.py.
        Not to be donated before the iterator is exhausted.
      prompts: rollout j of prompt i has index i × num_per_prompt + j.
      num_per_prompt: R, rollouts of each prompt, at least 1.
      seed: in [0, 2³²).
      iteration: in [0, 2³²), of the run; draws differ between iterations.
      begun: unfinished rollouts of earlier iterations, to go on with first;
        this process takes all that it is given.
      max_lens: tokens of the response at most, by index; None is
        max_response_len for all.
      max_tokens: when so many tokens are drawn, by this process, what is not
        finished is yielded as it is, to be carried over; 0 is no end.
      poll: called between dispatches; may raise to end it all.
      watch: told of the new tokens of each row after each dispatch.

    Raises:
      UsageError: a prompt is longer than max_prompt_len.
      FloatingPointError: later, for a rollout that is not finite.
    """
    for prompt in prompts:
      checks.check_prompt(prompt, self._settings.max_prompt_len)
    longest = self._settings.max_response_len
    count = len(prompts) * num_per_prompt
    lens = checks.lens_of(max_lens, longest, count=count)
    groups = [[resume_row(rollout, longest)] for rollout in begun]
    mine = self.share(range(len(prompts)))
    groups += start_rows(
      prompts,
      mine,
      num_per_prompt=num_per_prompt,
      iteration=iteration,
      max_lens=lens,
    )
    return Generation(
      self._setup,
      local_part(params, self._setup.mesh),
      groups,
      seed=seed,
      max_tokens=max_tokens,
      poll=poll,
      watch=watch,
      stats=self.stats,
    )


def _make_setup(
  config: ModelConfig,
  tokenizer: Tokenizer,
  settings: RolloutSettings,
  *,
  local: Mesh,
  num_lanes: int,
  is_alone: bool,
) -> Setup:
  """What all calls share; lanes are those of each of the local replicas."""
  limits = Limits(
    temperature=settings.temperature,
    top_p=settings.top_p,
    top_k=settings.top_k,
    min_p=settings.min_p,
    rules=stops.Rules(tokenizer.stop_id, settings.repetition_window),
    num_steps=settings.steps_per_dispatch,
  )
  sizes = Sizes(
    num_replicas=local.shape["data"],
    num_residents=2 * num_lanes,
    num_pages=pages_of_cache(
      settings.cache_tokens,
      page_size=settings.page_size,
      longest=settings.max_sequence_len,
      num_slots=num_lanes,
    ),
    page_size=settings.page_size,
    cache_dtype=settings.cache_dtype,
  )
  automaton = stops.build_automaton(
    tuple(settings.stop_strings),
    tokenizer.token_bytes() if settings.stop_strings else [],
    vocab_size=config.vocab_size,
  )
  return Setup(
    mesh=local,
    programs=programs.make_programs(config, local, limits=limits, sizes=sizes),
    limits=limits,
    sizes=sizes,
    table_len=num_pages(settings.max_sequence_len, settings.page_size),
    num_lanes=num_lanes,
    num_chunks=max(1, settings.chunk_tokens // settings.page_size),
    tokenizer=tokenizer,
    automaton=automaton,
    is_alone=is_alone,
  )
