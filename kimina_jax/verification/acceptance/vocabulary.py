"""Vocabulary: the keywords that the syntax rules check, and their roles.

In: a token. Out: its role, or the rule that it breaks by itself. The lists are
data, in one place so that they can be read, compared with a new release of Lean
or Mathlib, and completed. Tokens are classified one by one, without their
neighbours; syntax_rules.py decides whether a proof is refused.
"""

import re

from kimina_jax.verification.acceptance.lexer import is_line_break, kind_of

DECLARATIONS = frozenset(
  "theorem lemma def abbrev example structure inductive".split()
)
SCOPES = frozenset("namespace section end".split())
ALLOWED_COMMANDS = (
  DECLARATIONS | SCOPES | frozenset("open set_option noncomputable".split())
)
CLOSING = {"(": ")", "[": "]", "@[": "]", "{": "}", "⟨": "⟩", "⦃": "⦄"}

# Prefixes of the names that the audit declares; a proof may not contain them.
RESERVED_PREFIXES = ("__stmt_", "__ok_")

# Commands of Lean 4.9 to 4.33, Batteries, Aesop and Mathlib that no proof
# needs, and tactics and terms that run code, do input or output, or admit a
# goal. After a dot they are not keywords: `h.prefix` is an ordinary name.
_OTHER_COMMANDS = """
  add_aesop_rules add_decl_doc alias assert_exists assert_no_sorry
  assert_not_exists assert_not_imported attribute aux_def axiom
  binder_predicate cbv_simproc cbv_simproc_decl cbv_simproc_pattern class
  coinductive compile_def compile_inductive copy_doc_string def_eval_config_item
  def_replacer def_wanted deprecate deprecated_module deprecated_syntax deriving
  docs_to_verso dsimproc dsimproc_decl elab elab_rules elab_stx_quot
  end_local_scope erase_aesop_rules export extend_docs gen_cnstr_fns
  gen_injective_theorems grind_annotated grind_pattern grind_propagator
  guard_decl import include infix infixl infixr init_grind_norm init_quot
  initialize initialize_simps_projections insert_to_additive_translation
  instance instance_wanted irreducible_def library_note local localized
  lrat_proof macro macro_rules meta mk_iff_of_inductive_prop module mutual
  name_poly_vars name_power_vars nonrec norm_cast_add_elim notation notation3
  omit opaque partial postfix postprocess_traces prefix prelude private
  proof_wanted protected public recall recommended_spelling renaming reprove
  reset_grind_attrs restate_axiom scoped seal set_library_suggestions
  set_premise_selector
  show_panel_widgets simproc simproc_decl simproc_pattern stop_at_first_error
  sudo suppress_compilation syntax tactic_extension test_extern theorem_wanted
  to_additive to_additive_name_hint unif_hint universe unlock_limits unsafe
  unseal unset_option unsuppress_compilation variable variables
  wait_for_cancel_once_command whatsnew with_weak_namespace
"""
_TACTICS = """
  admit bv_check bv_decide count_heartbeats guard_min_heartbeats plausible
  polyrith slim_check sleep sleep_heartbeats stop tactic
"""
_TERMS = """
  by_elab compile_time_search_path dbg_trace idbg include_bytes include_str
  println
"""
_KEYWORDS = frozenset(f"{_OTHER_COMMANDS} {_TACTICS} {_TERMS}".split())
_KEYWORD_STEMS = (
  "run_",
  "register_",
  "declare_",
  "builtin_",
  "to_dual",
  "ensure_eval",
  "derive_eval",
  "make_elab_",
)

# Refused as any part of any name: constants that close any goal, trust compiled
# code, or make what runs differ from what is proved; and types and namespaces
# of programs for Lean's elaborator or the machine.
_CONSTANTS = frozenset(
  """
  sorryAx ofReduceBool ofReduceNat reduceBool reduceNat trustCompiler
  implemented_by extern csimp lcProof lcUnreachable lcAny
  dbgTrace dbgTraceVal dbgTraceIfShared dbgSleep dbgStackTrace timeit allocprof
  Lean Elab Aesop System IO BaseIO EIO RealWorld
  TacticM TermElabM CommandElabM MetaM CoreM MacroM SimpM
  """.split()
)
# Settings are evaluated as code, in which `unsafe` needs no annotation.
_UNSAFE = re.compile("unsafe|.*Unsafe")
# As _CONSTANTS, unless proofs may trust the compiler.
_NATIVE = frozenset(("native_decide", "native"))

# Suggestion tactics that may close a goal with a hidden sorry, and the command
# `flex?`, which is an ordinary name without its question mark.
_SUGGESTIONS = frozenset(("apply?", "rw?", "rewrites?", "flex?"))

