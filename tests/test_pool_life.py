"""Cache, cancellation, drain, close and second verifier of a pool."""

import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from test_pool import HEADER, HERE, PROBLEM, check, make_pool, proof

from kimina_jax.types import Problem, Status


def occupy(pool, path: pathlib.Path) -> concurrent.futures.Future:
  """Keeps a worker busy until `path` is gone from its queue of readers."""
  os.mkfifo(path)
  future = pool.submit(PROBLEM, proof(f"omega -- FAULT:hang@{path}"))
  path.read_bytes()  # returns once the worker has the proof
  return future


def test_verdicts_outlive_the_pool(tmp_path):
  store = str(tmp_path / "verdicts")
  with make_pool(verdict_cache=store) as pool:
    first = check(pool, "skip\n  omega")
    assert check(pool, "omega -- FAULT:error").status is Status.LEAN_ERROR
    assert check(pool, "omega -- FAULT:segv").status is Status.CRASH
  with make_pool(verdict_cache=store) as pool:
    again = check(pool, "skip\n  omega")
    assert again == dataclasses.replace(first, queue_s=0, load_s=0, exec_s=0)
    assert check(pool, "skip\r\n  omega").proved  # the same, once normalised
    assert check(pool, "omega -- FAULT:error").status is Status.LEAN_ERROR
    stats = pool.stats()
    assert (stats["verdict_cache_hits"], stats["cold_starts"]) == (2, 0)
    assert check(pool, "omega -- FAULT:segv").status is Status.CRASH
    assert pool.stats()["cold_starts"] > 0
  with make_pool(verdict_cache=store, max_heartbeats=1000) as pool:
    check(pool, "omega")
    assert (
      pool.stats()["verdict_cache_hits"] == 0
    )  # other rules, another verdict


def test_submit_blocks_while_the_queue_is_full(tmp_path):
  with make_pool(num_workers=1, max_pending=3, exec_timeout_s=60) as pool:
    occupy(pool, tmp_path / "pipe")
    submitted = []

    def submit() -> None:
      with contextlib.suppress(RuntimeError):  # closed, after the fourth
        for index in range(5):
          submitted.append(pool.submit(PROBLEM, proof(f"omega -- {index}")))

    thread = threading.Thread(target=submit)
    thread.start()
    thread.join(1.0)
    assert thread.is_alive() and len(submitted) == 3
    pool.drain(0.0)
    thread.join()
  assert all(f.result(0).status is Status.INFRA_ERROR for f in submitted)


def test_cancelled_proofs_are_not_checked(tmp_path):
  with make_pool(num_workers=1, exec_timeout_s=1.0) as pool:
    occupy(pool, tmp_path / "pipe")
    twice = [pool.submit(PROBLEM, proof("omega -- twice")) for _ in range(2)]
    once = pool.submit(PROBLEM, proof("omega -- once"))
    assert twice[0].cancel() and once.cancel()
    assert twice[1].result(60).proved
    assert check(pool, "omega").proved
    stats = pool.stats()
    assert stats["cancelled"] == 1
    assert stats["checked"] == 3  # the hanging one, the shared one, the last
    assert not twice[1].cancel()
    assert check(pool, "omega -- once").proved


def test_waiting_has_an_end(tmp_path):
  with make_pool(
    num_workers=1, exec_timeout_s=1.0, queue_timeout_s=0.3
  ) as pool:
    occupy(pool, tmp_path / "pipe")
    verdict = check(pool, "omega")
    assert verdict.status is Status.INFRA_ERROR
    assert re.search("waited [1-9] s for a worker", verdict.detail)
    assert check(pool, "omega").proved


def test_draining_finishes_what_has_begun(tmp_path):
  pool = make_pool(num_workers=1, exec_timeout_s=2.0)
  begun = occupy(pool, tmp_path / "pipe")
  waiting = pool.submit(PROBLEM, proof("omega"))
  started_s = time.monotonic()
  pool.drain(30.0)
  assert 0.5 < time.monotonic() - started_s < 20
  assert begun.done() and waiting.done()
  assert waiting.result().status is Status.INFRA_ERROR
  assert "not checked" in waiting.result().detail
  with pytest.raises(RuntimeError, match="closed"):
    pool.submit(PROBLEM, proof("omega"))
  pool.close()


def test_headers_that_differ_after_the_imports_share_a_worker():
  opened = Problem("t", f"{HEADER}open Nat\n\n", PROBLEM.statement)
  with make_pool(num_workers=1) as pool:
    assert check(pool, "omega").proved
    assert check(pool, "omega", opened).proved
    assert check(pool, "omega -- 2").proved
    stats = pool.stats()
    assert (stats["cold_starts"], stats["warm_hits"]) == (1, 2)
    other = Problem("t", "import Aesop\n", PROBLEM.statement)
    assert check(pool, "omega", other).proved
    assert pool.stats()["cold_starts"] == 1


