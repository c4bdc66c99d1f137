"""SIGTERM is noticed where asked for, and a second one kills."""

import os
import signal

import pytest

from kimina_jax.infra import preemption


@pytest.fixture(autouse=True)
def restored_handler():
  before = signal.getsignal(signal.SIGTERM)
  yield
  signal.signal(signal.SIGTERM, before)


def test_check_raises_after_sigterm_only():
  preemption.install()
  preemption.check()
  os.kill(os.getpid(), signal.SIGTERM)
  with pytest.raises(preemption.Preempted):
    preemption.check()
  assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_install_forgets_an_old_request():
  preemption.install()
  os.kill(os.getpid(), signal.SIGTERM)
  preemption.install()
  preemption.check()
