"""The steps of a run: their samples and order, the loop that takes them, and how it ends."""
