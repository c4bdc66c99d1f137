"""Qwen2.5 as a pure function of a parameter tree."""
