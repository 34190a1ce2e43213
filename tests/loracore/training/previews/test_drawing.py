from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from loracore import Drawing, Event, hookimpl
from loracore.cli.request import read_request
from loracore.training.assembly.phases import Loading
from loracore.training.run import Run
from loracore.training.sampling import Sampling, sample
from loracore.training.steps.control import Interrupted
from tests.toy_runs import TrainToy

PROMPTS = "a red square --w 96 --h 64 --d 5 --s 3 --l 3 --n blurry\na blue circle --w 64 --h 96 --s 2\n"
Draw = Callable[..., "Heard"]
ADAPTED = ("--network_dropout", "0.3", "--network_args", "rank_dropout=0.2")


class Heard:
    """Hears what a run tells of its previews, and sees its network around them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.run: Run | None = None
        self.drawings: list[Drawing] = []
        self.captions: list[str] = []
        self.path = Path()
        self.tensors: dict[str, torch.Tensor] = {}

    @hookimpl
    def run_started(self, run: Run) -> None:
        self.run = run

    @hookimpl
    def happened(self, event: Event) -> None:
        if event.kind in {"preview", "preview_failed"}:
            self.events.append(event)

    @hookimpl(wrapper=True)
    def generate_images(self, drawing: Drawing) -> Generator[None, Any, Any]:
        self.drawings.append(drawing)
        return (yield)

    @hookimpl
    def encode_text(self, captions: list[str]) -> None:
        self.captions += captions

    @property
    def told(self) -> list[tuple[str, int, str]]:
        return [(event.kind, event.step, event.values.get("scope", "")) for event in self.events]


class Failing(Heard):
    """Fails to draw at the first step, out of memory or otherwise."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    @hookimpl(wrapper=True)
    def generate_images(self, drawing: Drawing) -> Generator[None, Any, Any]:
        self.drawings.append(drawing)
        pictures = yield
        torch.rand(3)  # what comes after it must not be noticed either
        if len(self.drawings) == 1:
            raise self.error
        return pictures


@pytest.fixture
def draw(train_toy: TrainToy, tmp_path: Path) -> Draw:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(PROMPTS, encoding="utf-8")

    def run(*words: str, heard: Heard | None = None) -> Heard:
        heard = heard or Heard()
        heard.path = train_toy("--sample_prompts", str(prompts), "--overwrite", *words, plugin=heard)
        heard.tensors = load_file(heard.path)
        return heard

    return run


def names(heard: Heard) -> list[str]:
    """Return the files of the previews, without when they were drawn."""
    paths = [Path(event.values["path"]) for event in heard.events]
    assert all(path.parent == heard.path.parent / "sample" and path.is_file() for path in paths)
    return [re.sub(r"_\d{14}", "_WHEN", path.name) for path in paths]


def test_previews_come_first_and_every_n_steps(draw: Draw) -> None:
    heard = draw("--sample_at_first", "--sample_every_n_steps", "3")
    moments = [("first", 0), ("step", 3), ("step", 6)]
    assert heard.told == [("preview", step, scope) for scope, step in moments for _ in range(2)]
    assert names(heard)[:4] == [
        "toy_e000000_00_WHEN_5.png",
        "toy_e000000_01_WHEN.png",
        "toy_000003_00_WHEN_5.png",
        "toy_000003_01_WHEN.png",
    ]


class Impatient(Heard):
    """Asks for an interrupt, as a signal does, while the first picture is drawn."""

    @hookimpl(wrapper=True)
    def generate_images(self, drawing: Drawing) -> Generator[None, Any, Any]:
        self.drawings.append(drawing)
        assert self.run is not None
        self.run.control.interrupt("SIGINT")
        return (yield)


@pytest.mark.parametrize(("words", "step"), [(("--sample_at_first",), 1), (("--sample_every_n_steps", "3"), 3)])
def test_a_signal_is_heard_between_two_previews(draw: Draw, words: tuple[str, ...], step: int) -> None:
    heard = Impatient()
    with pytest.raises(Interrupted) as caught:
        draw(*words, heard=heard)
    assert (len(heard.told), len(heard.drawings), caught.value.step) == (1, 1, step)


def test_previews_every_n_epochs_leave_steps_out(draw: Draw) -> None:
    heard = draw("--sample_every_n_epochs", "1", "--sample_every_n_steps", "1")
    assert heard.run is not None
    assert {scope for _, _, scope in heard.told} == {"epoch"}
    assert [step for _, step, _ in heard.told[::2]] == [
        step for step in range(1, 7) if step % heard.run.length.steps_per_epoch == 0 or step == heard.run.length.steps
    ]
    assert names(heard)[0] == "toy_e000001_00_WHEN_5.png"


def test_pictures_are_drawn_as_the_prompts_say_and_say_it_themselves(draw: Draw) -> None:
    heard = draw("--sample_at_first", "--sample_sampler", "euler_a")
    assert heard.drawings == [Drawing((96, 64), 3, 3.0, "euler_a"), Drawing((64, 96), 2, 7.5, "euler_a")]
    with Image.open(heard.events[0].values["path"]) as picture:
        assert picture.size == (96, 64)
        said = json.loads(picture.info["loracore"])
    expected = {"prompt": "a red square", "negative_prompt": "blurry", "steps": 3, "scale": 3.0, "seed": 5}
    assert {**said, **expected} == said
    assert (said["sampler"], said["model"], said["lora"]) == ("euler", "toy", "toy")
    assert heard.events[0].values["seed"] == 5


