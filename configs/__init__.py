"""Experiments, installed as kimina_jax.configs; `--config` takes their names.

common.py explains every key and its default.
"""
