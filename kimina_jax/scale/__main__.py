"""How a run scales with its mesh: memory, traffic and bounds, per program.

  python -m kimina_jax.scale --config=configs/rl_7b.py --topology=v5e:8x8 \
      --mesh=fsdp=32,tensor=2 --program=update,logprobs --sequence_len=4096

compiles the programs of a run for each topology and mesh (no such machine is
needed) and shows for each whether it fits, what it moves and what bounds it.
Rows accumulate in --out; one that is there is not compiled again. Most flags
take several values, by comma or by repetition (--mesh and --set by repetition
only). --report writes docs/scaling.md from --out.
"""

import pathlib
from collections.abc import Sequence

import rich.console
from absl import flags

from kimina_jax.infra import cli
from kimina_jax.scale import cases, report, study
from kimina_jax.types import UsageError

_TEMPLATE = pathlib.Path("docs/scaling.template.md")
_PAGE = pathlib.Path("docs/scaling.md")


def main(argv: Sequence[str]) -> None:
  """Makes the rows that the flags ask for and shows them."""
  if len(argv) > 1:
    raise UsageError(
      f"unexpected argument {argv[1]!r}; flags look like --name=value"
    )
  values = flags.FLAGS
  if values.report:
    rows = list(study.read_rows(values.out).values())
    report.write_page(rows, _TEMPLATE, _PAGE)
    return
  if not values.topology:
    raise UsageError(
      "--topology is missing; name one, such as v5e:8x8 or cpu:8"
    )
  experiments = {
    path: cases.load_experiment(path, values.set) for path in values.config
  }
  planned = cases.plan_cases(
    experiments,
    values.topology,
    meshes=values.mesh,
    programs=values.program,
    sequence_lens=[_length(text) for text in values.sequence_len],
    num_rows=values.rows,
  )
  options = study.StudyOptions(
    out=values.out,
    jobs=values.jobs,
    timeout_s=values.timeout_s,
    force=values.force,
    measure=values.measure,
  )
  rows = study.run_study(planned, options, rich.console.Console())
  if values.plot:
    report.write_plot(rows, values.plot)


def _length(text: str) -> int:
  if not text.isdecimal():
    raise UsageError(f"--sequence_len={text}: tokens are a whole number")
  return int(text)


def _define_flags() -> None:
  flags.DEFINE_list("config", ["configs/debug.py"], "Experiment files.")
  flags.DEFINE_multi_string(
    "set", [], "Override of a key of every experiment, section.key=value."
  )
  flags.DEFINE_list(
    "topology", [], "v5e:8x8, v5p:4x4x8, 2*v5e:16x16, cpu:8, here …"
  )
  flags.DEFINE_multi_string(
    "mesh",
    [cases.OF_CONFIG],
    "fsdp=32,tensor=2; auto: every mesh that divides; config: that of the"
    " experiment.",
  )
  flags.DEFINE_list("program", ["update"], f"Of {', '.join(cases.SECTIONS)}.")
  flags.DEFINE_list(
    "sequence_len", ["0"], "Tokens of a row; 0 is the experiment's."
  )
  flags.DEFINE_integer(
    "rows",
    0,
    "Rows of a batch, or decode slots; 0 stands for one row per data × fsdp"
    " shard, or the experiment's slots.",
    lower_bound=0,
  )
  flags.DEFINE_string(
    "out", "runs/scaling.jsonl", "JSON-lines file in which rows accumulate."
  )
  flags.DEFINE_integer("jobs", 1, "Rows made at a time.", lower_bound=1)
  flags.DEFINE_float(
    "timeout_s", 7200.0, "Time limit for one row.", lower_bound=1.0
  )
  flags.DEFINE_bool("force", False, "Make rows again that --out has.")
  flags.DEFINE_bool("measure", False, "Run the programs on this machine.")
  flags.DEFINE_string("plot", "", "SVG file to plot the rows in.")
  flags.DEFINE_bool("report", False, f"Only write {_PAGE} from --out.")


if __name__ == "__main__":
  _define_flags()
  cli.run(main)
