"""What a run loses step by step under every setting that changes how a step is computed, beside the plain way.

``python -m benchmarks.loss_curves --out FOLDER`` trains a model of random weights on one and the same work (checkpoint,
caches, noise, timesteps, starting adapters: those of ``benchmarks.peers``) for 200 steps through ``loracore train``,
each run in a process of its own. It writes loss_curves.json, loss_curves.md and loss_curves.svg, prints the table, and
ends with 1 when a setting misses its gate. What the plain way is stands in plain.py, what must hold in settings.py.
"""
