"""Measures what the trainer adds to a step: its time less that of forward, backward and optimizer of the same model.

A real run of the SDXL demo's embedded model is interrupted after every block of steps, and the same number of bare
steps is taken: the architecture's prediction of a batch of the run, a mean square, its backward pass, and the same
optimizer over the same parameters; no data, no noise, no clipping, no bookkeeping. Blocks of the two alternate, so
that both meet the same machine; beside the time on the clock stands the processor's time of the loop's own thread,
which other programs disturb less. ``python benchmarks/overhead.py --out FOLDER`` writes overhead.json and overhead.md
there and prints the table.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Generator
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

import tomli_w
import torch
from loracore_sdxl.demo_kit import kit
from torch.nn import functional

from loracore import NoisyBatch, Prediction, Run, hookimpl
from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.training.train import train


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds: on the clock, and of the processor in this thread."""

    clock: float
    thread: float

    def until_now(self, steps: int) -> Spent:
        """Return what one of so many steps took since then."""
        return Spent((time.perf_counter() - self.clock) / steps, (time.thread_time() - self.thread) / steps)


def now() -> Spent:
    """Return the moment to count from."""
    return Spent(time.perf_counter(), time.thread_time())


@dataclass(eq=False, slots=True)
class Alternating:
    """A plugin that takes a block of bare steps after each block of the run's own."""

    block: int
    warm_up: int  # steps before the first block that counts
    batch: NoisyBatch | None = None
    since: Spent | None = None
    trainer: list[Spent] = field(default_factory=list)  # of one step, one entry a block
    bare: list[Spent] = field(default_factory=list)
    modules: int = 0

    @hookimpl(wrapper=True)
    def predict_noise(self, batch: NoisyBatch) -> Generator[None, Prediction, Prediction]:
        """Keep the batch."""
        self.batch = batch
        return (yield)

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Count what is trained."""
        self.modules = len(run.network.entries)

    @hookimpl(trylast=True)
    def step_done(self, run: Run, step: int) -> None:
        """End a block, and take as many bare steps."""
        if step % self.block or step < self.warm_up:
            return
        if self.since is not None:
            self.trainer.append(self.since.until_now(self.block))
            self.bare.append(self._bare_steps(run))
        self.since = now()

    def _bare_steps(self, run: Run) -> Spent:
        assert self.batch is not None
        predict = run.hook.predict_noise.get_hookimpls()[0].function  # the architecture's own, no plugin around it
        parameters = [one for group in run.optimizer.param_groups for one in group["params"]]
        optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=True)  # of its own: the run's moments stay
        started = now()
        for number in range(self.block + 1):
            if number == 1:  # the first makes the moments
                started = now()
            prediction = predict(models=run.forward.models, batch=self.batch, config=run.config)
            functional.mse_loss(prediction.output, prediction.target).backward()
            optimizer.step()
            optimizer.zero_grad()
        return started.until_now(self.block)


def measure(blocks: int, block: int, words: list[str], folder: Path) -> Alternating:
    """Train so many blocks and return what they took."""
    own = {"arch": "sdxl", "max_train_steps": (blocks + 3) * block, "output_dir": str(folder / "out")}
    file = folder / "run.toml"
    file.write_text(tomli_w.dumps({**kit().options, **own}), encoding="utf-8")
    request = read_request([str(file), *words])
    watch = Alternating(block, 2 * block)
    request.plugins.register(watch)
    train(request.config, request.plugins, read_datasets(request.config, request.document), request.notes)
    return watch


def table(found: Alternating, machine: str) -> str:
    """Return the Markdown page."""
    lines = [
        machine,
        "",
        f"{found.modules} modules; {len(found.bare)} pairs of blocks of {found.block} steps.",
        "",
        "| ms a step, median | on the clock | processor, own thread |",
        "| --- | ---: | ---: |",
        f"| a step of the run | {_middle(found.trainer)} |",
        f"| forward, backward, optimizer alone | {_middle(found.bare)} |",
        f"| what the trainer adds (range) | {_added(found, 'clock')} | {_added(found, 'thread')} |",
        "",
    ]
    return "\n".join(lines)


def _middle(several: list[Spent]) -> str:
    clock, thread = (statistics.median(times) for times in zip(*map(astuple, several), strict=True))
    return f"{1e3 * clock:.2f} | {1e3 * thread:.2f}"


def _added(found: Alternating, kind: str) -> str:
    pairs = zip(found.trainer, found.bare, strict=True)
    added = [1e3 * (asdict(one)[kind] - asdict(other)[kind]) for one, other in pairs]
    return f"{statistics.median(added):.2f} ({min(added):.2f} to {max(added):.2f})"


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--block", type=int, default=20)
    parser.add_argument("words", nargs="*", help="further options of the run, after --")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.blocks, given.block, given.words, Path(folder))
    machine = f"{platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    figures = {
        "machine": machine,
        "modules": found.modules,
        "trainer": [asdict(one) for one in found.trainer],
        "bare": [asdict(one) for one in found.bare],
    }
    (given.out / "overhead.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    page = table(found, machine)
    (given.out / "overhead.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
