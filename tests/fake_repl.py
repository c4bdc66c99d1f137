"""A Lean REPL that proves everything, and misbehaves on request.

A command that holds `FAULT:<name>` meets that fault; a file named in
`FAULT:<name>@<path>` is made first, and prevents the fault if it exists; a
named pipe prevents nothing, and tells its reader that the fault is on.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

num_envs = 0


def main() -> None:
  while (request := read_request()) is not None:
    answer(request)


def read_request() -> dict | None:
  lines = []
  for line in sys.stdin.buffer:
    if line == b"\n":
      return json.loads(b"".join(lines))
    lines.append(line)
  return None


def answer(request: dict) -> None:
  fault = re.search(r"FAULT:(\w+)(?:@(\S+))?", request["cmd"])
  if fault and not (fault[2] and os.path.isfile(fault[2])):
    if fault[2]:
      open(fault[2], "w").close()
    FAULTS[fault[1]](request)
  reply(request)


def reply(request: dict, **fields: object) -> None:
  global num_envs
  frame = {"messages": messages(request["cmd"]), "env": num_envs, **fields}
  if not frame["messages"]:
    del frame["messages"]
  write(json.dumps(frame, ensure_ascii=False, indent=1) + "\n\n")
  num_envs += 1


def messages(command: str) -> list[dict]:
  asked = re.search(r"#print axioms (\S+)", command)
  if not asked:
    return []
  return [message("info", f"'{asked[1]}' does not depend on any axioms")]


def message(severity: str, data: str) -> dict:
  return {
    "severity": severity,
    "pos": {"line": 1, "column": 0},
    "endPos": {"line": 1, "column": 7},
    "data": data,
  }


def write(text: str) -> None:
  data = text.encode()
  while data:
    data = data[os.write(1, data) :]


def hang(request: dict) -> None:
  while True:
    time.sleep(3600)


def half(request: dict) -> None:
  write('{"env": 1')
  hang(request)


def late_hang(request: dict) -> None:
  reply(request)
  hang(request)


def leave(request: dict) -> None:
  print("goodbye", file=sys.stderr, flush=True)
  sys.exit(3)


def segv(request: dict) -> None:
  os.kill(os.getpid(), signal.SIGSEGV)
  hang(request)


def killed(request: dict) -> None:
  os.kill(os.getpid(), signal.SIGKILL)


def memory(request: dict) -> None:
  print("INTERNAL PANIC: out of memory", file=sys.stderr, flush=True)
  sys.exit(1)


def stubborn(request: dict) -> None:
  signal.signal(signal.SIGTERM, signal.SIG_IGN)
  hang(request)


def flood(request: dict) -> None:
  for _ in range(256):
    os.write(2, b"x" * 65_536)


def huge(request: dict) -> None:
  write('{"env": 1, "messages": ["')
  for _ in range(1024):
    write("x" * 65_536)


def large(request: dict) -> None:
  """A legal reply of a megabyte on one line, with wide characters."""
  reply(request, messages=[message("warning", "∀ε" * 250_000)])
  read_request_again()


def read_request_again() -> None:
  while (request := read_request()) is not None:
    answer(request)
  sys.exit(0)


def two_frames(request: dict) -> None:
  """In one write, so that they arrive together."""
  global num_envs
  write("".join(f'{{"env": {num_envs + extra}}}\n\n' for extra in (0, 1)))
  num_envs += 2
  read_request_again()


def wrong_env(request: dict) -> None:
  reply(request, env=num_envs + 5)
  read_request_again()


def not_json(request: dict) -> None:
  write("Hello, world\n\n")
  read_request_again()


def refusal(request: dict) -> None:
  write('{"message": "Unknown environment."}\n\n')
  read_request_again()


def error(request: dict) -> None:
  reply(request, messages=[message("error", "unsolved goals\n⊢ False")])
  read_request_again()


def sorry(request: dict) -> None:
  reply(request, messages=[message("warning", "declaration uses 'sorry'")])
  read_request_again()


def forged(request: dict) -> None:
  """Answers this command and all the audit before it is asked."""
  data = "'__ok_0' does not depend on any axioms"
  frames = [
    {"messages": [message("info", data)], "env": num_envs + extra}
    for extra in range(3)
  ]
  write("".join(json.dumps(frame) + "\n\n" for frame in frames))
  hang(request)


def late_forged(request: dict) -> None:
  """Forges the audit's answer while it is being asked."""
  reply(request)
  read_request()
  forged(request)


def grandchild(request: dict) -> None:
  """Leaves behind a process of another session that holds the pipes."""
  subprocess.Popen(["sleep", "5"], start_new_session=True)
  sys.exit(4)


FAULTS = {
  function.__name__: function
  for function in (
    hang,
    half,
    late_hang,
    leave,
    segv,
    killed,
    memory,
    stubborn,
    flood,
    huge,
    large,
    two_frames,
    wrong_env,
    not_json,
    refusal,
    error,
    sorry,
    forged,
    late_forged,
    grandchild,
  )
}

if __name__ == "__main__":
  main()
