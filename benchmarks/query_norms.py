"""Times three ways to norm queries and keys, forward and backward: diffusers', ours, and torch's own operation.

``python -m benchmarks.query_norms --out FOLDER --device cuda`` takes the queries that a picture of 1024² has in
transformers with heads of 64 features, and those of a caption: bf16 on a card. ``--device cpu`` takes a smaller picture
and float32. query_norms.json and query_norms.md hold microseconds of one norm (median, minimum and maximum of repeats).
They say whether what `loracore/diffusion/attention/rms.py` does without a compiler is the fastest way there.

States lie in memory as attention has them. diffusers' processor moves the heads forward before it norms: a view
(1,heads,T,d) of a projection (1,T,heads · d). Ours norms (1,T,heads,d) of one projection of three, which lie one behind
the other; so would torch's own operation in its place. Gradients are laid out as the states.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers.models.normalization import RMSNorm
from torch import Tensor
from torch.nn import functional

from benchmarks.peers.machine import finish, heading, machine
from loracore.diffusion.attention.rms import normed

WIDTH, EPS = 64, 1e-6
HEADS, CAPTION = (24, 38), 154  # tokens of a caption
CALLS, REPEATS = 20, 7


@dataclass(frozen=True, slots=True)
class Way:
    """One way to norm, and how the states lie that it gets."""

    name: str
    norm: Callable[[Tensor], Tensor]
    laid_out: Callable[[Tensor], Tensor]  # of projections (3,T,heads,d)


@dataclass(frozen=True, slots=True)
class Timed:
    """What one norm takes, forward and backward, in microseconds."""

    tokens: int
    heads: int
    way: str
    median: float
    minimum: float
    maximum: float


def ways(norm: RMSNorm) -> Sequence[Way]:
    """Return what is compared; the first is what the others are told in shares of."""
    torchs = partial(functional.rms_norm, normalized_shape=[WIDTH], weight=norm.weight, eps=EPS)
    return (
        Way("diffusers", norm, heads_first),
        Way("ours", partial(normed, norm), one_of_three),
        Way("torch", torchs, one_of_three),
    )


def heads_first(projected: Tensor) -> Tensor:
    """Return a projection's own tensor as diffusers' processor norms it (1,heads,T,d)."""
    return projected[0].clone().unsqueeze(0).transpose(1, 2)


def one_of_three(projected: Tensor) -> Tensor:
    """Return a slice of projections that were computed together, as our processor norms it (1,T,heads,d)."""
    return projected.unbind()[0].unsqueeze(0)


def microseconds(norm: Callable[[Tensor], Tensor], states: Tensor) -> Sequence[float]:
    """Return what one call takes, forward and backward, in each repeat; the first is not counted."""
    gradient = torch.randn_like(states)
    found = []
    for _ in range(REPEATS + 1):
        finish(states.device)
        started = time.perf_counter()
        for _ in range(CALLS):
            torch.autograd.grad(norm(states), states, gradient)
        finish(states.device)
        found.append((time.perf_counter() - started) / CALLS * 1e6)
    return found[1:]


def timed(device: torch.device, dtype: torch.dtype) -> Iterator[Timed]:
    """Give every size in every way."""
    norm = RMSNorm(WIDTH, EPS).to(device, dtype).requires_grad_(requires_grad=False)
    for heads in HEADS:
        for tokens in (4096 if device.type == "cuda" else 256, CAPTION):
            projected = torch.randn(3, tokens, heads, WIDTH, device=device, dtype=dtype)
            for way in ways(norm):
                taken = microseconds(way.norm, way.laid_out(projected).requires_grad_())
                yield Timed(tokens, heads, way.name, statistics.median(taken), min(taken), max(taken))


def table(title: Sequence[str], rows: Sequence[Timed]) -> str:
    """Return the Markdown page."""
    firsts = {(one.tokens, one.heads): one.median for one in reversed(rows)}
    lines = [*title, "", "| tokens | heads | norm | µs | minimum | maximum | of diffusers' |"]
    lines.append("| ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    for one in rows:
        numbers = " | ".join(f"{number:.1f}" for number in (one.median, one.minimum, one.maximum))
        share = one.median / firsts[one.tokens, one.heads]
        lines.append(f"| {one.tokens} | {one.heads} | {one.way} | {numbers} | {share:.2f} |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Measure, write both files, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.query_norms", description="Time norms of queries.")
    parser.add_argument("--out", type=Path, required=True, help="folder of query_norms.json and query_norms.md")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda", help="float32 on the CPU, bf16 on a card")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device; --device cpu measures on the processor", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    dtype = torch.bfloat16 if given.device == "cuda" else torch.float32
    title = heading("benchmarks.query_norms", machine(given.device, None), str(dtype).removeprefix("torch."))
    rows = list(timed(torch.device(given.device), dtype))
    report = {"machine": title[0], "rows": [asdict(one) for one in rows]}
    (given.out / "query_norms.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    page = table(title, rows)
    (given.out / "query_norms.md").write_text(page, encoding="utf-8")
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
