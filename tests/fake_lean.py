"""A stand-in for Lean that reads whole files: text in, messages out.

It knows commands, scopes and names, and proves everything but what holds the
word `wrong`. A command that stops too early is an error at the next token, as
in Lean.
"""

import dataclasses
import re

_COMMAND = re.compile(
  r"^(?:noncomputable )?(theorem|lemma|def|example|section|end|namespace|open"
  r"|set_option|#eval|#print)\b",
  re.MULTILINE,
)


@dataclasses.dataclass
class Lean:
  """One elaboration."""

  version: str
  messages: list[dict] = dataclasses.field(default_factory=list)
  sorries: list[dict] = dataclasses.field(default_factory=list)
  names: set[str] = dataclasses.field(default_factory=set)
  scopes: list[str] = dataclasses.field(default_factory=list)
  imported: bool = True

  def run(self, text: str) -> None:
    code = blank_comments(text)
    starts = [match.start() for match in _COMMAND.finditer(code)]
    ends = [*starts[1:], len(code)]
    hangs = False
    if code[: starts[0] if starts else len(code)].strip():
      self.say("error", code, 0, "expected command")
    for start, end in zip(starts, ends, strict=True):
      if hangs:  # `open X in` opens a scope around what follows
        self.scopes.append("")
      self.command(code, start, end)
      if hangs and self.scopes and self.scopes[-1] == "":
        self.scopes.pop()
      hangs = code[start:end].rstrip().endswith(" in")

  def command(self, code: str, start: int, end: int) -> None:
    words = code[start:end].split()
    kind = words[words[0] == "noncomputable"]
    if not self.imported:
      self.say("error", code, start, "unknown identifier")
    elif kind in ("theorem", "lemma", "def", "example"):
      self.declare(code, start, end)
    elif kind in ("section", "namespace"):
      self.scopes.append(words[-1] if len(words) > 1 else "")
    elif kind == "end":
      self.end(code, start, words[1] if len(words) > 1 else "")
    elif kind == "#eval" and words[1:] == ["Lean.versionString"]:
      self.say("info", code, start, f'"{self.version}"')
    elif words[:2] == ["#print", "axioms"]:
      self.print_axioms(code, start, words[2])
    elif "Nowhere" in words:
      self.say("error", code, start, "unknown namespace 'Nowhere'")

  def declare(self, code: str, start: int, end: int) -> None:
    text = code[start:end].rstrip()
    name = re.match(r"(?:noncomputable )?\S+\s+(\S+)", text)[1]
    used = []
    if name.startswith("__ok_"):
      used = [re.search(r"@(\S+)", text)[1], *re.findall(r"__stmt_\w+", text)]
    if text.endswith((":=", "by", "exact", "with", "noncomputable")):
      following = code[end:].split(None, 1)[0] if code[end:].strip() else ""
      reason = f"unexpected token '{following}'; expected term"
      self.say("error", code, end, reason)
    elif "wrong" in text:
      self.say("error", code, start + text.index("wrong"), "unsolved goals")
    elif any(one not in self.names for one in used):
      self.say("error", code, start, f"unknown identifier in {used}")
    elif "sorry" in text:
      self.say("warning", code, start, "declaration uses 'sorry'")
      place = position(code, start + text.index("sorry"))
      self.sorries.append({"pos": place, "endPos": place, "goal": "⊢ p"})
      self.names.add(name)
    else:
      self.names.add(name)

  def end(self, code: str, start: int, name: str) -> None:
    if not self.scopes or self.scopes[-1] != name:
      self.say("error", code, start, "invalid 'end', name mismatch")
    else:
      self.scopes.pop()

  def print_axioms(self, code: str, start: int, name: str) -> None:
    if name in self.names:
      text = f"'{name}' does not depend on any axioms"
      self.say("info", code, start, text)
    else:
      self.say("error", code, start, f"unknown constant '{name}'")

  def say(self, severity: str, code: str, start: int, data: str) -> None:
    place = position(code, start)
    end = {"line": place["line"], "column": place["column"] + 1}
    self.messages.append(
      {"severity": severity, "pos": place, "endPos": end, "data": data}
    )


def position(code: str, offset: int) -> dict[str, int]:
  before = code[:offset]
  return {
    "line": before.count("\n") + 1,
    "column": len(before) - before.rfind("\n") - 1,
  }


def blank_comments(text: str) -> str:
  """Comments as spaces; what is left stays where it is."""
  comment = re.compile(r"/-.*?-/|--[^\n]*", re.DOTALL)
  return comment.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
