"""Metrics on disk, in TensorBoard and on the screen."""

import importlib.machinery
import importlib.util
import io
import json
import os
import pty
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import rich.console
from tensorboardX.proto import event_pb2

from kimina_jax.infra import display
from kimina_jax.infra.metrics import MetricsSettings, MetricWriter
from kimina_jax.types import UsageError

ON_A_TERMINAL = """
import sys
from absl import flags, logging
from kimina_jax.infra.metrics import MetricsSettings, MetricWriter
flags.FLAGS(["program"])
logging.use_absl_handler()
settings = MetricsSettings(tensorboard=False, wandb_project="")
with MetricWriter(
  sys.argv[1], settings, start_step=0, total_steps=2, title="T"
) as w:
  w.phase("sampling", done=3, total=128)
  w.display.refresh()
  logging.warning("a message")
  w.write(0, {"reward/mean": 0.5})
  w.write(1, {"reward/mean": 0.625})
"""


def test_rows_hold_finite_numbers_or_null(tmp_path):
  values = {
    "loss/loss": np.float32(0.25),
    "loss/entropy": float("nan"),
    "checker/proved": 3,
    "loss/grad_norm": float("inf"),
  }
  with _open(tmp_path) as writer:
    writer.write(0, values)
    # Readable at once, while the run continues.
    (row,) = _rows(tmp_path)
  assert row == {
    "step": 0,
    "loss/loss": 0.25,
    "loss/entropy": None,
    "checker/proved": 3.0,
    "loss/grad_norm": None,
  }


def test_resumed_file_is_that_of_the_uninterrupted_run(tmp_path):
  for name, steps in (("whole", range(12)), ("resumed", range(11))):
    with _open(tmp_path / name, total_steps=12) as writer:
      for step in steps:
        writer.write(step, {"reward/mean": step / 12})
  with _open(tmp_path / "resumed", start_step=9, total_steps=12) as writer:
    for step in range(9, 12):
      writer.write(step, {"reward/mean": step / 12})
  assert _rows(tmp_path / "resumed") == _rows(tmp_path / "whole")


def test_tensorboard_holds_the_finite_values(tmp_path):
  with _open(tmp_path) as writer:
    writer.write(3, {"reward/mean": 0.5, "loss/loss": float("nan")})
    writer.write(4, {"reward/mean": 0.75})
  assert _scalars(tmp_path) == [
    (3, "reward/mean", 0.5),
    (4, "reward/mean", 0.75),
  ]


def test_without_a_terminal_each_step_is_a_plain_line(tmp_path, capsys):
  with _open(tmp_path, total_steps=60) as writer:
    writer.phase("sampling", done=1, total=128)
    writer.write(9, {"reward/mean": 0.4123, "eval/pass@1": 0.5, "other": 1})
    writer.write(10, {"reward/mean": 0.5, "loss/loss": float("nan")})
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 2
  assert lines[0].startswith("step  9/60  reward 0.412  pass@1 50.0%")
  assert "loss/loss is not finite" in lines[1]
  assert "\x1b" not in lines[1]


def test_time_left_is_the_mean_pace_times_the_steps_left():
  state = display.DisplayState(
    "title", num_done=10, total_steps=60, started_s=1000.0
  )
  assert state.seconds_left(1300.0) is None
  state.num_done = 12
  # 600 s for two steps, 48 to go.
  assert state.seconds_left(1600.0) == 300 * 48
  assert "4h 00m left" in _shown(state, now_s=1600.0)


def test_display_shows_phase_numbers_and_curve():
  state = display.DisplayState(
    "RL, debug", num_done=12, total_steps=60, started_s=0.0
  )
  state.phase = ("sampling", 64, 128)
  state.add({"step": 10, "reward/mean": 0.25, "eval/pass@1": 0.3125})
  state.add({"step": 11, "reward/mean": None})
  state.add({"step": 12, "reward/mean": 0.75})
  shown = _shown(state, now_s=95.0)
  for text in (
    "RL, debug",
    "12/60",
    "1m 35s",
    "sampling",
    "64/128",
    "reward 0.750",
    "pass@1 31.2%",  # still there, though the last rows lack it
    "0.25 ▁█ 0.75",
  ):
    assert text in shown, f"{text!r} is not in\n{shown}"
  assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
  "values, bars",
  [
    ([], ""),
    ([0.3, 0.3], "▁▁"),
    ([0.0, 1.0, 2.0, 7.0], "▁▂▃█"),
    ([9.0, 0.0, 7.0], "▁█"),
  ],
)
def test_sparkline_spans_the_last_values(values, bars):
  assert display.sparkline(values, width=max(len(bars), 1)) == bars


