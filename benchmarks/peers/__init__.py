"""Our trainer beside others, on the same work: ``python -m benchmarks.peers --out FOLDER --sd_scripts PATH``.

Peers run from their own sources, whose places are given; nothing of theirs is in here. Both sides start at their real
entry points, each block in a process of its own, with the same weights, the same encoded pictures and captions in the
same order, the same starting adapters, noise and timesteps. Blocks alternate: ours, theirs, ours, theirs.
"""
