"""The REPL client: recorded sessions, malformed frames, faults."""

import contextlib
import json
import os
import pathlib
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaks import (
  anonymous_bytes,
  assert_all_end,
  assert_no_more_than,
  held,
  processes,
)

from kimina_jax.types import Status
from kimina_jax.verification.process import memory
from kimina_jax.verification.process.protocol import (
  WorkerFailure,
  parse_frame,
  parse_reply,
)
from kimina_jax.verification.process.repl import Repl
from kimina_jax.verification.process.sandbox import Sandbox

HERE = pathlib.Path(__file__).parent
FAKE = HERE / "fake_repl.py"
ENV = {"PATH": os.environ["PATH"]}


def python(script: pathlib.Path, *arguments) -> list[str]:
  return [sys.executable, "-I", "-S", str(script), *map(str, arguments)]


@pytest.fixture
def start():
  """Starts processes and closes them, checking that nothing is left."""
  before, threads = held(), set(threading.enumerate())
  started = []

  def run(*argv) -> Repl:
    started.append(Repl(argv or python(FAKE), env=ENV))
    return started[-1]

  yield run
  for repl in started:
    repl.close()
    repl.close()
  assert_no_more_than(before)
  assert set(threading.enumerate()) <= threads


def test_recorded_sessions(data_dir):
  """Every recorded reply comes back whole, wherever the pipe cuts it."""
  sessions = sorted((data_dir / "repl-transcripts").glob("*.in"))
  assert len(sessions) == 57
  for path in sessions:
    answers = path.with_name(f"{path.stem}.expected.out")
    requests = [r.strip("\n") for r in path.read_text().split("\n\n")]
    argv = python(HERE / "replay_repl.py", path, answers)
    with contextlib.closing(Repl(argv, env=ENV)) as repl:
      frames = [
        exchange(repl, request, timeout_s=10.0)
        for request in requests
        if request
      ]
    assert frames == decode_all(answers.read_text())
    for frame in frames:
      if "env" in frame:
        assert parse_reply(frame).env == frame["env"]


def exchange(repl: Repl, request: str, *, timeout_s: float) -> dict:
  """Sends one request and reads the one frame that answers it."""
  repl._send(request.encode() + b"\n\n")
  frame = repl._receive(time.monotonic() + timeout_s)
  repl.check_quiet()
  return parse_frame(frame)


def decode_all(text: str) -> list[dict]:
  """Reads objects one after the other, without looking for blank lines."""
  values, decoder = [], json.JSONDecoder()
  while text := text.lstrip():
    value, end = decoder.raw_decode(text)
    values.append(value)
    text = text[end:]
  return values


def test_environments_are_counted(start):
  repl = start()
  assert repl.run_command("def a := 1", timeout_s=10.0).env == 0
  assert repl.run_command("def b := 1", env=0, timeout_s=10.0).env == 1
  with pytest.raises(WorkerFailure, match="environment 7 instead of 2"):
    repl.run_command("FAULT:wrong_env", env=1, timeout_s=10.0)


