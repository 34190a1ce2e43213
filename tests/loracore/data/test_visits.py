from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loracore.config.dataset_spec import Augmentations, CaptionRules, SubsetSpec
from loracore.data.pictures.picture import Picture
from loracore.data.visits import Draws, Visit
from loracore.types import Framing

TAGS = ", ".join("abcdefgh")
SHUFFLED = CaptionRules(shuffle_caption=True)
EPOCHS = [Visit(epoch, 0, 0) for epoch in range(40)]


FRAMING = Framing((64, 64), (64, 64), (0, 0), (64, 64))


def picture(
    rules: CaptionRules = SHUFFLED,
    name: str = "a.png",
    augmentations: Augmentations | None = None,
    folder: str = "pics",
    number: int = 0,
) -> Picture:
    subset = SubsetSpec(Path(folder), 1, "here", captions=rules, augmentations=augmentations or Augmentations())
    return Picture(0, Path(folder) / name, TAGS, FRAMING, 0, subset, subset_number=number)


def texts(draws: Draws, one: Picture, visits: list[Visit]) -> list[str]:
    return [draws.caption(one, visit) for visit in visits]


def test_a_visit_draws_the_same_again() -> None:
    assert texts(Draws(1, 10), picture(), EPOCHS) == texts(Draws(1, 10), picture(), EPOCHS)


@pytest.mark.parametrize(
    "other",
    [
        Draws(2, 10).caption(picture(), Visit(0, 0, 0)),
        Draws(1, 10).caption(picture(), Visit(1, 0, 0)),
        Draws(1, 10).caption(picture(), Visit(0, 1, 0)),
        Draws(1, 10).caption(picture(name="b.png"), Visit(0, 0, 0)),
        Draws(1, 10).caption(picture(number=1), Visit(0, 0, 0)),
    ],
)
def test_seed_epoch_turn_and_picture_decide(other: str) -> None:
    assert Draws(1, 10).caption(picture(), Visit(0, 0, 0)) != other


@pytest.mark.parametrize("folder", ["./pics", "elsewhere/pics", "/data/pics"])
def test_a_folder_that_is_moved_or_spelt_otherwise_changes_no_draw(folder: str) -> None:
    assert texts(Draws(1, 10), picture(folder=folder), EPOCHS) == texts(Draws(1, 10), picture(), EPOCHS)


def test_names_and_captions_need_not_be_text() -> None:
    odd = replace(picture(name="\udcff.png"), caption=f"{TAGS}, \ud800")
    assert len(set(texts(Draws(1, 10, caption_variants=3), odd, EPOCHS))) == 3


def test_the_step_alone_changes_no_draw() -> None:
    assert Draws(1, 10).caption(picture(), Visit(0, 0, 0)) == Draws(1, 10).caption(picture(), Visit(0, 0, 9))


def test_variants_bound_how_many_texts_there_are() -> None:
    found = set(texts(Draws(1, 10, caption_variants=3), picture(), EPOCHS))
    assert len(found) == 3
    assert found == set(texts(Draws(2, 10, caption_variants=3), picture(), EPOCHS))  # another seed shares them
    assert len(set(texts(Draws(1, 10), picture(), EPOCHS))) == len(EPOCHS)


def test_whole_captions_are_dropped_at_their_rate_beside_variants() -> None:
    rules = replace(SHUFFLED, caption_dropout_rate=0.5)
    found = texts(Draws(1, 10, caption_variants=1), picture(rules), EPOCHS * 10)
    assert len(set(found)) == 2
    assert 0.35 < found[:40].count("") / 40 < 0.65


def test_dropout_follows_the_epoch_counted_from_one() -> None:
    rules = CaptionRules(caption_dropout_every_n_epochs=2)
    assert [bool(text) for text in texts(Draws(1, 10), picture(rules), EPOCHS[:4])] == [True, False, True, False]


def test_warm_up_follows_the_step() -> None:
    rules = CaptionRules(token_warmup_step=0.5, token_warmup_min=1)
    found = [Draws(1, 8).caption(picture(rules), Visit(0, 0, step)).count(",") + 1 for step in range(5)]
    assert found == [1, 2, 4, 6, 8]


def test_flips_are_every_other_time() -> None:
    mirrored = picture(augmentations=Augmentations(flip_aug=True))
    flips = [Draws(1, 10).flipped(mirrored, Visit(epoch, 0, 0)) for epoch in range(400)]
    assert 150 < sum(flips) < 250
    assert not Draws(1, 10).flipped(picture(), EPOCHS[0])


def test_only_random_pixels_get_randomness() -> None:
    assert Draws(1, 10).pixels(picture(), EPOCHS[0]) is None
    cut = picture(augmentations=Augmentations(random_crop=True))
    first, again = (Draws(1, 10).pixels(cut, EPOCHS[0]) for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.random() == again.random()
