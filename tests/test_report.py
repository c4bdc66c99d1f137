"""The report embeds the run faithfully, safely and within its size."""

import argparse
import html.parser
import json
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest

from kimina_jax.report import page as report
from kimina_jax.report.__main__ import main
from kimina_jax.types import Status, UsageError, Verdict
from kimina_jax.verification import stats

EVIL = "</script><img src=x onerror=alert(1)><!-- \u2028 {{data}} {{title}}"


def test_page_embeds_the_run(tmp_path):
  make_run(tmp_path / "run", num_steps=6, num_rows=4)
  data = _embedded(report.write_report(tmp_path / "run"))
  assert data["title"] == "run"
  assert data["metrics"]["step"] == list(range(6))
  rows = [
    json.loads(line)
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
  ]
  for step, row in enumerate(rows):
    for name in ("reward/mean", "eval/pass@1", "loss/entropy"):
      assert data["metrics"][name][step] == row.get(name)
  assert data["numRollouts"] == len(data["rollouts"]) == 24
  assert ["Checker", "minilean"] in data["facts"]
  assert ["Problems × rollouts", "16 × 8"] in data["facts"]


def test_what_a_rollout_says_stays_data(tmp_path):
  make_run(tmp_path, num_steps=1, num_rows=1)
  (row,) = _jsonl(tmp_path / "rollouts.jsonl")
  fields = dict.fromkeys(("name", "source", "prompt", "text"), EVIL)
  message = {"severity": "error", "line": 1, "column": 0, "text": EVIL}
  row |= fields | {"messages": [message]}
  (tmp_path / "rollouts.jsonl").write_text(json.dumps(row) + "\n")
  path = report.write_report(tmp_path)
  (rollout,) = _embedded(path)["rollouts"]
  assert {name: rollout[name] for name in fields} == fields
  assert rollout["messages"] == [message]
  tags = _tags(path.read_text())
  assert tags.count("script") == 2 and "img" not in tags
  # The script fills the page through text nodes alone.
  assert not re.search(r"innerHTML|outerHTML|insertAdj|eval\(", _page(path))


def test_page_needs_nothing_from_elsewhere(tmp_path):
  make_run(tmp_path, num_steps=2, num_rows=1)
  page = _page(report.write_report(tmp_path))
  page = page.replace("http://www.w3.org/2000/svg", "")  # a name, not a link
  assert not re.search(r"https?://|@import|\bsrc=|<link|fetch\(", page)


def test_a_run_in_progress_has_a_report(tmp_path):
  with pytest.raises(UsageError, match="no run in .*neither"):
    report.write_report(tmp_path)
  (tmp_path / "metrics.jsonl").write_text('{"step": 0, "loss/loss": null}\n{"s')
  data = _embedded(report.write_report(tmp_path))
  assert data["metrics"] == {"step": [0], "loss/loss": [None]}
  assert data["rollouts"] == [] and data["facts"] == []


def test_an_evaluation_is_shown_by_its_result(tmp_path):
  make_run(tmp_path, num_steps=3, num_rows=2)
  result = {"checkpoint": "runs/rl", "num_problems": 9, "eval/pass@1": 0.5}
  (tmp_path / "result.json").write_text(json.dumps(result))
  (tmp_path / "config.json").write_text('{"program": "evaluate"}')
  data = _embedded(report.write_report(tmp_path))
  assert data["program"] == "Evaluation"
  assert data["metrics"] == {"step": [0], "eval/pass@1": [0.5]}


def test_a_damaged_rollout_is_left_out(tmp_path, caplog):
  make_run(tmp_path, num_steps=1, num_rows=3)
  path = tmp_path / "rollouts.jsonl"
  lines = path.read_text().splitlines()
  path.write_text(
    "\n".join([lines[0], '{"iteration": 0, "tex', "[]", lines[2], ""])
  )
  data = _embedded(report.write_report(tmp_path))
  assert [rollout["index"] for rollout in data["rollouts"]] == [0, 2]
  assert "rollouts.jsonl:2 is not a rollout" in caplog.text
  assert "rollouts.jsonl:3 is not a rollout" in caplog.text


def test_a_damaged_config_is_one_line(tmp_path):
  make_run(tmp_path, num_steps=1, num_rows=1)
  for text in ('{"program": ', "[]"):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match="config.json is not JSON"):
      report.write_report(tmp_path)


