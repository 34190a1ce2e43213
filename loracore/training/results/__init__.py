"""Saved files: what they are called, how they are written whole, which are kept."""
