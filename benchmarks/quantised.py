"""Measures what frozen weights in fewer bits save, how far off they are, and what they cost in time.

A transformer with the blocks of SD3.5 (random weights) has LoRA adapters in front of every attention projection, and
trains on random latents through the same functions as a run: with its weights as they are, with the plain cast of
fp8_base_unet, and with each base_model_precision. Cases take turns, each time in a process of their own.

On a CUDA device it has the sizes of SD3.5 large (8 billion weights); without one, or with ``--small``, a few blocks of
width 768, on the CPU; ``--tiny`` only tries the script. Needs diffusers and loracore-networks:
``python -m benchmarks.quantised --out FOLDER`` writes quantised.json and quantised.md there and prints the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers.utils import logging
from loracore_networks.lora.options import LoraOptions
from torch import Tensor, nn

from benchmarks.joint_transformer import attention_network, empty_transformer, put_in_front, random_models
from benchmarks.peers.machine import finish
from loracore import Config, ModelOptions, Models, NetworkOptions
from loracore.memory.fitting import fit_models, load_device, spare_activations
from loracore.memory.quantised.linear import quantised_layers
from loracore.networks.network import Network

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Size:
    """How large the model and its inputs are, and how often each case is measured."""

    depth: int  # blocks
    heads: int  # of 64 features
    context: int  # features of a caption's token
    tokens: int  # of a caption
    latents: int  # width and height, an eighth of the picture's
    warm_up: int
    steps: int
    rounds: int


FULL = Size(depth=38, heads=38, context=4096, tokens=333, latents=128, warm_up=3, steps=10, rounds=3)
SMALL = Size(depth=6, heads=12, context=1024, tokens=77, latents=32, warm_up=1, steps=5, rounds=3)
TINY = Size(depth=2, heads=2, context=32, tokens=5, latents=8, warm_up=1, steps=2, rounds=1)

#: Options by the names of the table's rows; the first is what the others are compared with.
CASES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "as given (bf16)": {},
        "fp8_base_unet": {"fp8_base_unet": True},
        **{name: {"base_model_precision": name} for name in ("fp8_scaled", "int8", "nf4")},
    }
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one case came to, once."""

    seconds: float  # median of the steps
    weights_mib: float  # of all that the denoiser holds
    peak_mib: float | None  # of the card's memory in these steps; None on the CPU
    loading_seconds: float  # from random weights to a model that is ready
    worst_error: float | None  # |W - stored W| / |W| of the worst matrix; None where it is not told


def measure(case: str, size: Size, device_name: str, gradients: Path) -> Measured:
    """Train some steps; keep the gradients of the first in a file."""
    logging.set_verbosity_error()  # it warns of layers to keep in float32, and names none
    device, dtype = torch.device(device_name), torch.bfloat16
    options = ModelOptions(gradient_checkpointing=device.type == "cuda", **CASES[case])
    config = Config([options, NetworkOptions(network_dim=16), LoraOptions()], {})
    transformer = empty_transformer(size.depth, size.heads, size.context)
    torch.manual_seed(0)
    models = random_models(transformer, load_device(config, device), device, dtype)
    started = time.perf_counter()
    fit_models(models, device, dtype, config)
    finish(device)
    loading = time.perf_counter() - started
    spare_activations(models, config)
    network = learnt_network(models, config, device)
    optimizer = torch.optim.AdamW(network.modules.parameters(), lr=1e-4)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    taken = []
    for number in range(size.warm_up + size.steps):
        taken.append(step_seconds(models, size, device, number))
        if not number:
            flat = [one.grad.flatten().float().cpu() for one in network.modules.parameters() if one.grad is not None]
            torch.save(torch.cat(flat), gradients)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    assert models.denoiser is not None
    held = sum(one.nbytes for one in (*models.denoiser.parameters(), *models.denoiser.buffers()))
    errors = [layer.original.relative_error for _, layer in quantised_layers(models.denoiser)]
    peak = torch.cuda.max_memory_allocated(device) / MIB if device.type == "cuda" else None
    return Measured(
        statistics.median(taken[size.warm_up :]), held / MIB, peak, loading, max(errors) if errors else None
    )


