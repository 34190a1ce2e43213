"""Measures memory and time of the commands that rewrite weight files, on files of SDXL's full size.

``python benchmarks/weight_tools.py --out FOLDER`` writes a checkpoint and a tuned one of random bf16 weights (7 GB
each), two LoRA and a LoHa of all attention and feed-forward layers into FOLDER/files, runs each command there as a
process of its own, and writes weight_tools.json and weight_tools.md into FOLDER. The files are removed at the end;
about 25 GB of disk are needed meanwhile. ``--small`` tries everything with a tiny model; its figures mean nothing.
Needs Linux (/proc tells a process's memory) and loracore-sdxl.

Anonymous memory (RssAnon) is what a process needs. Pages of mapped files, which the kernel drops whenever it wants
room, are told apart: the peak of everything resident (VmHWM) has them too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import loracore_sdxl
import torch
from loracore_sdxl import models, targets
from loracore_sdxl.options import SdxlOptions
from loracore_sdxl.parts import kinds
from torch import Tensor

from loracore import Config, LoraTarget
from loracore.diffusion.files.loading import EmptyPart
from loracore.diffusion.files.part_kinds import models_of
from loracore.diffusion.files.parts import names_in_files, standard_parts
from loracore.networks.spellings import ALPHA, DOWN, UP
from loracore.weights.layout import FileTensor
from loracore.weights.writing import Piece, write_pieces

MIB = 2**20
POLL = 0.01  # seconds
TINY = Path(loracore_sdxl.__file__).parent / "demo_model"  # configurations without weights
TUNED_RANK = 8  # of the difference of the two checkpoints
LOHA_RANK = 8
WRITTEN = ("merged", "extracted", "resized", "concat", "svd", "nearest")  # by commands, of no use to later ones
STOCK = 2**24  # random numbers, more than any weight that is compared has


@dataclass(frozen=True, slots=True)
class Case:
    """One command, and the file whose size its memory is compared with."""

    name: str
    arguments: tuple[str, ...]
    largest: str  # of the files that it reads or writes


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process took."""

    seconds: float
    cpu: float  # seconds of all its threads: what it would take at least on a quiet machine with one
    anonymous: float  # MiB, peak of RssAnon
    resident: float  # MiB, peak of everything resident (VmHWM), pages of mapped files included
    file: float  # MiB of the largest file
    load: float  # of the machine in the minute before


# ---- files -----------------------------------------------------------------------------------------------------------


def empty_parts(*, small: bool) -> dict[str, EmptyPart]:
    """Return the model's parts on the meta device."""
    if not small:
        return dict(standard_parts(kinds()))
    configs = {kind.name: json.loads((TINY / kind.folder / "config.json").read_text("utf-8")) for kind in kinds()}
    built = {kind.name: kind.build(configs[kind.name]) for kind in kinds()}
    return {kind.name: EmptyPart(kind.label, built[kind.name], None, {}) for kind in kinds()}


def write_checkpoints(folder: Path, parts: dict[str, EmptyPart], every: Sequence[LoraTarget]) -> None:
    """Write base.safetensors of random weights, and tuned.safetensors with low-rank changes at the targets."""
    numbers = torch.randn(STOCK, generator=torch.Generator().manual_seed(0))
    layers = {id(layer.weight) for target in every for layer in target.layers}
    for name in ("base", "tuned"):
        pieces = [
            Piece((place,), partial(made_tensor, place, shape, numbers, changed=name == "tuned" and adapted))
            for place, shape, adapted in places(parts, layers)
        ]
        write_pieces(folder / f"{name}.safetensors", pieces, [piece.names[0] for piece in pieces], {})


def places(parts: dict[str, EmptyPart], layers: set[int]) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Give name and shape of each tensor in the original layout, and whether any of its rows is a target's."""
    for kind in kinds():
        state = dict(parts[kind.name].module.state_dict(keep_vars=True))
        groups: dict[str, list[tuple[FileTensor, Tensor]]] = {}
        for key, place in names_in_files(kind, parts[kind.name]).original.items():
            groups.setdefault(place.name, []).append((place, state[key]))
        for name, group in groups.items():
            place, first = group[0]
            yield name, place.file_shape(tuple(first.shape)), any(id(tensor) in layers for _, tensor in group)


def made_tensor(name: str, shape: tuple[int, ...], numbers: Tensor, *, changed: bool) -> dict[str, Tensor]:
    """Return weights in bf16, always the same for a name; changed ones have a low-rank difference."""
    start = sum(name.encode())
    tensor = drawn(numbers, start, shape)
    if changed:
        up = drawn(numbers, start + 1, (shape[0], TUNED_RANK))
        down = drawn(numbers, start + 2, (TUNED_RANK, tensor[0].numel()))
        tensor = tensor + (up @ down).view(shape)
    return {name: (tensor * 0.02).bfloat16()}


