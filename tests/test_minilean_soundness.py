"""minilean accepts nothing that brute force refutes or that Lean rejected."""

import fractions
import io
import itertools
import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from kimina_jax.minilean import __main__ as process
from kimina_jax.minilean.environment import Environment, run_source

TACTICS = [
  "norm_num",
  "simp",
  "norm_num [h]",
  "norm_num at h",
  "norm_num [h] at *",
  "decide",
  "rfl",
  "omega",
  "linarith",
  "nlinarith [sq_nonneg x, sq_nonneg (x - y), mul_self_nonneg (x + y)]",
  "ring",
  "positivity",
  "trivial",
  "contradiction",
  "exact ⟨by omega, by linarith⟩",
  "left\n  omega",
  "right\n  linarith",
  "intro k\n  linarith",
  "intro k\n  omega",
  "intro k\n  nlinarith",
  "push_neg\n  omega",
  "by_contra k\n  push_neg at k\n  linarith",
  "rcases h with rfl | rfl <;> norm_num",
  "rcases h with h | h <;> norm_num [h]",
  "rcases h with h | h <;> nlinarith",
  "obtain ⟨h1, h2⟩ := h\n  nlinarith [mul_self_nonneg (x - y)]",
  "obtain ⟨h1, rfl⟩ := h\n  omega",
  "obtain ⟨rfl, h2⟩ := h\n  norm_num",
  "subst h\n  norm_num",
  "subst h\n  ring",
  "constructor <;> linarith",
  "rw [h]",
  "rw [← h]\n  norm_num",
  "rw [add_comm] at h\n  linarith",
  "simp [h] at h\n  omega",
  "have k : x ≤ y := by linarith\n  omega",
]


def _accepted(text: str) -> bool:
  outcome = run_source(Environment(), text)
  assert ("t" in outcome.environment.theorems) == (not outcome.diagnostics)
  return not outcome.diagnostics


# A statement is (Lean text, truth at a point); a point gives x and y.
# The semantics are implemented a second time, in Python.


def _numbers(sort):
  def op(symbol, apply):
    return lambda a, b: (
      f"({a[0]} {symbol} {b[0]})",
      lambda p: apply(a[1](p), b[1](p)),
    )

  def divide(a, b):
    if b == 0:
      return 0
    if sort in "ℚℝ":
      return fractions.Fraction(a) / b
    return math.floor(fractions.Fraction(a, abs(b))) * (1 if b > 0 else -1)

  subtract = (lambda a, b: max(a - b, 0)) if sort == "ℕ" else lambda a, b: a - b
  operations = [
    op("+", lambda a, b: a + b),
    op("-", subtract),
    op("*", lambda a, b: a * b),
    op("/", divide),
  ]
  if sort in "ℕℤ":
    operations.append(op("%", lambda a, b: a - b * divide(a, b)))
  leaves = st.one_of(
    st.sampled_from([("x", lambda p: p[0]), ("y", lambda p: p[1])]),
    st.integers(0, 6).map(lambda n: (f"({n} : {sort})", lambda p: n)),
  )

  def grow(inner):
    binary = st.builds(
      lambda o, a, b: o(a, b), st.sampled_from(operations), inner, inner
    )
    square = inner.map(lambda a: (f"{a[0]} ^ 2", lambda p: a[1](p) ** 2))
    return st.one_of(binary, binary, square)

  return st.recursive(leaves, grow, max_leaves=4)


def _propositions(sort):
  signs = {
    "=": lambda a, b: a == b,
    "≠": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "≤": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "≥": lambda a, b: a >= b,
  }
  numbers = _numbers(sort)
  atoms = st.builds(
    lambda s, a, b: (
      f"{a[0]} {s} {b[0]}",
      lambda p: signs[s](a[1](p), b[1](p)),
    ),
    st.sampled_from(list(signs)),
    numbers,
    numbers,
  )
  links = {
    "∧": lambda a, b: a and b,
    "∨": lambda a, b: a or b,
    "→": lambda a, b: not a or b,
    "↔": lambda a, b: a == b,
  }

  def grow(inner):
    both = st.builds(
      lambda s, a, b: (
        f"({a[0]} {s} {b[0]})",
        lambda p: links[s](a[1](p), b[1](p)),
      ),
      st.sampled_from(list(links)),
      inner,
      inner,
    )
    negated = inner.map(lambda a: (f"(¬({a[0]}))", lambda p: not a[1](p)))
    return both | negated

  return st.recursive(atoms, grow, max_leaves=2)


