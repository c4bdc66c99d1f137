"""REPL worker: sends a proof's audit to Lean, in a process on this machine.

In: an audit. Out: its verdict. The process speaks the protocol of the REPL;
repl.py sends each command and reads the reply. The worker loads imports once,
and keeps the environment of every preamble (options, opened namespaces) that it
has elaborated on top of them. After a crash, a timeout or a protocol violation
it must be replaced.
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
from kimina_jax.verification.process.memory import ControlGroup
from kimina_jax.verification.process.protocol import WorkerFailure
from kimina_jax.verification.process.repl import Repl
from kimina_jax.verification.replies import Reply


class ReplWorker:
  """Owns one confined process; implements backend.Worker."""

  def __init__(
    self,
    argv: Sequence[str],
    env: Mapping[str, str],
    group: ControlGroup | None,
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
    self._root: int | None = None  # the environment of the imports
    self._imports = ""
    self._preambles: dict[str, int] = {}  # environments
    self.num_uses = 0
    self.must_replace = False

  @property
  def pid(self) -> int:
    return self._repl.pid

  def load(self, imports: str, *, timeout_s: float) -> Verdict | None:
    """Loads imports, unless they are loaded; an INFRA_ERROR if that fails."""
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
      audit: of a proof.
      timeout_s: for the whole audit.
    """
    deadline = time.monotonic() + timeout_s
    self.num_uses += 1
    env = self._preamble(audit.preamble, timeout_s=timeout_s)
    if isinstance(env, Verdict):
      return env
    # Random, and drawn after the text of the proof is fixed.
    nonce, seal = secrets.token_hex(8), secrets.token_hex(8)
    statement, proof, check = audit.commands(nonce, seal)
    replies: list[Reply] = []
    try:
      # Statement and proof are sent together; the seal only after the replies
      # to both, so that no proof can forge the reply to it.
      for reply in self._repl.run_commands(
        (statement, proof), env=env, deadline=deadline
      ):
        replies.append(reply)
      if not is_decided(replies):
        env = replies[-1].env
        replies += self._repl.run_commands((check,), env=env, deadline=deadline)
    except WorkerFailure as failure:
      self.must_replace = True
      # Before the reply to the statement, the proof cannot be the cause.
      status = self._cause(failure) if replies else Status.INFRA_ERROR
      return Verdict(status, detail=failure.detail, notes=audit.notes)
    verdict = judge_replies(audit, seal, replies)
    self.must_replace = verdict.status is Status.PROTOCOL_VIOLATION
    return verdict

  def kill_for_memory(self) -> None:
    """Kills the process for its memory; any thread may call it."""
    self._repl.kill_for_memory()

  def kill(self) -> None:
    """Kills the process; any thread may call it."""
    self._repl.kill()

  def close(self) -> None:
    """Kills the process and frees its resources."""
    self._repl.close()
    if self._group is not None:
      self._group.remove()

  def _preamble(self, preamble: str, *, timeout_s: float) -> int | Verdict:
    """The environment after a preamble, elaborated on top of the imports."""
    if preamble not in self._preambles:
      env = self._elaborate(preamble, env=self._root, timeout_s=timeout_s)
      if isinstance(env, Verdict):
        return env
      self._preambles[preamble] = env
    return self._preambles[preamble]

  def _elaborate(
    self, text: str, *, env: int | None, timeout_s: float
  ) -> int | Verdict:
    """The environment after a part of the header; an INFRA_ERROR on errors."""
    try:
      reply = self._repl.run_command(text, env=env, timeout_s=timeout_s)
    except WorkerFailure as failure:
      self.must_replace = True
      return Verdict(Status.INFRA_ERROR, detail=f"while loading: {failure}")
    errors = [m.text for m in reply.messages if m.severity == "error"]
    if errors:
      detail = f"the header does not elaborate: {'; '.join(errors)[:2000]}"
      return Verdict(Status.INFRA_ERROR, detail=detail)
    return reply.env

  def _cause(self, failure: WorkerFailure) -> Status:
    """OUT_OF_MEMORY if the control group counts a kill, else the failure's."""
    killed = self._group is not None and self._group.num_oom_kills() > 0
    return Status.OUT_OF_MEMORY if killed else failure.status
