"""A run: assembled, stepped through, measured and saved."""
