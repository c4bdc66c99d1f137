"""Signals are noticed where asked for, and a second one acts as usual."""

import os
import signal

import pytest

from kimina_jax.infra import interruption


@pytest.fixture(autouse=True)
def restored_handlers():
  before = {s: signal.getsignal(s) for s in interruption.SIGNALS}
  yield
  for signum, handler in before.items():
    signal.signal(signum, handler)


@pytest.mark.parametrize("signum", interruption.SIGNALS)
def test_check_raises_after_the_signal_only(signum):
  interruption.install()
  interruption.check()
  os.kill(os.getpid(), signum)
  with pytest.raises(interruption.Interrupted, match=signum.name):
    interruption.check()
  assert signal.getsignal(signum) is signal.SIG_DFL


def test_install_forgets_an_old_request():
  interruption.install()
  os.kill(os.getpid(), signal.SIGTERM)
  interruption.install()
  interruption.check()
