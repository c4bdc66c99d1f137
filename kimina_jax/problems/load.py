"""Loading of an experiment's problems: sources, decontamination, length.

In: the config's `problems` section. Out: the problems to train on and the
held-out ones. A training problem that shares an n-gram with a held-out one, and
any problem whose prompt is too long to sample from, is left out and counted in
the log. To add a source of generated problems, write a module beside
arithmetic.py and add a line to SOURCES; a data set in a JSONL file needs no
code (see dataset.py).
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from absl import logging

from kimina_jax.problems import arithmetic, dataset
from kimina_jax.problems.demonstrations import load_demonstrations
from kimina_jax.types import (
  Demonstration,
  Problem,
  UsageError,
  check_numbers,
)


@dataclasses.dataclass(frozen=True)
class ProblemSource:
  """A source of generated problems.

  Attributes:
    generate: (split, count, seed=) -> problems of the split.
    demonstrate: (problem, skill=, seed=) -> a demonstration whose proof is
      right with probability `skill`.
  """

  generate: Callable[..., list[Problem]]
  demonstrate: Callable[..., Demonstration]


# The sources that `problems.train`, `problems.eval` and `sft.sources` may
# name; any other name is the path of a JSONL file.
SOURCES = {
  "arithmetic": ProblemSource(arithmetic.generate, arithmetic.demonstrate),
}


@dataclasses.dataclass(frozen=True)
class ProblemsSettings:
  """The config's `problems` section.

  Attributes:
    train: source of the training problems: of SOURCES, or a JSONL file.
    eval: source of the held-out problems, likewise.
    eval_split: the split of `eval` that is held out.
    decontaminate_ngram: words of an n-gram that a training problem must not
      share with a held-out one; 0 keeps all.
    num_train: number of generated training problems.
    num_eval: number of generated held-out problems.
  """

  train: str
  eval: str
  eval_split: str
  decontaminate_ngram: int
  num_train: int
  num_eval: int

  def __post_init__(self):
    check_numbers("problems", self)


@dataclasses.dataclass(frozen=True)
class PromptLimit:
  """The longest prompt that a run samples from.

  Attributes:
    max_len: `rollouts.max_prompt_len`, in tokens.
    length: gives the number of tokens of a problem's prompt.
  """

  max_len: int
  length: Callable[[Problem], int]


def load_train_problems(
  settings: ProblemsSettings, limit: PromptLimit, *, seed: int
) -> list[Problem]:
  """Loads the problems to train on, none of which is held out.

  Args:
    settings: the sources.
    limit: a problem with a longer prompt is left out.
    seed: of the order of generated problems.

  Raises:
    UsageError: a source that does not exist or cannot be read, or no problem
      is left.
  """
  loaded = _load(settings.train, "train", settings.num_train, seed)
  clean = decontaminate(settings, loaded)
  num_close = len(loaded) - len(clean)
  _log_left_out(num_close, "they share an n-gram with held-out statements")
  return _short_enough(clean, limit, num_close=num_close)


def load_eval_problems(
  settings: ProblemsSettings, limit: PromptLimit
) -> list[Problem]:
  """Loads the held-out problems.

  Raises:
    UsageError: as of `load_train_problems`.
  """
  loaded = _load(settings.eval, settings.eval_split, settings.num_eval, 0)
  return _short_enough(loaded, limit)


def decontaminate(
  settings: ProblemsSettings, problems: Sequence[Problem]
) -> list[Problem]:
  """Leaves out problems that share an n-gram with the evaluation's statements.

  Those of a file are all its statements, whichever split is evaluated on;
  generated ones are those of the split, for splits of them are disjoint.
  """
  if not settings.decontaminate_ngram:
    return list(problems)
  split = settings.eval_split if settings.eval in SOURCES else ""
  held_out = _load(settings.eval, split, settings.num_eval, 0)
  return dataset.remove_contaminated(
    problems, held_out, ngram=settings.decontaminate_ngram
  )


def repeat_demonstrations(
  source: str,
  settings: ProblemsSettings,
  limit: PromptLimit,
  *,
  skill: float,
  confirmed_only: bool,
  seed: int,
) -> Iterator[Demonstration]:
  """Yields the demonstrations of a source in an endless loop.

  Args:
    source: of SOURCES, whose training problems are demonstrated anew in each
      round; or a JSONL file (see demonstrations.py), shuffled once.
    settings: the problems of the experiment; a demonstration of a held-out
      statement is left out.
    limit: as of `load_train_problems`, for generated problems.
    skill: probability that a generated demonstration is right.
    confirmed_only: of a run's rollouts, takes only those that a second
      verifier accepted.
    seed: of the run.

  Raises:
    UsageError: a source that does not exist or cannot be read, or holds only
      held-out statements.
  """
  if source in SOURCES:
    problems = load_train_problems(
      dataclasses.replace(settings, train=source), limit, seed=seed
    )
    for attempt in itertools.count():
      for problem in problems:
        yield SOURCES[source].demonstrate(
          problem, skill=skill, seed=seed * 1000 + attempt
        )
  loaded = load_demonstrations(source, confirmed_only=confirmed_only)
  clean = decontaminate(settings, [one.problem for one in loaded])
  names = {problem.name for problem in clean}
  kept = [one for one in loaded if one.problem.name in names]
  if not kept:
    raise UsageError(
      f"{source}: every demonstration is of a held-out statement: it shares "
      f"problems.decontaminate_ngram = {settings.decontaminate_ngram} words "
      f"in a row with a statement of {settings.eval}"
    )
  order = np.random.default_rng(seed).permutation(len(kept))
  yield from itertools.cycle([kept[i] for i in order])


def _load(source: str, split: str, count: int, seed: int) -> list[Problem]:
  if source in SOURCES:
    return SOURCES[source].generate(split, count, seed=seed)
  return dataset.load_statements(source, split=split)


def _short_enough(
  problems: Sequence[Problem], limit: PromptLimit, *, num_close: int = 0
) -> list[Problem]:
  """Leaves out problems with too long a prompt; at least one must be left.

  Args:
    problems: to choose from.
    limit: of a prompt.
    num_close: how many problems decontamination left out, for the message.
  """
  kept = [p for p in problems if limit.length(p) <= limit.max_len]
  num_long = len(problems) - len(kept)
  reason = f"longer than rollouts.max_prompt_len = {limit.max_len} tokens"
  _log_left_out(num_long, f"their prompts are {reason}")
  if not kept:
    raise UsageError(
      f"all {len(problems) + num_close} problems were filtered out: "
      f"{num_close} share an n-gram with held-out statements "
      f"(problems.decontaminate_ngram), {num_long} have prompts {reason}"
    )
  return kept


def _log_left_out(count: int, reason: str) -> None:
  if count:
    logging.info("%d problems are left out: %s", count, reason)
