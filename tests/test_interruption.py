"""Signals: raised at once at first, then where the program asks for them."""

import gc
import os
import signal
import subprocess
import sys
import time

import pytest

from kimina_jax.infra import interruption

SWALLOWED = """
import gc, os, signal, sys, time
from kimina_jax.infra import interruption

interruption.install()
is_first = True

def callback(phase, info):
  global is_first
  if is_first:
    is_first = False
    os.kill(os.getpid(), signal.SIGINT)

gc.callbacks.append(callback)
try:
  gc.collect()
  time.sleep(10)
except interruption.Interrupted as reason:
  print("raised", reason)
"""


@pytest.fixture(autouse=True)
def restored():
  before = {s: signal.getsignal(s) for s in interruption.SIGNALS}
  hook = sys.unraisablehook
  yield
  interruption.uninstall()
  sys.unraisablehook = hook
  for signum, handler in before.items():
    signal.signal(signum, handler)


@pytest.mark.parametrize("signum", interruption.SIGNALS)
def test_before_the_loop_a_signal_raises_at_once(signum):
  interruption.install()
  with pytest.raises(interruption.Interrupted, match=signum.name):
    os.kill(os.getpid(), signum)
    time.sleep(10)
  assert interruption.exit_code() == 128 + signum
  assert signal.getsignal(signum) is signal.SIG_DFL


@pytest.mark.parametrize("signum", interruption.SIGNALS)
def test_in_the_loop_only_check_raises(signum):
  interruption.install()
  interruption.defer()
  interruption.check()
  os.kill(os.getpid(), signum)
  assert gc.isenabled()  # any bytecode: the handler has run
  with pytest.raises(interruption.Interrupted, match=signum.name):
    interruption.check()
  assert signal.getsignal(signum) is signal.SIG_DFL


def test_install_forgets_an_old_signal():
  interruption.install()
  interruption.defer()
  os.kill(os.getpid(), signal.SIGTERM)
  interruption.install()
  interruption.defer()
  interruption.check()


def test_a_signal_before_defer_is_not_lost():
  interruption.install()
  with pytest.raises(interruption.Interrupted):
    os.kill(os.getpid(), signal.SIGTERM)
  with pytest.raises(interruption.Interrupted, match="SIGTERM"):
    interruption.defer()


def test_a_signal_in_a_callback_of_the_garbage_collector_is_raised_again():
  """JAX has such a callback; Python cannot raise out of one."""
  done = subprocess.run(
    [sys.executable, "-c", SWALLOWED],
    capture_output=True,
    text=True,
    timeout=9,
  )
  assert (done.stdout, done.stderr) == ("raised SIGINT\n", "")
