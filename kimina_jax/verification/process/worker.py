"""One checker process and what it has imported: an audit in, a verdict out.

A worker imports once, and keeps the environment of every preamble (options,
opened namespaces) that it has elaborated on top. It never outlives a doubt:
after a crash, a timeout or an odd reply it calls itself broken and its owner
replaces it.
"""

import secrets
import time
from collections.abc import Mapping, Sequence

from kimina_jax.types import Status, Verdict
from kimina_jax.verification.acceptance.audit import (
  Audit,
  is_decided,
  judge_replies,
)
from kimina_jax.verification.process.memory import Group
from kimina_jax.verification.process.protocol import WorkerFailure
from kimina_jax.verification.process.repl import Repl
from kimina_jax.verification.replies import Reply


class Worker:
  """Owns one process, confined; a backend.Checker."""

  def __init__(
    self, argv: Sequence[str], env: Mapping[str, str], group: Group | None
  ):
    """Starts the process.

    Args:
      argv: the command, sandbox included.
      env: its whole environment.
      group: the control group that the command joins, to be removed with it.

    Raises:
      OSError: it cannot be started.
    """
    self._group = group
    self._repl = Repl(argv, env=env)
    self._root: int | None = None
    self._imports = ""
    self._preambles: dict[str, int] = {}
    self.num_uses = 0
    self.broken = False

  @property
  def pid(self) -> int:
    return self._repl.pid

  def load(self, imports: str, *, timeout_s: float) -> Verdict | None:
    """Imports, unless that is done; an INFRA_ERROR if it fails."""
    if self._root is not None and imports == self._imports:
      return None
    root = self._elaborate(imports, env=None, timeout_s=timeout_s)
    if isinstance(root, Verdict):
      return root
    self._root, self._imports = root, imports
    self._preambles = {"": root}
    return None

  def check(self, audit: Audit, *, timeout_s: float) -> Verdict:
    """Runs an audit whose imports are loaded.

    Args:
      audit: what to ask.
      timeout_s: for the whole audit.
    """
    deadline = time.monotonic() + timeout_s
    self.num_uses += 1
    env = self._preamble(audit.preamble, timeout_s=timeout_s)
    if isinstance(env, Verdict):
      return env
    # Drawn now: the proof's text is fixed.
    nonce, seal = secrets.token_hex(8), secrets.token_hex(8)
    statement, proof, check = audit.commands(nonce, seal)
    replies: list[Reply] = []
    try:
      # Statement and proof go out together; the seal only when both have been
      # answered, so that no proof can answer for it.
      for reply in self._repl.chain(
        (statement, proof), env=env, deadline=deadline
      ):
        replies.append(reply)
      if not is_decided(replies):
        env = replies[-1].env
        replies += self._repl.chain((check,), env=env, deadline=deadline)
    except WorkerFailure as failure:
      self.broken = True
      # Before the statement is answered, nothing is the proof's fault.
      status = self._cause(failure) if replies else Status.INFRA_ERROR
      return Verdict(status, detail=failure.detail, notes=audit.notes)
    verdict = judge_replies(audit, seal, replies)
    self.broken = verdict.status is Status.PROTOCOL_VIOLATION
    return verdict

  def starve(self) -> None:
    """Ends the process for its memory; from any thread."""
    self._repl.starve()

  def kill(self) -> None:
    """Ends the process; from any thread."""
    self._repl.kill()

  def close(self) -> None:
    """Ends the process and frees what it held."""
    self._repl.close()
    if self._group is not None:
      self._group.remove()

  def _preamble(self, preamble: str, *, timeout_s: float) -> int | Verdict:
    """The environment in which a preamble holds."""
    if preamble not in self._preambles:
      env = self._elaborate(preamble, env=self._root, timeout_s=timeout_s)
      if isinstance(env, Verdict):
        return env
      self._preambles[preamble] = env
    return self._preambles[preamble]

  def _elaborate(
    self, text: str, *, env: int | None, timeout_s: float
  ) -> int | Verdict:
    """The environment after a part of the header, which must be flawless."""
    try:
      reply = self._repl.command(text, env=env, timeout_s=timeout_s)
    except WorkerFailure as failure:
      self.broken = True
      return Verdict(Status.INFRA_ERROR, detail=f"while loading: {failure}")
    errors = [m.text for m in reply.messages if m.severity == "error"]
    if errors:
      detail = f"the header does not elaborate: {'; '.join(errors)[:2000]}"
      return Verdict(Status.INFRA_ERROR, detail=detail)
    return reply.env

  def _cause(self, failure: WorkerFailure) -> Status:
    """Out of memory, if the kernel says so; else as the process ended."""
    killed = self._group is not None and self._group.num_oom_kills() > 0
    return Status.OUT_OF_MEMORY if killed else failure.status
