"""Proofs over HTTP: the same verdicts, whatever servers and networks do."""

import contextlib
import dataclasses
import json
import logging
import queue
import threading
import time

import corpus
import pytest
from fake_server import FakeServer
from hypothesis import given, settings
from hypothesis import strategies as st
from leaks import assert_no_more_than, held

from kimina_jax.configs.common import get_config
from kimina_jax.types import Extraction, Problem, Status, UsageError, Verdict
from kimina_jax.verification.acceptance.audit import Audit, prepare_audit
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules
from kimina_jax.verification.pool import VerificationPool
from kimina_jax.verification.process.protocol import WorkerFailure
from kimina_jax.verification.remote.load_balancer import (
  KEY_VARIABLE,
  LoadBalancer,
)
from kimina_jax.verification.remote.server_worker import (
  ServerWorker,
  make_server_backend,
  read_result,
)
from kimina_jax.verification.remote.snippet import compose_audit, make_snippet
from kimina_jax.verification.replies import Reply
from kimina_jax.verification.settings import CheckerSettings

KEY = "s3cret-Key.of~this+test/="
RULES = SyntaxRules(400_000, False)
HEADER = "import Mathlib\nimport Aesop\n\nopen Real Nat\n\n"
STATEMENT = "theorem t (x : ℤ) (h : x + 2 = 5) : x = 3 := by"
PROBLEM = Problem("t", HEADER, STATEMENT)


def audit_of(body: str, problem: Problem = PROBLEM, before: str = "") -> Audit:
  final = f"{problem.header}{before}{problem.statement}\n  {body}"
  audit = prepare_audit(problem, final, RULES)
  assert isinstance(audit, Audit), audit
  return audit


@pytest.fixture
def serve():
  """Starts servers and stops them; nothing stays behind."""
  before, threads = held(), threading.active_count()
  with contextlib.ExitStack() as stack:

    def start(**options) -> FakeServer:
      server = FakeServer(**options)
      stack.callback(server.stop)
      return server

    yield start
  deadline = time.monotonic() + 10
  while threading.active_count() > threads and time.monotonic() < deadline:
    time.sleep(0.01)
  assert threading.active_count() <= threads
  assert_no_more_than(before)


@contextlib.contextmanager
def checker(*servers: FakeServer, key: str = "", version: str = "4.9.0"):
  one = ServerWorker(LoadBalancer([s.url for s in servers], key), version)
  with contextlib.closing(one):
    yield one


def ask(one: ServerWorker, audit: Audit, timeout_s: float = 5.0) -> Verdict:
  """As a pool would."""
  verdict = one.load(audit.imports, timeout_s=timeout_s)
  return verdict or one.check(audit, timeout_s=timeout_s)


# Error strings of the servers.


def test_recorded_results(data_dir):
  """All of the older endpoint's become typed records; no field is lost."""
  files = sorted((data_dir / "kimina-server").glob("*.json"))
  assert len(files) == 68
  kinds = []
  for path in files:
    (result,) = json.loads(path.read_text())["results"]
    found = read_result(result)
    if isinstance(found, Verdict):
      assert result["error"] == "Lean process timed out"
      kinds.append(found.status)
      continue
    messages = result["response"].get("messages", [])
    assert [
      {
        "severity": m.severity,
        "pos": {"line": m.line, "column": m.column},
        "endPos": {"line": m.end_line, "column": m.end_column},
        "data": m.text,
      }
      for m in found.messages
    ] == messages
    kinds.append("messages" if messages else "nothing")
  assert kinds.count(Status.TIMEOUT) == 4
  assert kinds.count("messages") == 28
  assert kinds.count("nothing") == 36


@pytest.mark.parametrize(
  ("result", "found"),
  [
    ({"response": {"env": 3}}, Reply(3)),
    ({"error": None, "response": {"messages": None}}, Reply(0)),
    ({"response": None}, None),
    ({"response": []}, None),
    ({}, None),
    ({"error": "what?"}, None),
  ],
)
def test_results(result, found):
  assert read_result(result) == found


def test_a_result_that_is_no_reply():
  with pytest.raises(WorkerFailure, match="Unknown environment"):
    read_result({"response": {"message": "Unknown environment."}})


# One text, and its messages' places.


