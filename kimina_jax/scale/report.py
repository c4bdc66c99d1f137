"""docs/scaling.md from its template and the rows of a study.

In: a template, whose words are written by hand, and rows. Out: the page, with
tables in the places that the template names, and its plots.

  {{table update}}      rows of a program
  {{table update qwen2.5-7b}}      … of one model
  {{plot update}}       a picture of them
  {{versions}}          what compiled them
"""

import pathlib
import re
from collections.abc import Sequence

from kimina_jax.scale import plot, tables
from kimina_jax.scale.store import Row
from kimina_jax.scale.topologies import parse
from kimina_jax.types import UsageError

_LEFT_OUT = ("program", "PFLOP")
_PLACE = re.compile(r"\{\{(\w+)((?: [\w.\-]+)*)\}\}")


def write_report(
  rows: Sequence[Row], template: pathlib.Path, page: pathlib.Path
) -> None:
  """Writes the page and, beside it, its plots.

  Raises:
    UsageError: no template, or a place in it that nothing fills.
  """
  if not template.is_file():
    raise UsageError(f"{template}: no such template")

  def fill(place: re.Match) -> str:
    kind, words = place[1], place[2].split()
    chosen = [row for row in _ordered(rows) if _matches(row, words)]
    if kind == "table":
      return tables.to_markdown(chosen, _columns(chosen))
    if kind == "plot":
      picture = page.with_name("_".join([page.stem, *words]) + ".svg")
      plot.write_plot(chosen, picture)
      return f"![{' '.join(words)} against chips]({picture.name})"
    if kind == "versions":
      return _versions(rows)
    raise UsageError(f"{template}: {place[0]} is no table, plot or versions")

  page.write_text(_PLACE.sub(fill, template.read_text()))


def _columns(rows: Sequence[Row]) -> list[str]:
  """Headings under which a row says something."""
  columns = zip(*map(tables.cells, rows), strict=True) if rows else ()
  return [
    heading
    for heading, texts in zip(tables.HEADINGS, columns, strict=bool(rows))
    if any(texts) and heading not in _LEFT_OUT
  ]


def _ordered(rows: Sequence[Row]) -> list[Row]:
  """Small models first, then short rows, then few chips."""

  def order(row: Row) -> tuple:
    case = row["case"]
    model = case["sections"]["model"]["name"]
    size = re.search(r"([\d.]+)b", model)
    return (
      float(size[1]) if size else 0.0,
      model,
      case["sequence_len"],
      parse(case["topology"]).num_chips,
      case["topology"],
      tuple(case["mesh"].values()),
      case["num_rows"],
      row["kind"],
    )

  return sorted(rows, key=order)


def _matches(row: Row, words: Sequence[str]) -> bool:
  case = row["case"]
  facts = {case["program"], case["sections"]["model"]["name"], row["kind"]}
  return set(words) <= facts


def _versions(rows: Sequence[Row]) -> str:
  found = {
    f"{name} {version}"
    for row in rows
    for name, version in row.get("versions", {}).items()
    if version
  }
  return ", ".join(sorted(found))
