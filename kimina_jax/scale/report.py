"""Rows of a scaling study as tables, plots and the page docs/scaling.md.

In: rows. Out: a rich table for the terminal, Markdown tables with the same
cells, an SVG plot (time per step and memory against chips), and the page, made
of a hand-written template and these. Beyond units nothing is computed here.

Places in the template:

  {{table update}}      rows of a program
  {{table update qwen2.5-7b}}      … of one model
  {{plot update}}       a plot of them
  {{versions}}          versions of the compilers
"""

import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import rich.table

from kimina_jax.infra.chips import GIB
from kimina_jax.scale.cases import StudyRow
from kimina_jax.scale.topologies import parse_topology
from kimina_jax.types import UsageError

HEADINGS = (
  "model",
  "topology",
  "mesh",
  "program",
  "rows × tokens",
  "GiB per chip",
  "of which",
  "PFLOP",
  "GiB moved per axis",
  "GiB of HBM per step (of weights + KV)",
  "seconds ≥",
  "binds",
  "MFU ≤",
  "tokens/s ≤",
  "compile s",
)
# Columns that the page leaves out: the program is the title of the table.
_NOT_ON_PAGE = ("program", "PFLOP")

# Shares of the memory, by their short names.
_SHARES = {
  "parameters": "params",
  "optimizer": "moments",
  "gradients": "grads",
  "kv cache": "KV",
  "decode copy": "decode copy",
  "activations": "rest",
}
_PLACEHOLDER = re.compile(r"\{\{(\w+)((?: [\w.\-]+)*)\}\}")
_MARKERS = {"v4": "v", "v5e": "o", "v5p": "s", "v6e": "^", "tpu7x": "D"}


# ---- tables


def row_cells(row: StudyRow) -> list[str]:
  """One row, a text per heading."""
  case, dispatch = row["case"], row.get("sampling")
  rows = f"{case['num_rows']} × {case['sequence_len']:,}"
  if dispatch:
    rows += f", {dispatch['cached_positions']:,} cached"
  return [
    case["sections"]["model"]["name"],
    case["topology"],
    mesh_text(case["mesh"]),
    case["program"],
    rows if case["num_rows"] else "",
    *_outcome_cells(row),
  ]


def terminal_table(rows: Iterable[StudyRow]) -> rich.table.Table:
  """All columns, rows that do not fit in red."""
  table = rich.table.Table(header_style="bold", padding=(0, 1, 0, 0), box=None)
  for heading in HEADINGS:
    table.add_column(heading, overflow="fold")
  for row in rows:
    fits = row["status"] == "fits"
    table.add_row(*row_cells(row), style="" if fits else "red")
  return table


def markdown_table(rows: Sequence[StudyRow], headings: Sequence[str]) -> str:
  """A Markdown table with the chosen columns."""
  chosen = [HEADINGS.index(heading) for heading in headings]
  lines = ["| " + " | ".join(headings) + " |"]
  lines.append("|" + " --- |" * len(headings))
  for row in rows:
    texts = row_cells(row)
    line = " | ".join(texts[index].replace("|", "/") for index in chosen)
    lines.append(f"| {line} |")
  return "\n".join(lines)


def summary_line(row: StudyRow) -> str:
  """The outcome of a row in one line, for progress."""
  if row["status"] == "failed":
    return f"failed: {row['error'][:200]}"
  memory = _memory(row)
  if "seconds" in row:
    return (
      f"{row['seconds']:.3g} s measured, {row['tokens_per_s']:,.0f} tokens/s"
    )
  if row["status"] != "fits":
    return memory
  return (
    f"{memory} GiB per chip, at least {row['bound_s']:.3g} s"
    f" ({row['binds']}), compiled in {row['compile_s']:.0f} s"
  )


