"""Meshes, checkpoints, metrics, records, processes."""