def test_snippet():
  before = "lemma a : 1 = 1 := rfl\n\n"
  snippet = compose_audit(audit_of("omega", before=before), "12", "34")
  lines = snippet.code.split("\n")
  imports, version, preamble, statement, proof, check = snippet.starts
  assert lines[imports - 1].startswith("import ")
  assert lines[version - 1] == "#eval Lean.versionString"
  assert any("open Real Nat" in one for one in lines[preamble - 1 : statement])
  assert lines[statement - 1].startswith("def __stmt_12 : Prop := ∀")
  assert lines[proof - 2] == "section __stmt_12"
  assert lines[check - 2] == "end __stmt_12"
  assert lines[check - 1 :] == [
    "theorem __ok_34 : __stmt_12 := @t",
    "#print axioms __ok_34",
  ]
  # The proof's lines are the final block's.
  final = f"{HEADER}{before}{STATEMENT}\n  omega".split("\n")
  for number, line in enumerate(final):
    if line and number > 3:
      assert lines[proof - 1 + number] == line
  assert make_snippet("").code.startswith("import Init\n")


SOME_LINES = st.lists(
  st.sampled_from(["", "-- why", "lemma a : 1 = 1 := rfl", "/- wrong\n -/"]),
  max_size=5,
).map(lambda lines: "".join(f"{line}\n" for line in lines))


@settings(max_examples=60, deadline=None)
@given(
  before=SOME_LINES,
  indent=st.integers(2, 40),
  shifts=st.booleans(),
  header=st.sampled_from(
    [HEADER, "import Mathlib\n", "\n\nimport Mathlib\n\n\nopen Real\n", ""]
  ),
)
def test_messages_speak_of_the_final_block(before, indent, shifts, header):
  """Wherever the error is, and however the server counts lines."""
  problem = dataclasses.replace(PROBLEM, header=header)
  body = f"skip\n{' ' * indent}wrong"
  audit = audit_of(body, problem, before)
  final = f"{header}{before}{STATEMENT}\n  {body}".split("\n")
  server = FakeServer(shifts_lines=shifts)
  try:
    with checker(server) as one:
      verdict = ask(one, audit)
  finally:
    server.stop()
  assert verdict.status is Status.LEAN_ERROR
  (message,) = verdict.messages
  assert message.line == len(final)
  assert (message.column, message.end_column) == (indent, indent + 1)
  assert final[message.line - 1][message.column :] == "wrong"


@pytest.mark.parametrize("shifts", [True, False])
@pytest.mark.parametrize(
  "header", [HEADER, "import Mathlib\n", "open Real\n", ""]
)
def test_proved(serve, shifts, header):
  server = serve(shifts_lines=shifts)
  problem = dataclasses.replace(PROBLEM, header=header)
  with checker(server) as one:
    verdict = ask(one, audit_of("omega", problem))
    assert verdict.status is Status.PROVED and verdict.axioms == ()
    assert not one.must_replace and one.pid == 0
    assert ask(one, audit_of("norm_num", problem)).proved
  assert server.num_connections == 1
  assert [r["timeout"] for r in server.requests] == [5, 5, 5]
  ids = {r["snippets"][0]["id"] for r in server.requests}
  assert len(ids) == 3


def test_the_same_proof_is_never_asked_in_the_same_words(serve):
  """Nonce and seal are drawn anew, so that no reply fits another request."""
  server = serve()
  with checker(server) as one:
    assert ask(one, audit_of("omega")).proved
    assert ask(one, audit_of("omega")).proved
  texts = [r["snippets"][0]["code"] for r in server.requests]
  assert texts[1] != texts[2]


@pytest.mark.parametrize("ending", ["exact", "rcases h with"])
def test_a_proof_that_stops_early_ends_where_it_ends(serve, ending):
  with checker(serve()) as one:
    verdict = ask(one, audit_of(ending))
  assert verdict.status is Status.LEAN_ERROR
  (message,) = verdict.messages
  assert "unexpected token 'end'" in message.text
  final = f"{HEADER}{STATEMENT}\n  {ending}".split("\n")
  assert (message.line, message.column) == (len(final), len(final[-1]))


@pytest.mark.parametrize(
  "tail", ["open Nat in", "set_option maxHeartbeats 99 in", "noncomputable"]
)
def test_nothing_dangles_into_the_check(serve, tail):
  """A text that would continue into the next command is not proved."""
  final = f"{HEADER}{STATEMENT}\n  omega\n{tail}"
  audit = prepare_audit(PROBLEM, final, RULES)
  if isinstance(audit, Verdict):
    assert audit.status is Status.FORBIDDEN_SYNTAX
    return
  with checker(serve()) as one:
    assert ask(one, audit).status is Status.LEAN_ERROR


