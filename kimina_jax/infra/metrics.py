"""Metrics of a run, written to several sinks.

In: a dict of numbers after each step, the name of the phase in between. Out:
`metrics.jsonl` in the run's directory, the display on standard output, and, if
the settings say so, TensorBoard files and a run of Weights & Biases. A sink has
two methods, `write(step, row)` and `close()`.
Never touches a device: values are numbers already. In a job of several
processes, process 0 writes.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import math
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from kimina_jax.infra import distributed
from kimina_jax.infra.display import Display, Row
from kimina_jax.infra.records import NullWriter, append, open_jsonl, read
from kimina_jax.types import require


@dataclasses.dataclass(frozen=True)
class MetricsSettings:
  """Sinks of the metrics: the `metrics` section of an experiment.

  Attributes:
    tensorboard: whether to write TensorBoard files.
    wandb_project: project of Weights & Biases; "" writes to none.
  """

  tensorboard: bool
  wandb_project: str

  def __post_init__(self):
    require(
      not self.wandb_project or importlib.util.find_spec("wandb") is not None,
      "metrics.wandb_project",
      repr(self.wandb_project),
      "it needs pip install 'kimina_jax[wandb]'",
    )


class MetricSink(Protocol):
  """Writes the metrics of a run somewhere."""

  def write(self, step: int, row: Row) -> None:
    """Writes the metrics of a step; None stands for a value not finite."""

  def close(self) -> None:
    """Completes what was written."""


class JsonLinesSink:
  """Sink that appends to `metrics.jsonl`, a row per step."""

  def __init__(self, path: pathlib.Path, *, start_step: int):
    """Opens the file and removes the rows from `start_step` on."""
    self._file = open_jsonl(path, start_step)

  def write(self, step: int, row: Row) -> None:
    append(self._file, [{"step": step, **row}])

  def close(self) -> None:
    self._file.close()


class TensorBoardSink:
  """Sink that writes scalars as TensorBoard event files."""

  def __init__(self, directory: pathlib.Path, *, start_step: int):
    """Opens a file; TensorBoard then ignores older events from `start_step` on.

    Args:
      directory: for event files.
      start_step: the first step that will be written.
    """
    with _without_torch():
      import tensorboardX
    self._writer = tensorboardX.SummaryWriter(
      str(directory), purge_step=start_step
    )

  def write(self, step: int, row: Row) -> None:
    for name, value in row.items():
      if value is not None:
        self._writer.add_scalar(name, value, step)

  def close(self) -> None:
    self._writer.close()


class WandbSink:
  """Sink that logs to a run of Weights & Biases.

  A resumed run continues the same W&B run, whose id is a hash of the run's
  directory. W&B drops rows of steps that it has already.
  """

  def __init__(self, directory: pathlib.Path, *, project: str, title: str):
    """Starts or resumes the W&B run.

    Args:
      directory: of our run; its config.json becomes the W&B run's config.
      project: of W&B.
      title: note of the W&B run.
    """
    import wandb

    config = directory / "config.json"
    place = str(directory.absolute())
    self._run = wandb.init(
      project=project,
      dir=place,
      name=directory.absolute().name,
      id=hashlib.sha256(place.encode()).hexdigest()[:16],
      notes=title,
      resume="allow",
      config=json.loads(config.read_text()) if config.exists() else None,
      settings=wandb.Settings(console="off", silent=True),
    )

  def write(self, step: int, row: Row) -> None:
    known = {name: value for name, value in row.items() if value is not None}
    self._run.log(known, step=step)

  def close(self) -> None:
    self._run.finish()


class MetricWriter:
  """Owns the sinks of a run's metrics.

  Example:
    with MetricWriter(run_dir, settings, start_step=0, total_steps=60,
                      title="RL") as writer:
      writer.phase("sampling", done=3, total=128)
      writer.write(0, {"reward/mean": 0.31, "loss/loss": -0.02})
  """

  def __init__(
    self,
    directory: str | pathlib.Path,
    settings: MetricsSettings,
    *,
    start_step: int,
    total_steps: int,
    title: str,
  ):
    """Opens the sinks; rows of earlier starts from `start_step` on go.

    Args:
      directory: of the run.
      settings: which sinks there are besides metrics.jsonl and the display.
      start_step: the first step that will be written.
      total_steps: steps are 0 … total_steps − 1.
      title: name of the run on the display.
    """
    directory = pathlib.Path(directory)
    path = directory / "metrics.jsonl"
    with contextlib.ExitStack() as stack:

      def opened(sink: Any) -> Any:
        return stack.enter_context(contextlib.closing(sink))

      sinks: list[MetricSink] = []
      sinks.append(opened(JsonLinesSink(path, start_step=start_step)))
      if settings.tensorboard:
        sinks.append(
          opened(
            TensorBoardSink(directory / "tensorboard", start_step=start_step)
          )
        )
      if settings.wandb_project:
        sinks.append(
          opened(
            WandbSink(directory, project=settings.wandb_project, title=title)
          )
        )
      self.display = opened(
        Display(
          title,
          start_step=start_step,
          total_steps=total_steps,
          rows=read(path),
        )
      )
      self._sinks = [*sinks, self.display]
      self._stack = stack.pop_all()

  def write(self, step: int, values: Mapping[str, Any]) -> None:
    """Writes the numbers of a step; those not finite become None."""
    row = {name: _finite(value) for name, value in values.items()}
    for sink in self._sinks:
      sink.write(step, row)

  def phase(self, name: str, *, done: int = 0, total: int = 0) -> None:
    """Sets the phase that the display shows; cheap, call it at any rate."""
    self.display.state.phase = (name, done, total)

  def close(self) -> None:
    """Ends the display and closes the other sinks."""
    self._stack.close()

  def __enter__(self) -> "MetricWriter":
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()


def open_metrics(
  directory: str | pathlib.Path,
  settings: MetricsSettings,
  *,
  start_step: int,
  total_steps: int,
  title: str,
) -> MetricWriter | NullWriter:
  """The writer of this process: see MetricWriter; none but in process 0."""
  if not distributed.is_first():
    return NullWriter()
  return MetricWriter(
    directory,
    settings,
    start_step=start_step,
    total_steps=total_steps,
    title=title,
  )


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
  """Lets tensorboardX be imported without PyTorch, as if that were absent.

  tensorboardX imports it if it is installed, which takes seconds, and needs it
  for tensors only.
  """
  if "torch" in sys.modules:
    yield
    return
  sys.modules["torch"] = None  # type: ignore[assignment]
  try:
    yield
  finally:
    del sys.modules["torch"]


def _finite(value: Any) -> float | None:
  value = float(value)
  return value if math.isfinite(value) else None