LATE = Status.TIMEOUT, "no reply in time"
UNASKED = Status.PROTOCOL_VIOLATION, "unasked output"
NOT_JSON = Status.PROTOCOL_VIOLATION, "reply is not JSON"
FAULTS = {
  "hang": LATE,
  "half": LATE,
  "stubborn": LATE,
  "drip": LATE,
  "bomb": LATE,
  "burn": LATE,
  "leave": (Status.CRASH, "exit code 3; goodbye"),
  "leave_quietly": (Status.CRASH, "exit code 0"),
  "cut": (Status.CRASH, "exit code 0"),
  "segv": (Status.CRASH, "exit code -11"),
  "grandchild": (Status.CRASH, "exit code 4"),
  "close_output": (Status.CRASH, "output closed"),
  "killed": (Status.OUT_OF_MEMORY, "exit code -9"),
  "memory": (Status.OUT_OF_MEMORY, "out of memory"),
  "huge": (Status.PROTOCOL_VIOLATION, "reply of more than"),
  "endless": (Status.PROTOCOL_VIOLATION, "reply of more than"),
  "endless_errors": (Status.PROTOCOL_VIOLATION, "bytes on stderr"),
  "two_frames": UNASKED,
  "forged": UNASKED,
  "blank": (Status.PROTOCOL_VIOLATION, "reply is not JSON: b''"),
  "not_json": (Status.PROTOCOL_VIOLATION, "not JSON: b'Hello, world'"),
  "not_an_object": (Status.PROTOCOL_VIOLATION, "reply is not an object"),
  "not_utf8": NOT_JSON,
  "not_a_number": NOT_JSON,
  "huge_number": NOT_JSON,
  "deep": NOT_JSON,
  "twice": NOT_JSON,
  "large_number": (Status.PROTOCOL_VIOLATION, "out of range"),
  "half_character": (Status.PROTOCOL_VIOLATION, "malformed reply"),
  "proved": (Status.PROTOCOL_VIOLATION, "unknown fields"),
  "refusal": (Status.PROTOCOL_VIOLATION, "Unknown environment"),
  "wrong_env": (Status.PROTOCOL_VIOLATION, "environment 6 instead of 1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(start, fault):
  status, words = FAULTS[fault]
  repl = start()
  repl.run_command("import Mathlib", timeout_s=10.0)
  limit_s = 0.3 if status is Status.TIMEOUT else 60.0
  started_s = time.monotonic()
  with pytest.raises(WorkerFailure, match=words) as caught:
    repl.run_command(f"FAULT:{fault}", env=0, timeout_s=limit_s)
  assert caught.value.status is status
  assert time.monotonic() - started_s < 5.0


def test_a_bomb_is_cleared_away(start):
  """Two hundred processes, half of them in other sessions, end at once."""
  repl = start(*Sandbox("rlimit", (), 60.0, 8.0).wrap(python(FAKE), ENV))
  with pytest.raises(WorkerFailure, match="no reply in time"):
    repl.run_command("FAULT:bomb", timeout_s=2.0)
  family = memory.descendants(repl.pid)
  assert len(family) == 200
  repl.close()
  assert_all_end(family)


def test_a_swarm_is_caught_while_it_grows():
  """Processes that keep forking while they are searched for."""
  program = (
    "import os, time\n"
    "os.read(0, 100)\n"
    "for _ in range(2000):\n"
    "  if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    time.sleep(60)\n"
    "    os._exit(0)\n"
    "time.sleep(60)\n"
  )
  mark = f"KIMINA_SWARM=swarm of {os.getpid()}"
  argv = [sys.executable, "-I", "-S", "-c", program]
  env = {**ENV, **dict([mark.split("=")])}
  for _ in range(5):
    with contextlib.closing(Repl(argv, env=env)) as repl:
      with pytest.raises(WorkerFailure, match="no reply in time"):
        repl.run_command("def a := 1", timeout_s=0.1)
      deadline = time.monotonic() + 10.0
      while len(marked(mark)) < 4:  # it is under way
        assert time.monotonic() < deadline
  assert_all_end(marked(mark))


def marked(mark: str) -> list[int]:
  """Processes with this line in their environment, whatever their parents."""
  found = []
  for pid in processes():
    with contextlib.suppress(OSError):
      with open(f"/proc/{pid}/environ", "rb") as file:
        if mark.encode() in file.read():
          found.append(int(pid))
  return found


def test_what_a_dead_process_leaves_behind_is_ended(start):
  """Its process group is found even though the leader is gone."""
  program = (
    "import os, time\n"
    "if (pid := os.fork()) == 0:\n"
    "  time.sleep(60)\n"
    "os.write(2, b'%d' % pid)\n"
    "os._exit(7)\n"
  )
  repl = start(sys.executable, "-I", "-S", "-c", program)
  with pytest.raises(WorkerFailure, match=r"exit code 7; \d+") as caught:
    repl.run_command("def a := 1", timeout_s=10.0)
  assert_all_end([int(caught.value.detail.split()[-1])])


@pytest.mark.parametrize(
  ("fault", "status"),
  [
    ("late_hang", Status.TIMEOUT),
    ("last_words", Status.CRASH),
    ("late_frame", Status.PROTOCOL_VIOLATION),
  ],
)
def test_faults_after_a_good_reply(start, fault, status):
  """Later output is not taken for the reply to the next command."""
  repl = start()
  with pytest.raises(WorkerFailure) as caught:
    assert repl.run_command(f"FAULT:{fault}", timeout_s=10.0).env == 0
    time.sleep(0.3)
    repl.run_command("def a := 1", env=0, timeout_s=0.3)
  assert caught.value.status is status


@pytest.mark.parametrize(
  "fault", ["flood", "large", "bytewise", "slow", "error", "sorry"]
)
def test_odd_but_legal(start, fault):
  repl = start()
  repl.run_command("import Mathlib", timeout_s=10.0)
  reply = repl.run_command(f"FAULT:{fault}", env=0, timeout_s=10.0)
  texts = [m.text for m in reply.messages]
  assert reply.env == 1
  assert texts == {
    "large": ["∀ε" * 250_000],
    "error": ["unsolved goals\n⊢ False"],
    "sorry": ["declaration uses 'sorry'"],
  }.get(fault, [])
  assert repl.run_command("x" * 3_000_000, env=1, timeout_s=10.0).env == 2


def test_forgery_while_the_audit_is_asked(start):
  repl = start()
  assert repl.run_command("FAULT:late_forged", timeout_s=10.0).env == 0
  with pytest.raises(WorkerFailure, match="unasked output"):
    repl.run_command("#print axioms __ok_1", env=0, timeout_s=10.0)


# Several commands at once.


def chain(repl: Repl, *texts: str, env: int | None = None) -> list[int]:
  replies = repl.run_commands(texts, env=env, deadline=time.monotonic() + 10.0)
  return [reply.env for reply in replies]


def test_chains(start):
  repl = start()
  assert chain(repl, "import Mathlib") == [0]
  assert chain(repl, "def s : Prop := True", "theorem t : s", env=0) == [1, 2]
  assert chain(repl, "a", "b", "c", env=2) == [3, 4, 5]
  large = "x" * 3_000_000
  assert chain(repl, large, large, large, env=2) == [6, 7, 8]
  # Replies that fill the pipe while requests are still being sent.
  texts = ("FAULT:large", large, "FAULT:large", large)
  assert chain(repl, *texts) == [9, 10, 11, 12]


@pytest.mark.parametrize(
  ("texts", "num_good", "status"),
  [
    (("a", "FAULT:segv"), 1, Status.CRASH),
    (("FAULT:segv", "a"), 0, Status.CRASH),
    (("a", "FAULT:hang"), 1, Status.TIMEOUT),
    (("a", "FAULT:two_frames"), 1, Status.PROTOCOL_VIOLATION),
    (("a", "FAULT:forged"), 1, Status.PROTOCOL_VIOLATION),
    (("FAULT:forged", "a"), 1, Status.PROTOCOL_VIOLATION),
    (("a", "FAULT:wrong_env"), 1, Status.PROTOCOL_VIOLATION),
    (("FAULT:wrong_env", "a"), 0, Status.PROTOCOL_VIOLATION),
    (("FAULT:refusal", "a"), 0, Status.PROTOCOL_VIOLATION),
    (("a", "FAULT:blank"), 1, Status.PROTOCOL_VIOLATION),
  ],
)
def test_faults_in_a_chain(start, texts, num_good, status):
  """Replies before the fault are valid, none after it is accepted."""
  repl = start()
  replies = []
  with pytest.raises(WorkerFailure) as caught:
    for reply in repl.run_commands(texts, deadline=time.monotonic() + 1.0):
      replies.append(reply)
  assert caught.value.status is status
  assert [reply.env for reply in replies] == list(range(num_good))


def test_a_surplus_answer_is_noticed(start):
  """It is taken for the reply to the next command, whose own reply is extra."""
  repl = start()
  with pytest.raises(WorkerFailure, match="unasked output") as caught:
    chain(repl, "FAULT:two_frames", "a")
    time.sleep(0.3)
    chain(repl, "b")
  assert caught.value.status is Status.PROTOCOL_VIOLATION


def test_an_answer_before_the_question_is_sent(start):
  """A process that replies without having read the request."""
  program = (
    "import os, time\n"
    "os.read(0, 100)\n"
    "os.write(1, b'{\"env\": 0}\\n\\n')\n"
    "time.sleep(60)\n"
  )
  repl = start(sys.executable, "-I", "-S", "-c", program)
  with pytest.raises(WorkerFailure, match="not yet sent") as caught:
    repl.run_command("x" * 1_000_000, timeout_s=10.0)
  assert caught.value.status is Status.PROTOCOL_VIOLATION


# Ended by its owner.


@pytest.mark.parametrize(
  ("end", "status"),
  [(Repl.kill, Status.CRASH), (Repl.kill_for_memory, Status.OUT_OF_MEMORY)],
)
@pytest.mark.parametrize("fault", ["hang", "stubborn", "bomb"])
def test_ended_from_another_thread(start, end, status, fault):
  """The call in progress ends with the cause, even if pipes stay open."""
  repl = start()
  started_s = time.monotonic()
  timer = threading.Timer(0.3, end, [repl])
  timer.start()
  with pytest.raises(WorkerFailure) as caught:
    repl.run_command(f"FAULT:{fault}", timeout_s=60.0)
  timer.join()
  end(repl)  # once more, of a process that is gone
  assert caught.value.status is status
  assert time.monotonic() - started_s < 5.0


def test_ended_while_idle(start):
  repl = start()
  assert chain(repl, "a") == [0]
  repl.kill_for_memory()
  repl.kill()  # the first cause is the one that is reported
  with pytest.raises(WorkerFailure, match="more memory") as caught:
    while True:  # until the signal has arrived
      repl.run_command("b", timeout_s=1.0)
  assert caught.value.status is Status.OUT_OF_MEMORY


def test_growing_memory_is_seen(start):
  """A watchdog ends a process that really takes the memory."""
  repl = start()
  chain(repl, "import Mathlib")
  assert anonymous_bytes(repl.pid) < 100_000_000

  def watch() -> None:
    while anonymous_bytes(repl.pid) < 300_000_000:
      time.sleep(0.05)
    repl.kill_for_memory()

  watchdog = threading.Thread(target=watch)
  watchdog.start()
  with pytest.raises(WorkerFailure) as caught:
    repl.run_command("FAULT:grow", env=0, timeout_s=60.0)
  watchdog.join()
  assert caught.value.status is Status.OUT_OF_MEMORY


def test_processor_time_is_not_memory(start):
  """The limit of processor time is not reported as a lack of memory."""
  repl = start(*Sandbox("rlimit", (), 1.0, 8.0).wrap(python(FAKE), ENV))
  with pytest.raises(WorkerFailure, match="exit code -24") as caught:
    repl.run_command("FAULT:burn", timeout_s=60.0)
  assert caught.value.status is Status.CRASH


def test_a_command_that_cannot_be_started():
  before = held()
  with pytest.raises(FileNotFoundError):
    Repl(["/no/such/program"], env=ENV)
  assert_no_more_than(before)


def test_the_cost_of_a_proof(start):
  """The fake REPL's cost_s delays proofs and nothing else."""
  repl = start(*python(FAKE, "--cost_s=0.2"))
  chain(repl, "import Mathlib")  # it is up
  for text, least_s, most_s in [
    ("def __stmt_1 : Prop := 1 = 1", 0.0, 0.1),
    ("theorem t : 1 = 1 := rfl", 0.2, 0.3),
    ("theorem __ok_1 : __stmt_1 := @t\n#print axioms __ok_1", 0.0, 0.1),
  ]:
    started_s = time.monotonic()
    reply = repl.run_command(text, env=0, timeout_s=10.0)
    assert least_s <= time.monotonic() - started_s
    assert time.monotonic() - started_s < most_s + 1.0
  (message,) = reply.messages
  assert message.text == "'__ok_1' does not depend on any axioms"


# Any text, cut anywhere.

# Answers each request with its text, reading and writing pieces of the sizes
# that the requests name, through pipes that hold no more than a page.
ECHO = """
import fcntl, itertools, json, os
for pipe in (0, 1):
  fcntl.fcntl(pipe, 1031, 4096)  # F_SETPIPE_SZ
data, sizes = bytearray(), [1]
while True:
  searched = 0
  for size in itertools.cycle(sizes):
    if (end := data.find(b"\\n\\n", searched)) >= 0:
      break
    searched = max(len(data) - 1, 0)
    if not (chunk := os.read(0, size)):
      raise SystemExit
    data += chunk
  request = json.loads(bytes(data[:end]))
  del data[:end + 2]
  reply = {"message": request["cmd"], "sizes": request["sizes"]}
  frame = json.dumps(reply, ensure_ascii=request["ascii"]).encode() + b"\\n\\n"
  frame, sizes = memoryview(frame), request["sizes"]
  for size in itertools.cycle(sizes):
    if not frame:
      break
    frame = frame[os.write(1, frame[:size]):]
"""


@pytest.fixture(scope="module")
def echo():
  repl = Repl([sys.executable, "-I", "-S", "-c", ECHO], env=ENV)
  yield repl
  repl.close()


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def check_echo(echo: Repl, text: str, sizes: list[int], is_ascii: bool) -> None:
  request = {"cmd": text, "sizes": sizes, "ascii": is_ascii}
  line = json.dumps(request, ensure_ascii=is_ascii)
  reply = exchange(echo, line, timeout_s=60.0)
  assert reply == {"message": text, "sizes": sizes}


@settings(max_examples=300, deadline=None)
@given(
  text=ANY_TEXT,
  sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
  is_ascii=st.booleans(),
)
def test_any_text_crosses_the_pipes(echo, text, sizes, is_ascii):
  check_echo(echo, text, sizes, is_ascii)


@settings(max_examples=12, deadline=None)
@given(
  text=ANY_TEXT.filter(bool),
  num_bytes=st.integers(1, 4_000_000),
  size=st.sampled_from([1021, 4093, 65_536]),
)
def test_megabytes_cross_the_pipes(echo, text, num_bytes, size):
  text *= num_bytes // len(text.encode())
  check_echo(echo, "", [size], False)  # the size for reading, too
  check_echo(echo, text, [size], False)


# Answers each request with the request itself, as a message; its column is the
# number of requests that had come when this one was read.
PARROT = """
import json, os
rest, env = b"", 0
while chunk := os.read(0, 65536):
  *whole, rest = (rest + chunk).split(b"\\n\\n")
  for request in whole:
    place = {"line": 1, "column": len(whole)}
    data = {"severity": "info", "pos": place, "data": request.decode()}
    frame = {"env": env, "messages": [data]}
    os.write(1, json.dumps(frame).encode() + b"\\n\\n")
    env += 1
"""


@pytest.fixture(scope="module")
def parrot():
  repl = Repl([sys.executable, "-I", "-S", "-c", PARROT], env=ENV)
  yield repl
  repl.close()


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=4))
def test_any_texts_are_so_many_requests(parrot, texts):
  """A command is one line; each names the environment that the last made."""
  root = parrot.run_command("def a := 1", timeout_s=10.0).env
  deadline = time.monotonic() + 10.0
  replies = [*parrot.run_commands(texts, env=root, deadline=deadline)]
  assert [json.loads(reply.messages[0].text) for reply in replies] == [
    {"cmd": text, "env": env} for env, text in enumerate(texts, root)
  ]
  # All had been sent before the first was answered.
  assert replies[0].messages[0].column == len(texts)