def test_the_script_reads_fields_that_rollouts_have():
  page = pathlib.Path(report.__file__).with_suffix(".html").read_text()
  used = set(re.findall(r'distinct\("(\w+)"\)', page))
  used |= set(re.findall(r"\br\.(\w+)", page)) - {"length"}
  assert used <= set(report._ROLLOUT_FIELDS), used


def test_rows_of_one_step_are_one_row(tmp_path):
  lines = [{"step": 1, "a": 1.0}, {"step": 1, "b": 2.0}, {"step": 2, "a": 3.0}]
  path = tmp_path / "metrics.jsonl"
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  assert report.columns(path) == {
    "step": [1, 2],
    "a": [1.0, 3.0],
    "b": [2.0, None],
  }


@pytest.mark.parametrize("limit_bytes", [1 << 30, 200_000])
def test_many_rollouts_are_thinned_evenly(tmp_path, limit_bytes):
  path = tmp_path / "rollouts.jsonl"
  with open(path, "w") as file:
    for index in range(20_000):
      row = {
        "iteration": index // 100,
        "index": index,
        "text": "x" * (index % 300),
      }
      file.write(json.dumps(row) + "\n")
  rollouts, count = report.sample_rollouts(
    path, limit=2000, limit_bytes=limit_bytes
  )
  rows = [rollout["index"] for rollout in rollouts]
  assert count == 20_000
  assert rows == sorted(set(rows))
  num_newest = len(rows) // 4
  assert rows[-num_newest:] == list(range(20_000 - num_newest, 20_000))
  gaps = np.diff(rows[:-num_newest])
  assert rows[0] == 0 and gaps.max() - gaps.min() <= 1
  if limit_bytes > 1 << 20:
    assert len(rows) == 2000
  else:
    size = sum(len(line) for line in _lines(path, rows))
    assert limit_bytes / 4 < size <= limit_bytes


def test_command_line_names_one_run():
  with pytest.raises(UsageError, match="name one run"):
    main(argparse.Namespace(arguments=[]))


def test_an_alarm_of_the_checker_is_shown(tmp_path):
  rows = [
    {"step": 0, "checker/checked": 128.0, "checker/infra_errors": 6.0},
    {"step": 1, "loss/loss": 0.5},
    {"step": 2, "checker/checked": 128.0, "checker/infra_errors": 16.0},
    {"step": 3, "checker/checked": 9.0, "checker/infra_errors": 9.0},
  ]
  data = _embedded(report.write_report(_with_metrics(tmp_path, rows)))
  ((step, words),) = data["alarms"]
  assert step == 2
  assert "16 of 128 proofs (12.5%" in words


def test_the_isolation_in_force_is_a_fact(tmp_path):
  def isolation(**counts):
    modes = dict.fromkeys(("bwrap", "rlimit", "none", "remote"), 0.0) | counts
    return {f"checker/isolation/{mode}": n for mode, n in modes.items()}

  rows = [
    {"step": 0, **isolation(rlimit=2.0)},
    {"step": 1, **isolation(bwrap=2.0)},
    {"step": 2, "loss/loss": 0.5},
  ]
  data = _embedded(report.write_report(_with_metrics(tmp_path, rows)))
  assert ["Isolation in force", "bwrap"] in data["facts"]
  rows.append({"step": 3, **isolation(bwrap=3.0, none=1.0)})
  data = _embedded(report.write_report(_with_metrics(tmp_path, rows)))
  told = "bwrap × 3, none × 1"
  assert ["Isolation in force", told] in data["facts"]


def test_the_checkers_panels_show_numbers_that_a_pool_has():
  """Names in the page are names of the statistics, and no cause is left out."""
  page = pathlib.Path(report.__file__).with_suffix(".html").read_text()
  pool = stats.VerificationStats(1, "bwrap")
  for status in Status:
    pool.verdict(Verdict(status))
  pool.count("warm_hits")
  names = {f"checker/{name}" for name in stats.merge_stats([pool.read()])}
  plain = set(re.findall(r'"(checker/[a-z_]+)"', page))
  assert plain <= names and len(plain) >= 10
  causes = re.search(r"const CAUSES = (\[.*?\]);", page)[1]
  assert tuple(json.loads(causes)) == stats.REPLACEMENT_REASONS
  stages = re.findall(r'\["(queue|load|exec)", "', page)
  percents = re.findall(r'\["(\d\d)", "\w+"\]', page)
  latencies = {f"checker/{s}_p{p}_s" for s in stages for p in percents}
  assert latencies == {name for name in names if name.endswith("_s")}
  tones = re.search(r"VERDICT_TONES = \{(.*?)\}", page, re.DOTALL)[1]
  assert set(re.findall(r"(\w+):", tones)) == {str(s) for s in Status}


