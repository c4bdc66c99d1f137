"""What the trusted statement demands of a proof, and whether it was met.

A problem and a final block go in; out come three commands for Lean, and from
the replies to them a verdict:

1. `def __stmt_<nonce> : Prop := …`, from the data set's statement, before
   any of the model's text;
2. the model's text without its header;
3. `theorem __ok_<seal> : __stmt_<nonce> := @<name>` and `#print axioms` of it.

Nonce and seal are drawn after the text is fixed, so no proof can prepare for
them; the seal leaves this process only after the proof was answered, so no
proof can answer the third command in advance. Whatever the model's text
redefines, it cannot change a statement elaborated before it.

Header and statement come from the data set; that the final block repeats them
is checked on tokens. The statement must stand at the top level, outside every
namespace and section that the proof opens.

Nothing here talks to Lean or waits.
"""

import dataclasses
import re
from collections.abc import Sequence

from kimina_jax.types import Message, Problem, Status, Verdict
from kimina_jax.verification import policy
from kimina_jax.verification.lexer import (
  LexError,
  Token,
  normalise,
  tokenize,
)
from kimina_jax.verification.protocol import Reply

TRUSTED_AXIOMS = frozenset(("propext", "Classical.choice", "Quot.sound"))

_SORRY_WARNING = re.compile(r"declaration uses ['`‘]?sorry")
_BINDER = {"(": ")", "{": "}", "[": "]", "⦃": "⦄"}
# What a verdict keeps; the judgement itself reads everything.
_MAX_MESSAGES = 32
_MAX_MESSAGE_CHARS = 4000


@dataclasses.dataclass(frozen=True)
class Audit:
  """A proof that may be sent to Lean.

  Attributes:
    header: the data set's header.
    name: of the theorem.
    proposition: the data set's statement as one closed proposition.
    proof: the final block, its header blanked out so that Lean's positions
      are those of the final block.
  """

  header: str
  name: str
  proposition: str
  proof: str

  def commands(self, nonce: str, seal: str) -> tuple[str, str, str]:
    """The three commands, to be sent one after the other's reply."""
    statement, okay = f"__stmt_{nonce}", f"__ok_{seal}"
    return (
      f"def {statement} : Prop := {self.proposition}",
      self.proof,
      f"theorem {okay} : {statement} := @{self.name}\n#print axioms {okay}",
    )


def prepare(problem: Problem, final: str) -> Audit | Verdict:
  """Checks everything that needs no Lean.

  Args:
    problem: header and statement are trusted.
    final: the final block of a response; not trusted.

  Returns:
    What to ask Lean, or the verdict that makes asking needless. A statement
    that cannot be anchored is an INFRA_ERROR: not the policy's fault.
  """
  try:
    header = normalise(problem.header)
    statement = normalise(problem.statement)
    name, proposition = _proposition(statement)
    header_tokens, trusted = tokenize(header), tokenize(statement)
  except ValueError as error:
    return Verdict(Status.INFRA_ERROR, detail=f"bad statement: {error}")
  try:
    final = normalise(final)
    tokens = tokenize(final)
  except LexError as error:
    return Verdict(Status.FORBIDDEN_SYNTAX, detail=str(error))
  if _texts(tokens[: len(header_tokens)]) != _texts(header_tokens):
    return _mismatch("the final block does not start with the header")
  body = tokens[len(header_tokens) :]
  verdict = _refuse(body) or _find_statement(body, trusted, name)
  if verdict is not None:
    return verdict
  start = body[0].start
  proof = re.sub(r"[^\n]", " ", final[:start]) + final[start:]
  return Audit(header, name, proposition, proof)


def judge(seal: str, replies: Sequence[Reply]) -> Verdict:
  """The verdict on the replies to `Audit.commands(nonce, seal)`.

  Args:
    seal: what the commands were made with.
    replies: one or more, in order; a later one may be missing once an
      earlier one decides.
  """
  if _errors(replies[0]) or _sorry(replies[0]):
    detail = "the statement does not elaborate: " + _words(replies[0])
    return Verdict(Status.INFRA_ERROR, detail=detail)
  if len(replies) == 1:
    return Verdict(Status.INFRA_ERROR, detail="no reply to the proof")
  messages = _trim(replies[1].messages)
  if _errors(replies[1]):
    return Verdict(Status.LEAN_ERROR, messages)
  if _sorry(replies[1]):
    return Verdict(Status.HAS_SORRY, messages)
  if len(replies) != 3:
    return Verdict(Status.INFRA_ERROR, messages, detail="no audit")
  return dataclasses.replace(_judge_axioms(seal, replies[2]), messages=messages)


def decided(replies: Sequence[Reply]) -> bool:
  """Whether these replies already decide, so that no more need be asked."""
  return len(replies) == 3 or any(_errors(r) or _sorry(r) for r in replies)


def _refuse(body: Sequence[Token]) -> Verdict | None:
  if not body:
    return Verdict(Status.MISSING_THEOREM, detail="no proof after the header")
  refusal = policy.check(body)
  if refusal is None:
    return None
  is_sorry = refusal.rule == "sorry"
  status = Status.HAS_SORRY if is_sorry else Status.FORBIDDEN_SYNTAX
  return Verdict(status, detail=str(refusal))


