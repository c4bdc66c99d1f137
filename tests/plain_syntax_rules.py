"""A second, simpler implementation of the syntax rules, as an oracle.

In: the text of a proof, without its header, and the trusted statement. Out:
complaints; none if the text may be sent to Lean. Its lists are independent of
the verification package, so that a word missing there is not missing here. It
may be stricter than the rules where genuine proofs are not affected.
"""

from plain_reader import Item, Unclear, continues_name, read

LIMITS = {"maxHeartbeats": 1_000_000, "maxRecDepth": 100_000}
DECLARATIONS = "theorem lemma def abbrev structure inductive example".split()
SCOPES = "namespace section end".split()
STARTS = (*DECLARATIONS, *SCOPES, "open", "set_option", "noncomputable")
# Words that continue a declaration at the left margin.
GOES_ON = "by else extends in then termination_by decreasing_by where with"
GOES_ON = (*GOES_ON.split(), "fun", "calc", "do", "from", "at", "using")
ATTRIBUTES = ("simp", "reducible", "ext", "norm_cast", "push_cast", "inline")

# Each must be refused as a whole word; as a field (`h.prefix`) it is allowed.
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
  sorryAx ofReduceBool ofReduceNat reduceBool reduceNat trustCompiler native
  timeit allocprof
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


def complaints(proof: str, statement: str, limits=LIMITS) -> list[str]:
  """Returns the reasons to refuse a proof; empty if there are none.

  Args:
    proof: the text for Lean, without its header.
    statement: the trusted theorem, which must occur in it at the top level.
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


def _about_characters(text: str) -> list[str]:
  """Refuses characters that make a text look different from its meaning."""
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
  # Compared by length first, since int() refuses numbers with many digits.
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
  if texts[:1] != [":"] or not _glued(items[:2], "="):
    return []
  end = texts.index("}") if "}" in texts else len(texts)
  inner = "".join(t for t in texts[3:end] if t not in ".:=,")
  is_literal = all(continues_name(char) for char in inner)
  if name in PROGRAMS or texts[2:3] != ["{"] or not is_literal:
    return [f"setting {name}"]
  return []


def _about_command(before: Item, item: Item) -> list[str]:
  """Refuses commands where Lean reads a name: a field or a constructor."""
  is_field = before.text == "." and before.end == item.start
  if is_field or before.text == "|":
    return [f"command {item.text} after {before.text}"]
  return []


def _about_layout(items: list[Item]) -> list[str]:
  """Checks the words at the left margin, and that brackets match."""
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
  """Checks that every namespace and section ends with its whole name."""
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
  """Returns the name after a scope's keyword; "" if there is none."""
  for item in items[index + 1 : index + 2]:
    if item.kind == "word" and item.column and item.text not in STARTS:
      return item.text
  return ""


def _about_statement(items: list[Item], trusted: list[str]) -> list[str]:
  """Checks that the trusted statement occurs once, at the top level."""
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
    len(items) == 2 and items[1].text == text and items[0].end == items[1].start
  )
