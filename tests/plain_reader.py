"""A second reader of Lean text, simple enough to be checked by eye.

In: text. Out: its words and signs outside comments, strings and characters, and
whatever speaks against sending it to Lean. It goes through the text one
character at a time, knows no regular expressions, and imports nothing from the
verification package, which it is there to contradict. Where the meaning of a
text depends on Lean's version or on the symbols in scope, it says Unclear and
never guesses.
"""

import dataclasses

LIMITS = {"maxHeartbeats": 1_000_000, "maxRecDepth": 100_000}
DECLARATIONS = "theorem lemma def abbrev structure inductive example".split()
SCOPES = "namespace section end".split()
STARTS = (*DECLARATIONS, *SCOPES, "open", "set_option", "noncomputable")
# Words that go on with a declaration at the left margin.
GOES_ON = "by else extends in then termination_by decreasing_by where with"
GOES_ON = (*GOES_ON.split(), "fun", "calc", "do", "from", "at", "using")
ATTRIBUTES = ("simp", "reducible", "ext", "norm_cast", "push_cast", "inline")

# Each must be refused as a word of its own; as a field (`h.prefix`) it is fine.
WORDS = frozenset(
  """
  sorry admit stop native_decide bv_decide bv_check polyrith plausible
  slim_check run_tac run_cmd run_elab run_meta run_conv by_elab
  axiom opaque unsafe partial private protected nonrec instance class deriving
  mutual coinductive attribute variable universe include omit export import
  prelude module public meta local scoped initialize builtin_initialize
  macro macro_rules syntax notation notation3 infix infixl infixr prefix postfix
  elab elab_rules simproc dsimproc simproc_decl dsimproc_decl
  elab_stx_quot
  builtin_simproc builtin_dsimproc builtin_simproc_decl builtin_dsimproc_decl
  cbv_simproc cbv_simproc_decl grind_propagator builtin_grind_propagator
  unif_hint binder_predicate alias recall proof_wanted seal unseal sudo
  unset_option with_weak_namespace end_local_scope docs_to_verso test_extern
  deprecate name_poly_vars name_power_vars recommended_spelling
  show_panel_widgets extend_docs add_decl_doc suppress_compilation
  unsuppress_compilation compile_inductive compile_def irreducible_def init_quot
  grind_pattern declare_syntax_cat declare_config_elab declare_aesop_rule_sets
  add_aesop_rules erase_aesop_rules library_note register_option
  register_simp_attr register_builtin_option register_label_attr
  initialize_simps_projections mk_iff_of_inductive_prop to_additive
  assert_exists assert_not_exists assert_not_imported set_premise_selector
  gen_injective_theorems reset_grind_attrs include_str dbg_trace whatsnew
  """.split()
)
# Each must be refused as any part of any name.
PARTS = frozenset(
  """
  sorryAx timeit allocprof ofReduceBool ofReduceNat reduceBool reduceNat trustCompiler native
  unsafeCast unsafeIO unsafeBaseIO unsafeEIO implemented_by extern csimp
  lcProof lcUnreachable IO BaseIO EIO Lean System TacticM MetaM CoreM TermElabM
  CommandElabM SimpM Aesop
  """.split()
)
PREFIXES = ("__stmt_", "__ok_")
# Tactics take these with a value that Lean evaluates as a program.
SETTINGS = ("config", "simp_config", "options")
PROGRAMS = ("oracle", "discharge", "proc", "suspend", "preprocessors")
OPENING, CLOSING = "([{⟨", ")]}⟩"


class Unclear(Exception):
  """Text that Lean may read in two ways, or that it cannot read."""


@dataclasses.dataclass(frozen=True)
class Item:
  """A word, a sign, or a literal.

  Attributes:
    kind: `word` (with its dots), `number`, `sign` (one character), `string` or
      `char`.
    text: as written.
    start: offset into the text.
    line: from 1.
    column: from 0.
  """

  kind: str
  text: str
  start: int
  line: int
  column: int

  @property
  def end(self) -> int:
    return self.start + len(self.text)


