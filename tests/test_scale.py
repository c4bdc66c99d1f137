"""The scaling study: parsing, planning, accumulating, reporting."""

import dataclasses
import io
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
import rich.console

from kimina_jax.infra import chips, config_file
from kimina_jax.model.ragged_kernel import KernelCost
from kimina_jax.scale import (
  cases,
  hlo,
  predict,
  report,
  roofline,
  study,
  topologies,
  traffic,
)
from kimina_jax.types import UsageError

OPTIONS = study.StudyOptions("", 1, 60.0, False, False)
ROOT = pathlib.Path(__file__).resolve().parent.parent

# What compilers print, cut down: a loop of 5 with an asynchronous gather in a
# chain of two fusions, a hidden reduce-scatter and a permutation, then sums
# over one axis and over both.
MODULE = """\
HloModule jit_f, is_scheduled=true

%gather_1 (param.1: bf16[4,16]) -> (bf16[4,16], bf16[16,16]) {
  %param.1 = bf16[4,16]{1,0:T(8,128)(2,1)} parameter(0)
  %all-gather.1 = bf16[16,16]{1,0:T(8,128)(2,1)} all-gather(%param.1), \
channel_id=7, replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}, \
frontend_attributes={chain_id="3"}
  ROOT %custom-call.1 = (bf16[4,16]{1,0}, bf16[16,16]{1,0}) \
custom-call(%all-gather.1), custom_call_target="AsyncCollectiveStart"
}

%gather_2 (param.2: bf16[4,16]) -> bf16[16,16] {
  %param.2 = bf16[4,16]{1,0} parameter(0)
  %all-gather.2 = bf16[16,16]{1,0} all-gather(%param.2), channel_id=7, \
replica_groups=[2,4]<=[4,2]T(1,0), dimensions={0}, \
frontend_attributes={chain_id="3"}
  ROOT %custom-call.2 = bf16[16,16]{1,0} custom-call(%all-gather.2), \
custom_call_target="AsyncCollectiveDone"
}

%all-reduce-scatter.3 (input: bf16[16,16]) -> bf16[4,16] {
  %input = bf16[16,16]{1,0} parameter(0)
  %all-reduce.3 = bf16[16,16]{1,0} all-reduce(%input), channel_id=8, \
replica_groups={{0,2,4,6},{1,3,5,7}}, to_apply=%add
  ROOT %dynamic-slice.3 = bf16[4,16]{1,0} dynamic-slice(%all-reduce.3), \
dynamic_slice_sizes={4,16}
}

%body (state: (s32[], bf16[4,16])) -> (s32[], bf16[4,16]) {
  %state = (s32[], bf16[4,16]{1,0}) parameter(0)
  %x = bf16[4,16]{1,0} get-tuple-element(%state), index=1
  %fusion.1 = (bf16[4,16]{1,0}, bf16[16,16]{1,0}) fusion(%x), \
kind=kCustom, calls=%gather_1
  %y = bf16[4,16]{1,0} get-tuple-element(%fusion.1), index=0
  %fusion.2 = bf16[16,16]{1,0} fusion(%y), kind=kCustom, calls=%gather_2
  %fusion.3 = bf16[4,16]{1,0} fusion(%fusion.2), kind=kCustom, \
calls=%all-reduce-scatter.3
  %permute = bf16[4,16]{1,0} collective-permute(%fusion.3), channel_id=9, \
source_target_pairs={{0,2},{2,4},{4,6},{6,0},{1,3},{3,5},{5,7},{7,1}}
  %i = s32[] get-tuple-element(%state), index=0
  ROOT %tuple = (s32[], bf16[4,16]{1,0}) tuple(%i, %permute)
}

%condition (state.2: (s32[], bf16[4,16])) -> pred[] {
  %state.2 = (s32[], bf16[4,16]{1,0}) parameter(0)
  %i.2 = s32[] get-tuple-element(%state.2), index=0
  %bound = s32[]{:T(128)} constant(5)
  ROOT %less = pred[] compare(%i.2, %bound), direction=LT
}

ENTRY %main (p0: bf16[4,16], p1: f32[10]) -> bf16[4,16] {
  %p0 = bf16[4,16]{1,0} parameter(0)
  %p1 = f32[10]{0} parameter(1)
  %zero = s32[] constant(0)
  %start = (s32[], bf16[4,16]{1,0}) tuple(%zero, %p0)
  %while = (s32[], bf16[4,16]{1,0}) while(%start), condition=%condition, \
body=%body
  %sum.1 = f32[10]{0} all-reduce(%p1), channel_id=1, \
replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_1'}, to_apply=%add
  %sum.2 = (f32[10]{0}, f32[10]{0}) all-reduce(%sum.1, %p1), channel_id=2, \
replica_groups=mesh['axis_0'=2,'axis_1'=4], to_apply=%add
  ROOT %out = bf16[4,16]{1,0} get-tuple-element(%while), index=1
}
"""


