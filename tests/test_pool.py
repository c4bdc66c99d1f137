"""Several workers under faults, and minilean through the same path."""

import collections
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest
from leaks import assert_no_more_than, held

from kimina_jax.configs.common import get_config
from kimina_jax.types import Extraction, Problem, Status, UsageError
from kimina_jax.verification.pool import VerificationPool
from kimina_jax.verification.settings import CheckerSettings

HERE = pathlib.Path(__file__).parent
HEADER = "import Mathlib\n\n"
PROBLEM = Problem(
  "t", HEADER, "theorem t (x : ℤ) (h : x + 2 = 5) : x = 3 := by"
)


def proof(body: str, problem: Problem = PROBLEM) -> Extraction:
  final = f"{problem.header}{problem.statement}\n  {body}"
  return Extraction(tactics=("a",), final=final)


def make_pool(**changes) -> VerificationPool:
  options = {
    **get_config().checker,
    "backend": "repl",
    "command": f"{sys.executable} -I -S {HERE / 'fake_repl.py'}",
    "num_workers": 2,
    "num_standby": 0,
    "exec_timeout_s": 20.0,
    "load_timeout_s": 20.0,
    "isolation": "rlimit",
  }
  return VerificationPool(CheckerSettings(**{**options, **changes}))


def check(pool: VerificationPool, body: str, problem: Problem = PROBLEM):
  return pool.submit(problem, proof(body, problem)).result(timeout=60)


@pytest.fixture
def nothing_left():
  """No process, thread or descriptor outlives a pool."""
  before, threads = held(), set(threading.enumerate())
  yield
  assert_no_more_than(before)
  assert set(threading.enumerate()) <= threads


def test_proved_with_times(nothing_left):
  with make_pool(num_workers=1) as pool:
    verdict = check(pool, "omega")
    assert verdict.status is Status.PROVED
    assert verdict.proved and verdict.axioms == ()
    assert verdict.load_s > verdict.exec_s > 0
    assert check(pool, "omega -- again").load_s < verdict.load_s


FAULTS = {
  "hang": Status.TIMEOUT,
  "half": Status.TIMEOUT,
  "late_hang": Status.TIMEOUT,
  "stubborn": Status.TIMEOUT,
  "drip": Status.TIMEOUT,
  "leave": Status.CRASH,
  "leave_quietly": Status.CRASH,
  "cut": Status.CRASH,
  "last_words": Status.CRASH,
  "segv": Status.CRASH,
  "close_output": Status.CRASH,
  "grandchild": Status.CRASH,
  "killed": Status.OUT_OF_MEMORY,
  "memory": Status.OUT_OF_MEMORY,
  "grow": Status.OUT_OF_MEMORY,
  "bomb": Status.OUT_OF_MEMORY,
  "huge": Status.PROTOCOL_VIOLATION,
  "endless": Status.PROTOCOL_VIOLATION,
  "two_frames": Status.PROTOCOL_VIOLATION,
  "wrong_env": Status.PROTOCOL_VIOLATION,
  "not_json": Status.PROTOCOL_VIOLATION,
  "refusal": Status.PROTOCOL_VIOLATION,
  "blank": Status.PROTOCOL_VIOLATION,
  "not_an_object": Status.PROTOCOL_VIOLATION,
  "not_utf8": Status.PROTOCOL_VIOLATION,
  "half_character": Status.PROTOCOL_VIOLATION,
  "large_number": Status.PROTOCOL_VIOLATION,
  "deep": Status.PROTOCOL_VIOLATION,
  "proved": Status.PROTOCOL_VIOLATION,
  "forged": Status.PROTOCOL_VIOLATION,
  "late_forged": Status.PROTOCOL_VIOLATION,
  "error": Status.LEAN_ERROR,
  "sorry": Status.HAS_SORRY,
  "flood": Status.PROVED,
  "large": Status.PROVED,
  "bytewise": Status.PROVED,
  "slow": Status.PROVED,
}
# What `grow` and `bomb` are above, and all others are below.
MEMORY_GIB = 0.2


