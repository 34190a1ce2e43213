"""Measures what fused_backward_pass saves: the peak of memory with and without, all else being equal.

Blocks of two Linear layers have LoRA adapters of a large rank, so that the gradients are what counts, and train in bf16
with Adafactor through the same functions as a run. Each case is a process of its own: on the CPU its peak resident
memory is taken (Linux and macOS), on a CUDA device the peak of the tensors there.
``python benchmarks/fused_backward.py --out FOLDER`` writes fused_backward.json and fused_backward.md there and prints
the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from torch import nn

from loracore import Config, LoraTarget, ModelOptions, NetworkOptions, TrainingOptions
from loracore.config.options import BlockOptions
from loracore.memory.checkpointing import checkpoint_blocks
from loracore.networks.network import Network, build_network
from loracore.training.processes import Processes
from loracore.training.updates.moving import moving

GIB = 2**30
ARGUMENTS = ("relative_step=False", "scale_parameter=False")


@dataclass(frozen=True, slots=True)
class Size:
    """How large model and network are."""

    blocks: int = 16
    width: int = 2048
    rank: int = 1024
    tokens: int = 16
    steps: int = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """What one case took."""

    peak_gib: float
    before_gib: float  # in use, model, adapters and all imports included, before the first step
    parameters: int

    @property
    def added_gib(self) -> float:
        """What training took beyond what was there before."""
        return self.peak_gib - self.before_gib


def measure(size: Size, device_name: str, fused: bool) -> Measured:  # noqa: FBT001  # a process is given no names
    """Train some steps and return the peak of memory."""
    device = torch.device(device_name)
    training = TrainingOptions(
        optimizer_type="Adafactor",
        optimizer_args=ARGUMENTS,
        learning_rate=1e-4,
        max_grad_norm=0.0,
        fused_backward_pass=fused,
    )
    tables = [ModelOptions(), NetworkOptions(network_dim=size.rank), BlockOptions(), LoraOptions(), training]
    config = Config(tables, {})
    blocks = [
        nn.Sequential(nn.Linear(size.width, size.width), nn.SiLU(), nn.Linear(size.width, size.width))
        for _ in range(size.blocks)
    ]
    model = nn.Sequential(*blocks).to(device, torch.bfloat16).requires_grad_(requires_grad=False)
    checkpoint_blocks(blocks)
    network = adapters(blocks, config, device)
    updates = moving(network, config, Processes(device, 0, 1), size.steps).updates
    before = in_use(device)
    for _ in range(size.steps):
        inputs = torch.randn(1, size.tokens, size.width, device=device, dtype=torch.bfloat16, requires_grad=True)
        loss = model(inputs).float().square().mean()
        updates.backward(loss)
        updates.apply(loss.detach())
    parameters = sum(one.numel() for one in network.modules.parameters())
    return Measured(peak(device), before, parameters)


def adapters(blocks: list[nn.Sequential], config: Config, device: torch.device) -> Network:
    """Return LoRA adapters in front of every Linear layer."""
    targets = [
        LoraTarget(f"lora_unet_{at}_{path}", (layer,), (path,), "unet")
        for at, block in enumerate(blocks)
        for path, layer in block.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    network = build_network(targets, lambda target, weights: build_lora(target, weights, config))
    network.modules.to(device).train()
    network.attach()
    return network


def in_use(device: torch.device) -> float:
    """Return how much memory is in use now, or on the CPU was at most so far, in GiB."""
    return torch.cuda.memory_allocated(device) / GIB if device.type == "cuda" else peak(device)


def peak(device: torch.device) -> float:
    """Return how much memory was in use at most, in GiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (GIB if sys.platform == "darwin" else 2**20)


def measure_alone(size: Size, device_name: str, *, fused: bool) -> Measured:
    """Return what the case takes in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (size, device_name, fused))


def table(cases: Mapping[str, Measured], machine: str) -> str:
    """Return the Markdown page."""
    lines = [
        machine,
        "",
        "| | trained parameters | GiB before the first step | peak GiB | added |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in cases.items():
        numbers = (f"{gib:.2f}" for gib in (found.before_gib, found.peak_gib, found.added_gib))
        lines.append(f"| {name} | {found.parameters:,} | {' | '.join(numbers)} |")
    whole, fused = cases.values()
    ratio = fused.peak_gib / whole.peak_gib
    return "\n".join([*lines, "", f"Peak of the fused pass: {ratio:.2f} of the plain one.", ""])


def main() -> int:
    """Measure both cases, write both files, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure the memory of fused_backward_pass.")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of fused_backward.json and fused_backward.md")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:0")
    given = parser.parse_args()
    size = Size()
    cases = {
        name: measure_alone(size, given.device, fused=name == "fused_backward_pass")
        for name in ("plain", "fused_backward_pass")
    }
    named = "CPU" if given.device == "cpu" else torch.cuda.get_device_name(given.device)
    machine = f"{named}; torch {torch.__version__}, Python {platform.python_version()}"
    given.out.mkdir(parents=True, exist_ok=True)
    listed = {name: asdict(found) for name, found in cases.items()}
    report = {"machine": machine, "size": asdict(size), "cases": listed}
    (given.out / "fused_backward.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    (given.out / "fused_backward.md").write_text(table(cases, machine), encoding="utf-8")
    print(table(cases, machine), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
