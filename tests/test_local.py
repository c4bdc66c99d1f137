"""Local backends: error reports of a broken toolchain."""

import subprocess

import pytest

from kimina_jax.types import UsageError
from kimina_jax.verification.process import local


@pytest.fixture
def elan(tmp_path, monkeypatch):
  """A `lean` on PATH, as elan installs one, with no toolchain chosen."""
  lean = tmp_path / "lean"
  lean.write_text("#!/bin/sh\nexit 0\n")
  lean.chmod(0o755)
  monkeypatch.setenv("PATH", str(tmp_path))
  monkeypatch.delenv("LEAN_SYSROOT", raising=False)
  return tmp_path


def test_a_toolchain_manager_that_hangs(elan, monkeypatch):
  """It may wait for a network; that is a UsageError, without a traceback."""

  def run(argv, *, timeout, **_):
    raise subprocess.TimeoutExpired(argv, timeout)

  monkeypatch.setattr(subprocess, "run", run)
  with pytest.raises(UsageError, match="timed out.*set LEAN_SYSROOT") as caught:
    local.lean_environment(elan, "")
  assert "lean --print-prefix" in str(caught.value)


def test_a_program_that_cannot_be_executed(elan):
  (elan / "lean").write_text("no program")
  with pytest.raises(UsageError, match="Exec format error"):
    local.lean_environment(elan, "")


def test_a_toolchain_manager_that_fails_is_not_used(elan):
  (elan / "lean").write_text("#!/bin/sh\nexit 1\n")
  env, paths = local.lean_environment(elan, "/a:/b")
  assert "LEAN_SYSROOT" not in env and paths == ("/a", "/b")


def test_an_open_quotation_mark():
  with pytest.raises(UsageError, match=r"checker\.command '.*\(No closing"):
    local.split_command('/bin/echo "unclosed', "command")
