"""The largest numbers that options and data-set files may hold: far beyond use, and small enough to count with."""

from __future__ import annotations

LONGEST_SIDE = 65_536  # pixels of a picture or bucket
LARGEST_COUNT = 2**20  # of a batch, of repeats, of tags
MOST_STEPS = 2**31 - 1  # steps or epochs of a run
MOST_THREADS = 1024