def _points(sort):
  values = range(0, 6) if sort == "ℕ" else range(-4, 5)
  if sort in "ℚℝ":
    values = [fractions.Fraction(v, 2) for v in values]
  return list(itertools.product(values, repeat=2))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_accepted_statement_is_refuted(data):
  sort = data.draw(st.sampled_from("ℕℤℚℝ"))
  hypothesis = data.draw(_propositions(sort))
  goal = data.draw(_propositions(sort))
  refuted = any(
    hypothesis[1](point) and not goal[1](point) for point in _points(sort)
  )
  head = f"theorem t (x y : {sort}) (h : {hypothesis[0]}) : {goal[0]} := by\n  "
  for tactic in TACTICS:
    assert not (_accepted(head + tactic) and refuted), head + tactic


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_near_misses_are_told_from_hits(data):
  """Small statements whose truth depends on one number."""
  sort = data.draw(st.sampled_from("ℕℤℝ"))
  a, b, x = (data.draw(st.integers(1, 9)) for _ in range(3))
  off = data.draw(st.sampled_from([0, 0, 1, -1]))
  text, true, tactics = data.draw(
    st.sampled_from(
      [
        (
          f"theorem t (x : {sort}) (h : {a} * x + {b} = {a * x + b}) : "
          f"x = {x + off}",
          off == 0,
          ["linarith", "omega" if sort != "ℝ" else "nlinarith"],
        ),
        (
          f"theorem t : ({a} : {sort}) * {b} + {x} = {a * b + x + off}",
          off == 0,
          ["norm_num", "simp", "rfl", "decide", "ring", "linarith"],
        ),
        (
          f"theorem t (x : {sort}) (h : x = {a} ∨ x = {b}) : "
          f"x * x + {a * b} = {a + b} * x + {abs(off)}",
          off == 0,
          ["rcases h with rfl | rfl <;> norm_num"],
        ),
        (
          f"theorem t : ∃ k : {sort}, k + {a} = {a + b}",
          off == 0,
          [f"exact ⟨{b + off}, by norm_num⟩", f"use {b + off}; norm_num"],
        ),
        (
          f"theorem t (x y : {sort}) (h : x < y) : x + {a} < y + {a + off}",
          off >= 0,
          ["linarith", "omega"],
        ),
        (
          f"theorem t (x y : {sort}) : (x + {a}) * (y + {b}) = "
          f"x * y + {b} * x + {a} * y + {a * b + off}",
          off == 0,
          ["ring", "nlinarith"],
        ),
      ]
    )
  )
  verdicts = [_accepted(f"{text} := by\n  {tactic}") for tactic in tactics]
  assert any(verdicts) if true else not any(verdicts), (text, tactics)


def _is_refused(reply: dict) -> bool:
  severities = {m["severity"] for m in reply.get("messages", [])}
  return "error" in severities or "message" in reply


def _frames(text: str) -> list[dict]:
  decoder, frames = json.JSONDecoder(), []
  text = text.strip()
  while text:
    frame, end = decoder.raw_decode(text)
    frames.append(frame)
    text = text[end:].strip()
  return frames


def test_what_the_real_repl_rejected_is_rejected(data_dir):
  """Replays 57 sessions of Lean's REPL."""
  compared = 0
  paths = sorted((data_dir / "repl-transcripts").glob("*.in"))
  assert len(paths) == 57
  for path in paths:
    replies = io.StringIO()
    with path.open(encoding="utf-8") as requests:
      process.serve(requests, replies)
    expected = _frames(path.with_suffix(".expected.out").read_text())
    found = _frames(replies.getvalue())
    assert len(found) == len(expected), path.name
    for theirs, ours in zip(expected, found, strict=True):
      assert not (_is_refused(theirs) and not _is_refused(ours)), path.name
      compared += not _is_refused(theirs) and not _is_refused(ours)
      if "env" in theirs and "env" in ours:
        assert theirs["env"] == ours["env"], path.name
  assert compared > 20


def test_real_proofs_are_accepted_or_refused_but_never_crash(data_dir):
  path = data_dir / "minif2f" / "kimina-minif2f-test-solved.jsonl"
  records = [json.loads(line) for line in path.read_text().splitlines()]
  proofs = {record["name"]: record["correct_proof"] for record in records}
  proved = {
    name
    for name, proof in proofs.items()
    if not run_source(Environment(), proof).diagnostics
  }
  assert len(proved) >= 45
  assert not any("native_decide" in proofs[name] for name in proved)
  for lean in sorted((data_dir / "kimina-server").glob("*.lean")):
    run_source(Environment(), lean.read_text())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_text_gets_an_answer(data):
  words = (
    "theorem t (x : ℕ) : x = 1 2 + - * ^ ( ) ⟨ ⟩ [ ] { } := by exact have h "
    "norm_num omega at ∃ ∀ , ∧ ¬ → ↑ fun => use sorry rfl · <;> ; def Prop "
    "True intro rcases with | @t h.1 .2 import #print axioms show from /- -/ "
    "-- obtain linarith [h] ?_ _ True.intro sq_nonneg apply"
  ).split(" ")
  drawn = data.draw(st.lists(st.sampled_from(words), max_size=30))
  seps = data.draw(
    st.lists(
      st.sampled_from([" ", "\n  ", "\n"]),
      min_size=len(drawn),
      max_size=len(drawn),
    )
  )
  text = "".join(w + s for w, s in zip(drawn, seps, strict=True))
  prefix = data.draw(st.sampled_from(["", "theorem t (x : ℕ) : x = x := by "]))
  run_source(Environment(), prefix + text)
