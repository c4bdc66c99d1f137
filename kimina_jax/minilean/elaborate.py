"""Elaboration: from syntax trees to typed terms, with Lean's coercions.

In: trees of grammar.lark and the variables in scope. Out: terms. Text that Lean
refuses, or that is not in the fragment, is a Failure. Proof terms are checked
in proofs.py.

Arithmetic follows Lean's `binop%`: the operators of an expression (exponents
apart) form a tree; its greatest leaf type, or the expected type if that is
greater, is the type of all of it, and coercions go to the leaves.
"""

import dataclasses
from collections.abc import Mapping

import lark

from kimina_jax.minilean.parser import Span, Tree, children_of, span_of
from kimina_jax.minilean.syntax import (
  FALSE,
  NUMBERS,
  TRUE,
  Sort,
  Term,
  formula,
  numeral,
  operation,
  substitute,
  variable,
)

# Names in scope: variables, and definitions with their propositions.
Scope = Mapping[str, Term]

_SORTS = {
  **{str(sort): sort for sort in Sort},
  **{"Nat": Sort.NAT, "Int": Sort.INT, "Rat": Sort.RAT, "Real": Sort.REAL},
}
MAX_BINDERS = 100  # of a statement or a quantifier

_SPELLINGS = {"<=": "≤", ">=": "≥", "!=": None}


class Failure(Exception):
  """An error of Lean, or a piece of text outside of the fragment."""

  def __init__(self, message: str, node: Tree | lark.Token | None = None):
    super().__init__(message)
    self.message = message
    self.span: Span | None = None if node is None else span_of(node)


class _Solved(Exception):
  """The type of a variable that is bound without one has been inferred."""

  def __init__(self, hole: Term, sort: Sort):
    super().__init__()
    self.hole, self.sort = hole, sort


def proposition(tree: Tree, scope: Scope) -> Term:
  """Elaborates a proposition; anything else is a Failure."""
  match tree.data, children_of(tree):
    case "connective", [left, sign, right]:
      return formula(
        str(sign), proposition(left, scope), proposition(right, scope)
      )
    case "negation", [body]:
      return formula("¬", proposition(body, scope))
    case "quantifier", [quantifier, binders, body]:
      return _quantify(str(quantifier), binders, body, scope)
    case "comparison", [left, sign, right]:
      return _compare(left, sign, right, scope)
    case "ascription", [body, sort] if sort_of(sort) is Sort.PROP:
      return proposition(body, scope)
    case "truth", [word]:
      return TRUE if word == "True" else FALSE
    case "name", [name]:
      return _named_proposition(name, scope)
  raise Failure("not a proposition of minilean's fragment", tree)


def number(tree: Tree, scope: Scope, expected: Sort | None = None) -> Term:
  """Elaborates a number, of type `expected` if that is given."""
  found = _greatest(_leaf_sort(tree, scope), expected)
  term = _build(tree, scope, found)
  if expected is not None and term.sort is not expected:
    raise Failure(
      f"type mismatch\n  has type\n    {term.sort} : Type\n"
      f"but is expected to have type\n    {expected} : Type",
      tree,
    )
  return term


def value(tree: Tree, scope: Scope, sort: Sort) -> Term:
  """Elaborates a number of type `sort`, or a proposition."""
  if sort is Sort.PROP:
    return proposition(tree, scope)
  return number(tree, scope, sort)


def sort_of(tree: Tree) -> Sort | None:
  """The type that `tree` names; None if it is not of the fragment."""
  return _SORTS[str(children_of(tree)[0])] if tree.data == "sort" else None


def bind(
  names: Tree, sort_tree: Tree, scope: Scope
) -> list[tuple[str, Term, bool]]:
  """Returns (name, term, whether it is a variable) for `(names : type)`.

  A type of the fragment declares variables, a proposition hypotheses.
  """
  sort = sort_of(sort_tree)
  if sort is None:
    prop = proposition(sort_tree, scope)
    return [(str(name), prop, False) for name in children_of(names)]
  return [
    (str(name), variable(str(name), sort), True) for name in children_of(names)
  ]


