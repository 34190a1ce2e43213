"""Frozen matrices in fewer bits: stored once while loading, read anew for every product."""
