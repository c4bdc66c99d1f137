"""Workers that are Kimina Lean Servers, over HTTP."""