def test_collectives_of_a_recorded_program():
  module = hlo.parse_module(MODULE)
  found = traffic.find_collectives(module, {"fsdp": 4, "tensor": 2})
  assert traffic.bytes_per_axis(found) == {
    "fsdp": {
      "all-gather": 5 * 16 * 16 * 2,
      "reduce-scatter": 5 * 16 * 16 * 2,
      "collective-permute": 5 * 4 * 16 * 2,
    },
    "tensor": {"all-reduce": 40},
    "fsdp+tensor": {"all-reduce": 80},
  }


def test_memory_traffic_counts_what_a_fusion_touches():
  text = """
%update (buffer: f32[100,8], part: f32[1,8], at: s32[]) -> f32[100,8] {
  %buffer = f32[100,8]{1,0} parameter(0)
  %part = f32[1,8]{1,0} parameter(1)
  %at = s32[] parameter(2)
  ROOT %put = f32[100,8]{1,0} dynamic-update-slice(%buffer, %part, %at)
}

ENTRY %main (p0: f32[100,8], p1: f32[1,8], p2: s32[]) -> f32[100,8] {
  %p0 = f32[100,8]{1,0} parameter(0)
  %p1 = f32[1,8]{1,0} parameter(1)
  %p2 = s32[]{:T(128)S(6)} parameter(2)
  %copy = f32[100,8]{1,0:T(8,128)S(1)} copy(%p0)
  ROOT %fusion = f32[100,8]{1,0} fusion(%p0, %p1, %p2), calls=%update
}
"""
  copied, updated = 100 * 8 * 4, 2 * 8 * 4
  assert traffic.hbm_bytes(hlo.parse_module(text)) == copied + updated


PAGES = """\
%store (pool: POOL, at: s32[4], new: bf16[4,2,128]) -> POOL {
  %pool = POOL parameter(0)
  %at = s32[4]{0} parameter(1)
  %new = bf16[4,2,128]{2,1,0} parameter(2)
  ROOT %put = POOL scatter(%pool, %at, %new)
}

%slice (weights: bf16[9,16,32], at: s32[]) -> bf16[16,32] {
  %weights = bf16[9,16,32]{2,1,0} parameter(0)
  %at = s32[] parameter(1)
  %part = bf16[1,16,32]{2,1,0} dynamic-slice(%weights, %at, %at, %at)
  ROOT %row = bf16[16,32]{1,0} bitcast(%part)
}

%view (table: bf16[32,16]) -> bf16[512] {
  %table = bf16[32,16]{1,0} parameter(0)
  ROOT %flat = bf16[512]{0} bitcast(%table)
}

%product (weights: bf16[9,16,32], at: s32[], table: bf16[32,16]) -> bf16[4] {
  %weights = bf16[9,16,32]{2,1,0} parameter(0)
  %at = s32[] parameter(1)
  %table = bf16[32,16]{1,0} parameter(2)
  %one = bf16[16,32]{1,0} fusion(%weights, %at), kind=kLoop, calls=%slice
  %flat = bf16[512]{0} fusion(%table), kind=kLoop, calls=%view
  ROOT %out = bf16[4]{0} convolution(%one, %flat)
}

%body (state: STATE) -> STATE {
  %state = STATE parameter(0)
  %pool = POOL get-tuple-element(%state), index=0
  %at = s32[4]{0:S(6)} get-tuple-element(%state), index=1
  %new = bf16[4,2,128]{2,1,0} get-tuple-element(%state), index=2
  %stored = POOL fusion(%pool, %at, %new), kind=kCustom, calls=%store
  %look.3 = bf16[4,2,128]{2,1,0:S(1)} custom-call(%at, %new, %stored), \
custom_call_target="tpu_custom_call"
  ROOT %next = STATE tuple(%stored, %at, %new)
}

%condition (state: STATE) -> pred[] {
  %state = STATE parameter(0)
  %more = pred[] custom-call(%state), custom_call_target="Any"
  ROOT %and = pred[] and(%more, %more)
}

ENTRY %main (p0: STATE, p1: bf16[9,16,32], p3: bf16[32,16]) -> bf16[4] {
  %p0 = STATE parameter(0)
  %p1 = bf16[9,16,32]{2,1,0} parameter(1)
  %p2 = s32[]{:S(6)} parameter(2)
  %p3 = bf16[32,16]{1,0} parameter(3)
  %loop = STATE while(%p0), condition=%condition, body=%body, \
metadata={op_name="jit(f)/steps/while"}
  ROOT %last = bf16[4]{0} fusion(%p1, %p2, %p3), kind=kOutput, calls=%product
}
"""


