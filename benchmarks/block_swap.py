"""Measures what block swap, checkpointing and 8-bit weights save on a card, and what they cost in time.

A transformer with the sizes of SD3.5 large (8 billion random weights) has LoRA adapters in front of every attention
projection, and trains on random latents through the same functions as a run. Each case is a process of its own, so that
none finds memory that another has left. Needs a CUDA device, diffusers and loracore-networks:
``python -m benchmarks.block_swap --out FOLDER`` writes block_swap.json and block_swap.md there and prints the table.
``--tiny`` tries everything with a toy's sizes on the CPU; memory is not measured then, and times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from diffusers.utils import logging
from loracore_networks.lora.options import LoraOptions
from torch import Tensor

from benchmarks.joint_transformer import attention_network, empty_transformer, put_in_front, random_models
from benchmarks.peers.machine import finish
from loracore import Config, ModelOptions, Models, NetworkOptions
from loracore.memory.fitting import fit_models, load_device, spare_activations

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Size:
    """How large the model and its inputs are."""

    depth: int  # blocks, and heads of 64 features
    context: int  # features of a caption's token
    tokens: int  # of a caption
    latents: int  # width and height, an eighth of the picture's
    swaps: tuple[int, ...]
    warm_up: int
    steps: int


FULL = Size(depth=38, context=4096, tokens=333, latents=128, swaps=(0, 8, 16, 22), warm_up=3, steps=10)
TINY = Size(depth=4, context=32, tokens=5, latents=8, swaps=(0, 1, 2), warm_up=1, steps=2)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    blocks_to_swap: int = 0
    gradient_checkpointing: bool = False
    cpu_offload_checkpointing: bool = False
    fp8_base_unet: bool = False

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items() if value) or "none"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one case took."""

    seconds: float  # median of the steps
    slowest: float  # seconds
    peak_gib: float | None  # of the card's memory, as torch counts its tensors; None on the CPU
    before_gib: float | None  # the same, from loading to the first step


def cases(size: Size) -> list[Case]:
    """Return every swap count with and without checkpointing, then the other ways to save."""
    swapped = [Case(count, checkpointing) for count in size.swaps for checkpointing in (False, True)]
    offloaded = Case(gradient_checkpointing=True, cpu_offload_checkpointing=True)
    small = [Case(count, gradient_checkpointing=True, fp8_base_unet=True) for count in (0, size.swaps[-1])]
    return [*swapped, offloaded, *small]


def measure(case: Case, size: Size, device_name: str) -> Measured:
    """Train some steps and return time and memory of those after the warm-up."""
    logging.set_verbosity_error()  # it warns of layers to keep in float32, and names none
    device, dtype = torch.device(device_name), torch.bfloat16
    config = Config([ModelOptions(**asdict(case)), NetworkOptions(network_dim=16), LoraOptions()], {})
    transformer = empty_transformer(size.depth, size.depth, size.context)
    models = random_models(transformer, load_device(config, device), device, dtype)
    fit_models(models, device, dtype, config)
    spare_activations(models, config)
    network = attention_network(models, config)
    put_in_front(network, device)
    optimizer = torch.optim.AdamW(network.modules.parameters(), lr=1e-4)
    before = peak(device)
    taken = []
    for number in range(size.warm_up + size.steps):
        if number == size.warm_up:
            forget_peak(device)
        taken.append(step_seconds(models, optimizer, size, device))
    measured = taken[size.warm_up :]
    return Measured(statistics.median(measured), max(measured), peak(device), before)


def step_seconds(models: Models, optimizer: torch.optim.Optimizer, size: Size, device: torch.device) -> float:
    """Return how long one step of one picture takes, the optimizer's work included."""

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, dtype=torch.bfloat16)

    latents, context = drawn(1, 16, size.latents, size.latents), drawn(1, size.tokens, size.context)
    pooled, timesteps = drawn(1, 2048), torch.tensor([500], device=device)
    assert models.denoiser is not None
    finish(device)
    started = time.perf_counter()
    output = models.denoiser(latents, context, pooled, timesteps, return_dict=False)[0]
    output.float().square().mean().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    finish(device)
    return time.perf_counter() - started


def peak(device: torch.device) -> float | None:
    """Return how much of the card's memory was in use at most, in GiB."""
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else None


def forget_peak(device: torch.device) -> None:
    """Measure the peak anew from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def measure_alone(case: Case, size: Size, device_name: str) -> Measured | str:
    """Return what the case takes in a fresh process, or why it could not be measured."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            return pool.apply(measure, (case, size, device_name))
        except torch.OutOfMemoryError:
            return "out of memory"


def table(rows: Sequence[tuple[Case, Measured | str]], machine: str) -> str:
    """Return the Markdown page."""
    lines = [
        machine,
        "",
        "| options | s/step | slowest | peak GiB | peak GiB before the first step |",
        "| --- | --- | --- | --- | --- |",
    ]
    for case, found in rows:
        if isinstance(found, str):
            lines.append(f"| {case} | {found} | | | |")
            continue
        memory = ("–" if gib is None else f"{gib:.2f}" for gib in (found.peak_gib, found.before_gib))
        lines.append(f"| {case} | {found.seconds:.3f} | {found.slowest:.3f} | {' | '.join(memory)} |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Measure every case, write both files, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure memory and time of block swap.")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of block_swap.json and block_swap.md")
    parser.add_argument("--tiny", action="store_true", help="try the script on the CPU with a toy's sizes")
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        print("block_swap.py needs a CUDA device; --tiny tries the script without one", file=sys.stderr)
        return 2
    size, device = (TINY, "cpu") if given.tiny else (FULL, "cuda:0")
    rows = [(case, measure_alone(case, size, device)) for case in cases(size)]
    named = "CPU, toy sizes: times mean nothing" if given.tiny else torch.cuda.get_device_name(0)
    machine = f"{named}; torch {torch.__version__}, Python {platform.python_version()}"
    listed = [
        {"options": asdict(case), "measured": found if isinstance(found, str) else asdict(found)}
        for case, found in rows
    ]
    given.out.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine, "size": asdict(size), "cases": listed}
    (given.out / "block_swap.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    (given.out / "block_swap.md").write_text(table(rows, machine), encoding="utf-8")
    print(table(rows, machine), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