def signature(
  binders: list[Tree], statement: Tree, scope: Scope
) -> tuple[list[tuple[str, Term, bool]], Term, tuple[bool, ...]]:
  """Elaborates a declaration's signature.

  Returns:
    Its binders as `bind` gives them, its target, and for each binder whether it
    is implicit.
  """
  inner = dict(scope)
  entries: list[tuple[str, Term, bool]] = []
  implicit: list[bool] = []
  for binder in binders:
    names, sort_tree = children_of(binder)
    for name, term, is_variable in bind(names, sort_tree, inner):
      entries.append((name, term, is_variable))
      implicit.append(binder.data == "implicit")
      if is_variable:
        inner[name] = term
      else:
        inner.pop(name, None)
  return entries, proposition(statement, inner), tuple(implicit)


def _named_proposition(name: lark.Token, scope: Scope) -> Term:
  term = _named(name, scope)
  if term.sort is not Sort.PROP:
    raise Failure(f"type expected, got\n  ({name} : {term.sort})", name)
  return term


def _named(name: lark.Token, scope: Scope) -> Term:
  term = None if name == "_" else scope.get(str(name))
  if term is None:
    raise Failure(f"Unknown identifier `{name}`", name)
  return term


def _compare(left: Tree, sign: lark.Token, right: Tree, scope: Scope) -> Term:
  relation = _SPELLINGS.get(str(sign), str(sign))
  if relation is None:
    raise Failure(f"`{sign}` is not in minilean's fragment", sign)
  sorts = _leaf_sort(left, scope), _leaf_sort(right, scope)
  if relation == "∣":
    # Not a `binrel%`: the type is that of the first operand that has one.
    sort = sorts[0] or sorts[1]
    if sort is not None and not sort.is_integral:
      raise Failure(f"failed to synthesize\n  Dvd {sort}", sign)
  else:
    sort = _greatest(*sorts)
  return formula(
    relation, number(left, scope, sort), number(right, scope, sort)
  )


def _quantify(quantifier: str, binders: Tree, body: Tree, scope: Scope) -> Term:
  if binders.data == "untyped":
    names = [str(name) for name in children_of(children_of(binders)[0])]
    return _quantify_untyped(quantifier, names, [], body, scope)
  if binders.data == "limited":
    names, sign, bound = children_of(binders)
    limits = [Tree("name", [children_of(names)[0]], binders.meta), sign, bound]
    limit = Tree("comparison", limits, binders.meta)
    if len(children_of(names)) > 1:
      raise Failure("several variables with one bound", binders)
    return _quantify_untyped(
      quantifier, [str(children_of(names)[0])], [limit], body, scope
    )
  inner, entries = dict(scope), []
  pairs = children_of(binders)
  for names, sort_tree in zip(pairs[::2], pairs[1::2], strict=True):
    for name, term, is_variable in bind(names, sort_tree, inner):
      entries.append((term, is_variable))
      if is_variable:
        inner[name] = term
      elif quantifier == "∃":
        raise Failure("∃ over proofs is not in the fragment", names)
      else:
        inner.pop(name, None)
  return close(quantifier, entries, proposition(body, inner))


def close(
  quantifier: str, entries: list[tuple[Term, bool]], body: Term
) -> Term:
  """Binds variables and hypotheses, outermost first, in `body`."""
  if len(entries) > MAX_BINDERS:
    raise Failure(f"more than {MAX_BINDERS} binders; not in the fragment")
  for term, is_variable in reversed(entries):
    if is_variable:
      # The bound variable is fresh, so that `entries` can be used again.
      bound = variable(term.name, term.sort)
      body = formula(quantifier, bound, substitute(body, {term: bound}))
    else:
      body = formula("→" if quantifier == "∀" else "∧", term, body)
  return body


