from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from loracore.config.dataset_spec import Augmentations, CaptionRules
from loracore.data.index import Index
from loracore.data.loader import Loader, ahead, load_images
from loracore.data.reading import Reading
from loracore.data.sampler import MicroBatch
from loracore.data.scanning import scan
from loracore.data.visits import Draws
from tests.loracore.data.conftest import Dataset, Paint, Subset

Load = Callable[..., Loader]

BOTH = MicroBatch((0, 1), (5, 6), (0, 1))


@pytest.fixture
def load(subset: Subset, dataset: Dataset, paint: Paint, tmp_path: Path) -> Load:
    """Return a loader of two pictures, dark on the left."""
    ramp = np.tile(np.linspace(0, 250, 64, dtype=np.uint8), (64, 1))
    for number in range(2):
        Image.fromarray(ramp + np.uint8(number)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text(f"{number}, a, b, c, d, e", encoding="utf-8")

    def build(multiplier: float = 1.0, **values: Any) -> Loader:
        index = scan([dataset(subset(**values))], Reading()).training
        return Loader(index, Draws(1, 10), [multiplier], None, None)

    return build


def test_examples_say_everything_of_their_samples(load: Load, tmp_path: Path) -> None:
    examples = load(0.5, loss_weight=0.3, custom_attributes={"kind": "cat"}).examples(BOTH, 2, 7)
    assert examples.ids == tuple(str(tmp_path / f"{number}.png") for number in range(2))
    assert (examples.epoch, examples.positions) == (2, (5, 6))
    assert examples.captions == ("0, a, b, c, d, e", "1, a, b, c, d, e")
    assert (examples.loss_weights, examples.network_multiplier) == ((0.3, 0.3), 0.5)
    assert examples.attributes == ({"kind": "cat"},) * 2
    assert examples.masks is None
    assert examples.images is not None
    assert examples.images.shape == (2, 3, 64, 64)


def test_any_visit_can_be_loaded_without_those_before_it(load: Load) -> None:
    rules = CaptionRules(shuffle_caption=True)
    values = {"captions": rules, "augmentations": Augmentations(color_aug=True, flip_aug=True)}
    first = load(**values)
    for epoch in range(5):
        first.examples(BOTH, epoch, epoch)
    late, fresh = first.examples(BOTH, 5, 5), load(**values).examples(BOTH, 5, 5)
    assert (late.captions, late.framings) == (fresh.captions, fresh.framings)
    assert late.images is not None
    assert fresh.images is not None
    assert torch.equal(late.images, fresh.images)


def test_framings_say_whether_the_picture_is_mirrored(load: Load) -> None:
    loader = load(augmentations=Augmentations(flip_aug=True))
    seen = set()
    for epoch in range(8):
        examples = loader.examples(BOTH, epoch, 0)
        assert examples.images is not None
        for framing, image in zip(examples.framings, examples.images, strict=True):
            assert framing.flipped == bool(image[0, 0, 0] > image[0, 0, -1])
            seen.add(framing.flipped)
    assert seen == {False, True}


def test_pictures_are_loaded_without_randomness_for_the_cache(load: Load) -> None:
    index: Index = load().index
    plain, masks = load_images([index.picture(row) for row in (0, 1)])
    mirrored, _ = load_images([index.picture(row) for row in (0, 1)], flipped=True)
    assert torch.equal(plain, mirrored.flip(-1))
    assert list(masks) == [None, None]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_what_is_made_ahead_comes_in_order(workers: int) -> None:
    assert list(ahead(lambda number: number * number, range(50), workers)) == [number * number for number in range(50)]


def test_no_more_is_made_ahead_than_twice_the_workers() -> None:
    numbers = iter(range(50))
    made = ahead(lambda number: number, numbers, 2)
    next(made)
    assert next(numbers) == 5
    made.close()  # type: ignore[attr-defined]  # a generator


@pytest.mark.parametrize("workers", [0, 2])
def test_what_fails_ahead_is_raised_in_its_turn(workers: int) -> None:
    made = ahead(lambda number: 1 // (3 - number), range(9), workers)
    assert [next(made) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)


def test_leaving_early_ends_the_threads() -> None:
    made = ahead(lambda number: number, range(100), 3)
    next(made)
    made.close()  # type: ignore[attr-defined]  # a generator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_nothing_is_begun_before_it_may_and_what_is_waited_for_comes_all_the_same() -> None:
    begun: list[int] = []
    may_begin = Event()

    def make(number: int) -> int:
        begun.append(number)
        return number

    several = ahead(make, range(5), 1, may_begin)
    assert next(several) == 0  # nobody else would have opened
    may_begin.clear()
    made_by_then = len(begun)
    assert next(several) == 1
    assert made_by_then <= 3
    assert list(several) == [2, 3, 4]
    assert sorted(begun) == list(range(5))


def test_threads_that_may_not_begin_end_with_whoever_asked() -> None:
    may_begin = Event()
    several = ahead(float, range(50), 2, may_begin)
    assert next(several) == 0.0
    may_begin.clear()
    assert isinstance(several, Generator)
    several.close()
    assert may_begin.is_set()
