"""The command `prove`: one theorem, tried by a trained policy."""
