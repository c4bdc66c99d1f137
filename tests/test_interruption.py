"""Signals: immediate exit at first, after `defer` only in `check`."""

import os
import queue
import signal
import subprocess
import sys

import pytest

from kimina_jax.infra import interruption

EARLY = """
import hashlib, os, signal, sys
from kimina_jax.infra import interruption

def exit_now(signum):
  print("exit", signum.name, flush=True)
  os._exit(interruption.exit_code(signum.name))

interruption.install(exit_now)
os.kill(os.getpid(), int(sys.argv[1]))
# No signal handler of Python runs in here, and other threads do.
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**8)
"""


@pytest.fixture(autouse=True)
def restored():
  before = {s: signal.getsignal(s) for s in interruption.SIGNALS}
  yield
  interruption.uninstall()
  signal.set_wakeup_fd(-1)
  for signum, handler in before.items():
    signal.signal(signum, handler)


@pytest.mark.parametrize("signum", interruption.SIGNALS)
def test_before_the_loop_a_signal_ends_the_process_at_once(signum):
  done = subprocess.run(
    [sys.executable, "-c", EARLY, str(int(signum))],
    capture_output=True,
    text=True,
    timeout=10,
  )
  assert (done.stdout, done.stderr) == (f"exit {signum.name}\n", "")
  assert done.returncode == 128 + signum


@pytest.mark.parametrize("signum", interruption.SIGNALS)
def test_in_the_loop_only_check_raises(signum):
  interruption.install(pytest.fail)
  interruption.defer()
  interruption.check()
  os.kill(os.getpid(), signum)
  with pytest.raises(interruption.Interrupted, match=signum.name):
    interruption.check()
  assert signal.getsignal(signum) is signal.SIG_DFL


def test_install_forgets_an_old_signal():
  interruption.defer()
  os.kill(os.getpid(), signal.SIGTERM)
  interruption.install(pytest.fail)
  interruption.defer()
  interruption.check()


def test_signals_are_forwarded_whatever_the_main_thread_does():
  found = queue.Queue()
  interruption.defer()
  interruption.forward_signals(found.put)
  os.kill(os.getpid(), signal.SIGTERM)
  assert found.get(timeout=10) == "SIGTERM"


def test_a_signal_of_another_process():
  interruption.defer()
  interruption.record_elsewhere("SIGINT")
  with pytest.raises(interruption.Interrupted, match="SIGINT"):
    interruption.check()
