"""What a text must be to count as a proof; all but Lean itself."""
