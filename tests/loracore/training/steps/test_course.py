from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from loracore import TrainingOptions
from loracore.data.buckets import Buckets
from loracore.training.steps.course import Course
from loracore.training.steps.length import run_length
from tests.loracore.data.indexes import index_of
from tests.loracore.training.conftest import DISK, Trained, Watch

LONG = ("--max_train_epochs", "12", "--caption_variants", "3")
SHUFFLE = ("--shuffle_caption",)


@pytest.fixture(autouse=True)
def tagged(pictures: Path) -> Path:
    """Give every picture eight tags, one of them a choice."""
    for number in range(6):
        text = ", ".join([f"picture{number}", "{red|green|blue}", *"abcdef"])
        (pictures / f"{number}.txt").write_text(text, encoding="utf-8")
    return pictures


def texts(watch: Watch) -> dict[str, set[str]]:
    """Return the texts that were read with each picture."""
    found = defaultdict(set)
    for batch in watch.batches:
        for name, caption in zip(batch.ids, batch.captions, strict=True):
            found[name].add(caption)
    return found


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ((), 1),
        (SHUFFLE, 3),
        (("--caption_tag_dropout_rate", "0.3"), 3),
        (("--enable_wildcard",), 3),
        ((*SHUFFLE, "--caption_dropout_rate", "0.3"), 4),
        (("--caption_dropout_every_n_epochs", "2"), 2),
        ((*SHUFFLE, "--enable_wildcard", "--caption_tag_dropout_rate", "0.2", "--caption_dropout_rate", "0.2"), 4),
    ],
)
def test_texts_of_a_picture_are_bounded_and_all_of_them_cached(
    trained: Trained, words: tuple[str, ...], most: int
) -> None:
    watch = trained(*LONG, *words, "--gradient_accumulation_steps", "3", "--dataset_repeats", "2").watch
    assert max(len(found) for found in texts(watch).values()) == most
    assert sorted(watch.captions) == sorted(set(watch.read))  # each once, and none that nobody reads


@pytest.mark.parametrize("words", [(), SHUFFLE, (*SHUFFLE, "--caption_dropout_rate", "0.2")])
def test_texts_that_grow_with_the_steps_are_all_cached(trained: Trained, words: tuple[str, ...]) -> None:
    watch = trained(*LONG, "--token_warmup_step", "0.5", "--token_warmup_min", "2", *words).watch
    lengths = [len(caption.split(",")) for caption in watch.read if caption]
    assert (lengths[0], lengths[-1]) == (2, 8)
    assert sorted(watch.captions) == sorted(set(watch.read))


def test_a_run_of_another_seed_shares_the_variants(trained: Trained) -> None:
    words = (*DISK, *LONG, *SHUFFLE)
    first = trained(*words).watch
    second = trained(*words, "--seed", "2").watch
    assert len(first.captions) == 18
    assert second.encoded == (0, 0)
    assert second.read != first.read


def test_texts_that_change_are_the_same_from_every_cache(trained: Trained) -> None:
    words = (*LONG, *SHUFFLE, "--caption_dropout_rate", "0.2", "--flip_aug")
    first, again = trained(*DISK, *words), trained(*DISK, *words)
    assert again.watch.encoded == (0, 0)
    assert again.equals(first)
    assert first.equals(trained(*words))


def test_without_a_cache_every_visit_has_a_text_of_its_own(trained: Trained) -> None:
    watch = trained(*LONG, *SHUFFLE, "--no_network_train_unet_only").watch
    assert min(len(found) for found in texts(watch).values()) > 6


def test_texts_follow_pictures_whatever_was_left_out(trained: Trained, pictures: Path) -> None:
    words = (*LONG, *SHUFFLE, "--caption_dropout_rate", "0.2", "--token_warmup_step", "0.5", "--on_bad_image", "skip")
    whole = (pictures / "3.png").read_bytes()
    (pictures / "3.png").write_bytes(whole[:-60])
    watch = trained(*DISK, *words).watch
    assert len(texts(watch)) == 5
    assert set(watch.read) == set(watch.captions)


@pytest.mark.parametrize("taken", [0, 1, 2, 3, 6, 7])
def test_a_course_goes_on_anywhere_without_going_through_what_was_before(taken: int) -> None:
    index = index_of([(0, (64, 64), 1)] * 5, Buckets((64, 64), ((64, 64),), 64))
    length = run_length(5, TrainingOptions(max_train_steps=8, gradient_accumulation_steps=2))
    course = Course(index, [1], seed=3, processes=1, accumulation=2, length=length)
    assert list(course.windows(taken)) == list(course.windows())[taken:]
