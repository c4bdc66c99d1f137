"""A REPL that forges replies, so that a proof looks accepted.

  python forging_repl.py MODE

Each mode is a way for code that runs inside the checker to forge the audit's
answer without having read the audit's question.
"""

import json
import re
import sys

AXIOMS = "does not depend on any axioms"


def main() -> None:
  MODES[sys.argv[1]]()


def ahead() -> None:
  """All replies before the first request."""
  for env in range(6):
    say(env, f"'__ok_0' {AXIOMS}")
  while read() is not None:
    pass


def twice() -> None:
  """Each reply is followed by the next one in advance."""
  env = 0
  while read() is not None:
    say(env, f"'__ok_0' {AXIOMS}")
    say(env + 1, f"'__ok_0' {AXIOMS}")
    env += 2


def guessed() -> None:
  """The right number of frames, about a theorem whose name is guessed."""
  env = 0
  while read() is not None:
    say(env, f"'__ok_0' {AXIOMS}")
    env += 1


def by_nonce() -> None:
  """The statement's name is known by then; the theorem's is not."""
  env, name = 0, "__ok_0"
  while (request := read()) is not None:
    if "#print axioms" in request["cmd"]:
      say(env, f"'{name}' {AXIOMS}")
    else:
      say(env)
    if found := re.search(r"__stmt_(\w+)", request["cmd"]):
      name = f"__ok_{found[1]}"
    env += 1


def silent() -> None:
  """No error, and no report of axioms either."""
  env = 0
  while read() is not None:
    say(env)
    env += 1


def two_reports() -> None:
  """The report that is asked for, and one more."""
  env = 0
  while (request := read()) is not None:
    asked = re.search(r"#print axioms (\S+)", request["cmd"])
    texts = [f"'{asked[1]}' {AXIOMS}"] * 2 if asked else []
    say(env, *texts)
    env += 1


def longer_report() -> None:
  """The report that is asked for, inside a longer text."""
  env = 0
  while (request := read()) is not None:
    asked = re.search(r"#print axioms (\S+)", request["cmd"])
    say(env, *([f"'{asked[1]}' {AXIOMS}\nbut sorryAx"] if asked else []))
    env += 1


def unusual_axiom() -> None:
  """A genuine report of an axiom that trusts the compiler."""
  env = 0
  while (request := read()) is not None:
    asked = re.search(r"#print axioms (\S+)", request["cmd"])
    report = "depends on axioms: [propext,\n Lean.ofReduceBool]"
    say(env, *([f"'{asked[1]}' {report}"] if asked else []))
    env += 1


def say(env: int, *texts: str) -> None:
  position = {"line": 1, "column": 0}
  messages = [
    {"severity": "info", "pos": position, "endPos": position, "data": text}
    for text in texts
  ]
  frame = {"messages": messages, "env": env} if messages else {"env": env}
  sys.stdout.buffer.write(json.dumps(frame).encode() + b"\n\n")
  sys.stdout.buffer.flush()


def read() -> dict | None:
  lines = []
  for line in sys.stdin.buffer:
    if line == b"\n":
      return json.loads(b"".join(lines))
    lines.append(line)
  return None


MODES = {
  function.__name__: function
  for function in (
    *(ahead, twice, guessed, by_nonce, silent),
    *(two_reports, longer_report, unusual_axiom),
  )
}

if __name__ == "__main__":
  main()
