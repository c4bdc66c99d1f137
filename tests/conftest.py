"""Eight virtual devices, strict numerics, and the optional shared data."""

import atexit
import os
import pathlib
import shutil
import tempfile

# Before JAX starts: the tests run on CPU, as eight devices.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ["HF_HUB_OFFLINE"] = "1"

# Many tests compile the same programs: the processes of a run of pytest, which
# inherit this environment, share a cache of compiled ones.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  cache = tempfile.mkdtemp(prefix="kimina_jax_tests_")
  atexit.register(shutil.rmtree, cache, ignore_errors=True)
  os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
  """Public data sets beside the checkout; tests that need them skip without."""
  if not DATA.is_dir():
    pytest.skip(f"no data at {DATA}")
  return DATA
