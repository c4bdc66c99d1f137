"""Progress of a run on the terminal: a live panel, or a line per step.

In: a row of metrics after each step, the name of the phase in between. Out: on
a terminal a panel with progress bars, the latest numbers and a curve; else a
plain line per step on standard output.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TextIO

import rich.columns
import rich.console
import rich.live
import rich.panel
import rich.progress_bar
import rich.table
import rich.text
from absl import logging

Row = Mapping[str, float | None]  # by metric; None was not finite

# Label, metric, format: shown by the display, in order of importance.
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
_CURVES = ("reward/mean", "loss/loss")  # the first that a run has is drawn
_CURVE_WIDTH = 48
_BARS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass
class DisplayState:
  """State of the display.

  Attributes:
    title: of the panel.
    num_done: steps done, those before a resume included.
    total_steps: of the run.
    phase: name, done, total; without bar if the total is 0.
    latest: the last value of each metric.
    curve: values of the first of _CURVES that the run has, in order of steps.
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

  def add(self, row: Row) -> None:
    """Updates the latest values and the curve with the row of a step."""
    known = {name: value for name, value in row.items() if value is not None}
    self.latest.update(known)
    name = next((name for name in _CURVES if name in self.latest), None)
    if name in known:
      self.curve.append(known[name])

  def seconds_left(self, now_s: float) -> float | None:
    """Time left at the mean pace so far; None before the first step."""
    num_done = self.num_done - self.first_step
    if not num_done:
      return None
    pace_s = (now_s - self.started_s) / num_done
    return pace_s * (self.total_steps - self.num_done)


class Display:
  """Sink of metrics that shows them: live on a terminal, else as lines."""

  def __init__(
    self,
    title: str,
    *,
    start_step: int,
    total_steps: int,
    rows: Iterable[Row] = (),
  ):
    """Starts the display.

    Args:
      title: of the panel.
      start_step: the first step that will be written.
      total_steps: steps are 0 … total_steps − 1.
      rows: of the steps before `start_step`.
    """
    self.state = DisplayState(title, start_step, total_steps)
    for row in rows:
      self.state.add(row)
    self._live = _start_live(self.state) if sys.stdout.isatty() else None

  def write(self, step: int, row: Row) -> None:
    """Shows the metrics of a step."""
    self.state.add(row)
    self.state.num_done = min(step + 1, self.state.total_steps)
    if self._live is None:
      line = format_line(self.state, step, row, time.monotonic())
      print(line, flush=True)

  def refresh(self) -> None:
    """Draws the panel now instead of at the next refresh."""
    if self._live is not None:
      self._live.refresh()

  def close(self) -> None:
    """Ends the live display; what it showed last stays."""
    self.state.phase = ("", 0, 0)
    if self._live is not None:
      self._live.stop()
      _log_to(sys.stderr)


def format_line(state: DisplayState, step: int, row: Row, now_s: float) -> str:
  """The metrics of a step as a line of a log."""
  width = len(str(state.total_steps))
  parts = [f"step {step:>{width}}/{state.total_steps}"]
  numbers = [
    f"{label} {form.format(row[name])}"
    for label, name, form in _SHOWN
    if row.get(name) is not None
  ]
  parts += numbers[:_NUM_IN_LINE]
  parts += [f"{name} is not finite" for name in row if row[name] is None]
  left_s = state.seconds_left(now_s)
  if left_s:
    parts.append(f"{_duration(left_s)} left")
  return "  ".join(parts)


def render_display(
  state: DisplayState, now_s: float
) -> rich.console.RenderableType:
  """The panel as of now."""
  name, done, total = state.phase
  overall = rich.table.Table.grid(expand=True, padding=(0, 1))
  overall.add_column(no_wrap=True)
  overall.add_column(ratio=1)
  overall.add_column(no_wrap=True, justify="right")
  overall.add_row(
    "step", _bar(state.num_done, state.total_steps), _progress(state, now_s)
  )
  if total:
    overall.add_row(f"[cyan]{name}", _bar(done, total), f"{done}/{total}")
  else:
    overall.add_row(f"[cyan]{name}", "", "")
  return rich.panel.Panel(
    rich.console.Group(overall, _numbers(state.latest), _curve(state.curve)),
    title=rich.text.Text(state.title, style="bold"),
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


def _start_live(state: DisplayState) -> rich.live.Live:
  live = rich.live.Live(
    get_renderable=lambda: render_display(state, time.monotonic()),
    refresh_per_second=4,
  )
  live.start()
  # The display has replaced sys.stderr by a stream that prints above the panel;
  # the log still writes to the old one, across the panel.
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


def _progress(state: DisplayState, now_s: float) -> str:
  left_s = state.seconds_left(now_s)
  left = f"{_duration(left_s)} left" if left_s is not None else ""
  elapsed = _duration(now_s - state.started_s)
  return f"{state.num_done}/{state.total_steps}  {elapsed}  {left}".rstrip()


def _duration(seconds: float) -> str:
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours}h {minutes:02}m"
  return f"{minutes}m {seconds:02}s" if minutes else f"{seconds}s"
