"""The text of --dry_run: what a validated experiment would run, and where.

In: a Setup. Out: text. It writes nothing and compiles nothing.
"""

import math
from collections.abc import Mapping

import jax

from kimina_jax.infra.checkpoint import newest_step
from kimina_jax.infra.mesh import AXES, replica_mesh
from kimina_jax.model.params import abstract_params
from kimina_jax.pipeline.resume_policy import changes_of_run
from kimina_jax.pipeline.setup import Setup


def describe(
  setup: Setup,
  *,
  program: str,
  run_dir: str,
  facts: Mapping[str, str] | None = None,
) -> str:
  """Describes what would run, one line per part.

  Args:
    setup: the validated experiment.
    program: `train`, `sft` or `evaluate`.
    run_dir: directory of the run, as on the command line.
    facts: further lines, by label.
  """
  lines = {
    "model": _model(setup),
    "mesh": _mesh(setup),
    **({"sampler": _sampler(setup)} if program != "sft" else {}),
    **_problems(setup),
    **(_iterations(setup) if program == "train" else {}),
    **(facts or {}),
    **({"checker": _checker(setup)} if program != "sft" else {}),
    "directory": _directory(setup, program, run_dir),
  }
  width = max(map(len, lines))
  rows = [f"  {label:{width}}  {text}" for label, text in lines.items()]
  return "\n".join([f"{program}: the experiment is valid; it would run", *rows])


def _model(setup: Setup) -> str:
  model = setup.model
  leaves = jax.tree.leaves(abstract_params(model))
  count = sum(math.prod(leaf.shape) for leaf in leaves)
  start = setup.experiment.init_from or "random"
  return (
    f"{model.name}, {count:,} parameters in {model.param_dtype}, computed in "
    f"{model.compute_dtype}; first weights: {start}"
  )


def _mesh(setup: Setup) -> str:
  mesh = setup.mesh
  axes = " × ".join(f"{axis}={mesh.shape[axis]}" for axis in AXES)
  kind = mesh.devices.flat[0].device_kind
  return f"{axes} on {_count(mesh.size, 'device')} ({kind})"


def _sampler(setup: Setup) -> str:
  settings = setup.experiment.rollouts
  replicas = replica_mesh(setup.mesh, tensor=settings.tensor)
  return (
    f"{_count(replicas.shape['data'], 'replica')} of "
    f"{_count(settings.tensor, 'device')}, {settings.num_slots} decode slots; "
    f"prompts of up to {settings.max_prompt_len} tokens, responses of up to "
    f"{settings.max_response_len}"
  )


def _problems(setup: Setup) -> dict[str, str]:
  sizes = {
    "to train on": len(setup.train_problems),
    "held out": len(setup.eval_problems),
  }
  parts = [f"{size} {use}" for use, size in sizes.items() if size]
  return {"problems": ", ".join(parts)} if parts else {}


def _iterations(setup: Setup) -> dict[str, str]:
  experiment = setup.experiment
  settings = experiment.train
  num_rollouts = settings.num_problems * settings.num_per_problem
  most = num_rollouts * experiment.rollouts.max_response_len
  budget = settings.tokens_per_iteration
  tokens = f"about {budget:,}" if budget else f"at most {most:,}"
  every = experiment.eval.every
  evaluations = f"evaluated every {every}" if every else "evaluated at the end"
  return {
    "iterations": f"{settings.num_iterations}, {evaluations}",
    "iteration": (
      f"{settings.num_problems} problems × {settings.num_per_problem} = "
      f"{num_rollouts} rollouts, {tokens} tokens sampled, "
      f"{settings.num_minibatches} updates"
    ),
  }


def _checker(setup: Setup) -> str:
  settings = setup.experiment.checker
  workers = _count(settings.num_workers, "worker")
  return f"{settings.backend}, {workers} per process"


def _directory(setup: Setup, program: str, run_dir: str) -> str:
  changes = changes_of_run(run_dir, setup.experiment, program=program)
  step = newest_step(run_dir)
  differing = "".join(f"; {change}" for change in changes)
  if step is None:
    return f"{run_dir}, begins{differing}"
  unit = "updates" if program == "sft" else "iterations"
  return f"{run_dir}, resumes after {step} {unit}{differing}"


def _count(number: int, noun: str) -> str:
  return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