def _quantify_untyped(
  quantifier: str,
  names: list[str],
  limits: list[Tree],
  body: Tree,
  scope: Scope,
) -> Term:
  """Infers the variables' types: ℕ unless the body determines another."""
  sorts: dict[str, Sort | None] = dict.fromkeys(names)
  while True:
    holes = {name: _hole(name, sort) for name, sort in sorts.items()}
    try:
      inner = {**scope, **holes}
      parts = [proposition(tree, inner) for tree in [*limits, body]]
      break
    except _Solved as solved:
      if holes.get(solved.hole.name) is not solved.hole:
        raise
      sorts[solved.hole.name] = solved.sort
  # The body does not determine the types of the other holes: ℕ.
  bound = {
    hole: dataclasses.replace(hole, head="var") for hole in holes.values()
  }
  *premises, whole = [substitute(part, bound) for part in parts]
  entries = [(term, True) for term in bound.values()]
  entries += [(premise, False) for premise in premises]
  return close(quantifier, entries, whole)


def _hole(name: str, sort: Sort | None) -> Term:
  term = variable(name, sort or Sort.NAT)
  return term if sort else dataclasses.replace(term, head="hole")


def _greatest(*sorts: Sort | None) -> Sort | None:
  known = [sort for sort in sorts if sort is not None]
  return max(known, key=NUMBERS.index) if known else None


def _leaf_sort(tree: Tree, scope: Scope) -> Sort | None:
  """The greatest type of the leaves that have one."""
  match tree.data, children_of(tree):
    case "operation", [base, "^", _]:
      return _leaf_sort(base, scope)
    case "operation", [left, _, right]:
      return _greatest(_leaf_sort(left, scope), _leaf_sort(right, scope))
    case "negative", [_, body]:
      return _leaf_sort(body, scope)
    case "ascription", [_, sort_tree]:
      sort = sort_of(sort_tree)
      if sort not in NUMBERS:
        raise Failure("a type of numbers is expected", sort_tree)
      return sort
    case "name", [name]:
      term = _named_number(name, scope)
      return None if term.head == "hole" else term.sort
    case (("number" | "coercion"), _):
      return None
  raise Failure("not a number of minilean's fragment", tree)


def _named_number(name: lark.Token, scope: Scope) -> Term:
  term = _named(name, scope)
  if term.sort is Sort.PROP:
    raise Failure(f"`{name}` is a proposition, not a number", name)
  return term


def _build(tree: Tree, scope: Scope, sort: Sort | None) -> Term:
  """Elaborates `tree` with its leaves coerced to `sort` (None: ℕ)."""
  match tree.data, children_of(tree):
    case "operation", [base, "^", exponent]:
      # Mathlib's default exponents are naturals; others are another function.
      power = number(exponent, scope, Sort.NAT)
      return operation("^", _build(base, scope, sort), power)
    case "operation", [left, sign, right]:
      if sign == "%" and sort is not None and not sort.is_integral:
        raise Failure(f"failed to synthesize\n  HMod {sort} {sort}", tree)
      return operation(
        str(sign), _build(left, scope, sort), _build(right, scope, sort)
      )
    case "negative", [_, body]:
      if sort in (None, Sort.NAT):
        raise Failure("failed to synthesize\n  Neg ℕ", tree)
      return operation("neg", _build(body, scope, sort))
    case "ascription", [body, sort_tree]:
      return _coerce(number(body, scope, sort_of(sort_tree)), sort, tree)
    case "coercion", [body]:
      return _coerce(number(body, scope), sort, tree)
    case "number", [digits]:
      return _numeral(digits, sort or Sort.NAT)
    case "name", [name]:
      term = _named_number(name, scope)
      if term.head == "hole":
        if sort is not None:
          raise _Solved(term, sort)
        return term
      return _coerce(term, sort, tree)
  raise Failure("not a number of minilean's fragment", tree)


def _numeral(digits: lark.Token, sort: Sort) -> Term:
  if len(digits) > 1000:
    raise Failure("numeral too long for minilean", digits)
  return numeral(int(digits), sort)


def _coerce(term: Term, sort: Sort | None, tree: Tree) -> Term:
  if sort is None:
    raise Failure("the type of this coercion is not known", tree)
  if term.sort is sort:
    return term
  if NUMBERS.index(term.sort) > NUMBERS.index(sort):
    raise Failure(
      f"type mismatch\n  has type\n    {term.sort} : Type\n"
      f"but is expected to have type\n    {sort} : Type",
      tree,
    )
  return Term("cast", (term,), sort)
