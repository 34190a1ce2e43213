"""One demo, from an architecture's kit to pictures, curve and numbers in a folder."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pluggy
import torch
from PIL import Image
from safetensors.torch import load_file

from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import ModelOptions, ProcessOptions
from loracore.demo.curve import draw_curve
from loracore.demo.sheet import Row, contact_sheet
from loracore.hookspecs import hookimpl
from loracore.training.assembly.phases import Loading
from loracore.training.processes import join_processes, weight_dtype
from loracore.training.sampling import Sampling, sample
from loracore.training.train import train
from loracore.types import DemoKit, Drawing, Event

SEED = 7  # of the pictures, before and after alike


@dataclass(frozen=True, eq=False, slots=True)
class DemoResult:
    """What a demo leaves, and what it measured."""

    network: Path
    sheet: Path
    curve: Path
    before: Mapping[str, float]
    after: Mapping[str, float]
    seconds: float


class LossRecorder:
    """A plugin that keeps the losses of a run."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    @hookimpl
    def happened(self, event: Event) -> None:
        """Take over the loss of a step that has become known."""
        if event.kind == "step":
            loss = event.values["loss"]
            self.losses.append(math.nan if loss is None else loss)


def run_demo(
    kit: DemoKit,
    config: Config,
    plugins: pluggy.PluginManager,
    datasets: Sequence[DatasetSpec],
    folder: Path,
    notes: Sequence[str] = (),
) -> DemoResult:
    """Draw, train, draw again, measure both, and write the contact sheet, the loss curve and the numbers."""
    started = time.monotonic()
    torch.set_num_threads(1)  # layers this small gain nothing from a second thread, and lose much on a busy machine
    processes = join_processes(config[ProcessOptions])
    dtype = weight_dtype(config[ModelOptions].mixed_precision, processes.device)
    loading = Loading(plugins.hook, processes.device, dtype, config)
    before = _samples(kit, loading, None)
    recorder = LossRecorder()
    plugins.register(recorder, name="demo losses")
    network = train(config, plugins, datasets, notes)
    plugins.unregister(recorder)
    assert network is not None  # a demo is one process
    after = _samples(kit, loading, network)
    sheet, curve = folder / "demo.png", folder / "demo-loss.png"
    contact_sheet(_rows(kit, before, after), kit.size).save(sheet)
    draw_curve(recorder.losses, curve)
    measured = kit.measure(before), kit.measure(after)
    result = DemoResult(network, sheet, curve, *measured, seconds=time.monotonic() - started)
    numbers = {"before": dict(result.before), "after": dict(result.after), "seconds": round(result.seconds, 1)}
    (folder / "demo.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return result


def _samples(kit: DemoKit, loading: Loading, network: Path | None) -> dict[str, list[Image.Image]]:
    weights = None if network is None else load_file(network)
    kinds = {"concept": kit.prompts, "ordinary": kit.ordinary_prompts}
    drawing = Drawing(kit.size)
    return {kind: sample(loading, Sampling(prompts, drawing, SEED), weights) for kind, prompts in kinds.items()}


def _rows(
    kit: DemoKit, before: Mapping[str, Sequence[Image.Image]], after: Mapping[str, Sequence[Image.Image]]
) -> list[Row]:
    shown = slice(0, kit.columns)
    pictures = [Image.open(path) for path in kit.pictures[shown]]
    return [
        Row("training pictures of the concept", pictures),
        Row(f'before: "{kit.prompts[0]}", …', before["concept"][shown]),
        Row(f'after: "{kit.prompts[0]}", …', after["concept"][shown]),
        Row(f'before, ordinary captions: "{kit.ordinary_prompts[0]}", …', before["ordinary"][shown]),
        Row("after, the same ordinary captions", after["ordinary"][shown]),
    ]