def read(text: str) -> list[Item]:
  """What stands outside comments; raises Unclear."""
  items, at, line, margin = [], 0, 1, 0
  while at < len(text):
    kind, end = _next(text, at)
    if kind:
      items.append(Item(kind, text[at:end], at, line, at - margin))
    for index in range(at, end):
      if text[index] == "\n":
        line, margin = line + 1, index + 1
    at = end
  return items


def complaints(proof: str, statement: str, limits=LIMITS) -> list[str]:
  """Why a proof should not have been accepted; empty if all is well.

  Args:
    proof: what is to be sent to Lean, without its header.
    statement: the trusted theorem, which must stand in it at the top level.
    limits: the highest value of each option.
  """
  try:
    items = read(proof)
    trusted = [item.text for item in read(statement)]
  except Unclear as error:
    return [f"unclear: {error}"]
  found = _about_characters(proof)
  found += [why for item in items for why in _about_item(item)]
  for index, item in enumerate(items):
    if item.text == "set_option":
      found += _about_option(items[index + 1 : index + 3], limits)
    elif item.text == "@" and _glued(items[index : index + 2], "["):
      found += _about_attributes(items[index + 2 :])
    elif item.text.strip("«»") in (*SETTINGS, *PROGRAMS):
      found += _about_setting(item.text.strip("«»"), items[index + 1 :])
    elif item.text in (*SCOPES, *DECLARATIONS) and index:
      found += _about_command(items[index - 1], item)
  return found + _about_layout(items) + _about_statement(items, trusted)


def _next(text: str, at: int) -> tuple[str, int]:
  """The kind of what starts here, "" for blanks and comments; its end."""
  char, after = text[at], text[at + 1 : at + 2]
  if char in " \n":
    return "", at + 1
  if char == "-" and after == "-":
    return "", _line_end(text, at)
  if char == "/" and after == "-":
    return "", _comment_end(text, at)
  if char == '"':
    return "string", _string_end(text, at)
  if char == "r" and _raw_hashes(text, at) is not None:
    return "string", _raw_end(text, at)
  if char == "'":
    return _quote(text, at)
  if char in "0123456789":
    return "number", _run_end(text, at, "0123456789_")
  if char == "«" or starts_name(char):
    return "word", _name_end(text, at)
  if char == "»" or char.isspace():
    raise Unclear(f"{char!r} at {at}")
  return "sign", at + 1


def _line_end(text: str, at: int) -> int:
  _demand_clear_start(text, at)
  end = text.find("\n", at)
  return len(text) if end < 0 else end


def _comment_end(text: str, at: int) -> int:
  _demand_clear_start(text, at)
  third = text[at + 2 : at + 3]
  if third == "/":
    raise Unclear(f"comment that starts `/-/` at {at}")
  body = at + 2
  if third and third in "-!":
    body = at + 3
    if text[body : body + 1] == "/":
      raise Unclear(f"comment that may end at once at {at}")
    while text[body : body + 1] in (" ", "\n"):
      body += 1
    if text[body : body + 2] in ("--", "/-"):
      raise Unclear(f"comment in front of a doc comment's text at {at}")
    body = at + 3
  depth = 1
  while body < len(text):
    two = text[body : body + 2]
    if two == "/-":
      depth, body = depth + 1, body + 2
    elif two == "-/":
      depth, body = depth - 1, body + 2
    else:
      body += 1
    if depth == 0:
      return body
  raise Unclear(f"comment without end at {at}")


def _demand_clear_start(text: str, at: int) -> None:
  """Lean's symbols are not known here: one might reach into these signs."""
  before = text[at - 1 : at]
  if before and before not in " \n)]}⟩,;·" and not continues_name(before):
    raise Unclear(f"comment glued to {before!r} at {at}")


def _string_end(text: str, at: int) -> int:
  at, start = at + 1, at
  while at < len(text):
    if text[at] == '"':
      return at + 1
    at += 2 if text[at] == "\\" else 1
  raise Unclear(f"string without end at {start}")


def _raw_hashes(text: str, at: int) -> int | None:
  """How many `#` open the raw string here; None if there is none."""
  end = _run_end(text, at + 1, "#")
  return end - at - 1 if text[end : end + 1] == '"' else None


