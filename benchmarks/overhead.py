"""Measures what the trainer adds to a step: its time less that of forward, backward and optimizer of the same model.

A real run of the SDXL demo's embedded model is interrupted after every step, and a bare step is taken: the
architecture's prediction of the run's last batch, a mean square, its backward pass, torch's clipping and torch's AdamW
over the same parameters; no data, no noise, no bookkeeping. In both, prediction and backward pass are timed by
themselves, and what is left is compared: it is small, so that a busy machine disturbs it little, while a difference of
whole steps would drown. The trainer may add less than nothing: it steps its optimizer faster than the bare step does.
Times are those of the processor in the loop's own thread, and those on the clock.
``python benchmarks/overhead.py --out FOLDER`` writes overhead.json and overhead.md there and prints the table.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

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

    clock: float = 0.0
    thread: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.clock + other.clock, self.thread + other.thread)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.clock - other.clock, self.thread - other.thread)


def now() -> Spent:
    """Return the moment to count from."""
    return Spent(time.perf_counter(), time.thread_time())


@dataclass(frozen=True, slots=True)
class Step:
    """What one step took, and how much of it was the model's prediction and its backward pass."""

    whole: Spent
    model: Spent

    @property
    def rest(self) -> Spent:
        return self.whole - self.model


@dataclass(eq=False, slots=True)
class Watched:
    """A plugin that times each step of a run, and takes a bare step after it."""

    warm_up: int  # steps before the first that counts
    model: Spent = field(default_factory=Spent)  # of the step that is under way
    began: Spent = field(default_factory=Spent)
    batch: NoisyBatch | None = None
    optimizer: torch.optim.Optimizer | None = None  # of the bare steps: the run's moments stay
    modules: int = 0
    trainer: list[Step] = field(default_factory=list)
    bare: list[Step] = field(default_factory=list)

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Count what is trained, and time the optimizer."""
        self.modules = len(run.network.entries)

    @hookimpl(wrapper=True)
    def predict_noise(self, batch: NoisyBatch) -> Generator[None, Prediction, Prediction]:
        """Keep the batch, and time the prediction."""
        self.batch = batch
        with self.timed():
            return (yield)

    @hookimpl(trylast=True)
    def step_done(self, run: Run, step: int) -> None:
        """End a step, and take a bare one."""
        whole, model = now() - self.began, self.model
        bare = self._bare_step(run)
        if step > self.warm_up:
            self.trainer.append(Step(whole, model))
            self.bare.append(bare)
        self.model, self.began = Spent(), now()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what is done meanwhile as the model's."""
        started = now()
        yield
        self.model += now() - started

    def _bare_step(self, run: Run) -> Step:
        assert self.batch is not None
        predict = run.hook.predict_noise.get_hookimpls()[0].function  # the architecture's own, no plugin around it
        parameters = [one for group in run.moving.optimizer.param_groups for one in group["params"]]
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=True)
        self.model, started = Spent(), now()
        with self.timed():
            prediction: Any = predict(models=run.steps.forward.models, batch=self.batch, config=run.config)
        loss = functional.mse_loss(prediction.output, prediction.target)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        del prediction, loss  # and with them what autograd kept of the step
        return Step(now() - started, self.model)


def measure(steps: int, words: list[str], folder: Path) -> Watched:
    """Train so many steps and return what they took."""
    watch = Watched(warm_up=10)
    own = {"arch": "sdxl", "max_train_steps": steps + watch.warm_up, "output_dir": str(folder / "out")}
    file = folder / "run.toml"
    file.write_text(tomli_w.dumps({**kit().options, **own}), encoding="utf-8")
    request = read_request([str(file), *words])
    request.plugins.register(watch)
    backward = torch.Tensor.backward

    def timed_backward(loss: torch.Tensor) -> None:
        with watch.timed():
            backward(loss)  # type: ignore[no-untyped-call]  # torch's own

    with patch.object(torch.Tensor, "backward", timed_backward):
        train(request.config, request.plugins, read_datasets(request.config, request.document), request.notes)
    return watch


def table(found: Watched, machine: str) -> str:
    """Return the Markdown page."""
    added = [one.rest - other.rest for one, other in zip(found.trainer, found.bare, strict=True)]
    lines = [
        machine,
        "",
        f"{found.modules} modules; {len(found.bare)} steps of each kind, in turn; median (middle half).",
        "",
        "| ms a step | processor, own thread | on the clock |",
        "| --- | ---: | ---: |",
        f"| a step of the run | {_middle([one.whole for one in found.trainer])} |",
        f"| forward, backward, optimizer alone | {_middle([one.whole for one in found.bare])} |",
        f"| the step of the run, without prediction and backward | {_middle([one.rest for one in found.trainer])} |",
        f"| the bare step, without these | {_middle([one.rest for one in found.bare])} |",
        f"| what the trainer adds | {_middle(added)} |",
        "",
    ]
    return "\n".join(lines)


def _middle(several: list[Spent]) -> str:
    cells = []
    for times in ([one.thread for one in several], [one.clock for one in several]):
        lower, middle, upper = (1e3 * found for found in statistics.quantiles(times, n=4))
        cells.append(f"{middle:.2f} ({lower:.2f} to {upper:.2f})")
    return " | ".join(cells)


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("words", nargs="*", help="further options of the run, after --")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.steps, given.words, Path(folder))
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