def drawn(numbers: Tensor, start: int, shape: tuple[int, ...]) -> Tensor:
    """Return random numbers from a stock of them, which is much faster than drawing each anew."""
    count = math.prod(shape)
    found = numbers[start : start + count]
    return (found if len(found) == count else found.repeat(count // len(found) + 1)[:count]).view(shape)


def write_networks(folder: Path, every: Sequence[LoraTarget], rank: int) -> None:
    """Write lora, other (two LoRA of this rank), and loha, in bf16."""
    files: dict[str, Callable[[LoraTarget], dict[str, Tensor]]] = {
        "lora": partial(lora, rank=rank),
        "other": partial(lora, rank=rank),
        "loha": loha,
    }
    torch.manual_seed(1)
    for name, make in files.items():
        pieces = [Piece(tuple(make(target)), partial(make, target)) for target in every]
        names = [one for piece in pieces for one in piece.names]
        write_pieces(folder / f"{name}.safetensors", pieces, names, {"ss_network_module": "networks.lora"})


def lora(target: LoraTarget, rank: int) -> dict[str, Tensor]:
    """Return a module of random factors."""
    rows, columns = sum(len(layer.weight) for layer in target.layers), target.layers[0].weight[0].numel()
    drawn = {ALPHA: torch.tensor(rank / 2.0), DOWN: torch.randn(rank, columns), UP: torch.randn(rows, rank)}
    return {
        f"{target.key}.{kind}": (tensor * 0.02 if tensor.dim() else tensor).bfloat16() for kind, tensor in drawn.items()
    }


def loha(target: LoraTarget) -> dict[str, Tensor]:
    """Return a LoHa module of random factors."""
    rows, columns = sum(len(layer.weight) for layer in target.layers), target.layers[0].weight[0].numel()
    shapes = {"hada_w1_a": (rows, LOHA_RANK), "hada_w1_b": (LOHA_RANK, columns)}
    shapes |= {"hada_w2_a": (rows, LOHA_RANK), "hada_w2_b": (LOHA_RANK, columns)}
    drawn = {f"{target.key}.{kind}": (torch.randn(shape) * 0.1).bfloat16() for kind, shape in shapes.items()}
    return {f"{target.key}.{ALPHA}": torch.tensor(LOHA_RANK / 2.0).bfloat16(), **drawn}


def write_files(folder: Path, *, small: bool) -> None:
    """Write everything that the commands read."""
    parts = empty_parts(small=small)
    whole = models_of({name: part.module for name, part in parts.items()}, models.unet_blocks, {}, targets.block_groups)
    every = [target for target in targets.every(whole, Config([SdxlOptions()], {})) if not target.needs_conv]
    write_checkpoints(folder, parts, every)
    write_networks(folder, every, 4 if small else 32)
    if small:  # sizes that no tensor tells
        for name in ("base", "tuned"):
            shutil.copytree(TINY, folder / name, dirs_exist_ok=True)


# ---- processes -------------------------------------------------------------------------------------------------------


def cases(*, small: bool) -> list[Case]:
    """Return the commands in the order in which their files come about."""
    rank = "2" if small else "16"
    base, arch = ("--pretrained_model_name_or_path", "base.safetensors"), ("--arch", "sdxl")
    network, both = ("--network_weights", "lora.safetensors"), ("lora.safetensors", "other.safetensors")
    loha = ("--network_weights", "loha.safetensors")
    sized = base if small else ()  # without a base model, names are those of the full size

    def to(name: str) -> tuple[str, str]:
        return "--save_to", f"{name}.safetensors"

    return [
        Case("(imports alone)", (), "lora"),
        Case("inspect", ("inspect", "lora.safetensors"), "lora"),
        Case(f"resize --new_rank {rank}", ("resize", *network, "--new_rank", rank, *to("resized")), "lora"),
        Case("merge, concat", ("merge", "--models", *both, *to("concat")), "concat"),
        Case("merge, svd", ("merge", "--models", *both, "--method", "svd", "--new_rank", rank, *to("svd")), "lora"),
        Case("convert --to diffusers", ("convert", *arch, *sized, *network, *to("peft")), "lora"),
        Case(
            "convert --to kohya",
            ("convert", *arch, *sized, "--network_weights", "peft.safetensors", *to("kohya")),
            "lora",
        ),
        Case(
            f"convert LoHa --new_rank {rank}",
            ("convert", *arch, *sized, *loha, "--to", "kohya", "--new_rank", rank, *to("nearest")),
            "loha",
        ),
        Case("merge into the base model", ("merge", *arch, *base, "--models", both[0], *to("merged")), "base"),
        Case(
            f"extract --network_dim {rank}",
            ("extract", *arch, *base, "--tuned_model", "tuned.safetensors", "--network_dim", rank, *to("extracted")),
            "base",
        ),
    ]


def measure(case: Case, folder: Path) -> Measured | str:
    """Return what the command takes, or the last line that it said before it failed."""
    imports = [sys.executable, "-c", "import torch, diffusers.models.unets.unet_2d_condition, transformers"]
    command = [sys.executable, "-m", "loracore", *case.arguments] if case.arguments else imports
    said, load, before = folder / "said.txt", os.getloadavg()[0], children_seconds()
    started = time.perf_counter()
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)  # noqa: S603  # of this script
        anonymous = resident = 0.0
        while process.poll() is None:
            found = memory(process.pid)
            anonymous, resident = max(anonymous, found[0]), max(resident, found[1])
            time.sleep(POLL)
    seconds = time.perf_counter() - started
    if process.returncode:
        return said.read_text(encoding="utf-8").strip().splitlines()[-1]
    size = (folder / f"{case.largest}.safetensors").stat().st_size / MIB
    return Measured(seconds, children_seconds() - before, anonymous, resident, size, load)


def children_seconds() -> float:
    """Return the CPU seconds of all processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory(process: int) -> tuple[float, float]:
    """Return RssAnon and VmHWM in MiB; zeros when the process has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0, 0.0
    table = {name: text.split()[0] for name, _, text in (line.partition(":") for line in lines) if text.endswith(" kB")}
    return int(table.get("RssAnon", 0)) / 1024, int(table.get("VmHWM", 0)) / 1024


# ---- report ----------------------------------------------------------------------------------------------------------


def table(rows: Sequence[tuple[Case, Measured | str]], machine: str) -> str:
    """Return the Markdown page."""
    memory_heads = ("peak anonymous MiB", "resident MiB, mapped files too", "file MiB", "anonymous / file")
    heads = ("command", "s", "CPU s", *memory_heads, "load before")
    lines = [
        machine,
        "",
        f"| {' | '.join(heads)} |",
        f"|{' --- |' * len(heads)}",
    ]
    for case, found in rows:
        if isinstance(found, str):
            lines.append(f"| {case.name} | failed: {found} | | | | | | |")
            continue
        figures = (
            f"{found.seconds:.1f} | {found.cpu:.1f} | {found.anonymous:.0f} | {found.resident:.0f} | {found.file:.0f}"
        )
        lines.append(f"| {case.name} | {figures} | {found.anonymous / found.file:.2f} | {found.load:.1f} |")
    return "\n".join([*lines, ""])


def write_reports(folder: Path, rows: Sequence[tuple[Case, Measured | str]], *, small: bool) -> None:
    """Write weight_tools.json and weight_tools.md, and print the latter."""
    sizes = "a tiny model: figures mean nothing" if small else "SDXL's full size, bf16"
    machine = f"{sizes}; {os.cpu_count()} CPU cores, {torch.get_num_threads()} threads; torch {torch.__version__}, "
    machine += f"Python {platform.python_version()}"
    listed = [
        {"command": list(case.arguments), "measured": found if isinstance(found, str) else asdict(found)}
        for case, found in rows
    ]
    (folder / "weight_tools.json").write_text(json.dumps({"machine": machine, "cases": listed}, indent=2), "utf-8")
    (folder / "weight_tools.md").write_text(table(rows, machine), encoding="utf-8")
    print(table(rows, machine), end="")


def main() -> int:
    """Write the files, measure every command, write both reports, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure memory and time of the commands for weight files.")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the reports and, meanwhile, of the files")
    parser.add_argument("--small", action="store_true", help="try the script with a tiny model")
    parser.add_argument("--only", nargs="*", default=[""], help="commands by the beginnings of their names")
    parser.add_argument("--keep", action="store_true", help="leave the files there; a later run takes them")
    given = parser.parse_args()
    folder: Path = given.out / "files"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    try:
        if not (folder / "loha.safetensors").exists():  # the last one that is written
            write_files(folder, small=given.small)
        for case in cases(small=given.small):
            if case.name.startswith(tuple(given.only)):
                rows.append((case, measure(case, folder)))
                print(table(rows[-1:], "").splitlines()[-1], flush=True)
                for name in WRITTEN:
                    (folder / f"{name}.safetensors").unlink(missing_ok=True)
    finally:
        if not given.keep:
            shutil.rmtree(folder)
    write_reports(given.out, rows, small=given.small)
    return int(any(isinstance(found, str) for _, found in rows))


if __name__ == "__main__":
    sys.exit(main())
