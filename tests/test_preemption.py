"""Signals are noticed where asked for, and a second one acts as usual."""

import os
import signal

import pytest

from kimina_jax.infra import preemption


@pytest.fixture(autouse=True)
def restored_handlers():
  before = {s: signal.getsignal(s) for s in preemption.SIGNALS}
  yield
  for signum, handler in before.items():
    signal.signal(signum, handler)


@pytest.mark.parametrize("signum", preemption.SIGNALS)
def test_check_raises_after_the_signal_only(signum):
  preemption.install()
  preemption.check()
  os.kill(os.getpid(), signum)
  with pytest.raises(preemption.Preempted, match=signum.name):
    preemption.check()
  assert signal.getsignal(signum) is signal.SIG_DFL


def test_install_forgets_an_old_request():
  preemption.install()
  os.kill(os.getpid(), signal.SIGTERM)
  preemption.install()
  preemption.check()
