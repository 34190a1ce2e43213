"""What one visit to a picture draws: its flip, its caption, its cut, from (seed, epoch, picture, turn) alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

from loracore.data.captions.rules import CaptionVisit, dropped, drops_captions, is_random, worded_caption
from loracore.data.pictures.picture import Picture


@dataclass(frozen=True, slots=True)
class Visit:
    """One of the times a picture is seen."""

    epoch: int  # 0-based
    turn: int  # 0-based: which of its repeats in this epoch
    step: int  # 0-based optimizer step


@dataclass(frozen=True, slots=True)
class Draws:
    """The randomness of all visits of a run; it does not matter which worker draws, when, or beside what.

    ``caption_variants`` bounds how many texts a caption with random parts may have, so that they can be cached; the
    variants follow from the caption alone, so that runs of other seeds share them. None: every visit has its own.
    """

    seed: int
    max_train_steps: int
    caption_variants: int | None = None

    def flipped(self, picture: Picture, visit: Visit) -> bool:
        """Tell whether the picture is mirrored: every other time where flip_aug is on."""
        if not picture.subset.augmentations.flip_aug:
            return False
        return self._rng("flip", picture, visit).random() < 0.5  # noqa: PLR2004  # one of two

    def pixels(self, picture: Picture, visit: Visit) -> random.Random | None:
        """Return the randomness of colours and cuts, None where nothing is random."""
        return self._rng("pixels", picture, visit) if picture.subset.augmentations.random_pixels else None

    def caption(self, picture: Picture, visit: Visit) -> str:
        """Return what the text encoders read this time."""
        rules = picture.subset.captions
        moment = CaptionVisit(visit.epoch + 1, visit.step, self.max_train_steps)
        if not (drops_captions(rules) or is_random(rules)):
            return worded_caption(picture.caption, rules, moment, random.Random(0))  # noqa: S311  # draws nothing
        rng = self._rng("caption", picture, visit)
        if dropped(rules, moment, rng):
            return ""
        if self.caption_variants is not None and is_random(rules):
            rng = _rng("variant", rng.randrange(self.caption_variants), picture.caption)
        return worded_caption(picture.caption, rules, moment, rng)

    def _rng(self, stream: str, picture: Picture, visit: Visit) -> random.Random:
        place = picture.dataset, picture.subset_number, picture.name
        return _rng(stream, self.seed, visit.epoch, visit.turn, *place)


def _rng(*parts: int | str) -> random.Random:
    """Return a generator that depends on every part and on nothing else; names need not be text (surrogates)."""
    seed = "/".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return random.Random(seed)  # noqa: S311  # augmentation, not a secret
