"""What a run reports while it goes on: numbers, curves and a live display.

In: a dict of numbers after each step, the name of the phase in between. Out:
`metrics.jsonl` and `tensorboard/` in the run's directory and a display on
standard output: live on a terminal, else a plain line per step.
Never touches a device: values are numbers already. In a job of several
processes, process 0 reports.
"""

import dataclasses
import math
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import rich.columns
import rich.console
import rich.live
import rich.panel
import rich.progress_bar
import rich.table
import rich.text
import tensorboardX
from absl import logging

from kimina_jax.infra import distributed
from kimina_jax.infra.records import Silent, append, open_jsonl, read

# Label, metric, format: what the display shows, most telling first.
_SHOWN = (
  ("reward", "reward/mean", "{:.3f}"),
  ("proved", "reward/proved", "{:.1%}"),
  ("pass@1", "eval/pass@1", "{:.1%}"),
  ("loss", "loss/loss", "{:.4g}"),
  ("tokens", "response/len_mean", "{:.0f}"),
  ("entropy", "loss/entropy", "{:.3f}"),
  ("KL", "loss/kl_old", "{:.2e}"),
  ("gradient", "loss/grad_norm", "{:.3g}"),
  ("mixed groups", "group/mixed", "{:.1%}"),
  ("bad format", "format/failed", "{:.1%}"),
  ("check p99", "checker/exec_p99_s", "{:.3g} s"),
  ("tokens/s", "throughput/sample_tokens_per_s", "{:,.0f}"),
)
_NUM_IN_LINE = 7  # of them, in a plain line
_CURVES = ("reward/mean", "loss/loss")  # the first that there is
_CURVE_WIDTH = 48
_BARS = "▁▂▃▄▅▆▇█"


def open_metrics(
  directory: str | pathlib.Path,
  *,
  start_step: int,
  total_steps: int,
  title: str,
) -> "MetricWriter | Silent":
  """What this process is to report to; see MetricWriter."""
  if not distributed.is_first():
    return Silent()
  return MetricWriter(
    directory, start_step=start_step, total_steps=total_steps, title=title
  )


