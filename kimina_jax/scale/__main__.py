"""How a job scales with its mesh, without and with the machine.

  python -m kimina_jax.scale --config=configs/rl_7b.py --topology=v5e:8x8 \
      --mesh=fsdp=32,tensor=2 --program=update,logprobs --sequence_len=4096

compiles the programs of a run for each topology and mesh and says of each what
fits, what it moves and what bounds it. Rows accumulate in --out; one that is
there is not compiled again. Most flags take several values, by comma or by
repetition (--mesh and --set by repetition only). --report writes
docs/scaling.md from --out.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import rich.console
import rich.status
from absl import flags

from kimina_jax.infra import cli
from kimina_jax.scale import cases, plot, processes, report, store, tables
from kimina_jax.scale.cases import Case
from kimina_jax.scale.topologies import parse
from kimina_jax.types import UsageError

_TEMPLATE = pathlib.Path("docs/scaling.template.md")
_PAGE = pathlib.Path("docs/scaling.md")
# Wide enough for the table where output is no terminal.
_WIDTH = 220


@dataclasses.dataclass(frozen=True)
class Job:
  """How rows are made.

  Attributes:
    out: JSON-lines file that they accumulate in.
    jobs: processes at a time.
    timeout_s: for one row.
    force: make those again that are there.
    measure: run the programs instead of predicting them.
  """

  out: str
  jobs: int
  timeout_s: float
  force: bool
  measure: bool


def main(argv: Sequence[str]) -> None:
  """Makes the rows that the flags ask for and shows them."""
  if len(argv) > 1:
    raise UsageError(
      f"unexpected argument {argv[1]!r}; flags look like --name=value"
    )
  values = flags.FLAGS
  if values.report:
    rows = list(store.read(values.out).values())
    report.write_report(rows, _TEMPLATE, _PAGE)
    return
  if not values.topology:
    raise UsageError(
      "--topology is missing; name one, such as v5e:8x8 or cpu:8"
    )
  experiments = {
    path: cases.load_experiment(path, values.set) for path in values.config
  }
  wanted = cases.plan(
    experiments,
    values.topology,
    meshes=values.mesh,
    programs=values.program,
    sequence_lens=[_length(text) for text in values.sequence_len],
    num_rows=values.rows,
  )
  job = Job(
    values.out, values.jobs, values.timeout_s, values.force, values.measure
  )
  rows = study(wanted, job, rich.console.Console())
  if values.plot:
    plot.write_plot(rows, values.plot)


def study(
  wanted: Sequence[Case], job: Job, console: rich.console.Console
) -> list[store.Row]:
  """The rows of the cases, made where they are missing; shown as a table."""
  if job.measure:
    _check_measurable(wanted)
  kind = "measured" if job.measure else "predicted"
  known = store.read(job.out)
  missing = [c for c in wanted if job.force or (c.key, kind) not in known]
  console.print(
    f"{len(wanted)} rows, {len(wanted) - len(missing)} of them in {job.out}"
  )
  made = processes.make_rows(
    missing, measure=job.measure, jobs=job.jobs, timeout_s=job.timeout_s
  )
  with console.status("") as status:
    _say(status, missing, 0)
    for number, (case, row) in enumerate(made, start=1):
      store.append(job.out, row)
      known[row["key"], row["kind"]] = row
      console.print(
        f"[{number}/{len(missing)}] {case.title}: {tables.to_line(row)}",
        markup=False,
        highlight=False,
        soft_wrap=True,
      )
      _say(status, missing, number)
  keys = {case.key for case in wanted}
  # Predicted and measured rows of a case stand beside each other.
  rows = [row for (key, _), row in known.items() if key in keys]
  rows.sort(key=lambda row: [case.key for case in wanted].index(row["key"]))
  if not console.is_terminal:
    console = rich.console.Console(file=console.file, width=_WIDTH)
  console.print(tables.to_terminal(rows))
  return rows


def _length(text: str) -> int:
  if not text.isdecimal():
    raise UsageError(f"--sequence_len={text}: tokens are a whole number")
  return int(text)


def _say(
  status: rich.status.Status, missing: Sequence[Case], done: int
) -> None:
  left = len(missing) - done
  status.update(f"{left} of {len(missing)} rows to go" if left else "")


def _check_measurable(wanted: Sequence[Case]) -> None:
  for case in wanted:
    if parse(case.topology).is_abstract:
      raise UsageError(
        f"--measure runs programs, and there is no {case.topology} here; use"
        " --topology=here or cpu:8"
      )


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
    "Rows of a batch, or slots; 0 is a row per data × fsdp shard, or the"
    " experiment's slots.",
    lower_bound=0,
  )
  flags.DEFINE_string("out", "runs/scaling.jsonl", "Where rows accumulate.")
  flags.DEFINE_integer("jobs", 1, "Compilers at a time.", lower_bound=1)
  flags.DEFINE_float("timeout_s", 7200.0, "For one row.", lower_bound=1.0)
  flags.DEFINE_bool("force", False, "Make rows again that are there.")
  flags.DEFINE_bool("measure", False, "Run the programs on this machine.")
  flags.DEFINE_string("plot", "", "SVG file for the rows of this call.")
  flags.DEFINE_bool("report", False, f"Write {_PAGE} from --out, and end.")


if __name__ == "__main__":
  _define_flags()
  cli.run(main)
