from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loracore.config.dataset_spec import Augmentations, CaptionRules
from loracore.data.reading import Reading
from loracore.data.scanning import scan
from loracore.data.unchanging import unchanging
from loracore.data.visits import Draws, Visit

if TYPE_CHECKING:
    from tests.loracore.data.conftest import Dataset, Paint, Subset


def test_nothing_is_left_out_or_changed_at_random(
    paint: Paint, subset: Subset, dataset: Dataset, tmp_path: Path
) -> None:
    paint("a.png").with_suffix(".txt").write_text("one, two, three, four, five, six, seven", "utf-8")
    rules = CaptionRules(
        shuffle_caption=True,
        caption_tag_dropout_rate=0.9,
        caption_dropout_rate=0.9,
        caption_dropout_every_n_epochs=1,
        token_warmup_step=100,
    )
    random = Augmentations(flip_aug=True, color_aug=True, random_crop=True)
    index = scan([dataset(subset(captions=rules, augmentations=random))], Reading()).training
    picture, draws = unchanging(index).picture(0), Draws(seed=1, max_train_steps=10)
    visits = [Visit(0, turn, 0) for turn in range(8)]
    assert not any(draws.flipped(picture, visit) or draws.pixels(picture, visit) for visit in visits)
    texts = [draws.caption(picture, visit) for visit in visits]
    assert {tuple(sorted(text.split(", "))) for text in texts} == {
        ("five", "four", "one", "seven", "six", "three", "two")
    }
    assert len(set(texts)) > 1  # an order of its own in every visit: validations make but one
    assert picture.path == tmp_path / "a.png"