def mesh_text(mesh: Mapping[str, int]) -> str:
  """Axes of more than one device.

  >>> mesh_text({"data": 1, "fsdp": 32, "context": 1, "tensor": 2})
  'fsdp 32 × tensor 2'
  """
  sizes = [f"{axis} {size}" for axis, size in mesh.items() if size > 1]
  return " × ".join(sizes) or "1 device"


def _outcome_cells(row: StudyRow) -> list[str]:
  if row["status"] == "failed":
    return ["failed", row["error"][:160], *[""] * 8]
  shown = [
    _memory(row),
    ", ".join(
      f"{_SHARES[name]} {_gib(size)}" for name, size in row["memory"].items()
    ),
  ]
  measured_s = row.get("seconds")
  bound_s = measured_s or row.get("bound_s")
  if bound_s is None:
    return [*shown, _petaflop(row), *[""] * 6, f"{row['compile_s']:.0f}"]
  has_tokens = row["tokens"] > 0
  return [
    *shown,
    _petaflop(row),
    _collective_traffic(row),
    _hbm_traffic_per_step(row),
    f"{bound_s:.3g}" + (" measured" if measured_s else ""),
    row.get("binds", ""),
    f"{row['mfu']:.1%}" if has_tokens else "",
    f"{row['tokens_per_s']:,.0f}" if has_tokens else "",
    f"{row['compile_s']:.0f}" if "compile_s" in row else "",
  ]


def _memory(row: StudyRow) -> str:
  peak = row.get("peak_bytes")
  if peak is None:
    return "?"
  if row["status"] == "fits":
    return _gib(peak)
  limit = row["limit_bytes"]
  return f"{_gib(peak)} of {_gib(limit)}: {_gib(peak - limit)} too much"


def _petaflop(row: StudyRow) -> str:
  return f"{row['flops'] / 1e15:.4g}" if row.get("flops") else ""


def _collective_traffic(row: StudyRow) -> str:
  """GiB per device and mesh axis, all kinds of collectives together."""
  sums: dict[str, float] = {}
  for program in row["parts"].values():
    for axes, kinds in program.get("collective_bytes", {}).items():
      sums[axes] = sums.get(axes, 0) + sum(kinds.values())
  return ", ".join(
    f"{axes} {_gib(size)}" for axes, size in sums.items() if size > GIB / 100
  )


def _hbm_traffic_per_step(row: StudyRow) -> str:
  """HBM traffic of a decode step, and its ratio to weights + keys + values."""
  dispatch = row.get("sampling")
  if not dispatch or "seconds" in row:
    return ""
  moved = sum(program["hbm_bytes"] for program in row["parts"].values())
  moved /= dispatch["steps"]
  return f"{_gib(moved)} ({moved / dispatch['least_bytes']:.2f} ×)"


def _gib(size: float) -> str:
  return f"{size / GIB:.3g}" if size < 100 * GIB else f"{size / GIB:.0f}"


# ---- plots


def write_plot(rows: Iterable[StudyRow], path: str | pathlib.Path) -> None:
  """Plots the bound on a step's time, and GiB per chip, against chips.

  One curve per model, length and kind of chip, see `best_rows`.

  Raises:
    UsageError: no row to draw, or matplotlib is not installed.
  """
  try:
    import matplotlib
  except ModuleNotFoundError as error:
    raise UsageError(
      "plots need matplotlib: pip install 'kimina_jax[scale]'"
    ) from error
  matplotlib.use("svg")
  # The same rows give the same bytes.
  matplotlib.rcParams["svg.hashsalt"] = "kimina_jax"
  from matplotlib import pyplot

  curves = best_rows(rows)
  if not curves:
    raise UsageError("nothing to plot: no predicted row fits")
  figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2))
  models = sorted({model for model, _, _ in curves})
  colors = {model: f"C{i}" for i, model in enumerate(models)}
  for (model, length, chip), points in sorted(curves.items()):
    counts = sorted(points)
    style = {
      "color": colors[model],
      "marker": _MARKERS.get(chip, "."),
      "linestyle": "-" if length <= 8192 else "--",
      "label": f"{model} {chip} T={length:,}",
    }
    left.plot(counts, [points[n]["bound_s"] for n in counts], **style)
    peaks = [points[n]["peak_bytes"] / GIB for n in counts]
    right.plot(counts, peaks, **style)
  left.set_ylabel("seconds per step, at least")
  right.set_ylabel("GiB per chip, at the peak")
  for axis in (left, right):
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("chips")
    axis.grid(True, which="both", alpha=0.25)
  right.legend(fontsize=7)
  figure.tight_layout()
  figure.savefig(path, metadata={"Date": None})
  pyplot.close(figure)


