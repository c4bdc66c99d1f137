"""The command `prove`: one theorem, proved by a trained policy."""
