"""What the loops share: set-up, collecting experience, save and resume."""