def test_each_fault_has_its_verdict_and_costs_no_other_item(nothing_left):
  with make_pool(
    num_workers=4, exec_timeout_s=3.0, memory_gib=MEMORY_GIB
  ) as pool:
    futures = {}
    for name in FAULTS:
      futures[name] = pool.submit(PROBLEM, proof(f"omega -- FAULT:{name}"))
      for index in range(5):
        body = f"omega -- {name} {index}"
        futures[body] = pool.submit(PROBLEM, proof(body))
    for name, future in futures.items():
      status = FAULTS.get(name, Status.PROVED)
      assert future.result(timeout=60).status is status, name
    stats = pool.stats()
  assert stats["checked"] == len(FAULTS) * 6
  for status in (Status.TIMEOUT, Status.CRASH, Status.OUT_OF_MEMORY):
    expected = sum(found is status for found in FAULTS.values())
    assert stats[f"verdict/{status}"] == expected
  assert stats["replaced/memory"] >= 4
  assert stats["infra_errors"] == 0
  assert stats["replaced"] >= 15
  assert stats["exec_p99_s"] > 2.9 > stats["exec_p50_s"] > 0
  assert all(isinstance(value, float) for value in stats.values())


def test_a_broken_worker_is_retried_once(nothing_left, tmp_path):
  """A fault before the proof is sent is an INFRA_ERROR."""
  path = tmp_path / "met"
  header = f"import Mathlib\nopen Nat -- FAULT:leave@{path}\nopen Real\n"
  problem = Problem("t", header, PROBLEM.statement)
  header = "import Mathlib\nopen Nat -- FAULT:leave\nopen Real\n"
  always = Problem("t", header, PROBLEM.statement)
  with make_pool(num_workers=1) as pool:
    assert check(pool, "omega", problem).status is Status.PROVED
    assert pool.stats()["replaced"] == 1
    verdict = check(pool, "omega", always)
    assert verdict.status is Status.INFRA_ERROR
    assert "while loading: crash: exit code 3; goodbye" in verdict.detail
    assert pool.stats()["infra_errors"] == 1


def test_a_used_worker_is_not_trusted_over_a_fresh_one(nothing_left, tmp_path):
  """A crash of a used worker is retried, a crash of an unused one is not."""
  with make_pool(num_workers=1) as pool:
    assert check(pool, "omega").proved
    path = tmp_path / "met"
    assert check(pool, f"omega -- FAULT:segv@{path}").proved
    assert path.exists()
    assert check(pool, "omega -- FAULT:segv").status is Status.CRASH


def test_header_errors_are_not_the_policys(nothing_left):
  header = "import Mathlib\nopen Nope -- FAULT:error\nopen Nat\n"
  problem = Problem("t", header, PROBLEM.statement)
  with make_pool(num_workers=1) as pool:
    verdict = check(pool, "omega", problem)
    assert verdict.status is Status.INFRA_ERROR
    assert "header does not elaborate: unsolved goals" in verdict.detail
    assert check(pool, "omega").proved
    assert pool.stats()["replaced"] == 0


def test_worker_is_replaced_after_max_uses(nothing_left):
  with make_pool(num_workers=1, max_uses=3) as pool:
    for index in range(9):
      assert check(pool, f"omega -- {index}").proved
    assert pool.stats()["replaced"] == 3


def test_equal_proofs_are_checked_once(nothing_left):
  with make_pool() as pool:
    futures = [pool.submit(PROBLEM, proof("omega")) for _ in range(20)]
    other = pool.submit(
      Problem("t", HEADER, PROBLEM.statement.replace("3", "4")), proof("omega")
    )
    assert all(f.result(timeout=60).proved for f in futures)
    assert other.result(timeout=60).status is Status.STATEMENT_MISMATCH
    stats = pool.stats()
    assert (stats["checked"], stats["duplicates"]) == (2, 19)
    assert pool.stats()["duplicates"] == 0


def test_uncertain_verdicts_are_not_remembered(nothing_left, tmp_path):
  body = f"omega -- FAULT:hang@{tmp_path / 'met'}"
  with make_pool(exec_timeout_s=0.3) as pool:
    assert check(pool, body).status is Status.TIMEOUT
    assert check(pool, body).proved


def test_bad_items_are_verdicts(nothing_left):
  with make_pool() as pool:
    broken = Extraction(error="no </think>")
    verdict = pool.submit(PROBLEM, broken).result(timeout=60)
    assert verdict.status is Status.MALFORMED
    assert verdict.detail == "no </think>"
    for text in ("", "\ud800", "\x00", "/-", "theorem", "import Mathlib"):
      bad = pool.submit(PROBLEM, Extraction(final=text)).result(timeout=60)
      assert bad.status in (
        Status.STATEMENT_MISMATCH,
        Status.MISSING_THEOREM,
        Status.FORBIDDEN_SYNTAX,
      )
    nowhere = Problem("t", HEADER, "theorem t")
    assert check(pool, "omega", nowhere).status is Status.INFRA_ERROR


