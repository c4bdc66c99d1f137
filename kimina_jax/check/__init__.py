"""The command `check`: verdicts on Lean files; a diagnosis of the checker."""