def test_the_pages_script_is_javascript(tmp_path):
  node = shutil.which("node")
  if node is None:
    pytest.skip("no node to read it")
  make_run(tmp_path, num_steps=2, num_rows=1)
  page = report.write_report(tmp_path).read_text()
  script = tmp_path / "page.js"
  script.write_text(re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[0])
  subprocess.run([node, "--check", script], check=True)


def _with_metrics(path, rows):
  (path / "metrics.jsonl").write_text(
    "".join(json.dumps(row) + "\n" for row in rows)
  )
  return path


def make_run(path, *, num_steps, num_rows):
  """Writes a run that looks real; its numbers are made up."""
  path.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(0)
  (path / "config.json").write_text(json.dumps(CONFIG))
  with open(path / "metrics.jsonl", "w") as file:
    for step in range(num_steps):
      row = {"step": step, **_metrics(rng, step / num_steps)}
      if step % 10 == 0 or step == num_steps - 1:
        row |= _evaluation(rng, step / num_steps)
      file.write(json.dumps(row) + "\n")
  with open(path / "rollouts.jsonl", "w") as file:
    for step in range(num_steps):
      for row in range(num_rows):
        rollout = _rollout(rng, step, row, step / num_steps)
        file.write(json.dumps(rollout, ensure_ascii=False) + "\n")


CONFIG = {
  "program": "train",
  "seed": 0,
  "model": {"name": "debug"},
  "tokenizer": "embedded",
  "problems": {"train": "arithmetic", "eval": "arithmetic"},
  "checker": {"backend": "minilean", "isolation": "auto"},
  "train": {"num_problems": 16, "num_per_problem": 8, "num_iterations": 60},
  "loss": {"name": "kimi", "tau": 0.4},
  "advantage": {"baseline": "mean"},
  "optimizer": {"learning_rate": 2e-4},
}
SOURCES = ("linear_int", "numeric", "exists", "conjunction", "ring")
PROOF = """import Mathlib

theorem {name} (x : ℤ) (h : x + 2 = {n}) : x = {m} := by
  -- move the 2 to the other side
  have h' : x = {n} - 2 := by linarith
  {tactic}"""


def _metrics(rng, done):
  solved = 0.25 + 0.65 * done + 0.03 * rng.standard_normal()
  wrong = 128 * (1 - solved)
  return {
    "reward/mean": solved - 0.02,
    "reward/proved": solved,
    "group/all_0": 0.4 * (1 - done),
    "group/mixed": 0.6 - 0.2 * done,
    "group/all_1": 0.6 * done,
    "format/failed": 0.05 * (1 - done),
    "response/len_mean": 120 - 30 * done + 4 * rng.standard_normal(),
    "response/truncated": 0.02 * (1 - done),
    "loss/loss": 0.01 * rng.standard_normal(),
    "loss/rho_abs": 0.05 + 0.02 * rng.random(),
    "loss/kl_old": 1e-3 * rng.random(),
    "loss/entropy": 0.6 - 0.4 * done + 0.02 * rng.random(),
    "loss/grad_norm": 0.3 + 0.2 * rng.random(),
    "loss/sampler_gap": 1e-4 * rng.random(),
    "verdict/proved": round(128 * solved),
    "verdict/lean_error": round(wrong * 0.8),
    "verdict/malformed": round(wrong * 0.15),
    "verdict/timeout": round(wrong * 0.05),
    "response/len_right": 100 - 30 * done + 4 * rng.standard_normal(),
    "response/len_wrong": 150 - 10 * done + 9 * rng.standard_normal(),
    "loss/learning_rate": 2e-4,
    **_checker(rng, solved),
    "time/sample_s": 4 + rng.random(),
    "time/verify_wait_s": 0.3 * rng.random(),
    "time/update_s": 2.5 + 0.2 * rng.random(),
    "throughput/sample_tokens_per_s": 3200 + 200 * rng.random(),
    "throughput/train_tokens_per_s": 9000 + 400 * rng.random(),
    "curriculum/retired": round(40 * done),
  }


