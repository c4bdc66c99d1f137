"""Audit: the commands that make Lean check a proof, and the verdict on them.

In: a problem and the final block of a response. Out: either a refusal, or three
commands for Lean, and from the replies to them a verdict:

1. `def __stmt_<nonce> : Prop := …`, from the data set's statement, before
   any of the model's text;
2. the model's text without its header;
3. `theorem __ok_<seal> : __stmt_<nonce> := @<name>` and `#print axioms` of it.

Nonce and seal are random and drawn after the text is fixed, so that no proof
can contain them; the seal is sent only after the reply to the proof, so that no
proof can forge the reply to the third command. Whatever the model's text
redefines, it cannot change a statement that was elaborated before it.

Header and statement come from the data set (header.py, expected_statement.py);
that the final block repeats them is checked token by token. What else the block
may contain is decided by syntax_rules.py. This module sends nothing to Lean.
"""

import dataclasses
from collections.abc import Sequence

from kimina_jax.types import Message, Problem, Status, Verdict
from kimina_jax.verification.acceptance import lean_messages, syntax_rules
from kimina_jax.verification.acceptance.expected_statement import (
  check_statement,
  parse_statement,
)
from kimina_jax.verification.acceptance.header import (
  Header,
  blank_out,
  parse_header,
)
from kimina_jax.verification.acceptance.lean_messages import (
  SORRY_AXIOM,
  read_axioms,
  trusted_axioms,
  untrusted_axioms,
)
from kimina_jax.verification.acceptance.lexer import (
  LexError,
  Refusal,
  is_line_break,
  make_refusal,
  normalise,
  scan,
)
from kimina_jax.verification.acceptance.syntax_rules import SyntaxRules
from kimina_jax.verification.acceptance.vocabulary import SORRY_RULE
from kimina_jax.verification.replies import Reply

_SORRY_WARNING = lean_messages.pattern_of(lean_messages.SORRY_WARNING)
_UNKNOWN = lean_messages.pattern_of(lean_messages.UNKNOWN_NAME)
# Messages that a verdict keeps; the judgement reads all of them.
_MAX_MESSAGES = 32
_MAX_MESSAGE_CHARS = 4000


@dataclasses.dataclass(frozen=True)
class Audit:
  """A proof that may be sent to Lean, with what it must prove.

  Attributes:
    imports: of the header; "" if it has none.
    preamble: the rest of the header, to be elaborated on top of the imports;
      "" if there is none.
    name: of the theorem.
    proposition: the data set's statement as one closed proposition.
    proof: the final block, its header blanked out so that Lean's positions
      are those of the final block.
    trusted_axioms: the axioms that the proof may use.
    notes: changes made to the header.
  """

  imports: str
  preamble: str
  name: str
  proposition: str
  proof: str
  trusted_axioms: frozenset[str]
  notes: tuple[str, ...] = ()

  def commands(self, nonce: str, seal: str) -> tuple[str, str, str]:
    """The three commands; the last is sent after the replies to the others."""
    statement, check = f"__stmt_{nonce}", _check_name(seal)
    return (
      f"def {statement} : Prop := {self.proposition}",
      self.proof,
      f"theorem {check} : {statement} := @{self.name}\n#print axioms {check}",
    )


def prepare_audit(
  problem: Problem, final: str, rules: SyntaxRules
) -> Audit | Verdict:
  """Makes the audit of a proof; refuses text before Lean sees it.

  These are all the checks that need no Lean: of the header, the statement and
  the syntax of the proof.

  Args:
    problem: header and statement are trusted.
    final: the final block of a response; not trusted.
    rules: the syntax that it may use.

  Returns:
    The audit; or the verdict on a refused proof, with one message at its
    position in the final block. A header or statement that is not valid is an
    INFRA_ERROR: the data set is wrong, not the response.
  """
  try:
    header = parse_header(problem.header, rules)
  except ValueError as error:
    return _infra(f"bad header: {error}")
  try:
    expected = parse_statement(problem.statement, rules)
  except ValueError as error:
    return _infra(f"bad statement: {error}")
  try:
    text = normalise(final)
    start = _skip_header(text, header)
    if isinstance(start, Refusal):
      return _refused(Status.STATEMENT_MISMATCH, start)
    proof = scan(text, start)
  except LexError as error:
    return _refused(Status.FORBIDDEN_SYNTAX, error.refusal)
  if not proof.tokens:
    end = len(text)
    refusal = make_refusal("no proof after the header", text, end, end)
    return _refused(Status.MISSING_THEOREM, refusal)
  commands = syntax_rules.check_syntax(proof, rules)
  if isinstance(commands, Refusal):
    is_sorry = commands.rule == SORRY_RULE
    status = Status.HAS_SORRY if is_sorry else Status.FORBIDDEN_SYNTAX
    return _refused(status, commands)
  fault = check_statement(expected, proof, commands)
  if fault is not None:
    return _refused(*fault)
  return Audit(
    imports=header.imports,
    preamble=header.preamble,
    name=expected.name,
    proposition=expected.proposition,
    proof=_blanked(text, start, header),
    trusted_axioms=trusted_axioms(native_decide=rules.native_decide),
    notes=header.notes,
  )


