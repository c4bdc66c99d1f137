"""The checker process: serves the JSON protocol of Lean's REPL.

In: JSON objects on stdin, each followed by a blank line. Out: for each, a JSON
object and a blank line on stdout, and nothing else. A request that is not JSON,
or a superfluous blank line, ends the process with status 1.
"""

import io
import json
import sys
from typing import Any, TextIO

from kimina_jax.minilean.environment import Environment, run_source
from kimina_jax.minilean.goals import Diagnostic
from kimina_jax.minilean.parser import Span

_KINDS = (
  "tactic",
  "path",
  "pickleTo",
  "unpickleEnvFrom",
  "unpickleProofStateFrom",
)


class _Fatal(Exception):
  """The process cannot go on."""


def main() -> int:
  # Substitution makes terms deeper than those in the source.
  sys.setrecursionlimit(5_000)
  for stream in (sys.stdin, sys.stdout):
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(encoding="utf-8", errors="strict", newline="\n")
  # The first proof loads the grammar and z3, before the first request.
  run_source(Environment(), "example : 0 < 1 := by omega")
  try:
    serve(sys.stdin, sys.stdout)
  except (_Fatal, UnicodeError, BrokenPipeError) as error:
    print(f"minilean: {error}", file=sys.stderr)
    return 1
  return 0


def serve(requests: TextIO, replies: TextIO) -> None:
  """Replies to requests until the end of the stream."""
  environments: list[Environment] = []
  num_proof_states = 0
  while (text := _read(requests)) is not None:
    if text.startswith(("#", "--")):
      continue
    reply = _answer(_parse(text), environments, num_proof_states)
    num_proof_states += len(reply.get("sorries", ()))
    replies.write(json.dumps(reply, ensure_ascii=False, indent=1) + "\n\n")
    replies.flush()


def _read(requests: TextIO) -> str | None:
  """Reads a request; line breaks are dropped, as by Lean's REPL."""
  lines: list[str] = []
  for line in requests:
    if line == "\n":
      if not lines:
        raise _Fatal("a blank line where a request was expected")
      return "".join(lines)
    lines.append(line.removesuffix("\n"))
  return "".join(lines) if lines else None


def _parse(text: str) -> dict[str, Any]:
  try:
    request = json.loads(text)
  except (json.JSONDecodeError, RecursionError) as error:
    raise _Fatal(f"could not parse JSON: {error}") from None
  if not isinstance(request, dict) or not (
    isinstance(request.get("cmd"), str) or any(k in request for k in _KINDS)
  ):
    raise _Fatal("could not parse as a valid JSON command")
  env = request.get("env")
  if env is not None and (isinstance(env, bool) or not isinstance(env, int)):
    raise _Fatal(f"env is not a number: {env!r}")
  return request


def _answer(
  request: dict[str, Any],
  environments: list[Environment],
  num_proof_states: int,
) -> dict[str, Any]:
  if "tactic" in request:
    return {"message": "Unknown proof state."}
  if "cmd" not in request:
    return {"message": "minilean has neither files nor pickles."}
  before = request.get("env")
  if before is not None and not 0 <= before < len(environments):
    return {"message": "Unknown environment."}
  start = Environment() if before is None else environments[before]
  if before is not None:
    start = start.imported()
  outcome = run_source(start, request["cmd"])
  environments.append(outcome.environment)
  reply: dict[str, Any] = {}
  if outcome.sorries:
    reply["sorries"] = [
      {"proofState": state, **_place(span), "goal": goal}
      for state, (span, goal) in enumerate(outcome.sorries, num_proof_states)
    ]
  if outcome.diagnostics:
    reply["messages"] = [_message(report) for report in outcome.diagnostics]
  return {**reply, "env": len(environments) - 1}


def _message(report: Diagnostic) -> dict[str, Any]:
  return {
    "severity": report.severity,
    **_place(report.span),
    "data": report.text,
  }


def _place(span: Span) -> dict[str, Any]:
  return {
    "pos": {"line": span.line, "column": span.column},
    "endPos": {"line": span.end_line, "column": span.end_column},
  }


if __name__ == "__main__":
  sys.exit(main())