def learnt_network(models: Models, config: Config, device: torch.device) -> Network:
    """Return LoRA adapters in front of every attention projection of the blocks, none of them fresh."""
    network, generator = attention_network(models, config), torch.Generator().manual_seed(0)
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter, std=0.02, generator=generator)
    put_in_front(network, device)
    return network


def step_seconds(models: Models, size: Size, device: torch.device, number: int) -> float:
    """Return how long forward and backward pass of one picture take, the same in every case."""
    generator = torch.Generator(device).manual_seed(number)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, dtype=torch.bfloat16, generator=generator)

    latents, context = drawn(1, 16, size.latents, size.latents), drawn(1, size.tokens, size.context)
    pooled, timesteps = drawn(1, 2048), torch.tensor([500], device=device)
    assert models.denoiser is not None
    finish(device)
    started = time.perf_counter()
    output = models.denoiser(latents, context, pooled, timesteps, return_dict=False)[0]
    (output.float() - drawn(1, 16, size.latents, size.latents)).square().mean().backward()
    finish(device)
    return time.perf_counter() - started


def measure_alone(case: str, size: Size, device: str, gradients: Path) -> Measured:
    """Return what the case comes to in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (case, size, device, gradients))


def row(case: str, rounds: Sequence[Measured], first: Sequence[Measured], cosine: float) -> dict[str, Any]:
    """Return what is told of a case; ratios are of rounds that followed one another."""
    ratios = [one.seconds / given.seconds for one, given in zip(rounds, first, strict=True)]
    return {
        "case": case,
        **asdict(rounds[-1]),
        "seconds": statistics.median(one.seconds for one in rounds),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "gradient_cosine": cosine,
    }


def table(rows: Sequence[Mapping[str, Any]], machine: str) -> str:
    """Return the Markdown page."""
    lines = [
        machine,
        "",
        "| frozen weights | MiB | worst error | cosine of gradients | s/step | ratio (least to most) | peak MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for found in rows:
        error = "–" if found["worst_error"] is None else f"{found['worst_error']:.2%}"
        peak = "–" if found["peak_mib"] is None else f"{found['peak_mib']:.0f}"
        least, most = found["ratio_range"]
        lines.append(
            f"| {found['case']} | {found['weights_mib']:.1f} | {error} | {found['gradient_cosine']:.5f} "
            f"| {found['seconds']:.3f} | {found['ratio']:.2f} ({least:.2f} to {most:.2f}) | {peak} |"
        )
    return "\n".join([*lines, ""])


def measured_rows(size: Size, device: str) -> list[dict[str, Any]]:
    """Measure every case in turns, and return a row for each."""
    found: dict[str, list[Measured]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        files = {case: Path(folder) / f"{number}.pt" for number, case in enumerate(CASES)}
        for _ in range(size.rounds):
            for case, rounds in found.items():
                rounds.append(measure_alone(case, size, device, files[case]))
        gradients = {case: torch.load(path, weights_only=True).double() for case, path in files.items()}
    given = next(iter(CASES))
    cosines = {case: torch.cosine_similarity(one, gradients[given], dim=0).item() for case, one in gradients.items()}
    return [row(case, rounds, found[given], cosines[case]) for case, rounds in found.items()]


def main() -> int:
    """Measure every case, write both files, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure frozen weights in fewer bits.")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of quantised.json and quantised.md")
    parser.add_argument("--small", action="store_true", help="a small model on the CPU, also where a card is")
    parser.add_argument("--tiny", action="store_true", help="try the script with a toy's sizes")
    given = parser.parse_args()
    on_card = torch.cuda.is_available() and not given.small and not given.tiny
    size, device = (FULL, "cuda:0") if on_card else (TINY if given.tiny else SMALL, "cpu")
    rows = measured_rows(size, device)
    named = torch.cuda.get_device_name(0) if on_card else f"CPU, {torch.get_num_threads()} threads"
    machine = f"{named}; torch {torch.__version__}, Python {platform.python_version()}; {asdict(size)}"
    given.out.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine, "size": asdict(size), "cases": rows}
    (given.out / "quantised.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    (given.out / "quantised.md").write_text(table(rows, machine), encoding="utf-8")
    print(table(rows, machine), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
