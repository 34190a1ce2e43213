"""The state of a run, from which it goes on as if nothing had happened: what it holds, its folder, who may use it."""
