"""A Lean REPL that proves everything, and misbehaves on request.

    python fake_repl.py [--cost_s=SECONDS]

A command with `FAULT:<name>` triggers that fault; with `FAULT:<name>@<path>`
the file is made first, and prevents the fault if it exists already; a named
pipe prevents nothing, and its reader sees that the fault has begun. Each proof
takes the given time. Without either it replies at once, so that it costs next
to nothing; for the same reason modules are imported where they are needed.
"""

import os
import sys
import time

_AXIOMS = b"#print axioms "
_NAME_ENDS = b'"\\ '
_PLACE = b'"pos": {"line": 1, "column": 0}, "endPos": {"line": 1, "column": 7}'

num_envs = 0
requests = iter(())


def main() -> None:
  global requests
  requests = read_requests()
  cost_s = sum(float(a.removeprefix("--cost_s=")) for a in sys.argv[1:])
  for request in requests:
    if b"FAULT:" in request:
      meet_fault(request)
    else:
      if cost_s and b"theorem" in request and b"__ok_" not in request:
        time.sleep(cost_s)
      answer(request)


def read_requests():
  rest = b""
  while chunk := os.read(0, 1_048_576):
    *whole, rest = (rest + chunk).split(b"\n\n")
    yield from whole


def answer(request: bytes) -> None:
  """As Lean answers to a correct proof, and to `#print axioms` of it."""
  global num_envs
  head, _, name = request.rpartition(_AXIOMS)
  messages = b""
  if head:
    name = up_to(name, _NAME_ENDS)
    messages = (
      b'"messages": [{"severity": "info", %b, "data": '
      b"\"'%b' does not depend on any axioms\"}], " % (_PLACE, name)
    )
  write(b'{%b"env": %d}\n\n' % (messages, num_envs))
  num_envs += 1


def up_to(text: bytes, ends: bytes) -> bytes:
  """The text before the first byte that is one of the ends."""
  return text[: min(i for i in map((text + ends).find, split(ends)) if i >= 0)]


def split(text: bytes) -> list[bytes]:
  return [text[i : i + 1] for i in range(len(text))]


def meet_fault(request: bytes) -> None:
  """Runs the fault that the JSON of a command names, or replies without it."""
  word = up_to(request.partition(b"FAULT:")[2], _NAME_ENDS)
  name, _, path = os.fsdecode(word).partition("@")
  if path and os.path.isfile(path):
    return reply()
  if path:
    open(path, "w").close()
  FAULTS[name]()


def reply(**fields: object) -> None:
  """A reply of the right environment, unless the fields say otherwise."""
  global num_envs
  import json

  frame = {"env": num_envs, **fields}
  write(json.dumps(frame, ensure_ascii=False, indent=1).encode() + b"\n\n")
  num_envs += 1


def message(severity: str, data: str) -> dict:
  return {
    "severity": severity,
    "pos": {"line": 1, "column": 0},
    "endPos": {"line": 1, "column": 7},
    "data": data,
  }


def write(data: bytes, *, step: int = 1_048_576) -> None:
  while data:
    data = data[os.write(1, data[:step]) :]


# Time: before, during and after a reply.


def hang() -> None:
  while True:
    time.sleep(3600)


def half() -> None:
  write(b'{"env": 1')
  hang()


def late_hang() -> None:
  reply()
  hang()


def slow() -> None:
  time.sleep(0.5)
  reply()


def stubborn() -> None:
  import signal

  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  hang()


def drip() -> None:
  """Writes output without end."""
  while True:
    write(b" ")
    time.sleep(0.0001)


# Ends.


def leave() -> None:
  print("goodbye", file=sys.stderr, flush=True)
  sys.exit(3)


def leave_quietly() -> None:
  sys.exit(0)


def cut() -> None:
  write(b'{"env": ')
  sys.exit(0)


def last_words() -> None:
  """A good reply, and then the end."""
  reply()
  sys.exit(0)


def segv() -> None:
  import signal

  os.kill(os.getpid(), signal.SIGSEGV)
  hang()


def killed() -> None:
  import signal

  os.kill(os.getpid(), signal.SIGKILL)
  hang()


def close_output() -> None:
  os.close(1)
  hang()


def burn() -> None:
  """Takes all the processor time that it may have."""
  while True:
    pass


# Memory and processes.


def memory() -> None:
  print("INTERNAL PANIC: out of memory", file=sys.stderr, flush=True)
  sys.exit(1)


def grow() -> None:
  """Holds 600 MB within a second, keeps them for ten, and then replies."""
  import mmap

  held = []
  for _ in range(30):
    block = mmap.mmap(-1, 20_000_000, flags=mmap.MAP_PRIVATE)
    for page in range(0, len(block), mmap.PAGESIZE):
      block[page] = 1
    held.append(block)
    time.sleep(0.02)
  time.sleep(10)
  held.clear()
  reply()


