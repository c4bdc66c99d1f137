"""How a run scales with its mesh: memory, traffic and bounds, per program.

  python -m kimina_jax.scale --config=rl_7b --topology=v5e:8x8 \
      --mesh=fsdp=32,tensor=2 --program=update,logprobs --sequence_len=4096

compiles the programs of a run for each topology and mesh (no such machine is
needed) and shows for each whether it fits, what it moves and what bounds it.
Rows accumulate in --out; one that is there is not compiled again. Most flags
take several values, by comma or by repetition (--mesh by repetition only).
--report writes docs/scaling.md from --out.
"""

if __name__ == "__main__":  # Flags first: the imports below take seconds.
  from kimina_jax.infra import cli

  cli.run(
    cli.Command(
      "scale",
      main="kimina_jax.scale.__main__:main",
      summary=(
        "Predicts memory, traffic and bounds of a run's programs on a topology."
      ),
      example=(
        "kimina scale --config=rl_7b --topology=v5e:8x8 \\\n"
        "  --mesh=fsdp=32,tensor=2 --program=update,logprobs"
      ),
      flags=(
        cli.Flag(
          "topology",
          (),
          "v5e:8x8, v5p:4x4x8, 2*v5e:16x16, cpu:8, here …",
        ),
        cli.Flag(
          "mesh",
          ("config",),
          "fsdp=32,tensor=2; auto: every mesh that divides; config: that of the"
          " experiment. Several by repetition.",
          by_comma=False,
        ),
        cli.Flag(
          "program",
          ("update",),
          "Of update, accumulate, logprobs, prefill, decode, reshard.",
        ),
        cli.Flag(
          "sequence_len", ("0",), "Tokens of a row; 0 is the experiment's."
        ),
        cli.Flag(
          "rows",
          0,
          "Rows of a batch, or decode slots; 0 stands for one row per data ×"
          " fsdp shard, or the experiment's slots.",
          minimum=0,
        ),
        cli.Flag(
          "out",
          "runs/scaling.jsonl",
          "JSON-lines file in which rows accumulate.",
        ),
        cli.Flag("jobs", 1, "Rows made at a time.", minimum=1),
        cli.Flag("timeout_s", 7200.0, "Time limit for one row.", minimum=1),
        cli.Flag("force", False, "Make rows again that --out has."),
        cli.Flag("measure", False, "Run the programs on this machine."),
        cli.Flag("plot", "", "SVG file to plot the rows in."),
        cli.Flag("report", False, "Only write docs/scaling.md from --out."),
      ),
      config="debug",
      takes_several_configs=True,
      when_interrupted="finished rows are in --out; the same command resumes",
    )
  )

import argparse
import pathlib

import rich.console

from kimina_jax.scale import cases, report, study
from kimina_jax.types import UsageError

_TEMPLATE = pathlib.Path("docs/scaling.template.md")
_PAGE = pathlib.Path("docs/scaling.md")


def main(values: argparse.Namespace) -> None:
  """Makes the rows that the flags ask for and shows them."""
  if values.report:
    rows = list(study.read_rows(values.out).values())
    report.write_page(rows, _TEMPLATE, _PAGE)
    return
  if not values.topology:
    raise UsageError(
      "--topology is missing; name one, such as v5e:8x8 or cpu:8"
    )
  planned = cases.plan_cases(
    values.configs,
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