def test_memory_traffic_of_pages():
  """A scatter into a pool, a kernel that reads some of it, in a loop without
  a count; then a slice of stacked weights, two fusions deep, and a view."""
  text = PAGES.replace("STATE", "(POOL, s32[4]{0:S(6)}, bf16[4,2,128])")
  text = text.replace("POOL", "bf16[64,8,2,128]{3,2,1,0}")
  new = 4 * 2 * 128 * 2
  asked = []

  def look(shapes):
    asked.append(shapes)
    return KernelCost(flops=0, num_bytes=1_000_000)

  moved = traffic.hbm_bytes(
    hlo.parse_module(text), trip_counts={"steps": 3}, kernels={"look": look}
  )
  stored, looked = 2 * new, 1_000_000 + new
  product = 16 * 32 * 2 + 32 * 16 * 2 + 4 * 2
  assert moved == 3 * (stored + looked) + product
  assert asked == [[(4,), (4, 2, 128), (64, 8, 2, 128)]]


@pytest.mark.parametrize(
  ("text", "rows"),
  [
    ("{{0,3},{1,2}}, x={1}", [[0, 3], [1, 2]]),
    ("[2,2]<=[4]", [[0, 1], [2, 3]]),
    ("[2,2]<=[2,2]T(1,0), dimensions={0}", [[0, 2], [1, 3]]),
    ("[1,4]<=[2,1,2]T(2,1,0)", [[0, 2, 1, 3]]),
    ("mesh['a'=2,'b'=2] {'a'}", [[0, 2], [1, 3]]),
    ("mesh['a'=2,'b'=2,'c'=2] {'b','c'}, y", [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ("{}", [[0, 1, 2, 3]]),
  ],
)
def test_replica_groups(text, rows):
  found = traffic.replica_groups(text, 4)
  assert np.array_equal(np.array(found), rows)


@pytest.mark.parametrize(
  ("text", "needed", "limit"),
  [
    (
      "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory"
      " in memory space hbm. Used 16.05G of 15.75G hbm. Exceeded by 308.5M.",
      16.05,
      15.75,
    ),
    (
      "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required"
      " for HLO temporaries (400.00G) exceeds available HBM (95.74G).",
      400.0,
      95.74,
    ),
  ],
)
def test_exhausted_says_by_how_much(text, needed, limit):
  found = predict.parse_out_of_memory(text)
  assert found == pytest.approx((needed * chips.GIB, limit * chips.GIB))
  assert predict.parse_out_of_memory("INTERNAL: something else") is None


def seconds(kind, size, count, *, closes):
  """A line of `count` devices moves `size` bytes."""
  collective = traffic.Collective(kind, "fsdp", size, 1, tuple(range(count)))
  places = [roofline.DevicePlace((i, 0), 0) for i in range(count)]
  return roofline.bound_seconds(
    flops=0,
    hbm_bytes=0,
    collectives=[collective],
    places=places,
    wraps=(closes, False),
    shape=(count, 1),
    chip=chips.by_name("v5e"),
  )["fsdp"]


def test_a_gather_on_a_line_and_on_a_ring():
  """The end of a line receives n − 1 parts over one link, at 45 GB/s."""
  assert seconds("all-gather", 16e9, 16, closes=False) == 15e9 / 45e9
  assert seconds("all-gather", 16e9, 16, closes=True) == 15e9 / 90e9
  assert seconds("all-reduce", 16e9, 16, closes=True) == 30e9 / 90e9


def test_an_exchange_crosses_the_middle():
  """Eight devices send half of 16 GB each over one link, or over two."""
  assert seconds("all-to-all", 16e9, 16, closes=False) == 8 * 8e9 / 45e9
  assert seconds("all-to-all", 16e9, 16, closes=True) == 8 * 8e9 / 90e9


def test_collectives_between_slices_use_the_network():
  chip = chips.by_name("v5e")
  places = [roofline.DevicePlace((i,), s) for s in range(2) for i in range(2)]
  collective = traffic.Collective("all-reduce", "data", 8e9, 1, (0, 2))
  times = roofline.bound_seconds(
    flops=4 * chip.peak_flops,
    hbm_bytes=0,
    collectives=[collective],
    places=places,
    wraps=(False,),
    shape=(2,),
    chip=chip,
  )
  assert times["data"] == 8e9 / chip.network_bytes_per_s
  assert times["compute"] == 1.0
  assert roofline.binding(times) == ("data", times["data"])


def test_topologies():
  pod = topologies.parse_topology("2*v5e:16x16")
  assert (pod.num_devices, pod.wraps) == (512, (True, True))
  assert topologies.parse_topology("v5e:8x16").wraps == (False, True)
  assert topologies.parse_topology("v5p:4x4x8").wraps == (True,) * 3
  assert topologies.parse_topology("v5p:2x2x1").wraps == (False,) * 3
  assert topologies.parse_topology("tpu7x:2x2x1").num_devices == 8
  assert topologies.parse_topology("local-h200:1").num_devices == 1


@pytest.mark.parametrize(
  "name", ["v9:8", "v5e-16", "v5e:4", "v5p:4x4", "h200:1", "2*cpu:8", "v5e:0x2"]
)
def test_wrong_topologies(name):
  with pytest.raises(UsageError, match=name.split(":")[0].replace("*", ".")):
    topologies.parse_topology(name)


def plan(*meshes, topology="cpu:8", program="update", overrides=(), rows=0):
  config = config_file.load_config(
    "debug", [tuple(word.split("=", 1)) for word in overrides]
  )
  return cases.plan_cases(
    {"debug": config},
    [topology],
    meshes=meshes,
    programs=[program],
    sequence_lens=[0],
    num_rows=rows,
  )


def test_auto_takes_every_mesh_that_divides():
  """Two kv heads bound `tensor`, 256 positions are too few for `context`."""
  found = [case.mesh for case in plan("auto")]
  assert found == [
    {"data": 1, "fsdp": 8, "context": 1, "tensor": 1},
    {"data": 1, "fsdp": 4, "context": 1, "tensor": 2},
  ]


def test_key_is_what_defines_a_row():
  (one,) = plan("fsdp=8")
  assert plan("fsdp=-1")[0].key == one.key
  assert cases.StudyCase(**dataclasses.asdict(one)).key == one.key
  others = [
    *plan("fsdp=4,tensor=2"),
    *plan("fsdp=8", rows=16),
    *plan("fsdp=8", program="logprobs"),
    *plan("fsdp=8", overrides=["model.remat=full"]),
    *plan("fsdp=8", overrides=["optimizer.b1=0.8"]),
  ]
  assert len({one.key, *(case.key for case in others)}) == 6
  # Log-probs do not depend on the optimizer, nor decoding on the mesh.
  assert len(plan("fsdp=8", "fsdp=4,tensor=2", program="decode")) == 1
  assert (
    plan("fsdp=8", program="logprobs")[0].key
    == plan("fsdp=8", program="logprobs", overrides=["optimizer.b1=0.8"])[0].key
  )


@pytest.mark.parametrize(
  ("mesh", "options", "message"),
  [
    ("fsdp=3", {}, "cpu:8 --mesh=fsdp=3: .* asks for 3 devices, there are 8"),
    ("tensor=8", {}, "2 kv heads over tensor = 8"),
    ("fsdp=8", {"rows": 12}, "12 rows"),
    ("fsdq=8", {}, "with axes data, fsdp, context, tensor"),
    ("fsdp=8", {"overrides": ["model.nope=1"]}, "model.nope: no such key"),
    ("fsdp=8", {"program": "train"}, "known: update"),
    (
      "fsdp=8",
      {"program": "decode", "overrides": ["rollouts.tensor=3"]},
      "rollouts.tensor = 3",
    ),
    ("fsdp=8", {"program": "prefill", "rows": 12}, "12 slots over 8 replicas"),
    (
      "fsdp=8",
      {"program": "decode", "overrides": ["rollouts.tensor=4"]},
      "rollouts.tensor = 4: .* 2 kv heads over tensor = 4",
    ),
    (
      "fsdp=8",
      {"program": "decode", "overrides": ["rollouts.cache_tokens=64"]},
      "rollouts.cache_tokens is 64",
    ),
  ],
)
def test_wrong_rows(mesh, options, message):
  with pytest.raises(UsageError, match=message):
    plan(mesh, **options)


def fake_row(case, **facts):
  return {
    "key": case.key,
    "kind": "predicted",
    "case": dataclasses.asdict(case),
    "status": "fits",
    "chip": "cpu",
    "memory": {"parameters": 2**30},
    "peak_bytes": 3 * 2**30,
    "limit_bytes": 2**34,
    "parts": {
      "gradient": {"collective_bytes": {"fsdp": {"all-gather": 2**31}}}
    },
    "flops": 1e15,
    "tokens": 2048,
    "bound_s": 0.5,
    "binds": "fsdp",
    "mfu": 0.25,
    "tokens_per_s": 4096.0,
    "compile_s": 7.0,
    "versions": {"jax": "1.2.3"},
    **facts,
  }


@pytest.fixture
def fake_rows(monkeypatch):
  """Rows are not computed; the list has the cases that were requested."""
  asked = []

  def make_rows(missing, options):
    for case in missing:
      asked.append(case)
      yield case, fake_row(case)

  monkeypatch.setattr(study, "make_rows", make_rows)
  return asked


def show(wanted, out, *, force=False):
  text = io.StringIO()
  options = study.StudyOptions(str(out), 1, 60.0, force, False)
  study.run_study(wanted, options, rich.console.Console(file=text, width=300))
  return text.getvalue()


def test_rows_accumulate(fake_rows, tmp_path):
  out = tmp_path / "rows.jsonl"
  first, second = plan("fsdp=8", "fsdp=4,tensor=2")
  shown = show([first], out)
  assert "fsdp 8" in shown and "25.0%" in shown and "4,096" in shown
  show([first, second], out)
  assert fake_rows == [first, second]
  show([first, second], out, force=True)
  assert fake_rows == [first, second, first, second]
  assert set(study.read_rows(out)) == {
    (case.key, "predicted") for case in (first, second)
  }


def test_a_torn_line_is_lost_alone(tmp_path):
  out = tmp_path / "rows.jsonl"
  first, second = plan("fsdp=8", "fsdp=4,tensor=2")
  study.append_row(out, fake_row(first))
  with open(out, "a") as file:
    file.write('{"key": "to')
  assert len(study.read_rows(out)) == 1
  study.append_row(out, fake_row(second))
  assert len(study.read_rows(out)) == 2
  out.write_text("not a row\n")
  with pytest.raises(UsageError, match="rows.jsonl:1 is not a row"):
    study.read_rows(out)


def test_a_process_that_dies_is_a_row(monkeypatch):
  monkeypatch.setattr(study, "_WORKER", "tests.no_such_worker")
  (case,) = plan("fsdp=8")
  ((_, row),) = study.make_rows([case], OPTIONS)
  assert row["status"] == "failed"
  assert "exit code 1" in row["error"] and "no_such_worker" in row["error"]
  assert "failed" in report.summary_line(row)
  assert len(report.row_cells(row)) == len(report.HEADINGS)


def test_predicted_and_measured_rows(tmp_path):
  """A real program, compiled as a user would ask for it, and then run."""
  out = tmp_path / "rows.jsonl"
  command = [sys.executable, "-m", "kimina_jax.scale", "--topology=cpu:2"]
  command += ["--program=logprobs", "--sequence_len=64", f"--out={out}"]
  done = subprocess.run(
    command, cwd=ROOT, env=os.environ, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  (predicted,) = study.read_rows(out).values()
  options = study.StudyOptions(str(out), 1, 60.0, False, True)
  text = io.StringIO()
  case = cases.StudyCase(**predicted["case"])
  study.run_study([case], options, rich.console.Console(file=text))
  assert "measured" in text.getvalue()
  predicted, measured = study.read_rows(out).values()
  assert predicted["key"] == measured["key"]
  assert predicted["num_devices"] == measured["num_devices"] == 2
  assert predicted["status"] == "fits" and predicted["flops"] > 0
  assert measured["kind"] == "measured" and measured["seconds"] > 0


def test_what_is_not_here_cannot_be_measured(tmp_path):
  wanted = plan("fsdp=8", topology="v5e:2x4")
  options = study.StudyOptions(
    str(tmp_path / "rows.jsonl"), 1, 60.0, False, True
  )
  with pytest.raises(UsageError, match="there is no v5e:2x4 here"):
    study.run_study(wanted, options, rich.console.Console(file=io.StringIO()))


def test_report(tmp_path):
  small, large = plan("fsdp=4", topology="cpu:4") + plan("fsdp=8")
  rows = [
    fake_row(large),
    fake_row(small, status="does not fit", peak_bytes=2**34 + 2**30),
  ]
  template = tmp_path / "template.md"
  template.write_text(
    "Words.\n\n{{table update}}\n{{plot update}}\n{{versions}}\n"
  )
  page = tmp_path / "page.md"
  report.write_page(rows, template, page)
  text = page.read_text()
  lines = [line for line in text.splitlines() if "| debug |" in line]
  assert "17 of 16: 1 too much" in lines[0] and "fsdp 8" in lines[1]
  assert "![update against chips](page_update.svg)" in text
  assert "jax 1.2.3" in text
  picture = (tmp_path / "page_update.svg").read_bytes()
  report.write_page(rows, template, page)
  assert (tmp_path / "page_update.svg").read_bytes() == picture
  template.write_text("{{nothing}}")
  with pytest.raises(UsageError, match="nothing"):
    report.write_page(rows, template, page)


def test_the_page_is_what_its_template_and_rows_give(tmp_path, monkeypatch):
  """docs/scaling.md was written anew when either changed; plots left out."""
  monkeypatch.setattr(report, "write_plot", lambda rows, path: None)
  docs = ROOT / "docs"
  rows = study.read_rows(docs / "scaling.jsonl").values()
  page = tmp_path / "scaling.md"
  report.write_page(list(rows), docs / "scaling.template.md", page)
  assert page.read_text() == (docs / "scaling.md").read_text()
  for row in rows:
    assert cases.StudyCase(**row["case"]).key == row["key"]


def test_the_curve_takes_the_best_mesh():
  one, two = plan("fsdp=8", "fsdp=4,tensor=2")
  rows = [fake_row(one), fake_row(two, tokens_per_s=5000.0)]
  (points,) = report.best_rows(rows).values()
  assert points[8]["key"] == two.key


def test_a_worker_ends_with_its_parent():
  start = (
    "import os, subprocess, sys, time\n"
    "row = ['-m', 'kimina_jax.scale.worker', str(os.getpid())]\n"
    "row = subprocess.Popen([sys.executable, *row], stdin=0)\n"
    "print(row.pid, flush=True)\n"
    "time.sleep(600)\n"
  )
  # The worker waits for a case, from a pipe that outlives its parent.
  parent = subprocess.Popen(
    [sys.executable, "-c", start],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  worker = int(parent.stdout.readline())
  parent.kill()
  parent.wait()
  _wait_until(lambda: not _lives(worker))
  parent.stdin.close()
  parent.stdout.close()


def _wait_until(condition):
  deadline = time.monotonic() + 120
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.1)


def _lives(pid):
  try:
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
  except FileNotFoundError:
    return False
  return state.split()[0] != "Z"


def test_weights_move_between_meshes_of_any_split():
  path = "debug"
  experiments = {path: config_file.load_config(path)}
  (case,) = cases.plan_cases(
    experiments,
    ["cpu:8"],
    meshes=["fsdp=2,context=2,tensor=2"],
    programs=["reshard"],
    sequence_lens=[0],
    num_rows=0,
  )
  assert case.mesh == {"data": 1, "fsdp": 2, "context": 2, "tensor": 2}