def _checker(rng, solved):
  """The statistics of a pool, as VerificationStats reports them."""
  pool = stats.VerificationStats(2, "bwrap")
  for _ in range(128):
    status = Status.PROVED if rng.random() < solved else Status.LEAN_ERROR
    if rng.random() < 0.06:
      status = rng.choice([Status.FORBIDDEN_SYNTAX, Status.TIMEOUT])
    axioms = ("propext", "Quot.sound")[: rng.integers(3)]
    pool.verdict(
      Verdict(
        Status(status),
        axioms=axioms if status == Status.PROVED else (),
        queue_s=0.02 * rng.random(),
        load_s=1e-5 + (rng.random() < 0.02),
        exec_s=0.004 * np.exp(rng.standard_normal()),
      )
    )
    pool.count(rng.choice(["warm_hits"] * 20 + ["cold_starts", "standby_hits"]))
    pool.count("duplicates")
  pool.count(f"replaced/{rng.choice(stats.REPLACEMENT_REASONS)}")
  pool.busy(1e-4)
  numbers = stats.merge_stats([pool.read()])
  return {f"checker/{name}": value for name, value in numbers.items()}


def _evaluation(rng, done):
  solve = {
    f"eval/solve/{source}": min(1, 0.1 * index + 0.75 * done)
    for index, source in enumerate(SOURCES, 1)
  }
  pass_1 = 0.3 + 0.55 * done + 0.01 * rng.standard_normal()
  return {"eval/pass@1": pass_1, "eval/pass@8": (1 + pass_1) / 2, **solve}


def _rollout(rng, iteration, index, done):
  proved = rng.random() < 0.25 + 0.65 * done
  status = Status.PROVED if proved else Status.LEAN_ERROR
  if not proved and rng.random() < 0.2:
    status = Status.MALFORMED
  source = str(rng.choice(SOURCES))
  name, n = f"{source}_{rng.integers(1000)}", int(rng.integers(5, 90))
  tactic = "linarith" if proved else "exact h"
  proof = PROOF.format(name=name, n=n, m=n - 2, tactic=tactic)
  thought = f"# Plan\nSubtract **2** from both sides of `x + 2 = {n}`."
  text = (
    f"<think>\n{thought}\n```tactics\nhave h' : x = {n} - 2 := by linarith\n"
    f"{tactic}\n```\nThat closes the goal.\n</think>\n```lean4\n{proof}\n```"
  )
  error = {
    "severity": "error",
    "line": 6,
    "column": 8,
    "end_line": 6,
    "end_column": 9,
    "text": f"type mismatch\n  h\nhas type\n  x + 2 = {n} : Prop\n"
    f"but is expected to have type\n  x = {n - 2} : Prop",
  }
  malformed = status == Status.MALFORMED
  return {
    "iteration": iteration,
    "index": index,
    "name": name,
    "source": source,
    "prompt": f"<|im_start|>user\nProve it: x + 2 = {n}<|im_end|>\n",
    "text": text[:-60] if malformed else text,
    "verdict": str(status),
    "messages": [error] if status == Status.LEAN_ERROR else [],
    "detail": "",
    "format_error": "no final lean4 block" if malformed else "",
    "reward": float(proved),
    "advantage": float(proved) - 0.5,
    "dropped": bool(not proved and index % 2),
    "response_len": len(text) // 4,
    "stop": "length" if malformed else "stop",
    "exec_s": 0.004,
  }


class _TagParser(html.parser.HTMLParser):
  def __init__(self):
    super().__init__()
    self.tags, self.data, self._at = [], {}, None

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self._at = dict(attrs).get("id")

  def handle_data(self, data):
    self.data[self._at] = self.data.get(self._at, "") + data


def _parse(text):
  parser = _TagParser()
  parser.feed(text)
  parser.close()
  return parser


def _tags(text):
  return _parse(text).tags


def _embedded(path):
  return json.loads(_parse(path.read_text()).data["data"])


def _page(path):
  """The page without its data."""
  text = path.read_text()
  return text.replace(_parse(text).data["data"], "")


def _jsonl(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def _lines(path, indices):
  lines = path.read_bytes().splitlines(keepends=True)
  return [lines[index] for index in indices]
