"""Properties of programs compiled for TPU; needs libtpu, but no TPU."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="the TPU compiler is not installed: pip install libtpu",
)

# The model in tpu_compile.py, its rows and their length.
D, F, N, K, H, V = 512, 1024, 4, 2, 64, 2048
NUM_LAYERS, NUM_ROWS, LENGTH = 3, 8, 512
BYTES = 2  # of a bfloat16


def test_full_remat_gathers_the_weights_twice_in_bfloat16():
  """Every matmul's weight: once in forward, once in backward."""
  facts = _compile("gradient", "full", 1, 8, 1, 1)
  assert facts["num_kernels"] >= 3  # forward, and two in backward
  weights = [(D, N, H), (N, H, D), *[(D, K, H)] * 2, *[(D, F)] * 2, (F, D)]
  want = sorted(_text((1, *shape)) for shape in 2 * weights)
  assert [x for x in facts["gathered"] if x in want] == want
  # No collective moves weights of a layer in float32.
  assert not [x for x in facts["gathered"] if x.startswith("f32[1,")]


def test_offload_leaves_nothing_but_inputs_on_the_host():
  """On context x tensor: kernels run, on all keys of a device's heads."""
  facts = _compile("gradient", "offload", 1, 2, 2, 2)
  assert facts["num_kernels"] >= 3
  # Of a layer's inputs, rows over fsdp, positions over context and tensor.
  inputs = NUM_LAYERS * (NUM_ROWS // 2) * (LENGTH // (2 * 2)) * D
  assert facts["host_bytes"] == inputs * BYTES
  assert _text((NUM_ROWS // 2, LENGTH, K // 2, H)) in facts["gathered"]


def test_scoring_gathers_the_weights_once():
  facts = _compile("score", "full", 2, 4, 1, 1)
  assert facts["num_kernels"] == 1
  assert facts["gathered"].count(_text((1, F, D))) == 1


@pytest.mark.parametrize(
  ("program", "num_kernels"), [("decode", 1), ("prefill", 2)]
)
def test_a_dispatch_updates_its_pages_in_place(program, num_kernels):
  """Lanes and chunks are calls of one kernel; nothing large is copied."""
  facts = _compile(program, "none", 4, 1, 1, 2)
  assert facts["num_kernels"] == num_kernels
  assert facts["copied"] == []
  assert facts["pool_bytes"] > 2**26
  # Nor are weights laid out anew: of two matrices alone, 14 MB.
  assert facts["extra_bytes"] < 2**22


def _text(shape: tuple[int, ...]) -> str:
  return f"bf16[{','.join(map(str, shape))}]"


def _compile(*args: str | int) -> dict:
  # Without the eight virtual devices of the tests.
  environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
  done = subprocess.run(
    [sys.executable, ROOT / "tests" / "tpu_compile.py", *map(str, args)],
    env=environment,
    capture_output=True,
    text=True,
    timeout=600,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])
