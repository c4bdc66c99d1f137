"""minilean: a small checker that stands in for Lean where Lean is absent.

    python -m kimina_jax.minilean

speaks the JSON protocol of Lean's REPL on stdin and stdout, so that whatever
drives the one drives the other. It is not Lean. It has no kernel and no proof
objects, no functions, no induction, no type classes and no library. It reads
a fragment of Lean 4 with Mathlib: statements about ℕ, ℤ, ℚ, ℝ and
propositions, with the tactics that close such goals. What is outside of the
fragment is an error, never accepted; what Lean proves it may fail to prove.

  syntax        terms: substitution, comparison, printing
  parser        grammar.lark and the columns of tactic blocks
  elaborate     names, types, coercions
  semantics     what terms mean
  polynomial    normal forms
  arithmetic    omega, linarith, nlinarith, ring by z3 and normal forms
  simplify      norm_num and simp
  rewriting     rw
  signs         positivity
  goals         goals, messages
  logic         what a proposition gives and asks for
  proofs        proof terms
  patterns      rcases
  tactics       blocks and tactics that shape goals
  closers       tactics that compute
  library       a few named lemmas
  environment   commands
  __main__      the protocol

Trusted for "proved is true": elaborate (that the statement is the one that is
written), semantics and polynomial, the steps in proofs, patterns, tactics and
simplify, the lemmas of library, and z3's linear arithmetic. Each tactic is held
to what the real one looks at, so that a proof found here is likely, not
certain, to pass in Lean.
"""
