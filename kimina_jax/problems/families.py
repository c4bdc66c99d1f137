"""The families of generated statements, each with its proof.

Ten families of short true statements, each proved by the same tactics; in one
of them the proof contains a number that has to be computed. Every statement is
true by construction, and no proof is found by search.
"""

import dataclasses
import functools
import itertools
import zlib
from collections.abc import Iterator

SPLITS = ("train", "valid", "test")

# Numbers of hash values, of ten, that belong to valid and to test.
_VALID_SHARE, _TEST_SHARE = 1, 1


@dataclasses.dataclass(frozen=True)
class ProofScript:
  """One way to prove a goal: the thought before it, and the proof's lines."""

  thought: str
  tactics: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class GeneratedCase:
  """One generated statement.

  Attributes:
    name: unique, and never of another statement.
    family: also the theorem's name.
    split: a function of the statement.
    statement: up to and including `:= by`.
    right: the proof of it.
    wrong: proofs of other families, which fail on this one.
  """

  name: str
  family: str
  split: str
  statement: str
  right: ProofScript
  wrong: tuple[ProofScript, ...]


@functools.cache
def families() -> dict[str, tuple[GeneratedCase, ...]]:
  """Returns the cases of every family, in a fixed order."""
  return {family: tuple(_cases(family)) for family in _FAMILIES}


def _cases(family: str) -> Iterator[GeneratedCase]:
  statements, wrong = _FAMILIES[family]
  for index, (body, right) in enumerate(statements()):
    yield GeneratedCase(
      name=f"{family}_{index}",
      family=family,
      split=_split(body),
      statement=f"theorem {family} {body} := by",
      right=right,
      wrong=wrong,
    )


def _split(body: str) -> str:
  """The split of a statement, a hash of its text, the same for all seeds."""
  value = zlib.crc32(body.encode()) % 10
  if value < _VALID_SHARE:
    return "valid"
  return "test" if value < _VALID_SHARE + _TEST_SHARE else "train"


_COMPUTE = ProofScript("Compute.", ("norm_num",))
_DECIDE = ProofScript("Decide.", ("decide",))
_OMEGA = ProofScript("Linear over the integers.", ("omega",))
_LINEAR = ProofScript("Combine the hypotheses.", ("linarith",))
_EXPAND = ProofScript("Expand both sides.", ("ring",))
_BOTH_COMPUTE = ProofScript("Compute each part.", ("constructor <;> norm_num",))
_BOTH_LINEAR = ProofScript("Prove each part.", ("constructor <;> linarith",))
_CASES = ProofScript(
  "Try each case.", ("rcases h with rfl | rfl <;> norm_num",)
)
_SQUARE = ProofScript("Square x - y.", ("nlinarith [sq_nonneg (x - y)]",))
_ASSUME = ProofScript("Assume the premise.", ("intro h", "linarith"))
_ASSUME_COMPUTE = ProofScript("Assume and compute.", ("intro h", "norm_num"))


def _take(number: int, computation: str) -> ProofScript:
  """A witness; the thought computes it, so that it need not be guessed."""
  return ProofScript(
    f"Take x = {computation} = {number}.",
    (f"exact ⟨{number}, by norm_num⟩",),
  )


# What a family yields: the statement after the theorem's name, and its proof.
_Statements = Iterator[tuple[str, ProofScript]]

_ONE = range(1, 10)  # addends, solutions
_TWO = range(2, 10)  # coefficients; a coefficient of 1 is not written


def _numeric_nat() -> _Statements:
  for a, b, c in itertools.product(_TWO, _TWO, _ONE):
    yield f": {a} * {b} + {c} = {a * b + c}", _COMPUTE
    yield f": {c} + {a} * {b} = {c + a * b}", _COMPUTE
    yield f": ({a} + {c}) * {b} = {(a + c) * b}", _COMPUTE
    yield f": {a} * {b} < {a * b + c}", _COMPUTE
    if a * b > c:
      yield f": {a} * {b} - {c} = {a * b - c}", _COMPUTE
  for a, b in itertools.product(_TWO, _ONE):
    yield f": {a} ^ 2 + {b} = {a**2 + b}", _COMPUTE