@pytest.mark.parametrize(
  ("problem", "words"),
  [
    (Problem("t", HEADER, "theorem t : wrong = 1 := by"), "not elaborate"),
    (Problem("t", HEADER, "theorem t : 1 = exact := by"), "not elaborate"),
    (Problem("t", "import Nope\n", STATEMENT), "the imports do not load"),
    (Problem("t", "open Nowhere\n", STATEMENT), "unknown namespace 'Nowhere'"),
  ],
)
def test_the_data_set_is_not_the_proofs_fault(serve, problem, words):
  with checker(serve()) as one:
    verdict = ask(one, audit_of("omega", problem))
  assert verdict.status is Status.INFRA_ERROR
  assert words in verdict.detail


def test_sorry_is_seen(serve):
  """The syntax rules refuse the word, so that it is put in after them."""
  with checker(serve()) as one:
    audit = audit_of("omega")
    hidden = dataclasses.replace(
      audit, proof=audit.proof.replace("omega", "sorry")
    )
    assert ask(one, hidden).status is Status.HAS_SORRY


def test_another_name(serve):
  with checker(serve()) as one:
    audit = audit_of("omega")
    other = dataclasses.replace(audit, proof=audit.proof.replace(" t ", " u "))
    verdict = ask(one, other)
  assert verdict.status in (Status.MISSING_THEOREM, Status.STATEMENT_MISMATCH)


def test_no_attack_is_proved(serve):
  """Against a stand-in for Lean that finds no error in a proof.

  Attacks on the REPL process do not apply to a server.
  """
  problem = Problem(
    "target",
    "import Mathlib\nimport Aesop\n\nset_option maxHeartbeats 400000\n\n"
    "open BigOperators Real Nat Topology Rat\n\n",
    "theorem target (n : ℕ) (h₀ : 1 < n) : (n : ℝ) + 1 ≤ Real.sqrt n := by",
  )
  texts = {r["name"]: r["text"] for r in corpus.load(corpus.ATTACKS)}
  proved = []
  with checker(serve()) as one:
    for name, text in texts.items():
      found = prepare_audit(problem, text, RULES)
      if isinstance(found, Audit) and "FAULT:" not in text:
        found = ask(one, found)
      if isinstance(found, Verdict) and found.proved:
        proved.append(name)
  assert len(texts) > 100
  assert not proved


def test_genuine_proofs_are_proved(serve, data_dir):
  """Those that pass the syntax rules, with both ways of counting lines."""
  folder = data_dir / "minif2f"
  lines = (folder / "minif2f.jsonl").read_text().splitlines()
  problems = {r["name"]: r for r in map(json.loads, lines)}
  lines = (folder / "kimina-minif2f-test-solved.jsonl").read_text().splitlines()
  num_sent = 0
  with checker(serve()) as one, checker(serve(shifts_lines=False)) as other:
    for record in map(json.loads, lines):
      problem = problems[record["name"]]
      audit = prepare_audit(
        Problem(
          problem["name"], problem["header"], problem["formal_statement"]
        ),
        record["correct_proof"],
        RULES,
      )
      if isinstance(audit, Audit):
        num_sent += 1
        assert ask(one, audit).proved, record["name"]
        assert ask(other, audit).proved, record["name"]
  assert num_sent > 170


# What goes wrong.


