"""A checker as a process of this machine, confined and watched."""
