"""minilean: a small checker for a fragment of Lean 4, used without a Lean.

    python -m kimina_jax.minilean

serves the JSON protocol of Lean's REPL on stdin and stdout, so that the same
driver works with both. It is not Lean: it has no kernel, proof objects,
functions, induction, type classes or library. It reads a fragment of Lean 4
with Mathlib: statements about ℕ, ℤ, ℚ, ℝ and propositions, with the tactics
that prove such goals. Text outside of the fragment is an error and is never
accepted; a proof that Lean accepts may fail here.

  syntax        terms: substitution, comparison, printing
  parser        parsing (grammar.lark) and the columns of tactic blocks
  elaborate     elaboration: names, types, coercions
  semantics     values of closed terms; encoding of terms for z3
  polynomial    polynomial normal forms
  arithmetic    decision procedures: omega, linarith, ring, positivity, …
  rewriting     rw, and the simplifier of norm_num and simp
  goals         goals and diagnostics
  logic         projections, premises, intro, rcases patterns
  proofs        proof terms
  tactics       blocks, combinators and structural tactics
  closers       tactics that compute
  library       a few named lemmas
  environment   commands and environments
  __main__      the protocol

That an accepted theorem is true rests on elaborate (the statement is the one
that is written), semantics and polynomial, the steps in proofs, logic, tactics
and rewriting, the lemmas of library, and z3's linear arithmetic. Each tactic
uses only what Lean's tactic of that name uses, so a proof that is accepted here
is likely, not certain, to be accepted by Lean.
"""
