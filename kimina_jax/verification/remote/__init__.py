"""A checker on other machines, over HTTP."""