def _linear_nat() -> _Statements:
  for b, x in itertools.product(_ONE, _ONE):
    yield f"(x : ℕ) (h₀ : x - {b} = {x}) : x = {x + b}", _OMEGA
  for a, b, x in itertools.product(_TWO, _ONE, _ONE):
    yield f"(x : ℕ) (h₀ : {a} * x + {b} = {a * x + b}) : x = {x}", _OMEGA
  for a, x, y in itertools.product(_TWO, _ONE, _ONE):
    yield (
      f"(x y : ℕ) (h₀ : {a} * x + y = {a * x + y}) (h₁ : y = {y}) : x = {x}",
      _OMEGA,
    )
    yield (
      f"(x y : ℕ) (h₀ : x - y = {x}) (h₁ : y = {y}) : {a} * x = {a * (x + y)}",
      _OMEGA,
    )


def _linear_int() -> _Statements:
  for a, b, x, y in itertools.product(_TWO[:5], _TWO[:5], _ONE, _ONE):
    yield (
      f"(x y : ℤ) (h₀ : {a} * x + {b} * y = {a * x + b * y}) (h₁ : y = {y}) "
      f": x = {x}",
      _OMEGA,
    )
  # True of integers only: a * x lies between two bounds less than a away.
  for a, x in itertools.product(_TWO[:4], _ONE):
    for below, above in itertools.product(range(1, a), range(1, a)):
      yield (
        f"(x : ℤ) (h₀ : {a * x - below} ≤ {a} * x) "
        f"(h₁ : {a} * x ≤ {a * x + above}) : x = {x}",
        _OMEGA,
      )


def _linear_real() -> _Statements:
  for a, b, x, y in itertools.product(_TWO[:4], _TWO[:4], _ONE, _ONE):
    yield (
      f"(x y : ℝ) (h₀ : {a} * x + {b} * y = {a * x + b * y}) (h₁ : y = {y}) "
      f": x = {x}",
      _LINEAR,
    )
  for y, d in itertools.product(_ONE, _ONE):
    yield (
      f"(x y : ℝ) (h₀ : x + y = {2 * y + d}) (h₁ : x - y = {d}) : y = {y}",
      _LINEAR,
    )
  for a, x, y in itertools.product(_TWO, _ONE, _ONE):
    yield (
      f"(x y : ℝ) (h₀ : x < {x}) (h₁ : y < {y}) : {a} * x + y < {a * x + y}",
      _LINEAR,
    )


def _ring_real() -> _Statements:
  for a, b, c in itertools.product(_TWO, _ONE, _ONE):
    yield (
      f"(x : ℝ) : {a} * (x + {b}) + {c} = {a} * x + {a * b + c}",
      _EXPAND,
    )
  for a, b, c in itertools.product(_TWO, _TWO, _ONE):
    yield (
      f"(x : ℝ) : ({a} * x + {c}) * {b} = {a * b} * x + {b * c}",
      _EXPAND,
    )
  for a, b in itertools.product(_ONE, _ONE):
    yield (
      f"(x : ℝ) : (x + {a}) * (x + {b}) = x ^ 2 + {a + b} * x + {a * b}",
      _EXPAND,
    )
    if b - a > 1:
      yield (
        f"(x : ℝ) : (x - {a}) * (x + {b}) = x ^ 2 + {b - a} * x - {a * b}",
        _EXPAND,
      )


def _conj_real() -> _Statements:
  for x, a, b in itertools.product(_ONE, _TWO, _ONE):
    given = f"(x : ℝ) (h₀ : x = {x})"
    yield f"{given} : x + {b} = {x + b} ∧ {a} * x = {a * x}", _BOTH_LINEAR
    yield f"{given} : {a} * x = {a * x} ∧ x + {b} = {x + b}", _BOTH_LINEAR
    yield f"{given} : {a} * x = {a * x} ∧ x < {x + b}", _BOTH_LINEAR


