"""Sampling whole proofs from the policy."""
