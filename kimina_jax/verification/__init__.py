"""Verification: from a response to a verdict, by a Lean checker."""
