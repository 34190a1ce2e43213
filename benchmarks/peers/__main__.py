"""The command: ``python -m benchmarks.peers --out FOLDER --sd_scripts PATH``; ``--help`` tells the rest."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.peers.architectures import architectures
from benchmarks.peers.blocks import marked_steps
from benchmarks.peers.comparing import Duel
from benchmarks.peers.machine import machine
from benchmarks.peers.page import write_page
from benchmarks.peers.recording import EVERY
from benchmarks.peers.running import Place, Trainer
from benchmarks.peers.work import SIZES, Work, write_work


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Train beside others.")
    found.add_argument("--out", type=Path, required=True, help="folder of peers.json and peers.md")
    found.add_argument("--arch", choices=tuple(architectures()), default="sdxl")
    found.add_argument("--size", choices=tuple(SIZES), default="tiny", help="low and full have the model's own size")
    found.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="float32 on the CPU, bf16 on a card")
    found.add_argument("--batch", type=int, default=1)
    found.add_argument("--rank", type=int, default=16)
    found.add_argument("--checkpointing", action="store_true", help="both sides with gradient checkpointing")
    found.add_argument("--pairs", type=int, default=3, help="blocks of each side, in turn")
    found.add_argument("--steps", type=int, default=70, help="of a block, the warm-up included")
    found.add_argument("--warm_up", type=int, default=20, help="steps of a block that are not measured")
    found.add_argument("--threads", type=int, help="of torch, on the CPU")
    found.add_argument("--sd_scripts", type=Path, help="a checkout of sd-scripts")
    found.add_argument("--sd_scripts_python", default=sys.executable, help="of an environment that has what it needs")
    found.add_argument("--sd_scripts_words", default="", help="further options of sd-scripts, in quotes")
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


def main() -> int:
    """Measure, write and print; return the exit code."""
    reading = parser()
    given = reading.parse_args()
    wrong = unmeasured(given)
    if wrong:
        reading.error(wrong)
    if given.sd_scripts is None:
        print("sd-scripts is skipped: --sd_scripts PATH names a checkout; nothing is left to compare", file=sys.stderr)
        return 2
    if given.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device; --device cpu compares on the processor", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    # peers read pictures in their own process: what they are told to train on 2 cores is loaded in the same thread
    quiet = ("--max_data_loader_n_workers", "0") if given.device == "cpu" else ()
    ours = Trainer("ours", tuple(shlex.split(given.our_words)))
    words = (*quiet, *shlex.split(given.sd_scripts_words))
    theirs = Trainer("sd-scripts", words, given.sd_scripts.resolve(), given.sd_scripts_python)
    place = Place(given.device, given.threads)
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        work = Work(
            Path(folder) / "work",
            architectures()[given.arch],
            SIZES[given.size],
            given.batch,
            given.steps,
            given.rank,
            given.checkpointing,
            given.device,
        )
        work.folder.mkdir()
        write_work(work)
        duel = Duel(ours, theirs, work, place, given.pairs, given.warm_up)
        found = duel.compare(Path(folder), lambda line: print(line, file=sys.stderr, flush=True))
    title = [
        f"{machine(given.device, given.threads)}; {time.strftime('%Y-%m-%d')}",
        "",
        f"`python -m benchmarks.peers {shlex.join(sys.argv[1:])}`",
    ]
    print(write_page(given.out, title, [found]), end="")
    return 0 if found.gate.passed else 1


if __name__ == "__main__":
    sys.exit(main())
