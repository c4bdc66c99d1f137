"""Rewards, advantages, pass@k and the metrics of samples."""