def best_rows(
  rows: Iterable[StudyRow],
) -> dict[tuple[str, int, str], dict[int, StudyRow]]:
  """(model, length, chip) → chips → the row with most tokens per second.

  So of several meshes with as many chips one is chosen.
  """
  curves: dict[tuple[str, int, str], dict[int, StudyRow]] = {}
  for row in rows:
    if row["status"] != "fits" or "bound_s" not in row or not row["tokens"]:
      continue
    case = row["case"]
    name = case["sections"]["model"]["name"]
    points = curves.setdefault((name, case["sequence_len"], row["chip"]), {})
    count = parse_topology(case["topology"]).num_chips
    old = points.get(count)
    if old is None or row["tokens_per_s"] > old["tokens_per_s"]:
      points[count] = row
  return curves


# ---- the page


def write_page(
  rows: Sequence[StudyRow], template: pathlib.Path, page: pathlib.Path
) -> None:
  """Writes the page and, beside it, its plots.

  Raises:
    UsageError: no template, or an unknown place in it.
  """
  if not template.is_file():
    raise UsageError(f"{template}: no such template")

  def fill(place: re.Match) -> str:
    kind, filters = place[1], place[2].split()
    chosen = [row for row in _in_page_order(rows) if _matches(row, filters)]
    if kind == "table":
      return markdown_table(chosen, _headings_in_use(chosen))
    if kind == "plot":
      picture = page.with_name("_".join([page.stem, *filters]) + ".svg")
      write_plot(chosen, picture)
      return f"![{' '.join(filters)} against chips]({picture.name})"
    if kind == "versions":
      return _versions(rows)
    raise UsageError(f"{template}: {place[0]} is no table, plot or versions")

  page.write_text(_PLACEHOLDER.sub(fill, template.read_text()))


def _headings_in_use(rows: Sequence[StudyRow]) -> list[str]:
  """Headings of the columns that are not empty in all rows."""
  columns = zip(*map(row_cells, rows), strict=True) if rows else ()
  return [
    heading
    for heading, texts in zip(HEADINGS, columns, strict=bool(rows))
    if any(texts) and heading not in _NOT_ON_PAGE
  ]


def _in_page_order(rows: Sequence[StudyRow]) -> list[StudyRow]:
  """Small models first, then short rows, then few chips."""

  def order(row: StudyRow) -> tuple:
    case = row["case"]
    model = case["sections"]["model"]["name"]
    size = re.search(r"([\d.]+)b", model)
    return (
      float(size[1]) if size else 0.0,
      model,
      case["sequence_len"],
      parse_topology(case["topology"]).num_chips,
      case["topology"],
      tuple(case["mesh"].values()),
      case["num_rows"],
      row["kind"],
    )

  return sorted(rows, key=order)


def _matches(row: StudyRow, filters: Sequence[str]) -> bool:
  case = row["case"]
  facts = {case["program"], case["sections"]["model"]["name"], row["kind"]}
  return set(filters) <= facts


def _versions(rows: Sequence[StudyRow]) -> str:
  found = {
    f"{name} {version}"
    for row in rows
    for name, version in row.get("versions", {}).items()
    if version
  }
  return ", ".join(sorted(found))
