"""A policy with its checker: problems in, judged samples out.

The half of the pipeline that training, evaluation and a single proof share.
Each rollout goes to the checker as soon as it ends, while others are still
being written; one that a budget of tokens leaves unfinished goes on another
time. In a job of several processes each samples and checks its own part of the
problems, and at the end all of them hold all samples. It never changes the
policy.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import logging

from kimina_jax.infra import distributed, interruption
from kimina_jax.pipeline.partial_rollouts import Group, sort_out
from kimina_jax.pipeline.setup import Job
from kimina_jax.prompts.template import make_prompt
from kimina_jax.rewards.reward import RewardSettings, score
from kimina_jax.rollouts.engine import Engine
from kimina_jax.rollouts.settings import RolloutSettings
from kimina_jax.types import Problem, Rollout, Sample, Status, UsageError
from kimina_jax.verification.extract import extract
from kimina_jax.verification.pool import VerificationPool
from kimina_jax.verification.settings import CheckerSettings
from kimina_jax.verification.stats import failure_alarm, merge_stats

Progress = Callable[..., None]  # (phase, *, done, total)


class Prover:
  """Owns the decoding slots on the devices and the checker's processes.

  Attributes:
    engine: samples.
    pool: checks.
    stats: of the last attempt, in all processes: `checker/…`, see
      VerificationPool.stats, and `sampler/…`, see Generation.
  """

  def __init__(self, job: Job):
    """Starts the checker's processes; compiles at the first attempt."""
    self._tokenizer = job.tokenizer
    self._reward = RewardSettings(**job.config.reward)
    self.engine = Engine(
      job.model, job.tokenizer, job.mesh, RolloutSettings(**job.config.rollouts)
    )
    self.pool = VerificationPool(CheckerSettings(**job.config.checker))
    self.stats: dict[str, float] = {}
    logging.info(
      "checker %s (%s), isolation %s",
      *(self.pool.backend.name, self.pool.backend.toolchain),
      self.pool.isolation,
    )

  def attempt(
    self,
    params: dict,
    problems: Sequence[Problem],
    *,
    num_per_problem: int,
    seed: int,
    step: int,
    progress: Progress,
    carried: Sequence[Group] = (),
    max_tokens: int = 0,
    confirm: bool = False,
  ) -> tuple[list[Sample], list[Group]]:
    """Samples, checks and scores proofs.

    Args:
      params: the policy in decode layout.
      problems: what to prove.
      num_per_problem: k, rollouts of each.
      seed: of the run.
      step: iteration; with the row it names a rollout's random numbers.
      progress: told of every rollout that ends.
      carried: what an earlier attempt left; to go on with first.
      max_tokens: about so many tokens are drawn, by all processes together;
        what is not finished then is left. 0 leaves nothing.
      confirm: whether the second verifier must agree with each proof.

    Returns:
      Samples in the order in which they began, all k of the first problem,
      then of the next; and groups to carry over.

    Raises:
      Interrupted: SIGTERM or SIGINT arrived, in all processes at once; nothing
        has changed.
      UsageError: the checker could not judge a single rollout.
    """
    engine = self.engine
    prompts = [make_prompt(p, self._tokenizer) for p in problems]
    begun = [r for one in engine.share(carried) for r in one.begun]
    rollouts = engine.generate(
      params,
      prompts,
      num_per_prompt=num_per_problem,
      seed=seed,
      iteration=step,
      begun=begun,
      max_tokens=-(-max_tokens // engine.group.count),
      poll=interruption.check,
    )
    total = len(engine.share(prompts)) * num_per_problem + len(begun)
    judged, unfinished = self._gather(
      rollouts, total=total, progress=progress, confirm=confirm
    )
    _check_judged(judged)
    return sort_out(
      carried, judged, unfinished, num_per_problem=num_per_problem
    )

  def _gather(
    self,
    rollouts: Iterable[Rollout],
    *,
    total: int,
    progress: Progress,
    confirm: bool,
  ) -> tuple[list[Sample], list[Rollout]]:
    """Judges this process's part, and takes in those of the others.

    Args:
      rollouts: of the processes that share replicas with this one, all of
        which see the same ones, and take turns.
      total: their number.
      progress: as in `attempt`.
      confirm: as in `attempt`.
    """
    group = self.engine.group
    mine = itertools.islice(rollouts, group.rank, None, group.size)
    num_mine = len(range(group.rank, total, group.size))
    try:
      judged, unfinished = self._judge(
        mine, total=num_mine, progress=progress, confirm=confirm
      )
    except interruption.Interrupted:
      # What the others have is in vain too, as they now agree.
      judged, unfinished = [], []
    interruption.agree()
    counts = dict(self.engine.stats) if total and not group.rank else {}
    parts = distributed.gather((judged, unfinished, self.pool.stats(), counts))
    judged, unfinished, checks, counts = zip(*parts, strict=True)
    checks = merge_stats(checks)
    if failure_alarm(checks):
      logging.error("%s", failure_alarm(checks))
    self.stats = {
      **_named("checker/", checks),
      **_named("sampler/", _merge_counts([c for c in counts if c])),
    }
    return [*itertools.chain(*judged)], [*itertools.chain(*unfinished)]

  def _judge(
    self,
    rollouts: Iterable[Rollout],
    *,
    total: int,
    progress: Progress,
    confirm: bool,
  ) -> tuple[list[Sample], list[Rollout]]:
    """Hands each rollout to the checker when it ends, and collects.

    Returns:
      Samples of what is finished, and what is not.
    """
    waiting, unfinished = [], []
    for rollout in rollouts:
      if rollout.finished:
        extraction = extract(rollout.text)
        verdict = self.pool.submit(
          rollout.prompt.problem, extraction, confirm=confirm
        )
        waiting.append((rollout, extraction, verdict))
      else:
        unfinished.append(rollout)
      done = len(waiting) + len(unfinished)
      progress("sampling", done=done, total=total)
    samples = []
    for rollout, extraction, verdict in waiting:
      interruption.check()
      samples.append(score(rollout, extraction, verdict.result(), self._reward))
      progress("verifying", done=len(samples), total=len(waiting))
    return samples, unfinished

  def close(self) -> None:
    """Ends the checker's processes."""
    self.pool.close()

  def __enter__(self) -> "Prover":
    return self

  def __exit__(self, *exc_info: object) -> None:
    self.close()


def _merge_counts(stats: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Of all groups of processes together; pages of the fullest replica."""
  merged = {name: sum(one[name] for one in stats) for name in stats[0]}
  # A share of what the lanes could have drawn, of which there were so many.
  room = sum(one["tokens"] / one["lane_use"] for one in stats)
  return {
    **merged,
    "lane_use": merged["tokens"] / room,
    "peak_pages": max(one["peak_pages"] for one in stats),
  }


def _named(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
  return {prefix + name: float(value) for name, value in values.items()}


def _check_judged(samples: Sequence[Sample]) -> None:
  """A checker that cannot start would silently teach nothing."""
  verdicts = [sample.verdict for sample in samples]
  if verdicts and all(v.status is Status.INFRA_ERROR for v in verdicts):
    raise UsageError(
      f"the checker judged none of {len(verdicts)} rollouts: "
      f"{verdicts[0].detail}. Look at checker.command and checker.lean_path"
    )
