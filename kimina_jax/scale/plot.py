"""The study as a picture: step time and memory against chips.

In: rows of a program. Out: an SVG file. One curve per model, length and kind
of chip; where several meshes of as many chips fit, the one with the lowest
bound stands for them.
"""

import pathlib
from collections.abc import Iterable

from kimina_jax.infra.chips import GIB
from kimina_jax.scale.store import Row
from kimina_jax.scale.topologies import parse
from kimina_jax.types import UsageError

_MARKERS = {"v4": "v", "v5e": "o", "v5p": "s", "v6e": "^", "tpu7x": "D"}


def write_plot(rows: Iterable[Row], path: str | pathlib.Path) -> None:
  """Draws the bound on a step's time, and GiB per chip, against chips.

  Raises:
    UsageError: no row to draw, or matplotlib is not installed.
  """
  try:
    import matplotlib
  except ModuleNotFoundError as error:
    raise UsageError(
      "plots need matplotlib: pip install -e '.[scale]'"
    ) from error
  matplotlib.use("svg")
  # The same rows give the same bytes.
  matplotlib.rcParams["svg.hashsalt"] = "kimina_jax"
  from matplotlib import pyplot

  curves = best(rows)
  if not curves:
    raise UsageError("nothing to plot: no predicted row fits")
  figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2))
  colors = {model: f"C{i}" for i, model in enumerate(_models(curves))}
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


def best(
  rows: Iterable[Row],
) -> dict[tuple[str, int, str], dict[int, Row]]:
  """(model, length, chip) → chips → the row with the lowest bound per token."""
  curves: dict[tuple[str, int, str], dict[int, Row]] = {}
  for row in rows:
    if row["status"] != "fits" or "bound_s" not in row or not row["tokens"]:
      continue
    case = row["case"]
    name = case["sections"]["model"]["name"]
    points = curves.setdefault((name, case["sequence_len"], row["chip"]), {})
    count = parse(case["topology"]).num_chips
    old = points.get(count)
    if old is None or row["tokens_per_s"] > old["tokens_per_s"]:
      points[count] = row
  return curves


def _models(curves: Iterable[tuple[str, int, str]]) -> list[str]:
  return sorted({model for model, _, _ in curves})