def _exists_witness() -> _Statements:
  # One digit on either side, a table small enough for a tiny model.
  facts = [
    (f"x + {a}", f"{a} + x", x + a, _take(x, f"{x + a} - {a}"))
    for a in (1, 2)
    for x in range(1, 8)
  ]
  facts += [
    ("x * 2", "2 * x", 2 * x, _take(x, f"{2 * x} / 2")) for x in range(1, 5)
  ]
  for kind, (*lefts, right, move) in itertools.product("ℕℤℝ", facts):
    for left in lefts:
      yield f": ∃ x : {kind}, {left} = {right}", move
      yield f": ∃ x : {kind}, {right} = {left}", move


def _cases_real() -> _Statements:
  for p, q in itertools.permutations(_ONE, 2):
    given = f"(x : ℝ) (h : x = {p} ∨ x = {q})"
    yield f"{given} : x ^ 2 + {p * q} = {p + q} * x", _CASES
    yield f"{given} : (x - {p}) * (x - {q}) = 0", _CASES
    for a in _TWO:
      yield f"{given} : {a} * x < {a * max(p, q) + 1}", _CASES
      yield f"{given} : x + {a} < {max(p, q) + a + 1}", _CASES


def _implies_real() -> _Statements:
  for a, b, x in itertools.product(_TWO, _ONE, _ONE):
    yield f"(x : ℝ) : x = {x} → {a} * x + {b} = {a * x + b}", _ASSUME
    yield f"(x : ℝ) : x < {x} → {a} * x + {b} < {a * x + b}", _ASSUME


def _square_real() -> _Statements:
  # a (x - y)² ≥ 0, expanded.
  for a, c in itertools.product(_TWO, range(10)):
    cross, squares = f"{2 * a} * x * y", f"{a} * x ^ 2 + {a} * y ^ 2"
    plus = f" + {c}" if c else ""
    for goal in (
      f"{cross}{plus} ≤ {squares}{plus}",
      f"{squares}{plus} ≥ {cross}{plus}",
      f"{c} ≤ {squares} - {cross}{plus}",
    ):
      yield f"(x y : ℝ) : {goal}", _SQUARE


# Name -> (statements, proofs that fail on every one of them and are the wrong
# demonstrations); a second right proof would make wrong demonstrations right.
_FAMILIES = {
  "numeric_nat": (
    _numeric_nat,
    (_CASES, _ASSUME, _ASSUME_COMPUTE, _take(1, "3 - 2"), _SQUARE),
  ),
  "linear_nat": (
    _linear_nat,
    (_COMPUTE, _EXPAND, _DECIDE, _BOTH_LINEAR, _CASES),
  ),
  "linear_int": (
    _linear_int,
    (_COMPUTE, _EXPAND, _DECIDE, _BOTH_LINEAR, _CASES),
  ),
  "linear_real": (
    _linear_real,
    (_COMPUTE, _EXPAND, _DECIDE, _OMEGA, _CASES),
  ),
  "ring_real": (
    _ring_real,
    (_COMPUTE, _OMEGA, _DECIDE, _BOTH_COMPUTE, _CASES),
  ),
  "conj_real": (
    _conj_real,
    (_COMPUTE, _OMEGA, _LINEAR, _BOTH_COMPUTE, _EXPAND),
  ),
  "exists_witness": (_exists_witness, (_OMEGA, _LINEAR, _EXPAND, _DECIDE)),
  "cases_real": (_cases_real, (_COMPUTE, _OMEGA, _LINEAR, _EXPAND, _DECIDE)),
  "implies_real": (
    _implies_real,
    (_COMPUTE, _OMEGA, _LINEAR, _EXPAND, _ASSUME_COMPUTE),
  ),
  "square_real": (_square_real, (_COMPUTE, _OMEGA, _LINEAR, _EXPAND)),
}
