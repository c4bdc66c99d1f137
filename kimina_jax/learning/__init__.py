"""From advantages to new parameters."""