def _find_statement(
  body: Sequence[Token], trusted: Sequence[Token], name: str
) -> Verdict | None:
  """None if the body states the trusted theorem at the top level."""
  used = _free_names(trusted)
  depths, states_other = [], False
  for command in policy.commands(body):
    if command.kind not in policy.DECLARATIONS:
      continue
    tokens = body[command.index : command.index + len(trusted)]
    if _texts(tokens) == _texts(trusted):
      depths.append(command.depth)
      continue
    declared = "".join(_texts(tokens[1:2]))
    states_other |= declared == name
    if declared.split(".")[-1] in used:
      return _mismatch(f"{declared} redefines a name of the statement")
  if 0 in depths:
    return None
  if depths:
    return _mismatch("the statement stands inside a namespace or section")
  if states_other:
    return _mismatch(f"theorem {name} states something else")
  return Verdict(Status.MISSING_THEOREM, detail=f"no theorem {name}")


def _free_names(trusted: Sequence[Token]) -> set[str]:
  """The parts of all names in a statement but those it binds itself."""
  names, bound, run = set(), set(), []
  for token in trusted[2:]:
    if token.kind == "name":
      run.append(token.text)
      names.update(token.text.split("."))
      continue
    if token.text == ":":
      bound.update(run)
    run = []
  return names - bound


def _mismatch(detail: str) -> Verdict:
  return Verdict(Status.STATEMENT_MISMATCH, detail=detail)


def _proposition(statement: str) -> tuple[str, str]:
  """Name and closed proposition of `theorem name binders : goal := by`.

  Raises:
    ValueError: the statement has another form.
  """
  tokens = tokenize(statement)
  texts = _texts(tokens)
  if texts[-2:] != [":=", "by"]:
    raise ValueError("it does not end in `:= by`")
  if texts[0] not in ("theorem", "lemma") or tokens[1].kind != "name":
    raise ValueError("it does not start with `theorem` and a name")
  colon = _colon(tokens)
  binders = statement[tokens[1].end : tokens[colon].start].strip()
  goal = statement[tokens[colon].end : tokens[-2].start].strip()
  if not goal:
    raise ValueError("it states nothing")
  # Line breaks, so that a comment that ends either part stays one.
  proposition = f"∀ {binders}\n, {goal}\n" if binders else f"{goal}\n"
  return texts[1], proposition


def _colon(tokens: Sequence[Token]) -> int:
  """Index of the colon between binders and goal."""
  closing = []
  for index, token in enumerate(tokens[2:-2], start=2):
    if token.text in _BINDER and token.kind == "symbol":
      closing.append(_BINDER[token.text])
    elif closing and token.text == closing[-1]:
      closing.pop()
    elif not closing and token.text == ":":
      return index
    elif not closing and token.kind != "name":
      raise ValueError(f"unexpected {token.text!r} among the binders")
  raise ValueError("no colon between binders and goal")


def _judge_axioms(seal: str, reply: Reply) -> Verdict:
  if _errors(reply):
    missing = re.search("unknown (constant|identifier)", _words(reply), re.I)
    status = Status.MISSING_THEOREM if missing else Status.STATEMENT_MISMATCH
    return Verdict(status, detail=_words(reply))
  if _sorry(reply):
    return Verdict(Status.HAS_SORRY, detail="the audited theorem uses sorry")
  lines = [m.text for m in reply.messages if m.severity == "info"]
  if len(lines) != 1:
    detail = f"{len(lines)} axiom reports instead of 1"
    return Verdict(Status.PROTOCOL_VIOLATION, detail=detail)
  axioms = _axioms(seal, lines[0])
  if axioms is None:
    detail = f"not a report of axioms: {lines[0][:200]!r}"
    return Verdict(Status.PROTOCOL_VIOLATION, detail=detail)
  if "sorryAx" in axioms:
    return Verdict(Status.HAS_SORRY, axioms=axioms, detail="uses sorryAx")
  if not TRUSTED_AXIOMS.issuperset(axioms):
    detail = "axioms " + ", ".join(sorted(set(axioms) - TRUSTED_AXIOMS))
    return Verdict(Status.DISALLOWED_AXIOM, axioms=axioms, detail=detail)
  return Verdict(Status.PROVED, axioms=axioms)


def _axioms(seal: str, line: str) -> tuple[str, ...] | None:
  """The axioms in a line of `#print axioms`; None if it is none."""
  subject = rf"'(?:[^\s']+\.)?__ok_{re.escape(seal)}'"
  if re.fullmatch(rf"{subject} does not depend on any axioms\s*", line):
    return ()
  listed = re.fullmatch(rf"{subject} depends on axioms:\s*\[([^]]*)\]\s*", line)
  if listed is None:
    return None
  return tuple(re.split(r",\s*", listed[1].strip()))


def _errors(reply: Reply) -> bool:
  return any(m.severity == "error" for m in reply.messages)


def _sorry(reply: Reply) -> bool:
  warned = any(_SORRY_WARNING.search(m.text) for m in reply.messages)
  return warned or bool(reply.sorries)


def _words(reply: Reply) -> str:
  return "; ".join(m.text for m in reply.messages)[:_MAX_MESSAGE_CHARS]


def _trim(messages: Sequence[Message]) -> tuple[Message, ...]:
  """Errors first, as many and as long as a record should carry."""
  ordered = sorted(messages, key=lambda m: m.severity != "error")
  return tuple(
    dataclasses.replace(m, text=m.text[:_MAX_MESSAGE_CHARS])
    for m in ordered[:_MAX_MESSAGES]
  )


def _texts(tokens: Sequence[Token]) -> list[str]:
  return [token.text for token in tokens]
