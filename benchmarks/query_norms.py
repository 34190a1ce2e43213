"""Times three ways to norm queries and keys, forward and backward: diffusers', ours, and torch's own operation.

``python -m benchmarks.query_norms --device cuda`` prints microseconds of one norm (median, minimum and maximum of
repeats) for the queries that a picture of 1024² has in transformers with heads of 64 features, and for those of a
caption: bf16 on a card. ``--device cpu`` takes a smaller picture and float32. It says whether what
`loracore/diffusion/attention/rms.py` does without a compiler is the fastest way there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from diffusers.models.normalization import RMSNorm
from torch import Tensor
from torch.nn import functional

from loracore.diffusion.attention.rms import normed

WIDTH, EPS = 64, 1e-6
HEADS = {"24 heads": 24, "38 heads": 38}
CALLS, REPEATS = 20, 7


def ways(norm: RMSNorm) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return what is compared, by name."""
    torchs = partial(functional.rms_norm, normalized_shape=[WIDTH], weight=norm.weight, eps=EPS)
    return {"diffusers": norm, "ours": partial(normed, norm), "torch": torchs}


def microseconds(way: Callable[[Tensor], Tensor], states: Tensor) -> Sequence[float]:
    """Return what one call takes, forward and backward, in each repeat; the first is not counted."""
    gradient = torch.randn_like(states)
    found = []
    for _ in range(REPEATS + 1):
        _wait(states)
        started = time.perf_counter()
        for _ in range(CALLS):
            torch.autograd.grad(way(states), states, gradient)
        _wait(states)
        found.append((time.perf_counter() - started) / CALLS * 1e6)
    return found[1:]


def _wait(states: Tensor) -> None:
    if states.is_cuda:
        torch.cuda.synchronize()


def main() -> None:
    """Print one line a size and way."""
    parser = argparse.ArgumentParser(description="Time norms of queries and keys.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    device = torch.device(parser.parse_args().device)
    on_card = device.type == "cuda"
    dtype = torch.bfloat16 if on_card else torch.float32
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name() if on_card else 'cpu'}, {dtype}")
    print(f"{'queries':26} {'way':10} {'median':>9} {'min':>9} {'max':>9}")
    for name, heads in HEADS.items():
        for tokens in (4096 if on_card else 256, 154):
            norm = RMSNorm(WIDTH, EPS).to(device, dtype).requires_grad_(requires_grad=False)
            states = torch.randn(1, tokens, heads, WIDTH, device=device, dtype=dtype, requires_grad=True)
            for way, call in ways(norm).items():
                taken = microseconds(call, states)
                numbers = " ".join(f"{one:9.1f}" for one in (statistics.median(taken), min(taken), max(taken)))
                print(f"{f'{tokens} tokens, {name}':26} {way:10} {numbers}")


if __name__ == "__main__":
    main()