def judge_replies(audit: Audit, seal: str, replies: Sequence[Reply]) -> Verdict:
  """The verdict on the replies to `audit.commands(nonce, seal)`.

  Args:
    audit: whose commands were sent.
    seal: of these commands.
    replies: in order; those after a deciding one may be missing.
  """
  verdict = _judge(audit, seal, replies)
  return dataclasses.replace(verdict, notes=audit.notes)


def is_decided(replies: Sequence[Reply]) -> bool:
  """Whether these replies decide the verdict without the rest."""
  return len(replies) >= 3 or any(_errors(r) or _sorry(r) for r in replies)


def _skip_header(text: str, header: Header) -> int | Refusal:
  """The offset of the proof after the header, or a refusal without one."""
  # The common case; a line break ends whatever token precedes it.
  if text.startswith(header.text) and header.text[-1:] in ("", "\n"):
    return len(header.text)
  whole = scan(text)
  indices = [i for i, t in enumerate(whole.tokens) if not is_line_break(t)]
  for index, word in zip(indices, header.tokens, strict=False):
    if whole.tokens[index] != word:
      rule = f"the final block does not start with the header: not {word!r}"
      return whole.refusal_at(rule, index)
  if len(indices) < len(header.tokens):
    rule = "the final block ends before the header does"
    return make_refusal(rule, text, len(text), len(text))
  following = indices[len(header.tokens) :][:1]
  return whole.offsets(following)[0] if following else len(text)


def _blanked(text: str, start: int, header: Header) -> str:
  """The text with spaces in place of the header, so that positions stay."""
  if start == len(header.text) and text.startswith(header.text):
    return header.blanked_text + text[start:]
  return blank_out(text[:start]) + text[start:]


def _refused(status: Status, refusal: Refusal) -> Verdict:
  message = Message(
    "error",
    refusal.line,
    refusal.column,
    refusal.end_line,
    refusal.end_column,
    f"{refusal.rule}: {refusal.text!r}",
  )
  return Verdict(status, (message,), detail=str(refusal))


def _infra(detail: str) -> Verdict:
  return Verdict(Status.INFRA_ERROR, detail=detail)


def _judge(audit: Audit, seal: str, replies: Sequence[Reply]) -> Verdict:
  if not replies:
    return _infra("no reply to the statement")
  if _errors(replies[0]) or _sorry(replies[0]):
    return _infra(
      "the statement does not elaborate: " + _joined_texts(replies[0])
    )
  if len(replies) == 1:
    return _infra("no reply to the proof")
  messages = _kept_messages(replies[1].messages)
  if _errors(replies[1]):
    return Verdict(Status.LEAN_ERROR, messages)
  if _sorry(replies[1]):
    return Verdict(Status.HAS_SORRY, messages)
  if len(replies) == 2:
    verdict = _infra("no audit")
  elif len(replies) > 3:
    verdict = _violation(f"{len(replies)} replies to 3 commands")
  else:
    verdict = _judge_check(audit, seal, replies[2])
  return dataclasses.replace(verdict, messages=messages)


def _judge_check(audit: Audit, seal: str, reply: Reply) -> Verdict:
  """The verdict on the reply to the third command."""
  if _errors(reply):
    is_missing = _UNKNOWN.search(_joined_texts(reply))
    status = Status.MISSING_THEOREM if is_missing else Status.STATEMENT_MISMATCH
    return Verdict(status, detail=_joined_texts(reply))
  if _sorry(reply):
    return Verdict(Status.HAS_SORRY, detail="the audited theorem uses sorry")
  lines = [m.text for m in reply.messages if m.severity != "warning"]
  if len(lines) != 1:
    return _violation(f"{len(lines)} axiom reports instead of 1")
  try:
    axioms = read_axioms(_check_name(seal), lines[0])
  except ValueError as error:
    return _violation(str(error))
  if SORRY_AXIOM in axioms:
    return Verdict(
      Status.HAS_SORRY, axioms=axioms, detail=f"uses {SORRY_AXIOM}"
    )
  refused = untrusted_axioms(axioms, audit.trusted_axioms)
  if refused:
    detail = "axioms " + ", ".join(sorted(refused))
    return Verdict(Status.DISALLOWED_AXIOM, axioms=axioms, detail=detail)
  return Verdict(Status.PROVED, axioms=axioms)


def _violation(detail: str) -> Verdict:
  return Verdict(Status.PROTOCOL_VIOLATION, detail=detail)


def _check_name(seal: str) -> str:
  return f"__ok_{seal}"


def _errors(reply: Reply) -> bool:
  return any(m.severity == "error" for m in reply.messages)


def _sorry(reply: Reply) -> bool:
  warned = any(_SORRY_WARNING.search(m.text) for m in reply.messages)
  return warned or bool(reply.sorries)


def _joined_texts(reply: Reply) -> str:
  return "; ".join(m.text for m in reply.messages)[:_MAX_MESSAGE_CHARS]


def _kept_messages(messages: Sequence[Message]) -> tuple[Message, ...]:
  """The messages that a verdict keeps: errors first, each cut to a length."""
  ordered = sorted(messages, key=lambda m: m.severity != "error")
  return tuple(
    dataclasses.replace(m, text=m.text[:_MAX_MESSAGE_CHARS])
    for m in ordered[:_MAX_MESSAGES]
  )