def _raw_end(text: str, at: int) -> int:
  before = text[at - 1 : at]
  if before and before not in " \n([{⟨,":
    raise Unclear(f"raw string glued to {before!r} at {at}")
  hashes = _raw_hashes(text, at)
  end = text.find('"' + "#" * hashes, at + hashes + 2)
  if end < 0:
    raise Unclear(f"raw string without end at {at}")
  return end + 1 + hashes


def _quote(text: str, at: int) -> tuple[str, int]:
  """A character literal, or a sign of its own."""
  end = _char_end(text, at)
  if end is None:
    return "sign", at + 1
  before = text[at - 1 : at]
  if before and before not in " \n([{⟨,":
    raise Unclear(f"character glued to {before!r} at {at}")
  return "char", end


def _char_end(text: str, at: int) -> int | None:
  inner = text[at + 1 : at + 2]
  if inner in ("", "'"):
    return None
  end = at + 2
  if inner == "\\":
    mark = text[at + 2 : at + 3]
    end = at + 3 + {"x": 2, "u": 4}.get(mark, 0)
    for digit in text[at + 3 : end]:
      if digit not in "0123456789abcdefABCDEF":
        return None
  return end + 1 if text[end : end + 1] == "'" else None


def _name_end(text: str, at: int) -> int:
  """The end of a name with dots: `a.b`, `«a b».c`."""
  while True:
    if text[at] == "«":
      end = text.find("»", at)
      if end < 0 or "\n" in text[at:end]:
        raise Unclear(f"name without end at {at}")
      at = end + 1
    else:
      at += 1
      while at < len(text) and continues_name(text[at]):
        at += 1
    after = text[at + 1 : at + 2]
    if text[at : at + 1] != "." or not after:
      return at
    if after != "«" and not starts_name(after):
      return at
    at += 1


def _run_end(text: str, at: int, chars: str) -> int:
  while at < len(text) and text[at] in chars:
    at += 1
  return at


def starts_name(char: str) -> bool:
  """Whether Lean lets a name start so; the newest Lean, with accents."""
  code = ord(char)
  return (
    "a" <= char <= "z"
    or "A" <= char <= "Z"
    or char == "_"
    or (0x3B1 <= code <= 0x3C9 and char != "λ")
    or (0x391 <= code <= 0x3A9 and char not in "ΠΣ")
    or 0x3CA <= code <= 0x3FB
    or 0x1F00 <= code <= 0x1FFE
    or 0x2100 <= code <= 0x214F
    or 0x1D49C <= code <= 0x1D59F
    or (0xC0 <= code <= 0x17F and char not in "×÷")
  )


def continues_name(char: str) -> bool:
  """Whether a name may go on so."""
  code = ord(char)
  return (
    starts_name(char)
    or "0" <= char <= "9"
    or char in "'!?"
    or 0x2080 <= code <= 0x2089
    or 0x2090 <= code <= 0x209C
    or 0x1D62 <= code <= 0x1D6A
    or code == 0x2C7C
  )


def _about_characters(text: str) -> list[str]:
  """Characters that can make a text look like what it is not."""
  found = []
  for char in text:
    code = ord(char)
    strange = (
      (code < 0x20 and char != "\n")
      or 0x7F <= code <= 0x9F
      or 0x200B <= code <= 0x200F
      or 0x2028 <= code <= 0x202E
      or 0x2060 <= code <= 0x206F
      or 0xD800 <= code <= 0xF8FF
      or code in (0xAD, 0x61C, 0x180E, 0xFEFF)
      or 0xFFF9 <= code <= 0xFFFB
      or code >= 0xE0000
    )
    if strange:
      found.append(f"character U+{code:04X}")
  return found


def _about_item(item: Item) -> list[str]:
  if item.kind == "string":
    return ["string that may hold code"] if "{" in item.text else []
  if item.text == "#":
    return ["# outside comments"]
  if item.kind != "word":
    return []
  found = [f"prefix {p}" for p in PREFIXES if p in item.text]
  parts = item.text.replace("«", "").replace("»", "").split(".")
  if item.text in WORDS:
    found.append(f"word {item.text}")
  return found + [f"part {part}" for part in parts if part in PARTS]


