"""What to prove: data sets, generated problems, the curriculum."""
