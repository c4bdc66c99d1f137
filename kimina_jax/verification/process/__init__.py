"""Workers that are processes on this machine: sandbox, REPL, memory."""
