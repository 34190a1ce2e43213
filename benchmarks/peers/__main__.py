"""The command: ``python -m benchmarks.peers --out FOLDER --sd_scripts PATH --diffusers PATH``; see ``--help``."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.peers.architectures import architectures
from benchmarks.peers.blocks import marked_steps
from benchmarks.peers.comparing import Comparison, Duel
from benchmarks.peers.machine import heading, machine
from benchmarks.peers.page import write_page
from benchmarks.peers.recording import EVERY
from benchmarks.peers.running import Place, Trainer
from benchmarks.peers.sides import ours, peers
from benchmarks.peers.work import SIZES, Work, write_work


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Train beside others.")
    found.add_argument("--out", type=Path, required=True, help="folder of peers.json and peers.md")
    found.add_argument("--arch", choices=tuple(architectures()), default="sdxl")
    found.add_argument("--size", choices=tuple(SIZES), default="tiny", help="see docs/benchmarks.md")
    found.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="float32 on the CPU, bf16 on a card")
    found.add_argument("--batch", type=int, default=1)
    found.add_argument("--rank", type=int, default=16)
    found.add_argument("--checkpointing", action="store_true", help="both sides with gradient checkpointing")
    found.add_argument("--pairs", type=int, default=3, help="blocks of each side, in turn")
    found.add_argument("--steps", type=int, default=70, help="of a block, the warm-up included")
    found.add_argument("--warm_up", type=int, default=20, help="steps of a block that are not measured")
    found.add_argument("--threads", type=int, help="of torch, on the CPU")
    for option, side in peers().items():
        found.add_argument(f"--{option}", type=Path, help=f"a checkout of {side.name}")
        found.add_argument(f"--{option}_python", default=sys.executable, help="of an environment with what it needs")
        found.add_argument(f"--{option}_words", default="", help=f"further options of {side.name}'s, in quotes")
    found.add_argument("--our_words", default="", help="further options of ours, in quotes")
    return found


def unmeasured(given: argparse.Namespace) -> str | None:
    """Return why a block of so many steps would measure nothing, or None."""
    if given.warm_up < 1:
        return "--warm_up must be at least 1: the first step has no beginning"
    if given.pairs < 1:
        return "--pairs must be at least 1"
    if given.steps <= given.warm_up:
        return f"--steps {given.steps} leaves nothing to measure behind --warm_up {given.warm_up}"
    if given.device == "cuda" and marked_steps(given.steps, given.warm_up) < 1:
        return (
            f"--steps {given.steps} has not two marks behind --warm_up {given.warm_up}: one is set every {EVERY} steps"
        )
    return None


def rivals(given: argparse.Namespace) -> list[Trainer]:
    """Return the peers whose checkouts are given."""
    told, found = vars(given), list[Trainer]()
    for option, side in peers().items():
        checkout: Path | None = told[option]
        if checkout is not None:
            words = tuple(shlex.split(told[f"{option}_words"]))
            found.append(Trainer(side, words, checkout.resolve(), told[f"{option}_python"]))
    return found


def undriven(given: argparse.Namespace) -> str | None:
    """Return what the architecture has not, a size or a peer's script for it, or None."""
    plugin = architectures()[given.arch].plugin
    if SIZES[given.size].deep and not architectures()[given.arch].deep:
        return f"--arch {given.arch} has no --size {given.size}"
    lacking = [one.side.name for one in rivals(given) if plugin not in one.side.scripts]
    if given.diffusers is not None and SIZES[given.size].pictures % given.batch:
        return f"--batch {given.batch} leaves a shorter one at an epoch's end, which diffusers' side does not follow"
    return f"--arch {given.arch} is not driven with {', '.join(lacking)}" if lacking else None


def duel(given: argparse.Namespace, theirs: Trainer) -> Comparison:
    """Write the work that both can do, and compare."""
    architecture, size = theirs.side.adapted(architectures()[given.arch]), SIZES[given.size]
    architecture = replace(architecture, small=architecture.deep) if size.deep else architecture
    place, our_side = Place(given.device, given.threads), Trainer(ours(), tuple(shlex.split(given.our_words)))
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        path, checkpointing = Path(folder) / "work", given.checkpointing
        work = Work(path, architecture, size, given.batch, given.steps, given.rank, checkpointing, given.device)
        work.folder.mkdir()
        write_work(work)
        theirs.side.prepare(work)
        found = Duel(our_side, theirs, work, place, given.pairs, given.warm_up)
        return found.compare(Path(folder), lambda line: print(line, file=sys.stderr, flush=True))


def main() -> int:
    """Measure, write and print; return the exit code."""
    reading = parser()
    given = reading.parse_args()
    wrong = unmeasured(given) or undriven(given)
    if wrong:
        reading.error(wrong)
    met = rivals(given)
    if not met:
        options = " or ".join(f"--{option} PATH" for option in peers())
        print(f"{options} names a checkout; without one nothing is left to compare", file=sys.stderr)
        return 2
    if given.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device; --device cpu compares on the processor", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    title = heading("benchmarks.peers", machine(given.device, given.threads))
    found: list[Comparison] = []
    for theirs in met:
        found.append(duel(given, theirs))
        page = write_page(given.out, title, found)  # after each: the next may fail
    print(page, end="")
    return 0 if all(one.gate.passed for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