def test_a_standby_worker_takes_over():
  """A worker that is replaced costs the next proof no import."""
  with make_pool(num_workers=1, num_standby=1, max_uses=1) as pool:
    cold_s = check(pool, "omega").load_s
    deadline = time.monotonic() + 30
    while not pool._workers._standby:
      assert time.monotonic() < deadline
      time.sleep(0.01)
    assert check(pool, "omega -- 2").load_s < cold_s / 3
    stats = pool.stats()
    assert (stats["cold_starts"], stats["standby_hits"]) == (1, 1)
    assert stats["replaced/uses"] == 2


SECOND = """
import pathlib, sys
target, proof, name = sys.argv[1:]
target, proof = (pathlib.Path(p).read_text() for p in (target, proof))
assert name == "t" and "sorry" in target and "sorry" not in proof
if "hangs" in proof: import time; time.sleep(60)
if "breaks" in proof: sys.exit(7)
sys.exit(1 if "refused" in proof else 0)
"""


def second(tmp_path, **changes):
  script = tmp_path / "second.py"
  script.write_text(SECOND)
  command = f"{sys.executable} -I -S {script} {{target}} {{proof}} {{name}}"
  return make_pool(
    second_command=command, second_share=0.0, second_timeout_s=3.0, **changes
  )


def test_first_proofs_are_confirmed(tmp_path):
  with second(tmp_path) as pool:
    assert check(pool, "omega").confirmed
    assert not check(pool, "omega -- 2").confirmed
    again = pool.submit(PROBLEM, proof("omega -- 2"), confirm=True)
    assert again.result(60).confirmed
    assert check(pool, "omega -- 2").confirmed  # from now on
    assert pool.stats()["confirmed"] == 2


@pytest.mark.parametrize("word", ["breaks", "hangs"])
def test_a_second_verifier_that_fails_is_no_disagreement(tmp_path, word):
  with second(tmp_path) as pool:
    verdict = check(pool, f"omega -- {word}")
    assert verdict.proved and not verdict.confirmed
    assert pool.stats()["second_failed"] == 1


def test_a_disagreement_freezes_the_problem(tmp_path, caplog):
  other = Problem("t", HEADER, PROBLEM.statement.replace("5", "05"))
  with second(tmp_path) as pool:
    assert check(pool, "omega").confirmed
    refused = pool.submit(PROBLEM, proof("omega -- refused"), confirm=True)
    assert refused.result(60).status is Status.DISPUTED
    assert "DISPUTED" in caplog.text and "omega -- refused" in caplog.text
    # Neither what was proved before nor what comes now counts any more.
    assert check(pool, "omega").status is Status.DISPUTED
    assert check(pool, "omega -- 3").status is Status.DISPUTED
    assert check(pool, "omega -- FAULT:error").status is Status.LEAN_ERROR
    assert check(pool, "omega", other).confirmed


OWNER = f"""
import sys, time
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
from test_pool import make_pool, proof, PROBLEM, check
backend = "minilean" if sys.argv[1] == "auto" else "repl"
pool = make_pool(num_workers=2, num_standby=1, isolation=sys.argv[1],
                 allow_none=True, backend=backend)
for body in ("omega", "omega -- 2"):
  assert check(pool, body).proved
pool.submit(PROBLEM, proof("omega -- FAULT:hang"))
pool.submit(PROBLEM, proof("omega -- FAULT:stubborn"))
time.sleep(1)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("isolation", ["auto", "rlimit", "none"])
def test_no_process_outlives_a_killed_owner(isolation):
  owner = subprocess.Popen(
    [sys.executable, "-c", OWNER, isolation], stdout=subprocess.PIPE, text=True
  )
  with owner:
    assert owner.stdout.readline() == "ready\n"
    before = descendants(owner.pid)
    assert len(before) >= 2
    owner.send_signal(signal.SIGKILL)
  deadline = time.monotonic() + 10
  while any(map(is_alive, before)):
    assert time.monotonic() < deadline
    time.sleep(0.05)


def descendants(pid: int) -> list[int]:
  found = []
  for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
    for child in (task / "children").read_text().split():
      found += [int(child), *descendants(int(child))]
  return found


def is_alive(pid: int) -> bool:
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
  except OSError:
    return False
  return stat.rpartition(")")[2].split()[0] != "Z"
