"""The toy world: what can be asked, what a good answer is, and who judges it. Imports no torch."""