def test_without_an_environment(parrot):
  (message,) = parrot.run_command("def a := 1", timeout_s=10.0).messages
  assert json.loads(message.text) == {"cmd": "def a := 1"}


# What is left.


ENDS = (
  *("leave", "cut", "segv", "killed", "memory", "two_frames", "not_json"),
  *("huge", "wrong_env", "grandchild"),
)


def test_many_come_and_go():
  """Of forty processes, nothing remains: no zombie, descriptor or thread."""
  before, threads = held(), set(threading.enumerate())
  for fault in [*ENDS] * 4:
    with contextlib.closing(Repl(python(FAKE), env=ENV)) as repl:
      with pytest.raises(WorkerFailure):
        repl.run_command(f"FAULT:{fault}", timeout_s=5.0)
  assert_no_more_than(before)
  assert set(threading.enumerate()) <= threads


def test_a_closed_stderr_costs_nothing(start):
  """The end of stderr is polled once, not again and again."""
  program = (
    "import os, time\n"
    "os.close(2)\n"
    "os.read(0, 100)\n"
    "time.sleep(1)\n"
    "os.write(1, b'{\"env\": 0}\\n\\n')\n"
    "os.read(0, 100)\n"
  )
  repl = start(sys.executable, "-I", "-S", "-c", program)
  used_s = time.thread_time()
  assert repl.run_command("a", timeout_s=10.0).env == 0
  assert time.thread_time() - used_s < 0.2


def test_the_environment_is_the_one_given(monkeypatch, start):
  monkeypatch.setenv("KIMINA_SECRET", "x")
  program = (
    "import json, os\n"
    "os.read(0, 100)\n"
    "frame = {'env': 0, 'infotree': dict(os.environ)}\n"
    "os.write(1, json.dumps(frame).encode() + b'\\n\\n')\n"
    "os.read(0, 100)\n"
  )
  repl = start(sys.executable, "-I", "-S", "-c", program)
  seen = exchange(repl, '{"cmd": "a"}', timeout_s=10.0)["infotree"]
  assert seen["PATH"] == ENV["PATH"]
  assert "KIMINA_SECRET" not in seen
