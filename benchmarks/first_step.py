"""Times the way from the command to the first step, beside a bare script that only gets the denoiser ready.

The run is prepared: its latents and texts are in the cache, as at every start but the first. In turn, each in a process
of its own: `loracore train`, ended where the architecture is asked for its first prediction; and a script that imports
torch and the one class of the denoiser, and reads the weights into it. Both times count from the start of the process,
on the clock and of the processor, all threads together.
``python benchmarks/first_step.py --out FOLDER`` does so with the tiny models of the architectures' demos, writes
first_step.json and first_step.md there and prints the table; ``--arch`` takes one architecture, and ``--model FOLDER``
a model of its own in the diffusers layout. The largest imports of the run that the script goes without stand below.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

import tomli_w

from loracore import DemoKit
from loracore.testing import install_metadata

#: The extension that ends a run at its first step, and says when that was.
CLOCK = '''
"""Ends the process where the first step asks for a prediction."""

import os
import sys
import time

from loracore import hookimpl

LORACORE_API = 1


@hookimpl(wrapper=True)
def predict_noise():
    print(time.process_time(), time.time(), flush=True)
    os._exit(0)
    yield
'''
#: The bare script; the words behind it are the class, the folder and the dtype.
BARE = """
import sys
import time
import torch
import diffusers
kind, folder, dtype = sys.argv[1:]
model = getattr(diffusers, kind).from_pretrained(folder, torch_dtype=getattr(torch, dtype)).requires_grad_(False)
print(time.process_time(), time.time(), flush=True)
"""
DENOISERS = {"sdxl": ("UNet2DConditionModel", "unet"), "sd3": ("SD3Transformer2DModel", "transformer")}
DTYPES = {"no": "float32", "fp16": "float16", "bf16": "bfloat16"}
_IMPORT = re.compile(r"import time: +(\d+) \| +\d+ \| +(\S+)")
_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds from the start of a process."""

    clock: float
    processor: float


@dataclass(frozen=True, slots=True)
class Pair:
    """The run and the bare script, one after the other."""

    run: Taken
    bare: Taken


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured of one architecture."""

    arch: str
    pairs: Sequence[Pair]
    imports: Mapping[str, float]  # seconds, by package: of the run, without those of the bare script


@dataclass(frozen=True, slots=True)
class Case:
    """The two command lines, behind the interpreter's own flags."""

    run: Sequence[str]
    bare: Sequence[str]
    environment: Mapping[str, str]

    def taken(self, words: Sequence[str]) -> Taken:
        """Return what one process took."""
        started = time.time()
        said = self._started((), words).stdout.split()
        return Taken(float(said[-1]) - started, float(said[-2]))

    def imported(self, words: Sequence[str]) -> Mapping[str, float]:
        """Return the seconds of every import, without those inside it."""
        return {name: int(us) / 1e6 for us, name in _IMPORT.findall(self._started(("-X", "importtime"), words).stderr)}

    def _started(self, flags: Sequence[str], words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(  # noqa: S603  # our own commands
            [sys.executable, *flags, *words],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode or not done.stdout.strip():
            sys.exit(f"{' '.join(words[:3])} failed:\n{done.stderr}")
        return done


def prepared(arch: str, model: Path | None, folder: Path) -> Case:
    """Fill the caches of a run, and return what is timed."""
    kit: DemoKit = import_module(f"loracore_{arch}.demo_kit").kit()
    place = Path(str(kit.options["pretrained_model_name_or_path"])) if model is None else model
    precision = "no" if model is None else "bf16"
    own = {
        "arch": arch,
        "pretrained_model_name_or_path": str(place),
        "mixed_precision": precision,
        "cache_dir": str(folder / "cache"),
        "cache_latents_to_disk": True,
        "cache_text_encoder_outputs_to_disk": True,
        "output_dir": str(folder / "out"),
    }
    file = folder / "run.toml"
    file.write_text(tomli_w.dumps({**kit.options, **own}), encoding="utf-8")
    install_metadata(folder / "site", "first-step-clock", "1.0", {"loracore.extensions": {"clock": "first_step_clock"}})
    (folder / "site" / "first_step_clock.py").write_text(CLOCK, encoding="utf-8")
    bare = folder / "bare.py"
    bare.write_text(BARE, encoding="utf-8")
    kind, part = DENOISERS[arch]
    case = Case(
        ("-m", "loracore", "train", str(file), "--extensions", "clock"),
        (str(bare), kind, str(place / part), DTYPES[precision]),
        {**os.environ, "PYTHONPATH": str(folder / "site"), "HF_HUB_OFFLINE": "1"},
    )
    case.taken(case.run)  # fills the caches
    case.taken(case.bare)
    return case


def measure(arch: str, model: Path | None, pairs: int) -> Found:
    """Return what both take, in turn, and what the run imports beside."""
    with tempfile.TemporaryDirectory() as folder:
        case = prepared(arch, model, Path(folder))
        found = [Pair(case.taken(case.run), case.taken(case.bare)) for _ in range(pairs)]
        ours, others = case.imported(case.run), case.imported(case.bare)
    return Found(arch, found, by_package({name: seconds for name, seconds in ours.items() if name not in others}))


def by_package(imports: Mapping[str, float]) -> Mapping[str, float]:
    """Return the seconds by package and the part of it below, the most first."""
    added: Counter[str] = Counter()
    for name, seconds in imports.items():
        added[".".join(name.split(".")[:2])] += seconds  # type: ignore[assignment]  # a Counter adds seconds as well
    return dict(added.most_common())


def table(several: Sequence[Found], machine: str) -> str:
    """Return the Markdown page."""
    lines = [
        machine,
        "",
        "Seconds from the start of the process, medians; the ratio is the median over the pairs (least to most).",
        "",
        "| | pairs | run, clock | bare, clock | ratio | run, processor | bare, processor | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_row(found) for found in several),
        "",
    ]
    for found in several:
        lines += [f"Imports of the run on {found.arch} that the bare script goes without, slowed by their timing:", ""]
        lines += ["| package | s |", "| --- | ---: |"]
        lines += [f"| {name} | {seconds:.3f} |" for name, seconds in list(found.imports.items())[:_SHOWN]]
        lines += [f"| all {len(found.imports)} | {sum(found.imports.values()):.3f} |", ""]
    return "\n".join(lines)


def _row(found: Found) -> str:
    cells = [found.arch, str(len(found.pairs))]
    for name in ("clock", "processor"):
        run = [float(getattr(pair.run, name)) for pair in found.pairs]
        bare = [float(getattr(pair.bare, name)) for pair in found.pairs]
        ratios = [one / other for one, other in zip(run, bare, strict=True)]
        middle = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        cells += [f"{statistics.median(run):.2f}", f"{statistics.median(bare):.2f}", middle]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--arch", choices=sorted(DENOISERS))
    parser.add_argument("--model", type=Path, help="a folder in the diffusers layout; wants --arch")
    given = parser.parse_args()
    if given.model is not None and given.arch is None:
        parser.error("--model wants --arch")
    given.out.mkdir(parents=True, exist_ok=True)
    several = [measure(arch, given.model, given.pairs) for arch in ([given.arch] if given.arch else DENOISERS)]
    machine = f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    figures = {"machine": machine, "found": [asdict(found) for found in several]}
    (given.out / "first_step.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    page = table(several, machine)
    (given.out / "first_step.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