@pytest.mark.parametrize(
  ("fault", "status", "words"),
  [
    ("timeout", Status.TIMEOUT, "timed out in 5.0 seconds"),
    ("memory", Status.OUT_OF_MEMORY, "probably out of memory"),
    ("crash", Status.CRASH, "JSON decode error"),
    ("header_timeout", Status.INFRA_ERROR, "header command timed out"),
    ("prep", Status.INFRA_ERROR, "Failed to start REPL"),
    ("unknown", Status.INFRA_ERROR, "something new"),
    ("refusal", Status.PROTOCOL_VIOLATION, "Unknown environment"),
    ("odd", Status.PROTOCOL_VIOLATION, "unknown fields"),
    ("forged", Status.PROTOCOL_VIOLATION, "2 axiom reports"),
    ("stale", Status.PROTOCOL_VIOLATION, "not a report of axioms"),
    ("silent", Status.PROTOCOL_VIOLATION, "0 axiom reports"),
    ("huge", Status.PROTOCOL_VIOLATION, "more than 16777216 bytes"),
    ("500", Status.INFRA_ERROR, "500: as asked"),
    ("502", Status.INFRA_ERROR, "502 Bad Gateway: as asked"),
    ("503", Status.INFRA_ERROR, "503 Service Unavailable"),
    ("429", Status.INFRA_ERROR, "lower checker.num_workers"),
    ("403", Status.INFRA_ERROR, KEY_VARIABLE),
    ("404", Status.INFRA_ERROR, "Kimina Lean Server of version 2"),
    ("422", Status.INFRA_ERROR, "Kimina Lean Server of version 2"),
    ("302", Status.INFRA_ERROR, "redirects to http://elsewhere/"),
    ("truncated", Status.INFRA_ERROR, "IncompleteRead"),
    ("cut_json", Status.INFRA_ERROR, "not JSON"),
    ("not_json", Status.INFRA_ERROR, "It works!"),
    ("deep_json", Status.INFRA_ERROR, "not JSON"),
    ("wrong_id", Status.INFRA_ERROR, "not the result that was asked for"),
    ("missing", Status.INFRA_ERROR, "not the result that was asked for"),
    ("two_results", Status.INFRA_ERROR, "not the result that was asked for"),
    ("empty", Status.INFRA_ERROR, "neither reply nor verdict"),
    ("close", Status.INFRA_ERROR, "without response"),
    ("reset", Status.INFRA_ERROR, "no server answers"),
  ],
)
def test_faults(serve, fault, status, words):
  """Each has its verdict, and replaces the worker unless Lean timed out."""
  with checker(serve()) as one:
    assert one.load("import Mathlib\nimport Aesop", timeout_s=5.0) is None
    verdict = one.check(audit_of(f"omega -- FAULT:{fault}"), timeout_s=1.0)
    assert verdict.status is status
    assert words in verdict.detail
    assert one.must_replace == (status is not Status.TIMEOUT)


@pytest.mark.parametrize("fault", ["hang", "slow"])
def test_silence_ends(serve, fault, monkeypatch):
  """Also where single bytes keep arriving, so that no single read is long."""
  monkeypatch.setattr(
    "kimina_jax.verification.remote.server_worker._SERVER_WAIT_S", 0.2
  )
  with checker(serve()) as one:
    assert one.load("import Mathlib", timeout_s=5.0) is None
    audit = audit_of(f"omega -- FAULT:{fault}")
    started_s = time.monotonic()
    verdict = one.check(audit, timeout_s=0.3)
    assert time.monotonic() - started_s < 3
  assert verdict.status is Status.INFRA_ERROR and one.must_replace
  assert "in time" in verdict.detail or "timed out" in verdict.detail


def test_kill_ends_a_check_from_another_thread(serve):
  with checker(serve()) as one:
    assert one.load("import Mathlib", timeout_s=5.0) is None
    timer = threading.Timer(0.3, one.kill)
    timer.start()
    started_s = time.monotonic()
    verdict = one.check(audit_of("omega -- FAULT:hang"), timeout_s=60.0)
    assert time.monotonic() - started_s < 5
    assert verdict.status is Status.INFRA_ERROR
    assert "ended from here" in verdict.detail
    assert one.check(audit_of("omega"), timeout_s=5.0).detail == verdict.detail
    timer.join()


def test_kill_ends_waiting_for_servers(serve):
  server = serve()
  server.stop()
  with checker(server) as one:
    timer = threading.Timer(0.3, one.kill)
    timer.start()
    started_s = time.monotonic()
    verdict = one.load("import Mathlib", timeout_s=60.0)
    assert time.monotonic() - started_s < 5
    assert "ended from here" in verdict.detail
    timer.join()


def test_idle_connections_that_ended_are_no_failure(serve, caplog):
  server = serve()
  with checker(server) as one:
    for _ in range(3):
      assert ask(one, audit_of("omega")).proved
      server.drop_connections()
      time.sleep(0.05)
    assert ask(one, audit_of("omega")).proved
  assert server.num_connections == 4
  assert not caplog.records


# Several servers.


def test_another_server_takes_over(serve, caplog):
  """A fault of one server changes no verdict, and is logged."""
  servers = [serve(), serve()]
  with checker(*servers) as one:
    for fault in ("500", "truncated", "wrong_id", "close", "not_json", "401"):
      for server in servers:
        server.faults.clear()
      assert ask(one, audit_of(f"omega -- {fault}")).proved
      current = max(servers, key=lambda s: len(s.requests))
      current.faults.append(fault)
      assert ask(one, audit_of(f"omega -- again {fault}")).proved
  assert "next try in" in caplog.text


