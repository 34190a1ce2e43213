"""Compares the memory that `loracore plan` counts with what training takes, at full size on a CUDA device.

Each case trains four steps at 1024² in a process of its own, through ``loracore train``, on random weights in bf16 with
rank 16: SDXL, SD3 medium, SD3.5 medium and SD3.5 large, in batches of 1 and 4 and with weights in 8 and 4 bits,
everything kept, checkpointed, and all blocks but 2 swapped; beside them some blocks checkpointed, and half of them
swapped. Text encoders and VAE are small: the steps are measured, as torch counts its tensors. Needs a CUDA device, 80
GB of disk and the extras of the benchmarks: ``python -m benchmarks.memory --out FOLDER`` writes memory.json and
memory.md there and prints the table; ``--only`` takes some cases by the beginnings of their names. ``--tiny`` takes
small models on the CPU, where every storage is followed, and works anywhere. A case that fails (a card may be too small
for it) is said and left out of the table, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.peers.architectures import Architecture, architectures
from benchmarks.peers.weights import empty_denoiser, write_checkpoint, write_tokenizers
from loracore.cli.request import read_request
from loracore.cli.train import with_datasets
from loracore.memory.block_swap import SLOTS
from loracore.testing.measured_memory import MeasuredSteps
from loracore.training.train import train

GB = 10**9
SIDE, TINY_SIDE = 1024, 128  # pixels
CHECKPOINTED = ("--gradient_checkpointing",)
STORED = (
    ("--fp8_base_unet",),
    ("--base_model_precision", "fp8_scaled"),
    ("--base_model_precision", "nf4"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    model: str
    batch: int = 1
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.model}, batch {self.batch}{'' if not self.words else ', ' + ' '.join(self.words)}"


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a case, in bytes."""

    case: str
    counted: int
    measured: int

    @property
    def ratio(self) -> float:
        return self.counted / self.measured


def cases(*, tiny: bool) -> Iterator[Case]:
    """Give every case, those of docs/memory.md among them."""
    for model, architecture in architectures().items():
        denoiser = empty_denoiser(architecture, small=tiny)
        most = sum(1 for _ in architecture.blocks(denoiser)) - SLOTS  # a model of two blocks swaps none
        for treatment in ((), CHECKPOINTED, *_swapping(most)):
            yield Case(model, 1, treatment)
            yield Case(model, 4, treatment)
            for stored in STORED:
                yield Case(model, 1, (*treatment, *stored))
        yield Case(model, 1, ("--checkpointed_blocks", "0", "1"))
        for treatment in _swapping(most // 2):
            yield Case(model, 1, treatment)


def _swapping(blocks: int) -> Iterator[tuple[str, ...]]:
    if blocks:
        yield (*CHECKPOINTED, "--blocks_to_swap", str(blocks))


def prepare(folder: Path, architecture: Architecture, *, tiny: bool) -> None:
    """Write random weights, pictures and what encoders would say of them, where they are not yet."""
    pictures, side = folder / "pictures", TINY_SIDE if tiny else SIDE
    marker = folder / f"prepared-{side}"
    if marker.exists():
        return
    if folder.exists():  # broken off, or of the other size
        shutil.rmtree(folder)
    pictures.mkdir(parents=True)
    device = "cpu" if tiny else "cuda"
    denoiser = empty_denoiser(architecture, small=tiny)
    write_checkpoint(folder / "model.safetensors", architecture, denoiser, device=device)
    write_tokenizers(folder / "tokenizers")
    rng = np.random.default_rng(0)
    for number in range(4):
        path = pictures / f"{number}.png"
        Image.new("RGB", (side, side)).save(path)
        path.with_suffix(".txt").write_text(f"picture {number}", encoding="utf-8")
        architecture.latents(path, side, rng)
        architecture.text(path, rng)
    marker.touch()


def measure(case: Case, out: Path, *, tiny: bool) -> Row:
    """Train a few steps of a case in this process."""
    architecture, folder = architectures()[case.model], out / "work" / case.model
    prepare(folder, architecture, tiny=tiny)
    request = read_request(
        [
            *("--arch", architecture.plugin, *architecture.words, "--caption_extension", ".txt"),
            *("--pretrained_model_name_or_path", str(folder / "model.safetensors")),
            *("--train_data_dir", str(folder / "pictures"), "--resolution", str(TINY_SIDE if tiny else SIDE)),
            *("--output_dir", str(folder / "out"), "--overwrite", "--cache_dir", str(folder / "cache")),
            *("--cache_latents_to_disk", "--cache_text_encoder_outputs_to_disk"),
            *("--train_batch_size", str(case.batch), "--max_train_steps", "4", "--network_dim", "16"),
            *("--tokenizer_cache_dir", str(folder / "tokenizers"), "--network_train_unet_only"),
            *("--mixed_precision", "no" if tiny else "bf16", *case.words),
        ]
    )
    request, datasets = with_datasets(request)
    measured = MeasuredSteps()
    request.plugins.register(measured)
    train(request.config, request.plugins, datasets)
    found = measured.compared
    return Row(str(case), found.counted.phase.peak, found.measured)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    head = ["| case | counted, GB | measured, GB | counted / measured |", "|---|---|---|---|"]
    lines = [f"| {row.case} | {row.counted / GB:.3f} | {row.measured / GB:.3f} | {row.ratio:.3f} |" for row in rows]
    return "\n".join([*head, *lines])


def main() -> int:
    """Measure every case in a process of its own; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, of weights and pictures")
    parser.add_argument("--tiny", action="store_true", help="small models, on the CPU")
    parser.add_argument("--only", nargs="*", default=[""], help="cases by the beginnings of their names")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)  # for the process that measures it
    asked = parser.parse_args()
    every = list(cases(tiny=asked.tiny))
    if asked.case is not None:
        print(json.dumps(asdict(measure(every[asked.case], asked.out, tiny=asked.tiny))))
        return 0
    if not (asked.tiny or torch.cuda.is_available()):
        sys.exit("no CUDA device is here; --tiny measures small models on the CPU")
    wanted = [number for number, case in enumerate(every) if str(case).startswith(tuple(asked.only))]
    if not wanted:
        parser.error(f"no case begins so; there are:\n{chr(10).join(map(str, every))}")
    asked.out.mkdir(parents=True, exist_ok=True)
    rows = [_apart(number, every[number], asked.out, tiny=asked.tiny) for number in wanted]
    found = [row for row in rows if row is not None]
    machine = platform.processor() or "CPU" if asked.tiny else torch.cuda.get_device_name()
    text = f"{machine}, torch {torch.__version__}\n\n{table(found)}\n"
    (asked.out / "memory.json").write_text(json.dumps([asdict(row) for row in found], indent=1), encoding="utf-8")
    (asked.out / "memory.md").write_text(text, encoding="utf-8")
    print(text)
    return 0 if len(found) == len(wanted) else 1


def _apart(number: int, case: Case, out: Path, *, tiny: bool) -> Row | None:
    """Measure in another process; a case that fails is said and left out."""
    words = ["--out", str(out), "--case", str(number), *(["--tiny"] if tiny else [])]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if tiny else {}  # a run takes the card that it sees
    ended = subprocess.run(  # noqa: S603  # this program itself
        [sys.executable, "-m", "benchmarks.memory", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **hidden},
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no word"])[-1]
        print(f"{case}: {last}", file=sys.stderr)
        return None
    return Row(**json.loads(ended.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    sys.exit(main())
