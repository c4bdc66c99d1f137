"""The command `scale`: memory, traffic and bounds of programs on a mesh."""