def test_a_text_that_fells_servers_does_not_fell_all(serve):
  servers = [serve() for _ in range(5)]
  with checker(*servers) as one:
    assert one.load("import Mathlib", timeout_s=5.0) is None
    before = sum(len(server.requests) for server in servers)
    verdict = one.check(audit_of("omega -- FAULT:close"), timeout_s=30.0)
  assert verdict.status is Status.INFRA_ERROR
  assert sum(len(server.requests) for server in servers) - before <= 4


def test_no_item_is_lost_when_servers_come_and_go(serve):
  """8 threads, 240 items, and at every time but a short one a server is up.

  A new one even listens at a port where none did before.
  """
  first, second, spare = serve(), serve(), serve()
  spare.stop()
  urls = [first.url, second.url, spare.url]
  balancer = LoadBalancer(urls, "")
  items: queue.SimpleQueue[int] = queue.SimpleQueue()
  for number in range(240):
    items.put(number)
  verdicts: dict[int, list[Verdict]] = {n: [] for n in range(240)}

  def work() -> None:
    one = ServerWorker(balancer, "4.9.0")
    with contextlib.suppress(queue.Empty):
      while True:
        number = items.get_nowait()
        if number == 60:
          first.stop()
        if number == 120:
          second.stop()
          serve(port=spare.port)
        audit = audit_of(f"omega -- {number}")
        verdicts[number].append(ask(one, audit, 20.0))
    one.close()

  threads = [threading.Thread(target=work) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert all(len(found) == 1 and found[0].proved for found in verdicts.values())


def test_load_is_shared(serve):
  servers = [serve(), serve()]
  balancer = LoadBalancer([s.url for s in servers], "")
  ready = threading.Barrier(8)

  def work() -> None:
    with contextlib.closing(ServerWorker(balancer, "4.9.0")) as one:
      ready.wait()
      for number in range(20):
        assert ask(one, audit_of(f"omega -- {number}")).proved

  threads = [threading.Thread(target=work) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  counts = [len(server.requests) for server in servers]
  assert sum(counts) == 8 * 21
  assert min(counts) > 40


def test_a_dead_server_is_used_less_and_less(serve):
  """A server that is up again must pass a health check first."""
  good, bad = serve(), serve()
  bad.is_healthy = False
  bad.faults.extend(["503"] * 1000)
  balancer = LoadBalancer([bad.url, good.url], "")
  with contextlib.closing(ServerWorker(balancer, "4.9.0")) as one:
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
      assert ask(one, audit_of("omega")).proved
    assert len(bad.requests) == 1
    # Pauses of at least 1/8, 1/4, 1/2, 1 s …: no more than so many fit.
    assert 1 <= bad.num_health <= 5
    bad.is_healthy = True
    bad.faults.clear()
    deadline = time.monotonic() + 20.0
    while len(bad.requests) < 2 and time.monotonic() < deadline:
      assert ask(one, audit_of("omega")).proved
  assert len(bad.requests) == 2


def test_failures_at_the_same_time_are_one_failure():
  """Requests that fail at the same time do not lengthen the pause."""
  balancer = LoadBalancer(["http://localhost:1"], "")
  leases = [balancer.acquire(None) for _ in range(16)]
  for lease in leases:
    balancer.release(lease, OSError("gone"))
  assert balancer.acquire(None) is None
  time.sleep(0.26)
  lease = balancer.acquire(None)
  assert lease.num_failures == 1
  # Until it has answered once, it gets one request at a time.
  assert balancer.acquire(None) is None
  balancer.release(lease, None)
  assert balancer.acquire(None).num_failures == 0


def test_a_server_of_another_lean_is_not_used(serve):
  """Even one that becomes so: verdicts are kept by version."""
  server, other = serve(), serve()
  with checker(server) as one:
    assert ask(one, audit_of("omega")).proved
    server.version = "4.15.0"
    verdict = one.check(audit_of("omega"), timeout_s=0.5)
    assert verdict.status is Status.INFRA_ERROR and one.must_replace
    assert "runs Lean 4.15.0, the others 4.9.0" in verdict.detail
  with checker(server, other) as one:
    assert ask(one, audit_of("omega")).proved


# The backend and the pool.


def config(*servers: FakeServer, **changes) -> CheckerSettings:
  options = {
    **get_config().checker,
    "backend": "server",
    "urls": tuple(server.url for server in servers),
    "exec_timeout_s": 5.0,
    "load_timeout_s": 5.0,
    "num_standby": 0,
  }
  return CheckerSettings(**{**options, **changes})


def test_backend(serve, caplog):
  down = serve()
  down.stop()
  backend = make_server_backend(config(serve(), down, serve()))
  assert backend.name == "server" and backend.isolation == "remote"
  assert backend.toolchain == "Kimina Lean Server, Lean 4.9.0"
  assert down.url in caplog.text
  with contextlib.closing(backend.start()) as one:
    assert ask(one, audit_of("omega")).proved


def test_backend_refusals(serve, monkeypatch):
  old, new, down = serve(), serve(version="4.15.0"), serve()
  down.stop()
  with pytest.raises(UsageError) as caught:
    make_server_backend(config(old, new))
  for words in (old.url, new.url, "4.9.0", "4.15.0"):
    assert words in str(caught.value)
  with pytest.raises(UsageError, match="start a Kimina Lean Server"):
    make_server_backend(config(down))
  with pytest.raises(UsageError, match=KEY_VARIABLE):
    make_server_backend(config(old, serve(key=KEY)))
  with pytest.raises(UsageError, match="is the text 'http://a'"):
    make_server_backend(config(old, urls="http://a"))
  for url in ("lean-1:8000", "ftp://lean", "http://lean:x", "http://l?a=b"):
    with pytest.raises(UsageError, match="http://lean-1:8000"):
      make_server_backend(config(old, urls=(url,)))
  with pytest.raises(UsageError, match="holds a password") as caught:
    make_server_backend(config(old, urls=("http://me:hidden@lean",)))
  assert "hidden" not in str(caught.value)
  monkeypatch.setenv(KEY_VARIABLE, "two words\n")
  with pytest.raises(UsageError, match="no bearer key") as caught:
    make_server_backend(config(old))
  assert "two words" not in str(caught.value)


def test_the_key_is_never_written(serve, monkeypatch, caplog):
  """Right or wrong, repeated by the server or not, cut off or not."""
  caplog.set_level(logging.DEBUG)
  server = serve(key=KEY)
  said = []
  for key in (KEY, KEY[:-3]):
    with checker(server, key=key) as one:
      said.append(repr(vars(one)))
      said.append(one.load("import Mathlib", timeout_s=0.1))
      if key == KEY:
        assert said[-1] is None
        assert one.check(audit_of("omega"), timeout_s=5.0).proved
      for fault in ("echo_crash", "echo", "500", "truncated"):
        audit = audit_of(f"omega -- FAULT:{fault}")
        said.append(one.check(audit, timeout_s=0.1))
        assert not said[-1].proved
  monkeypatch.setenv(KEY_VARIABLE, KEY)
  said.append(make_server_backend(config(server)))
  server.key = "another"
  with pytest.raises(UsageError) as caught:
    make_server_backend(config(server))
  said += [caught.value, caught.getrepr(style="long", showlocals=False)]
  words = caplog.text + "".join(f"{one} {one!r}" for one in said)
  assert "<key>" in words
  assert KEY[:8] not in words


def test_pool(serve):
  """Faults of the server are retried, those of a proof are not."""
  server = serve()
  with VerificationPool(config(server, num_workers=4)) as pool:
    assert pool.isolation == "remote"

    def check(body: str, **changes) -> Verdict:
      final = f"{HEADER}{STATEMENT}\n  {body}"
      problem = dataclasses.replace(PROBLEM, **changes)
      return pool.submit(problem, Extraction(final=final)).result(60)

    assert check("omega").proved
    assert check("wrong").status is Status.LEAN_ERROR
    assert check("native_decide").status is Status.FORBIDDEN_SYNTAX
    for fault in ("close", "crash", "memory", "header_timeout", "odd"):
      server.faults.append(fault)
      assert check(f"omega -- {fault}").proved
    futures = [
      pool.submit(
        PROBLEM, Extraction(final=f"{HEADER}{STATEMENT}\n  omega -- {number}")
      )
      for number in range(100)
    ]
    assert all(future.result(60).proved for future in futures)


def test_a_pool_that_closes_waits_for_no_server(serve):
  server = serve()
  with VerificationPool(
    config(server, num_workers=2, exec_timeout_s=60.0)
  ) as pool:
    final = f"{HEADER}{STATEMENT}\n  omega -- FAULT:hang"
    future = pool.submit(PROBLEM, Extraction(final=final))
    deadline = time.monotonic() + 10
    while len(server.requests) < 3 and time.monotonic() < deadline:
      time.sleep(0.01)
    started_s = time.monotonic()
  assert time.monotonic() - started_s < 5
  assert future.result().status is Status.INFRA_ERROR
