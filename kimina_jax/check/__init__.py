"""The command `check`: which Lean files are proofs, and what is wrong here."""
