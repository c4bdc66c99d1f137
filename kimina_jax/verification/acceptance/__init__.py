"""All checks of a proof outside Lean: syntax, statement, audit, judgement."""
