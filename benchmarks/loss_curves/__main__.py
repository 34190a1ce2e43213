"""The command: ``python -m benchmarks.loss_curves --out FOLDER``; ``--help`` tells the rest."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.loss_curves.apart import Reference
from benchmarks.loss_curves.page import Found, Row, write_page
from benchmarks.loss_curves.running import Runs, WithoutEffectError, in_process_of_its_own
from benchmarks.loss_curves.settings import Setting, settings
from benchmarks.peers.architectures import Architecture, architectures
from benchmarks.peers.machine import heading, machine
from benchmarks.peers.running import Place
from benchmarks.peers.work import SIZES, Work, write_work

_RANK = 16
_BLOCKS = 4  # of a small transformer: two swap, two stay
_LEAST = 2  # steps: with one, no other draws are left to compare with


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.loss_curves", description="Hold settings together.")
    found.add_argument("--out", type=Path, required=True, help="folder of loss_curves.json, .md and .svg")
    found.add_argument("--arch", choices=tuple(architectures()), default="sdxl")
    sizes = tuple(name for name, size in SIZES.items() if not size.deep)
    found.add_argument("--size", choices=sizes, default="tiny", help="low and full have the model's own size")
    found.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    found.add_argument("--steps", type=int, default=200)
    found.add_argument("--threads", type=int, help="of torch, on the CPU")
    found.add_argument("--only", nargs="+", default=(), help="settings whose names begin like this")
    return found


def work_of(given: argparse.Namespace, folder: Path) -> Work:
    """Return what is trained: one picture a step."""
    architecture = deep_enough(architectures()[given.arch])
    return Work(
        folder,
        architecture,
        SIZES[given.size],
        batch=1,
        steps=given.steps,
        rank=_RANK,
        checkpointing=False,
        device=given.device,
    )


def deep_enough(architecture: Architecture) -> Architecture:
    """Return the architecture with a small model of which blocks can swap; a U-Net has enough of them."""
    small = architecture.small
    return replace(architecture, small={**small, "num_layers": _BLOCKS}) if "num_layers" in small else architecture


def held_together(
    runs: Runs, reference: Reference, chosen: Sequence[Setting], say: Callable[[str], None]
) -> Iterator[Found]:
    """Run one setting after the other, and give what has been found so far; what fails is said and left out."""
    rows, idle, failed = list[Row](), list[str](), list[str]()
    for setting in chosen:
        try:
            curve = runs.curve(setting)
        except WithoutEffectError:
            idle.append(setting.name)
        except RuntimeError as error:
            say(str(error))
            failed.append(setting.name)
        else:
            rows.append(Row(setting, curve, reference.apart(curve)))
            say(f"{setting.name}: {'inside' if rows[-1].passed else 'missed'}, {rows[-1].apart.gate.step:.1e} a step")
        yield Found(reference.plain, tuple(rows), tuple(idle), tuple(failed))


def main() -> int:
    """Train, write and print; return the exit code."""
    reading = parser()
    given = reading.parse_args()
    if given.steps < _LEAST:
        reading.error(f"--steps must be at least {_LEAST}")
    if given.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device; --device cpu trains on the processor", file=sys.stderr)
        return 2
    chosen = [one for one in settings(given.device) if not given.only or one.name.startswith(tuple(given.only))]
    if not chosen:
        reading.error(f"no setting begins with {' or '.join(given.only)}")
    given.out.mkdir(parents=True, exist_ok=True)
    trained = f"{given.arch}, {given.size}, {given.steps} steps"
    title = heading("benchmarks.loss_curves", trained, machine(given.device, given.threads))
    for found in measured(given, chosen):
        page = write_page(given.out, title, found)  # after each setting: all of them take long
    print(page, end="")
    return 0 if found.passed else 1


def measured(given: argparse.Namespace, chosen: Sequence[Setting]) -> Iterator[Found]:
    """Train plainly and under one setting after the other, each in a process of its own; give what is found so far."""
    with tempfile.TemporaryDirectory(prefix="loss-curves-") as name:
        folder = Path(name)
        work = work_of(given, folder / "work")
        work.folder.mkdir()
        write_work(work)
        runs = Runs(work, folder, in_process_of_its_own(Place(given.device, given.threads), folder))
        yield from held_together(runs, runs.reference(), chosen, lambda line: print(line, file=sys.stderr, flush=True))


if __name__ == "__main__":
    sys.exit(main())