class MetricWriter:
  """Owns a run's `metrics.jsonl`, its TensorBoard files and the display.

  Example:
    with MetricWriter(run, start_step=0, total_steps=60, title="RL") as writer:
      writer.phase("sampling", done=3, total=128)
      writer.write(0, {"reward/mean": 0.31, "loss/loss": -0.02})
  """

  def __init__(
    self,
    directory: str | pathlib.Path,
    *,
    start_step: int,
    total_steps: int,
    title: str,
  ):
    """Opens the files and cuts away rows from `start_step` on.

    Args:
      directory: of the run.
      start_step: the first step that will be written.
      total_steps: steps are 0 … total_steps − 1.
      title: names the run on the display.
    """
    directory = pathlib.Path(directory)
    path = directory / "metrics.jsonl"
    self._file = open_jsonl(path, start_step)
    self._board = tensorboardX.SummaryWriter(
      str(directory / "tensorboard"), purge_step=start_step
    )
    self._view = View(title, start_step, total_steps)
    for row in read(path):
      self._view.add(row)
    self._live = _show_live(self._view) if sys.stdout.isatty() else None

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Records the numbers of a step; those not finite become null."""
    row = {"step": step} | {
      name: _finite(value) for name, value in values.items()
    }
    append(self._file, [row])
    for name, value in row.items():
      if name != "step" and value is not None:
        self._board.add_scalar(name, value, step)
    self._view.add(row)
    self._view.num_done = min(step + 1, self._view.total_steps)
    if not self._live:
      print(to_line(self._view, row, time.monotonic()), flush=True)

  def phase(self, name: str, *, done: int = 0, total: int = 0) -> None:
    """Says what is going on; cheap, call it as often as it changes."""
    self._view.phase = (name, done, total)

  def close(self) -> None:
    """Ends the display and completes the files."""
    self._view.phase = ("", 0, 0)
    if self._live:
      self._live.stop()
      _log_to(sys.stderr)
    self._board.close()
    self._file.close()

  def __enter__(self) -> "MetricWriter":
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()


@dataclasses.dataclass
class View:
  """What the display shows.

  Attributes:
    title: names the run.
    num_done: steps done, those before a resume included.
    total_steps: of the run.
    phase: name, done, total; a total of 0 shows the name only.
    latest: the last value of each metric.
    curve: values of the first of _CURVES that there is, in order of steps.
    first_step: the step at `started_s`.
    started_s: by the monotonic clock.
  """

  title: str
  num_done: int
  total_steps: int
  phase: tuple[str, int, int] = ("starting", 0, 0)
  latest: dict[str, float] = dataclasses.field(default_factory=dict)
  curve: list[float] = dataclasses.field(default_factory=list)
  first_step: int = dataclasses.field(init=False)
  started_s: float = dataclasses.field(default_factory=time.monotonic)

  def __post_init__(self):
    self.first_step = self.num_done

  def add(self, row: Mapping[str, float | None]) -> None:
    """Takes in a row of `metrics.jsonl`."""
    known = {name: value for name, value in row.items() if value is not None}
    self.latest.update(known)
    name = next((name for name in _CURVES if name in self.latest), None)
    if name in known:
      self.curve.append(known[name])

  def seconds_left(self, now_s: float) -> float | None:
    """At the mean pace since the start; None before the first step."""
    num_done = self.num_done - self.first_step
    if not num_done:
      return None
    pace_s = (now_s - self.started_s) / num_done
    return pace_s * (self.total_steps - self.num_done)


def to_line(view: View, row: Mapping[str, float | None], now_s: float) -> str:
  """A step as a line of a log."""
  width = len(str(view.total_steps))
  parts = [f"step {row['step']:>{width}}/{view.total_steps}"]
  numbers = [
    f"{label} {form.format(row[name])}"
    for label, name, form in _SHOWN
    if row.get(name) is not None
  ]
  parts += numbers[:_NUM_IN_LINE]
  parts += [f"{name} is not finite" for name in row if row[name] is None]
  left_s = view.seconds_left(now_s)
  if left_s:
    parts.append(f"{_duration(left_s)} left")
  return "  ".join(parts)


def render(view: View, now_s: float) -> rich.console.RenderableType:
  """The display as of now."""
  name, done, total = view.phase
  overall = rich.table.Table.grid(expand=True, padding=(0, 1))
  overall.add_column(no_wrap=True)
  overall.add_column(ratio=1)
  overall.add_column(no_wrap=True, justify="right")
  overall.add_row(
    "step", _bar(view.num_done, view.total_steps), _progress(view, now_s)
  )
  if total:
    overall.add_row(f"[cyan]{name}", _bar(done, total), f"{done}/{total}")
  else:
    overall.add_row(f"[cyan]{name}", "", "")
  return rich.panel.Panel(
    rich.console.Group(overall, _numbers(view.latest), _curve(view.curve)),
    title=rich.text.Text(view.title, style="bold"),
    title_align="left",
    border_style="dim",
  )


def sparkline(values: list[float], *, width: int) -> str:
  """The last `width` values as bars between their extremes.

  >>> sparkline([0.0, 0.5, 1.0], width=8)
  '▁▅█'
  """
  values = values[-width:]
  low, high = min(values, default=0.0), max(values, default=0.0)
  scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
  return "".join(
    _BARS[math.floor((value - low) * scale + 0.5)] for value in values
  )


def _show_live(view: View) -> rich.live.Live:
  live = rich.live.Live(
    get_renderable=lambda: render(view, time.monotonic()),
    refresh_per_second=4,
  )
  live.start()
  # The display has put itself before stderr, but the log still holds the
  # old one and would write across the picture.
  _log_to(sys.stderr)
  return live


def _log_to(stream: TextIO) -> None:
  logging.get_absl_handler().python_handler.stream = stream


def _numbers(latest: Mapping[str, float]) -> rich.columns.Columns:
  cells = [
    rich.text.Text.assemble((f"{label} ", "dim"), form.format(latest[name]))
    for label, name, form in _SHOWN
    if name in latest
  ]
  return rich.columns.Columns(cells, padding=(0, 3), equal=True)


def _curve(values: list[float]) -> rich.text.Text:
  shown = values[-_CURVE_WIDTH:]
  if len(shown) < 2:
    return rich.text.Text()
  return rich.text.Text.assemble(
    (f"{min(shown):.3g} ", "dim"),
    (sparkline(shown, width=_CURVE_WIDTH), "green"),
    (f" {max(shown):.3g}", "dim"),
  )


def _bar(done: int, total: int) -> rich.progress_bar.ProgressBar:
  return rich.progress_bar.ProgressBar(total=total, completed=done)


def _progress(view: View, now_s: float) -> str:
  left_s = view.seconds_left(now_s)
  left = f"{_duration(left_s)} left" if left_s is not None else ""
  elapsed = _duration(now_s - view.started_s)
  return f"{view.num_done}/{view.total_steps}  {elapsed}  {left}".rstrip()


def _duration(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}h {minutes:02}m"
  return f"{minutes}m {seconds:02}s" if minutes else f"{seconds}s"


def _finite(value: Any) -> float | None:
  value = float(value)
  return value if math.isfinite(value) else None