def grandchild() -> None:
  """Leaves behind a process of another session that holds the pipes."""
  if os.fork() == 0:
    os.setsid()
    time.sleep(5)
    os._exit(0)
  sys.exit(4)


def bomb() -> None:
  """200 processes that sleep, half of them in sessions of their own."""
  for number in range(200):
    if os.fork() == 0:
      if number % 2:
        os.setsid()
      time.sleep(60)
      os._exit(0)
  hang()


# Floods.


def flood() -> None:
  """16 MB on stderr, and a good reply."""
  for _ in range(256):
    os.write(2, b"x" * 65_536)
  reply()


def endless_errors() -> None:
  while True:
    os.write(2, b"x" * 65_536)


def endless() -> None:
  while True:
    write(b"x" * 65_536)


def huge() -> None:
  """A reply of 100 MB."""
  write(b'{"env": 1, "messages": ["')
  for _ in range(1600):
    write(b"x" * 65_536)
  write(b'"]}\n\n')
  hang()


def large() -> None:
  """A legal reply of a megabyte on one line, with wide characters."""
  reply(messages=[message("warning", "∀ε" * 250_000)])


def bytewise() -> None:
  """A legal reply, a byte at a time."""
  global num_envs
  write(b'{"env":\n %d}\n\n' % num_envs, step=1)
  num_envs += 1


# Frames that should not be.


def two_frames() -> None:
  """In one write, so that they arrive together."""
  global num_envs
  write(b"".join(b'{"env": %d}\n\n' % (num_envs + i) for i in (0, 1)))
  num_envs += 2


def late_frame() -> None:
  """A good reply, and soon after it an unsolicited one."""
  reply()
  time.sleep(0.1)
  reply()


def wrong_env() -> None:
  reply(env=num_envs + 5)


def refusal() -> None:
  write(b'{"message": "Unknown environment."}\n\n')


def error() -> None:
  reply(messages=[message("error", "unsolved goals\n⊢ False")])


def sorry() -> None:
  reply(messages=[message("warning", "declaration uses 'sorry'")])


def bad_import() -> None:
  """Lean's reply to an import that fails, which resembles a success."""
  reply(messages=[message("error", "unknown module prefix 'Mathlib'")])


def forged() -> None:
  """Replies to this command and, in advance, to all of the audit."""
  import json

  data = "'__ok_0' does not depend on any axioms"
  frames = [
    {"messages": [message("info", data)], "env": num_envs + extra}
    for extra in range(3)
  ]
  write(b"".join(json.dumps(frame).encode() + b"\n\n" for frame in frames))
  hang()


def late_forged() -> None:
  """Forges the audit's answer while it is being asked."""
  reply()
  next(requests)
  forged()


def proved() -> None:
  """A verdict of its own making, in the frame that was asked for."""
  reply(status="proved", verdict="proved")


def not_json() -> None:
  write(b"Hello, world\n\n")


def blank() -> None:
  write(b"\n\n")


def not_an_object() -> None:
  write(b"[0]\n\n")


def not_utf8() -> None:
  write(b'{"env": %d, "messages": [], "infotree": "\xff"}\n\n' % num_envs)


def half_character() -> None:
  import json

  data = json.dumps([message("info", "\ud800")]).encode()
  write(b'{"env": %d, "messages": %b}\n\n' % (num_envs, data))


def not_a_number() -> None:
  write(b'{"env": %d, "infotree": NaN}\n\n' % num_envs)


def huge_number() -> None:
  write(b'{"env": %b}\n\n' % (b"9" * 1_000_000))


def large_number() -> None:
  """Small enough for Python to read, and no line of any text."""
  import json

  data = [{**message("info", ""), "pos": {"line": 10**4000, "column": 0}}]
  write(json.dumps({"env": num_envs, "messages": data}).encode() + b"\n\n")


def deep() -> None:
  write(b'{"env": %d, "infotree": %b' % (num_envs, b"[" * 1_000_000))
  write(b"]" * 1_000_000 + b"}\n\n")


def twice() -> None:
  """Two lists of messages; a reader of the second misses the error."""
  import json

  data = json.dumps([message("error", "unsolved goals")]).encode()
  write(b'{"messages": %b, "messages": [], "env": %d}\n\n' % (data, num_envs))


FAULTS = {
  function.__name__: function
  for function in (
    *(hang, half, late_hang, slow, stubborn, drip),
    *(leave, leave_quietly, cut, last_words, segv, killed, close_output, burn),
    *(memory, grow, grandchild, bomb),
    *(flood, endless_errors, endless, huge, large, bytewise),
    *(two_frames, late_frame, wrong_env, refusal, error, sorry, bad_import),
    *(forged, late_forged, proved, not_json, blank, not_an_object, not_utf8),
    *(half_character, not_a_number, huge_number, large_number, deep, twice),
  )
}

if __name__ == "__main__":
  main()