def test_close_ends_what_is_unfinished(nothing_left, tmp_path):
  pipe = tmp_path / "pipe"
  os.mkfifo(pipe)
  pool = make_pool(num_workers=1)
  hanging = pool.submit(PROBLEM, proof(f"omega -- FAULT:hang@{pipe}"))
  waiting = [pool.submit(PROBLEM, proof(f"omega -- {i}")) for i in range(50)]
  pipe.read_bytes()  # returns once the worker is busy with the first
  started = time.monotonic()
  pool.close()
  assert time.monotonic() - started < 5
  for future in (hanging, *waiting):
    assert future.result(timeout=0).status is Status.INFRA_ERROR
  with pytest.raises(RuntimeError, match="closed"):
    pool.submit(PROBLEM, proof("omega"))
  pool.close()


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"command": "no-such-repl --fast"}, "'no-such-repl --fast' is not found"),
    ({"command": ""}, "set checker.command"),
    ({"command": '/bin/echo "unclosed'}, "close every quotation mark"),
    (
      {"backend": "coq"},
      "checker.backend is 'coq'; choose one of minilean, repl",
    ),
    ({"backend": "server"}, r"checker.urls is \(\); name the servers"),
    ({"num_workers": 0}, "checker.num_workers = 0 must be at least 1"),
    ({"num_standby": -1}, "checker.num_standby = -1 must be at least 0"),
    ({"exec_timeout_s": 0.0}, "checker.exec_timeout_s is 0.0"),
    ({"memory_gib": float("inf")}, "checker.memory_gib = inf is not finite"),
    ({"max_heartbeats": 0}, "choose a finite ceiling"),
    ({"second_share": 2.0}, "second_share is 2.0"),
    ({"isolation": "chroot"}, "isolation is 'chroot'; choose one of auto"),
    ({"isolation": "none"}, "proofs would run as you.*allow_none=True"),
  ],
)
def test_bad_options(nothing_left, changes, words):
  with pytest.raises(UsageError, match=words):
    make_pool(**changes)


def test_minilean_is_an_extra(monkeypatch):
  """Without its packages there is one line, which names the extra."""
  monkeypatch.setitem(sys.modules, "z3", None)
  with pytest.raises(UsageError, match=r"pip install 'kimina_jax\[minilean\]'"):
    make_pool(backend="minilean")


def test_the_parent_stays_light():
  """Importing the pool imports no accelerator library and no solver."""
  program = (
    "import sys, kimina_jax.verification.pool\n"
    "print({'jax', 'transformers', 'z3', 'lark'} & set(sys.modules))"
  )
  done = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def embedded():
  with make_pool(backend="minilean", isolation="auto") as pool:
    yield pool


MINILEAN = [
  ("omega", Status.PROVED),
  ("linarith", Status.PROVED),
  ("have h2 : x + 4 = 7 := by\n    linarith\n  linarith", Status.PROVED),
  ("rfl", Status.LEAN_ERROR),
  ("have h2 : x = 4 := by omega\n  omega", Status.LEAN_ERROR),
  ("exact nonsense", Status.LEAN_ERROR),
  ("sorry", Status.HAS_SORRY),
  ("native_decide", Status.FORBIDDEN_SYNTAX),
]


@pytest.mark.parametrize(("body", "status"), MINILEAN)
def test_minilean(embedded, body, status):
  verdict = check(embedded, body)
  assert verdict.status is status, verdict
  if status is Status.LEAN_ERROR:
    # Line 4 of the final block is the proof's first.
    assert verdict.messages[0].line == 4
    assert verdict.messages[0].severity == "error"
  if status is Status.PROVED:
    assert set(verdict.axioms) <= {"propext", "Classical.choice", "Quot.sound"}


def test_minilean_checks_the_data_sets_statement(embedded):
  """The same proof of something else does not count."""
  final = f"{HEADER}theorem t (x : ℤ) (h : x + 2 = 5) : x = x := by\n  rfl"
  verdict = embedded.submit(PROBLEM, Extraction(final=final)).result(timeout=60)
  assert verdict.status is Status.STATEMENT_MISMATCH


def test_minilean_many(embedded):
  problems = [
    Problem(
      f"t{i}",
      HEADER,
      f"theorem t{i} (x : ℤ) (h : x + {i} = 50) : x = {50 - i} := by",
    )
    for i in range(20)
  ]
  bodies = ("linarith", "rfl", "have h2 : 1 = 2 := by omega\n  linarith")
  futures = [
    embedded.submit(problem, proof(body, problem))
    for problem in problems
    for body in bodies
  ]
  found = collections.Counter(f.result(timeout=60).status for f in futures)
  assert found == {Status.PROVED: 20, Status.LEAN_ERROR: 40}
