"""Trained networks merged into base models, and into one another."""
