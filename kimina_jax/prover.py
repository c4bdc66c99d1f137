"""A policy with its checker: problems in, judged samples out.

The half of the pipeline that training, evaluation and a single proof share.
Each rollout goes to the checker as soon as it ends, while others are still
being written. In a job of several processes each samples and checks its own
part of the problems, and at the end all of them hold all samples. It never
changes the policy.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import logging

from kimina_jax.infra import distributed, preemption
from kimina_jax.job import Job
from kimina_jax.prompts.template import make_prompt
from kimina_jax.rewards.reward import check, score
from kimina_jax.rollouts.engine import Engine
from kimina_jax.types import Problem, Rollout, Sample, Status, UsageError
from kimina_jax.verification.extract import extract
from kimina_jax.verification.pool import Pool

Progress = Callable[..., None]  # (phase, *, done, total)


class Prover:
  """Owns the decoding slots on the devices and the checker's processes.

  Attributes:
    engine: samples.
    pool: checks.
    stats: what the checkers of all processes did in the last attempt.
  """

  def __init__(self, job: Job):
    """Starts the checker's processes; compiles at the first attempt."""
    self._tokenizer = job.tokenizer
    self._reward = job.config.reward
    check(**self._reward)
    self.engine = Engine(
      job.model, job.tokenizer, job.mesh, **job.config.rollouts
    )
    self.pool = Pool(**job.config.checker)
    self.stats: dict[str, float] = {}
    logging.info(
      "checker %s, isolation %s",
      job.config.checker.backend,
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
  ) -> list[Sample]:
    """Samples, checks and scores proofs.

    Args:
      params: the policy in decode layout.
      problems: what to prove.
      num_per_problem: k, rollouts of each.
      seed: of the run.
      step: iteration; with the row it names a rollout's random numbers.
      progress: told of every rollout that ends.

    Returns:
      Samples ordered by row: all k of the first problem, then the next.

    Raises:
      Preempted: SIGTERM or SIGINT arrived, in all processes at once; nothing
        has changed.
      UsageError: the checker could not judge a single rollout.
    """
    prompts = [make_prompt(p, self._tokenizer) for p in problems]
    try:
      rollouts = self.engine.generate(
        params,
        prompts,
        num_per_prompt=num_per_problem,
        seed=seed,
        step=step,
        poll=preemption.check,
      )
      total = len(distributed.share(prompts)) * num_per_problem
      mine = self._judge(rollouts, total=total, progress=progress)
    except preemption.Preempted:
      mine = []  # What the others have is in vain too, as they now agree.
    preemption.agree()
    samples, stats = zip(
      *distributed.gather((mine, self.pool.stats())), strict=True
    )
    self.stats = _merge(stats)
    samples = list(itertools.chain(*samples))
    _check_judged(samples)
    return sorted(samples, key=lambda sample: sample.rollout.row)

  def _judge(
    self, rollouts: Iterable[Rollout], *, total: int, progress: Progress
  ) -> list[Sample]:
    """Hands each rollout to the checker when it ends, and collects."""
    waiting = []
    for rollout in rollouts:
      extraction = extract(rollout.text)
      verdict = self.pool.submit(rollout.prompt.problem, extraction)
      waiting.append((rollout, extraction, verdict))
      progress("sampling", done=len(waiting), total=total)
    samples = []
    for rollout, extraction, verdict in waiting:
      preemption.check()
      samples.append(
        score(rollout, extraction, verdict.result(), **self._reward)
      )
      progress("verifying", done=len(samples), total=total)
    return samples

  def close(self) -> None:
    """Ends the checker's processes."""
    self.pool.close()

  def __enter__(self) -> "Prover":
    return self

  def __exit__(self, *exc_info: object) -> None:
    self.close()


def _merge(stats: Sequence[Mapping[str, float]]) -> dict[str, float]:
  """Counts of all processes together, seconds of the slowest."""
  return {
    name: (max if name.endswith("_s") else sum)(one[name] for one in stats)
    for name in stats[0]
  }


def _check_judged(samples: Sequence[Sample]) -> None:
  """A checker that cannot start would silently teach nothing."""
  verdicts = [sample.verdict for sample in samples]
  if verdicts and all(v.status is Status.INFRA_ERROR for v in verdicts):
    raise UsageError(
      f"the checker judged none of {len(verdicts)} rollouts: "
      f"{verdicts[0].detail}. Look at checker.command and checker.lean_path"
    )
