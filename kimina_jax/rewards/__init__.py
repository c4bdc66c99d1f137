"""From verdicts to rewards and advantages."""
