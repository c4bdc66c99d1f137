"""From a completion to a verdict, through a Lean process."""
