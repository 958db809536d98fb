"""Studies are answered in a browser."""