def test_a_resumed_display_knows_the_past(tmp_path):
  with _open(tmp_path) as writer:
    for step in range(4):
      writer.write(step, {"reward/mean": step / 4, "eval/pass@1": 0.25})
  with _open(tmp_path, start_step=3) as writer:
    assert writer.display.state.curve == [0.0, 0.25, 0.5]
    assert writer.display.state.latest["eval/pass@1"] == 0.25


def test_on_a_terminal_the_display_is_live(tmp_path):
  main, sub = pty.openpty()
  command = [sys.executable, "-c", ON_A_TERMINAL, str(tmp_path)]
  environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
  with subprocess.Popen(
    command, stdin=sub, stdout=sub, stderr=sub, env=environment
  ) as process:
    os.close(sub)
    seen = _read_all(main)
  assert process.returncode == 0
  assert "sampling" in seen and "3/128" in seen
  last_frame = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)[-1000:]
  assert "2/2" in last_frame and "0.5 ▁█ 0.625" in last_frame
  assert "\x1b[?25h" in seen  # the cursor is back
  # The log writes where the display made room, not across it.
  assert re.search(r"\x1b\[2K[^\x1b╯]*a message", seen)


def test_without_tensorboard_there_are_no_files_of_it(tmp_path):
  settings = MetricsSettings(tensorboard=False, wandb_project="")
  MetricWriter(
    tmp_path, settings, start_step=0, total_steps=1, title=""
  ).close()
  assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_tensorboard_writer_does_not_import_torch(tmp_path):
  code = (
    "import pathlib, sys\n"
    "from kimina_jax.infra.metrics import TensorBoardSink\n"
    "sink = TensorBoardSink(pathlib.Path(sys.argv[1]), start_step=0)\n"
    "sink.write(0, {'a': 1.0})\n"
    "sink.close()\n"
    "print('torch' in sys.modules)\n"
    "import torch\n"
  )
  done = subprocess.run(
    [sys.executable, "-c", code, str(tmp_path)],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


class FakeWandb(types.ModuleType):
  """Keeps what is logged, by step."""

  def __init__(self):
    super().__init__("wandb")
    self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    self.options, self.rows, self.is_finished = {}, {}, False

  def Settings(self, **settings):
    return settings

  def init(self, **options):
    self.options = options
    return self

  def log(self, row, step):
    self.rows[step] = row

  def finish(self):
    self.is_finished = True


def test_weights_and_biases(tmp_path, monkeypatch):
  fake = FakeWandb()
  monkeypatch.setitem(sys.modules, "wandb", fake)
  (tmp_path / "config.json").write_text('{"seed": 3}')
  with _open(tmp_path, wandb_project="provers") as writer:
    writer.write(3, {"reward/mean": 0.5, "loss/loss": float("nan")})
    assert not fake.is_finished
  assert fake.rows == {3: {"reward/mean": 0.5}} and fake.is_finished
  assert fake.options["project"] == "provers"
  assert fake.options["config"] == {"seed": 3}
  first = fake.options["id"]
  _open(tmp_path, start_step=4, wandb_project="provers").close()
  assert fake.options["id"] == first and fake.options["resume"] == "allow"


def test_weights_and_biases_must_be_installed(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UsageError, match="kimina_jax.wandb"):
    MetricsSettings(tensorboard=True, wandb_project="provers")


def test_one_sink_that_fails_to_open_closes_the_others(tmp_path):
  (tmp_path / "tensorboard").write_text("a file")
  with pytest.raises(OSError):
    _open(tmp_path)  # a warning of an open file would fail this test


def _read_all(descriptor):
  chunks = []
  while True:
    try:
      chunk = os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed
      chunk = b""
    if not chunk:
      os.close(descriptor)
      return b"".join(chunks).decode()
    chunks.append(chunk)


def _open(path, start_step=0, total_steps=60, wandb_project=""):
  return MetricWriter(
    path,
    MetricsSettings(tensorboard=True, wandb_project=wandb_project),
    start_step=start_step,
    total_steps=total_steps,
    title="title",
  )


def _rows(path):
  lines = (path / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def _shown(state, now_s):
  console = rich.console.Console(file=io.StringIO(), width=80)
  console.print(display.render_display(state, now_s))
  return console.file.getvalue()


def _scalars(path):
  """Reads the TFRecord framing by hand: length, its CRC, event, its CRC."""
  (file,) = (path / "tensorboard").iterdir()
  data, found = file.read_bytes(), []
  while data:
    size = int.from_bytes(data[:8], "little")
    event = event_pb2.Event.FromString(data[12 : 12 + size])
    found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
    data = data[16 + size :]
  return found
