"""Reinforcement learning of Lean 4 provers on JAX."""
