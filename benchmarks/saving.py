"""Measures for how long a save stops training: the copy of a rank-16 LoRA of SDXL's full size, beside a whole save.

The network is a run's own, with a LoRA for every attention and feed-forward layer of the denoiser and both text
encoders (986 modules), without the base model's weights. ``python benchmarks/saving.py --out FOLDER`` writes
saving.json and saving.md there and prints the table; ``--device cuda`` is what the goal (under 10 ms) is about.

Stall: from asking for the copy until the device has made it, with nothing else to do. Asked: until Python goes on.
Whole: a save that waits for the file. Pause: the longest that a loop of tiny operations stood still while the file was
written on its thread; a busy machine is in this figure, too.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
from loracore_networks.lora.building import build_lora
from loracore_networks.lora.options import LoraOptions
from loracore_sdxl import models, targets
from loracore_sdxl.options import SdxlOptions
from loracore_sdxl.parts import kinds
from torch import nn

from loracore import Config, LoraTarget, NetworkOptions
from loracore.config.options import BlockOptions
from loracore.diffusion.files.part_kinds import models_of
from loracore.diffusion.files.parts import standard_parts
from loracore.errors import LoracoreError
from loracore.networks.network import Network, build_network
from loracore.training.results.checkpoints import write_network
from loracore.training.results.snapshots import Shadow, Snapshots
from loracore.training.results.writing import BackgroundWriter

MILLI = 1e3
METADATA = {"ss_network_module": "networks.lora"}


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds of several trials."""

    name: str
    median: float
    smallest: float
    largest: float


def figures(name: str, seconds: Sequence[float]) -> Figures:
    """Return what the trials come to."""
    trials = [second * MILLI for second in seconds]
    return Figures(name, median(trials), min(trials), max(trials))


def full_size_targets() -> list[LoraTarget]:
    """Return every target; its layers have the real shapes, their weights are one zero seen everywhere."""
    parts = {name: part.module for name, part in standard_parts(kinds()).items()}
    every = targets.every(models_of(parts, models.unet_blocks, {}, targets.block_groups), Config([SdxlOptions()], {}))
    found = [target for target in every if not target.needs_conv]
    for layer in {layer for target in found for layer in target.layers}:
        layer.weight = nn.Parameter(torch.zeros(()).expand(layer.weight.shape), requires_grad=False)
    return found


def full_size_network(rank: int, device: torch.device) -> Network:
    """Return the adapters, with numbers in all of them."""
    config = Config([NetworkOptions(network_dim=rank), BlockOptions(), LoraOptions()], {})
    network = build_network(full_size_targets(), lambda target, weights: build_lora(target, weights, config))
    network.modules.to(device)
    with torch.no_grad():
        for parameter in network.modules.parameters():
            parameter.uniform_(-1, 1)
    return network


def settled(device: torch.device) -> float:
    """Return the time when the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(network: Network, device: torch.device, trials: int, folder: Path) -> list[Figures]:
    """Return stall, asking, whole saves and the longest pause."""
    copies, writer = Snapshots(network), BackgroundWriter()
    copies.give_back(copies.take({}))  # the first touches the host's memory
    stalls, asked, whole, pauses = [], [], [], []
    for _ in range(trials):
        start = settled(device)
        shadow = copies.take({})
        asked.append(time.perf_counter() - start)
        stalls.append(settled(device) - start)
        writer.submit(partial(write, shadow, copies, folder / "a.safetensors"), folder, refuse)
        pauses.append(longest_pause(writer))
        start = settled(device)
        write(copies.take({}), copies, folder / "b.safetensors")
        whole.append(time.perf_counter() - start)
    named = {"stall": stalls, "asked": asked, "whole save": whole, "pause": pauses}
    return [figures(name, seconds) for name, seconds in named.items()]


def write(shadow: Shadow, copies: Snapshots, path: Path) -> None:
    """Write a file from a copy, as a run does."""
    tensors = shadow.file_tensors(torch.float32)
    copies.give_back(shadow)
    write_network(path, tensors, METADATA)


def refuse(error: LoracoreError | None) -> None:
    """Stop at a file that could not be written."""
    if error is not None:
        raise error


def longest_pause(writer: BackgroundWriter) -> float:
    """Return the longest time between two rounds of a loop, until everything is written."""
    longest, before, number = 0.0, time.perf_counter(), torch.zeros(8)
    done: list[bool] = []
    writer.submit(lambda: None, Path(), lambda _: done.append(True))
    while not done:
        number.add_(1)
        writer.poll()
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    return longest


def table(found: Sequence[Figures], header: str) -> str:
    """Return the figures as Markdown."""
    rows = [f"| {one.name} | {one.median:.2f} | {one.smallest:.2f} | {one.largest:.2f} |" for one in found]
    return "\n".join([header, "", "| ms | median | smallest | largest |", "|---|---|---|---|", *rows, ""])


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--trials", type=int, default=10)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    network = full_size_network(arguments.rank, device)
    with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
        found = measure(network, device, arguments.trials, Path(folder))
    size = sum(one.numel() * one.element_size() for one in network.modules.parameters()) / 2**20
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()}, CPU alone"
    header = f"{len(network.entries)} modules of rank {arguments.rank}, {size:.0f} MiB in float32; {machine}"
    text = table(found, header)
    (arguments.out / "saving.json").write_text(
        json.dumps({"what": header, "torch": torch.__version__, "figures": [asdict(one) for one in found]}, indent=2),
        encoding="utf-8",
    )
    (arguments.out / "saving.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