# Settings of linarith, solve_by_elim and others whose value is a program; the
# setting `toX` sets all those of the parent structure X.
_PROGRAM_SETTINGS = frozenset(
  "discharger preprocessors oracle proc suspend discharge".split()
)
# The tactics that have settings.
_TACTICS_WITH_SETTINGS = frozenset(
  """
  simp simp? simp! simp?! simp_all simp_all? simp_all! simp_all_arith simp_arith
  dsimp dsimp? dsimp! simpa simpa? simpa! simp_rw norm_num norm_num1
  linarith linarith? linarith! nlinarith nlinarith! positivity omega bv_omega
  decide rw rewrite erw rwa nth_rw nth_rewrite rw_mod_cast apply
  exact? solve_by_elim apply_rules apply_assumption ring_nf ring_nf! ring1_nf
  abel_nf noncomm_ring field_simp push_cast norm_cast exact_mod_cast
  apply_mod_cast grind grind? congr! convert convert_to gcongr rcongr fun_prop
  tauto itauto cc measurability measurability? continuity aesop aesop? aesop_cat
  subsingleton nontriviality interval_cases unfold try? generalize_proofs lia
  cutsat grobner split_ifs conv push_neg set_config mvcgen
  """.split()
)
PARENT_SETTING = re.compile(r"to[A-Z]")
_SETTINGS = re.compile(r"(?:.*[._])?(?:config|options)")
# Settings with rules of their own: `disch`, whose value is a tactic, and those
# of _SETTINGS.
HAS_ITS_OWN_RULE = re.compile(f"disch|{_SETTINGS.pattern}")

# Symbols may hold letters, as `→g` or `⟫_ℝ`; Lean reads `→gsorry` as `→g` and
# `sorry`. A name with one of these endings may therefore hide a refused word
# after a symbol. Of the brackets only `[` begins such a symbol, as in
# `a ≡ b [ZMOD n]`; after the others, a dot or a digit there is none.
_HIDDEN = (*sorted(_KEYWORDS | _CONSTANTS | _NATIVE), "sorry")
SYMBOL_AFTER_BRACKET = re.compile("[DPSZ]?MOD")
NO_SYMBOL_BEFORE = " \n({⟨,.@0123456789"

# Rules that a token breaks by itself.
SORRY_RULE = "sorry"
WORD_RULE = "command or tactic not allowed"
START_RULE = "command not allowed"

_WORD = re.compile(r"(\.?)([A-Za-z_][A-Za-z0-9_]*)")
# Bounds of the cache of roles, which must not grow with the model's tokens.
_MAX_CACHED = 65_536
_MAX_CACHED_CHARS = 64


class TokenRole:
  """Roles of tokens. Any other `str` is the rule that a token breaks."""

  LINE = "line"
  OPENING = "opening bracket"
  CLOSING = "closing bracket"
  ATTRIBUTES = "attributes"  # `@[`, an opening bracket too
  COMMAND = "command"
  OPTION = "option"  # `set_option`, a command too
  EVAL = "eval"  # not allowed before `%`
  NATIVE = "native"  # allowed if proofs may trust the compiler
  SETTINGS = "settings"  # only literal values may follow
  TACTIC = "tactic"  # settings with literal values may follow
  PROGRAM = "program"  # may not be set
  SUSPECT = "suspect"  # not allowed just after a symbol


_ROLES = {
  **dict.fromkeys(CLOSING, TokenRole.OPENING),
  **dict.fromkeys(CLOSING.values(), TokenRole.CLOSING),
  **dict.fromkeys(ALLOWED_COMMANDS, TokenRole.COMMAND),
  **dict.fromkeys(_TACTICS_WITH_SETTINGS, TokenRole.TACTIC),
  "@[": TokenRole.ATTRIBUTES,
  "set_option": TokenRole.OPTION,
  "eval": TokenRole.EVAL,
}


def role_of(token: str) -> str | None:
  """The role of a token, or the rule that it breaks; None for most tokens."""
  if token in _ROLES:
    return _ROLES[token]
  if is_line_break(token):
    return TokenRole.LINE
  kind = kind_of(token)
  if kind == "name":
    return _role_of_name(token)
  if kind == "string" and "{" in token:
    return "string that may hold code"
  if kind == "symbol" and "#" in token:
    return START_RULE
  if kind == "symbol" and "`" in token:
    return "quoted syntax not allowed"
  return None


class TokenRoles(dict[str, str | None]):
  """`role_of` with a cache of short tokens."""

  def __missing__(self, token: str) -> str | None:
    role = role_of(token)
    if len(token) <= _MAX_CACHED_CHARS:
      if len(self) >= _MAX_CACHED:
        self.clear()
      self[token] = role
    return role


def _role_of_name(name: str) -> str | None:
  if any(prefix in name for prefix in RESERVED_PREFIXES):
    return "name reserved for the audit"
  if name in _SUGGESTIONS:
    return "tactic that may leave a proof open"
  found = _WORD.findall(name)
  undotted = [word for dot, word in found if not dot]
  parts = [word for _, word in found]
  if not _CONSTANTS.isdisjoint(parts) or any(map(_UNSAFE.match, parts)):
    return "constant not allowed"
  if "sorry" in undotted:
    return SORRY_RULE
  if not _KEYWORDS.isdisjoint(undotted):
    return WORD_RULE
  if any(word.startswith(_KEYWORD_STEMS) for word in undotted):
    return WORD_RULE
  if not _NATIVE.isdisjoint(parts):
    return TokenRole.NATIVE
  if name.split(".")[0].endswith(_HIDDEN):
    return TokenRole.SUSPECT
  unquoted = name.replace("«", "").replace("»", "")
  last = unquoted.rpartition(".")[2]
  if last in _PROGRAM_SETTINGS or PARENT_SETTING.match(last):
    return TokenRole.PROGRAM
  # As `simp_arith!`, `simpa?!`.
  if name.rstrip("!?") in _TACTICS_WITH_SETTINGS:
    return TokenRole.TACTIC
  return TokenRole.SETTINGS if _SETTINGS.fullmatch(unquoted) else None
