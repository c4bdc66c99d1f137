"""The lemmas of Mathlib that proofs in the fragment may use by name.

In: a name. Out: the statements of the lemma, one for each number type that it
holds for. tests/test_minilean_semantics.py checks each of them by computation.
"""

import functools

from kimina_jax.minilean import elaborate, parser
from kimina_jax.minilean.goals import Theorem
from kimina_jax.minilean.parser import children_of
from kimina_jax.minilean.syntax import NUMBERS

_AXIOMS = frozenset({"propext", "Classical.choice", "Quot.sound"})

# α stands for each of ℕ, ℤ, ℚ and ℝ.
STATEMENTS = {
  "sq_nonneg": "(a : α) : 0 ≤ a ^ 2",
  "mul_self_nonneg": "(a : α) : 0 ≤ a * a",
  "mul_pos": "{a b : α} (ha : 0 < a) (hb : 0 < b) : 0 < a * b",
  "mul_nonneg": "{a b : α} (ha : 0 ≤ a) (hb : 0 ≤ b) : 0 ≤ a * b",
  "add_pos": "{a b : α} (ha : 0 < a) (hb : 0 < b) : 0 < a + b",
  "le_of_lt": "{a b : α} (h : a < b) : a ≤ b",
  "le_refl": "(a : α) : a ≤ a",
  "le_trans": "{a b c : α} (h : a ≤ b) (k : b ≤ c) : a ≤ c",
  "lt_trans": "{a b c : α} (h : a < b) (k : b < c) : a < c",
  "le_antisymm": "{a b : α} (h : a ≤ b) (k : b ≤ a) : a = b",
  "le_total": "(a b : α) : a ≤ b ∨ b ≤ a",
  "lt_or_ge": "(a b : α) : a < b ∨ a ≥ b",
  "add_comm": "(a b : α) : a + b = b + a",
  "mul_comm": "(a b : α) : a * b = b * a",
  "add_assoc": "(a b c : α) : a + b + c = a + (b + c)",
  "mul_assoc": "(a b c : α) : a * b * c = a * (b * c)",
  "Nat.zero_le": "(n : ℕ) : 0 ≤ n",
}


@functools.cache
def lemmas(name: str) -> list[Theorem]:
  """Returns the statements of a lemma; none for an unknown name."""
  if name not in STATEMENTS:
    return []
  text = STATEMENTS[name]
  sorts = NUMBERS if "α" in text else ("",)
  return [_lemma(text.replace("α", str(sort))) for sort in sorts]


def _lemma(text: str) -> Theorem:
  (tree,) = parser.parse_commands(f"theorem lemma_ {text} := _")
  if isinstance(tree, parser.SyntaxFailure):
    raise tree
  _, _, *binders, statement, _ = children_of(tree)
  entries, target, implicit = elaborate.signature(binders, statement, {})
  closed = elaborate.close("∀", [entry[1:] for entry in entries], target)
  return Theorem(closed, implicit, _AXIOMS)