def test_a_prompt_without_a_seed_has_the_same_one_at_every_moment_and_not_that_of_another(
    draw: Draw, tmp_path: Path
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat --s 1\na cat --s 1\na cat --s 1 --d 7\n", encoding="utf-8")
    heard = draw("--sample_at_first", "--sample_every_n_steps", "6")
    seeds = [event.values["seed"] for event in heard.events]
    assert seeds[:3] == seeds[3:]
    assert seeds[2] == 7
    assert len(set(seeds)) == 3
    assert draw("--sample_at_first", "--seed", "9").events[1].values["seed"] not in seeds


def test_a_run_with_previews_trains_bit_for_bit_as_one_without(draw: Draw, train_toy: TrainToy) -> None:
    with_previews = draw("--sample_at_first", "--sample_every_n_steps", "1", *ADAPTED).tensors
    without = load_file(train_toy("--overwrite", *ADAPTED))
    assert all(torch.equal(without[name], with_previews[name]) for name in without)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory\nat all"), ValueError("odd"), OSError(28, "full")])
def test_a_preview_that_fails_is_told_and_changes_nothing(draw: Draw, train_toy: TrainToy, error: Exception) -> None:
    heard = draw("--sample_every_n_steps", "2", *ADAPTED, heard=Failing(error))
    assert heard.told[0] == ("preview_failed", 2, "")
    assert heard.told[1:] == [("preview", step, "step") for step in (2, 4, 4, 6, 6)]
    message = heard.events[0].values["message"]
    full = isinstance(error, torch.OutOfMemoryError)
    assert message.startswith("out of memory while drawing previews" if full else type(error).__name__)
    assert "\n" not in message
    without = load_file(train_toy("--overwrite", *ADAPTED))
    assert all(torch.equal(without[name], heard.tensors[name]) for name in without)


def test_a_folder_that_cannot_be_written_does_not_end_the_run(draw: Draw, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sample").write_text("in the way", encoding="utf-8")
    heard = draw("--sample_every_n_steps", "6")
    assert [kind for kind, _, _ in heard.told] == ["preview_failed"] * 2
    assert heard.path.is_file()


def picture(heard: Heard, number: int) -> np.ndarray:
    with Image.open(heard.events[number].values["path"]) as found:
        return np.asarray(found).astype(int)


def loaded_back(config: Path, heard: Heard) -> np.ndarray:
    """Return the first prompt's picture, drawn with the saved file."""
    request = read_request([str(config)])
    loading = Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config)
    sampling = Sampling(["a red square"], Drawing((96, 64), 3, 3.0, "ddim"), 5, "blurry")
    (found,) = sample(loading, sampling, heard.tensors)
    return np.asarray(found).astype(int)


@pytest.mark.parametrize("words", [ADAPTED, ("--use_ema", "--ema_decay", "0.5")], ids=["dropouts", "ema"])
def test_the_saved_file_draws_the_preview(draw: Draw, toy_config: Path, words: tuple[str, ...]) -> None:
    heard = draw("--sample_at_first", "--sample_every_n_steps", "6", *words)
    assert np.abs(picture(heard, 0) - picture(heard, 2)).max() > 2  # the network has learnt
    assert np.abs(loaded_back(toy_config, heard) - picture(heard, 2)).max() <= 1  # of 255: rounding


def test_text_encoders_that_train_are_asked_at_every_preview(draw: Draw, toy_config: Path) -> None:
    text = toy_config.read_text(encoding="utf-8").replace("network_train_unet_only = true\n", "")
    toy_config.write_text(text, encoding="utf-8")
    heard = draw("--sample_every_n_steps", "3")
    assert heard.captions.count("a red square") == 2
    assert np.abs(loaded_back(toy_config, heard) - picture(heard, 2)).max() <= 1


def test_text_encoders_that_do_not_train_are_asked_once(draw: Draw) -> None:
    heard = draw("--sample_every_n_steps", "1")
    assert sorted(caption for caption in heard.captions if "squ" in caption or caption == "blurry") == [
        "a red square",
        "blurry",
    ]


def test_the_vae_waits_on_the_cpu_only_where_pictures_are_cached(draw: Draw) -> None:
    cached, uncached = draw("--sample_at_first"), draw("--sample_at_first", "--no_cache_latents")
    assert cached.run is not None
    assert cached.run.watch.previews is not None
    assert cached.run.watch.previews.vae is not None
    assert uncached.run is not None
    assert uncached.run.watch.previews is not None
    assert uncached.run.watch.previews.vae is None
    assert np.array_equal(picture(cached, 0), picture(uncached, 0))


def test_a_run_without_prompts_has_no_previews(train_toy: TrainToy) -> None:
    heard = Heard()
    train_toy(plugin=heard)
    assert heard.run is not None
    assert heard.run.watch.previews is None
