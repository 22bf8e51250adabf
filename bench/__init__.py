"""How fast, how steady, how small: one file a question (see README.md)."""