def _about_option(items: list[Item], limits: dict[str, int]) -> list[str]:
  name, value = [*(item.text for item in items), "", ""][:2]
  if name not in limits:
    return [f"option {name}"]
  if not value or any(digit not in "0123456789" for digit in value):
    return [f"option {name} {value[:20]}"]
  # Compared by length first: a number may have more digits than int() takes.
  digits = value.lstrip("0")
  if not digits or len(digits) > 9 or int(digits) > limits[name]:
    return [f"option {name} {value[:20]}"]
  return []


def _about_attributes(items: list[Item]) -> list[str]:
  found = []
  for item in items:
    if item.text == "]":
      return found
    if item.text not in (*ATTRIBUTES, ","):
      return [f"attribute {item.text[:40]}"]
  return ["attribute without end"]


def _about_setting(name: str, items: list[Item]) -> list[str]:
  """A setting is `:= { name := literal, … }` if it is one at all."""
  texts = [item.text for item in items[:200]]
  if texts[:2] != [":", "="]:
    return []
  end = texts.index("}") if "}" in texts else len(texts)
  inner = "".join(t for t in texts[3:end] if t not in ".:=,")
  is_literal = all(continues_name(char) for char in inner)
  if name in PROGRAMS or texts[2:3] != ["{"] or not is_literal:
    return [f"setting {name}"]
  return []


def _about_command(before: Item, item: Item) -> list[str]:
  """Where Lean takes any word for a name: a field, a constructor."""
  is_field = before.text == "." and before.end == item.start
  if is_field or before.text == "|":
    return [f"command {item.text} after {before.text}"]
  return []


def _about_layout(items: list[Item]) -> list[str]:
  """What stands at the left margin, and whether all that opens closes."""
  found, closers = [], []
  for index, item in enumerate(items):
    starts = item.column == 0 and item.kind == "word"
    if not closers and (index == 0 or starts):
      attributed = item.text == "@" and _glued(items[index : index + 2], "[")
      known = item.text in STARTS or (index > 0 and item.text in GOES_ON)
      if not known and not attributed:
        found.append(f"start {item.text[:40]}")
    if item.kind == "sign" and item.text in OPENING:
      closers.append(CLOSING[OPENING.index(item.text)])
    elif item.kind == "sign" and item.text in CLOSING:
      if not closers or closers.pop() != item.text:
        return [*found, "bracket that closes nothing"]
  if closers:
    found.append("bracket without end")
  return found + _about_scopes(items)


def _about_scopes(items: list[Item]) -> list[str]:
  """Every namespace and section ends, by its whole name."""
  names = []
  for index, item in enumerate(items):
    if item.text in ("namespace", "section"):
      names.append(_scope_name(items, index))
    elif item.text == "end":
      if not names:
        return ["end of nothing"]
      if names.pop() != _scope_name(items, index):
        return ["end of another"]
  return ["namespace or section without end"] if names else []


def _scope_name(items: list[Item], index: int) -> str:
  """The name that follows; "" if there is none."""
  for item in items[index + 1 : index + 2]:
    if item.kind == "word" and item.column and item.text not in STARTS:
      return item.text
  return ""


def _about_statement(items: list[Item], trusted: list[str]) -> list[str]:
  """The trusted statement stands once, at the top, and nothing else is it."""
  brackets = sections = stated = named = 0
  for index, item in enumerate(items):
    if item.kind == "sign":
      brackets += (item.text in OPENING) - (item.text in CLOSING)
    sections += item.text in ("namespace", "section")
    sections -= item.text == "end"
    if item.text not in DECLARATIONS:
      continue
    texts = [i.text for i in items[index : index + len(trusted)]]
    named += texts[1:2] == trusted[1:2]
    stated += texts == trusted and not brackets and not sections
  if stated != 1:
    return [f"the statement stands {stated} times at the top"]
  return [] if named == 1 else [f"{named} declarations of {trusted[1]}"]


def _glued(items: list[Item], text: str) -> bool:
  return (
    len(items) == 2
    and items[1].text == text
    and items[0].end == items[1].start
  )
