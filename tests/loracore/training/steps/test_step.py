from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from loracore import Examples, Latents, hookimpl
from loracore.noise.rng import derive_seed
from loracore.training.run import Run
from loracore.training.steps.loop import loaded_windows
from loracore.training.steps.step import Forward
from tests.toy_runs import TrainToy

SET = """
[[datasets]]
resolution = 64
enable_bucket = true
min_bucket_reso = 32
max_bucket_reso = 128
bucket_reso_steps = 16
network_multiplier = {multiplier}
[[datasets.subsets]]
image_dir = '{folder}'
caption_extension = ".txt"
custom_attributes = {{ diff_output_preservation = {preserves} }}
"""


class Losses:
    def __init__(self) -> None:
        self.values: list[float] = []

    @hookimpl
    def step_done(self, loss: Tensor) -> None:
        self.values.append(loss.item())


@pytest.fixture
def data_set(pictures: Path, tmp_path: Path) -> Path:
    return tmp_path / "data.toml"


def written(path: Path, pictures: Path, *, preserves: bool = False, multiplier: float = 1.0) -> tuple[str, str]:
    text = SET.format(folder=pictures, preserves=str(preserves).lower(), multiplier=multiplier)
    path.write_text(text, encoding="utf-8")
    return "--dataset_config", str(path)


def moved(file: Path) -> bool:
    return any(tensor.abs().max() > 0 for name, tensor in load_file(file).items() if "lora_up" in name)


def test_samples_that_preserve_the_base_model_teach_nothing(
    train_toy: TrainToy, data_set: Path, pictures: Path
) -> None:
    losses = Losses()
    file = train_toy(*written(data_set, pictures, preserves=True), plugin=losses)
    assert losses.values == [0.0] * len(losses.values)
    assert not moved(file)


def test_samples_preserve_what_an_adapter_had_changed(train_toy: TrainToy, data_set: Path, pictures: Path) -> None:
    plain = written(data_set, pictures)
    trained = train_toy(*plain)
    losses = Losses()
    preserving = written(data_set, pictures, preserves=True)
    train_toy(*preserving, "--network_weights", str(trained), "--output_name", "second", plugin=losses)
    assert losses.values[0] > losses.values[-1] > 0


def test_a_multiplier_of_zero_leaves_the_network_as_it_was(train_toy: TrainToy, data_set: Path, pictures: Path) -> None:
    assert moved(train_toy(*written(data_set, pictures)))
    assert not moved(train_toy(*written(data_set, pictures, multiplier=0.0), "--overwrite"))


def test_a_multiplier_scales_what_the_adapters_add(train_toy: TrainToy, data_set: Path, pictures: Path) -> None:
    outputs: dict[float, Tensor] = {}

    class Recorder:
        multiplier = 1.0

        @hookimpl(wrapper=True)
        def predict_noise(self) -> Generator[None, object, object]:
            prediction = yield
            outputs.setdefault(self.multiplier, prediction.output.detach())  # type: ignore[attr-defined]  # a Prediction
            return prediction

    trained = train_toy(*written(data_set, pictures))
    for multiplier in (0.0, 1.0, 2.0):
        recorder = Recorder()
        recorder.multiplier = multiplier
        words = written(data_set, pictures, multiplier=multiplier)
        train_toy(*words, "--network_weights", str(trained), "--overwrite", "--output_name", "b", plugin=recorder)
    assert not torch.allclose(outputs[1.0], outputs[0.0])
    assert not torch.allclose(outputs[2.0], outputs[1.0])


def test_models_draw_from_the_generator_of_the_step_and_micro_batch(train_toy: TrainToy) -> None:
    def look(run: Run) -> None:
        for step, micro in ((1, 0), (1, 1), (2, 0)):
            run.steps.forward.seed_model(step, micro)
            drawn.append(torch.rand(3))
            torch.manual_seed(derive_seed(run.seed, "model", step, micro))
            assert torch.equal(drawn[-1], torch.rand(3))

    drawn: list[Tensor] = []
    train_toy(plugin=Started(look))
    assert len({tuple(one.tolist()) for one in drawn}) == 3


class Started:
    """Calls a function with the run, before its first step."""

    def __init__(self, look: Callable[[Run], None]) -> None:
        self.look = look

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.look(run)


def first_examples(run: Run) -> Examples:
    for _, several in loaded_windows(run):
        for examples in several:
            assert examples is not None
            return examples
    raise AssertionError


def losses_at(forward: Forward, examples: Examples, timestep: float) -> Tensor:
    return forward.validation_losses(forward.validation_batch(examples), timestep)


def test_a_validation_loss_is_the_same_whenever_it_is_asked_for(train_toy: TrainToy) -> None:
    def look(run: Run) -> None:
        examples = first_examples(run)
        prepared = run.steps.forward.validation_batch(examples)
        losses = run.steps.forward.validation_losses(prepared, 500)
        assert losses.shape == (len(examples.ids),)
        assert losses.dtype == torch.float32
        assert not losses.requires_grad
        assert not torch.equal(losses, run.steps.forward.validation_losses(prepared, 100))
        assert torch.equal(losses, run.steps.forward.validation_losses(prepared, 500))
        assert torch.equal(losses, losses_at(run.steps.forward, replace(examples, epoch=7), 500))
        assert not torch.equal(losses, losses_at(replace(run.steps.forward, seed=run.seed + 1), examples, 500))
        seen.append(losses)

    seen: list[Tensor] = []
    train_toy(plugin=Started(look))
    assert len(seen) == 1


def test_a_validation_loss_is_that_of_a_batch_of_any_size(train_toy: TrainToy) -> None:
    def look(run: Run) -> None:
        examples = first_examples(run)
        together = losses_at(run.steps.forward, examples, 300)
        apart = [losses_at(run.steps.forward, sample(examples, row), 300) for row in range(len(examples.ids))]
        torch.testing.assert_close(together, torch.cat(apart))
        seen.append(together)

    seen: list[Tensor] = []
    train_toy(plugin=Started(look))
    assert len(seen[0]) == 2


def sample(examples: Examples, row: int) -> Examples:
    """Return one sample of a micro-batch."""
    assert examples.latents is not None
    assert examples.conditioning is not None
    rows = slice(row, row + 1)
    return replace(
        examples,
        ids=examples.ids[rows],
        positions=examples.positions[rows],
        captions=examples.captions[rows],
        framings=examples.framings[rows],
        loss_weights=examples.loss_weights[rows],
        latents=Latents(examples.latents.mean[rows], examples.latents.log_variance[rows]),
        conditioning=examples.conditioning.rows(row, row + 1),
        attributes=examples.attributes[rows],
    )


def test_validation_leaves_no_trace_in_training(train_toy: TrainToy) -> None:
    def look(run: Run) -> None:
        losses_at(run.steps.forward, first_examples(run), 500)

    plain, watched = Losses(), Losses()
    train_toy(plugin=plain)

    class Both(Started):
        @hookimpl
        def step_done(self, loss: Tensor) -> None:
            watched.values.append(loss.item())

    train_toy("--overwrite", plugin=Both(look))
    assert watched.values == plain.values


def test_the_loss_type_is_that_of_the_options(train_toy: TrainToy) -> None:
    square, absolute = Losses(), Losses()
    train_toy(plugin=square)
    train_toy("--loss_type", "l1", "--overwrite", plugin=absolute)
    assert absolute.values[0] != square.values[0]
