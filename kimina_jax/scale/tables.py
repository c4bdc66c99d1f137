"""Rows as tables: for the terminal and as Markdown.

In: rows of a study. Out: headings and cells, the same for both. Never
computes more than a unit.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rich.table

from kimina_jax.infra.chips import GIB
from kimina_jax.scale.store import Row

HEADINGS = (
  *("model", "topology", "mesh", "program", "rows × tokens"),
  *("GiB per chip", "of which", "PFLOP", "GiB moved per axis"),
  *("GiB of HBM per step (of weights + KV)", "seconds ≥"),
  *("binds", "MFU ≤", "tokens/s ≤", "compile s"),
)

# What takes part of the memory, by its short name.
_SHARES = {
  "parameters": "params",
  "optimizer": "moments",
  "gradients": "grads",
  "kv cache": "KV",
  "decode copy": "decode copy",
  "activations": "rest",
}


def cells(row: Row) -> list[str]:
  """One row, a text per heading."""
  case, sampling = row["case"], row.get("sampling")
  rows = f"{case['num_rows']} × {case['sequence_len']:,}"
  if sampling:
    rows += f", {sampling['cached_positions']:,} cached"
  return [
    case["sections"]["model"]["name"],
    case["topology"],
    mesh_text(case["mesh"]),
    case["program"],
    rows if case["num_rows"] else "",
    *_outcome(row),
  ]


def to_terminal(rows: Iterable[Row]) -> rich.table.Table:
  """A table for people at a terminal."""
  table = rich.table.Table(header_style="bold", padding=(0, 1, 0, 0), box=None)
  for heading in HEADINGS:
    table.add_column(heading, overflow="fold")
  for row in rows:
    fits = row["status"] == "fits"
    table.add_row(*cells(row), style="" if fits else "red")
  return table


def to_markdown(rows: Sequence[Row], headings: Sequence[str]) -> str:
  """A table with the chosen headings."""
  chosen = [HEADINGS.index(heading) for heading in headings]
  lines = ["| " + " | ".join(headings) + " |"]
  lines.append("|" + " --- |" * len(headings))
  for row in rows:
    texts = cells(row)
    line = " | ".join(texts[index].replace("|", "/") for index in chosen)
    lines.append(f"| {line} |")
  return "\n".join(lines)


def to_line(row: Row) -> str:
  """The outcome of a row in a few words, for progress."""
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


def _outcome(row: Row) -> list[str]:
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
    return [
      *shown,
      _petaflop(row),
      *[""] * 6,
      f"{row['compile_s']:.0f}",
    ]
  has_tokens = row["tokens"] > 0
  return [
    *shown,
    _petaflop(row),
    _traffic(row),
    _per_step(row),
    f"{bound_s:.3g}" + (" measured" if measured_s else ""),
    row.get("binds", ""),
    f"{row['mfu']:.1%}" if has_tokens else "",
    f"{row['tokens_per_s']:,.0f}" if has_tokens else "",
    f"{row['compile_s']:.0f}" if "compile_s" in row else "",
  ]


def _memory(row: Row) -> str:
  peak = row.get("peak_bytes")
  if peak is None:
    return "?"
  if row["status"] == "fits":
    return _gib(peak)
  limit = row["limit_bytes"]
  return f"{_gib(peak)} of {_gib(limit)}: {_gib(peak - limit)} too much"


def _petaflop(row: Row) -> str:
  return f"{row['flops'] / 1e15:.4g}" if row.get("flops") else ""


def _traffic(row: Row) -> str:
  """GiB per device and axis, whatever the kind of collective."""
  sums: dict[str, float] = {}
  for part in row["parts"].values():
    for axes, kinds in part.get("collective_bytes", {}).items():
      sums[axes] = sums.get(axes, 0) + sum(kinds.values())
  return ", ".join(
    f"{axes} {_gib(size)}" for axes, size in sums.items() if size > GIB / 100
  )


def _per_step(row: Row) -> str:
  """Main memory that a step of the sampler moves, by what it has to."""
  sampling = row.get("sampling")
  if not sampling or "seconds" in row:
    return ""
  moved = sum(part["hbm_bytes"] for part in row["parts"].values())
  moved /= sampling["steps"]
  return f"{_gib(moved)} ({moved / sampling['least_bytes']:.2f} ×)"


def _gib(size: Any) -> str:
  return f"{size / GIB:.3g}" if size < 100 * GIB else f"{size / GIB:.0f}"
