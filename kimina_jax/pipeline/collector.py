"""The experience collector: samples and verifies rollouts, and rewards them.

Training, evaluation and the command `prove` share it. Each rollout goes to the
checker as soon as it ends, while the engine samples the others. In a job of
several processes each one samples and verifies its own part of the problems;
then all processes gather all samples.

In: the policy's weights and problems. Out: samples with rewards, and with a
budget of tokens the partial groups. It never changes the policy.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import logging

from kimina_jax.infra import distributed, interruption
from kimina_jax.pipeline.partial_rollouts import PartialGroup, split_groups
from kimina_jax.pipeline.setup import Setup
from kimina_jax.rewards.reward import make_sample
from kimina_jax.rollouts.engine import Engine, GenerationStream, OnTokens
from kimina_jax.types import (
  Problem,
  Rollout,
  Sample,
  Status,
  UsageError,
)
from kimina_jax.verification.extract import extract
from kimina_jax.verification.pool import VerificationPool, wait_for_verdict
from kimina_jax.verification.stats import failure_alarm, merge_stats

Progress = Callable[..., None]  # (phase, *, done, total)

# With a budget of tokens an iteration may end with a single rollout, so one
# lost verdict is no error; this many in a row are.
_MAX_UNVERIFIED = 8


class ExperienceCollector:
  """Owns the sampling engine and the pool of checker processes.

  Attributes:
    engine: the sampling engine.
    pool: the checker processes.
    stats: metrics of the last call of `collect`, of all processes together:
      `checker/…`, see VerificationPool.stats, and `sampler/…`, see
      GenerationStream.stats.
  """

  def __init__(self, setup: Setup):
    """Starts the pool; programs are compiled in the first `collect`."""
    experiment = setup.experiment
    self._make_prompt = setup.prompt
    self._reward = experiment.reward
    self.engine = Engine(
      setup.model, setup.tokenizer, setup.mesh, experiment.rollouts
    )
    self.pool = VerificationPool(experiment.checker)
    self.stats: dict[str, float] = {}
    self._num_unverified = 0  # in a row, up to the last rollout
    logging.info(
      "checker %s (%s), isolation %s",
      self.pool.backend.name,
      self.pool.backend.toolchain,
      self.pool.isolation,
    )

  def collect(
    self,
    params: dict,
    problems: Sequence[Problem],
    *,
    num_per_problem: int,
    seed: int,
    iteration: int,
    progress: Progress,
    carried_over: Sequence[PartialGroup] = (),
    max_tokens: int = 0,
    confirm: bool = False,
    on_tokens: OnTokens | None = None,
  ) -> tuple[list[Sample], list[PartialGroup]]:
    """Samples and verifies k rollouts of each problem, and rewards them.

    Args:
      params: weights in the decode layout.
      problems: statements to prove.
      num_per_problem: k, rollouts of each problem.
      seed: the run's seed.
      iteration: with the seed and the rollout's index it determines the
        rollout's random numbers.
      progress: called for every rollout that ended.
      carried_over: partial groups that the previous iteration left. Their
        unfinished rollouts are continued before new ones begin.
      max_tokens: about how many tokens all processes together sample before
        unfinished rollouts are left as they are; 0 finishes all rollouts.
      confirm: whether the second verifier must confirm each proof.
      on_tokens: called with the new tokens of each rollout, see
        Engine.generate.

    Returns:
      The samples of complete groups in the order in which they began, all k of
      the first problem, then of the next; and the partial groups.

    Raises:
      Interrupted: SIGTERM or SIGINT arrived, in all processes at once; nothing
        has changed.
      UsageError: the checker gave no verdict on any rollout.
    """
    engine = self.engine
    prompts = [self._make_prompt(problem) for problem in problems]
    continued = [
      r for group in engine.share(carried_over) for r in group.unfinished
    ]
    rollouts = engine.generate(
      params,
      prompts,
      num_per_prompt=num_per_problem,
      seed=seed,
      iteration=iteration,
      unfinished=continued,
      max_tokens=-(-max_tokens // engine.process_group.count),
      poll=interruption.check,
      on_tokens=on_tokens,
    )
    total = len(engine.share(prompts)) * num_per_problem + len(continued)
    samples, unfinished = self._gather(
      rollouts, total=total, progress=progress, confirm=confirm
    )
    self._check_verified(samples, least=_MAX_UNVERIFIED if max_tokens else 1)
    return split_groups(
      carried_over, samples, unfinished, num_per_problem=num_per_problem
    )

  def _gather(
    self,
    rollouts: GenerationStream,
    *,
    total: int,
    progress: Progress,
    confirm: bool,
  ) -> tuple[list[Sample], list[Rollout]]:
    """Verifies this process's rollouts and gathers those of all processes.

    Args:
      rollouts: those of the processes that share replicas with this one. They
        all iterate over the same rollouts; each takes every n-th one.
      total: number of these rollouts.
      progress: see `collect`.
      confirm: see `collect`.
    """
    process_group = self.engine.process_group
    mine = itertools.islice(
      rollouts, process_group.rank, None, process_group.size
    )
    num_mine = len(range(process_group.rank, total, process_group.size))
    try:
      samples, unfinished = self._sample_and_verify(
        mine, total=num_mine, progress=progress, confirm=confirm
      )
    except interruption.Interrupted:
      # The work of the other processes is discarded too: all stop below.
      samples, unfinished = [], []
    distributed.agree_to_stop()
    counts = rollouts.stats if total and not process_group.rank else {}
    parts = distributed.gather((samples, unfinished, self.pool.stats(), counts))
    all_checks = merge_stats([checks for _, _, checks, _ in parts])
    alarm = failure_alarm(all_checks)
    if alarm:
      logging.error("%s", alarm)
    self.stats = {
      **_prefixed("checker/", all_checks),
      **_prefixed("sampler/", _merge_counts([c for *_, c in parts if c])),
    }
    return (
      [sample for part in parts for sample in part[0]],
      [rollout for part in parts for rollout in part[1]],
    )

  def _sample_and_verify(
    self,
    rollouts: Iterable[Rollout],
    *,
    total: int,
    progress: Progress,
    confirm: bool,
  ) -> tuple[list[Sample], list[Rollout]]:
    """Submits each rollout when it ends, then waits for the verdicts.

    `rollouts` is lazy: each `next` of it samples until a rollout ends, while
    the checker works on those before.

    Returns:
      Samples of the finished rollouts, and the unfinished rollouts.
    """
    submitted, unfinished = [], []
    for rollout in rollouts:
      if rollout.finished:
        extraction = extract(rollout.text)
        verdict = self.pool.submit(
          rollout.prompt.problem, extraction, confirm=confirm
        )
        submitted.append((rollout, extraction, verdict))
      else:
        unfinished.append(rollout)
      done = len(submitted) + len(unfinished)
      progress("sampling", done=done, total=total)
    samples = []
    for rollout, extraction, verdict in submitted:
      samples.append(
        make_sample(
          rollout,
          extraction,
          wait_for_verdict(verdict, interruption.check),
          self._reward,
        )
      )
      progress("verifying", done=len(samples), total=len(submitted))
    return samples, unfinished

  def _check_verified(self, samples: Sequence[Sample], *, least: int) -> None:
    """Raises UsageError if the checker does not work.

    A run would otherwise continue without a reward. Counts the rollouts
    without a verdict since the last verdict.

    Args:
      samples: the samples of this call.
      least: number of rollouts in a row without a verdict that is an error.
    """
    verdicts = [sample.verdict for sample in samples]
    failed = [v for v in verdicts if v.status is Status.INFRA_ERROR]
    if len(failed) < len(verdicts):
      self._num_unverified = 0
      return
    self._num_unverified += len(failed)
    if failed and self._num_unverified >= least:
      raise UsageError(
        f"no verdict on any of {self._num_unverified} rollouts: "
        f"{failed[0].detail.rstrip('.; ')}. Run "
        "`kimina check --doctor` with the same settings"
      )

  def close(self) -> None:
    """Ends the checker processes."""
    self.pool.close()

  def __enter__(self) -> "ExperienceCollector":
    return self

  def __exit__(self, *exc_info: object) -> None:
    self.close()


def _merge_counts(stats: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Merges the sampler statistics of the process groups.

  Counts are summed; `peak_pages` is the maximum, and `slot_utilization` is
  computed anew.
  """
  if not stats:
    return {}
  merged = {name: sum(one[name] for one in stats) for name in stats[0]}
  # Slots × decode steps, the denominator of slot_utilization.
  capacity = sum(
    one["tokens"] / one["slot_utilization"]
    for one in stats
    if one["slot_utilization"]
  )
  return {
    **merged,
    "slot_utilization": merged["tokens"] / capacity if capacity else 0.0,
    "peak_pages": max(one["peak_pages"] for one in stats),
  }


def _prefixed(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
  return {prefix + name: float(value) for name, value in values.items()}
