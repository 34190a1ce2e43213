"""From a caption as its file says it to the text that is encoded: pure functions of rules, visit and random numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loracore.data.captions.tag_list import is_parted, join_tags, split_tags
from loracore.data.captions.texts import with_affixes
from loracore.data.captions.wildcards import choose_words

if TYPE_CHECKING:
    import random

    from loracore.config.dataset_spec import CaptionRules


@dataclass(frozen=True, slots=True)
class CaptionVisit:
    """When in a run a caption is used."""

    epoch: int  # from 1
    step: int  # of the optimizer, from 0
    max_train_steps: int


def spoken_caption(caption: str, rules: CaptionRules, visit: CaptionVisit, rng: random.Random) -> str:
    """Return the text to encode for a caption, empty when it is dropped; lines of the caption are parted by newlines.

    Random numbers are drawn in this order, each only where its rule is on: whole-caption dropout, line, wildcards,
    shuffling, tag dropout.
    """
    return "" if dropped(rules, visit, rng) else worded_caption(caption, rules, visit, rng)


def dropped(rules: CaptionRules, visit: CaptionVisit, rng: random.Random) -> bool:
    """Tell whether this visit goes without the caption, prefix and suffix included."""
    by_chance = rules.caption_dropout_rate > 0 and rng.random() < rules.caption_dropout_rate
    every = rules.caption_dropout_every_n_epochs
    return by_chance or (every > 0 and visit.epoch % every == 0)


def worded_caption(caption: str, rules: CaptionRules, visit: CaptionVisit, rng: random.Random) -> str:
    """Return the text to encode for a caption that is not dropped."""
    if rules.legacy_captions:  # affixes go to the whole caption: all but one line loses them
        text = _one_line(_affixed(caption, rules), rules, rng)
    else:
        text = _affixed(_one_line(caption, rules, rng), rules)
    if rules.enable_wildcard:
        text = choose_words(text, rng)
    text = _tagged(text, rules, visit, rng)
    secondary = rules.secondary_separator
    return text.replace(secondary, rules.caption_separator) if secondary else text


def is_random(rules: CaptionRules) -> bool:
    """Tell whether the words of a caption that is not dropped depend on random numbers."""
    return rules.shuffle_caption or rules.caption_tag_dropout_rate > 0 or rules.enable_wildcard


def drops_captions(rules: CaptionRules) -> bool:
    """Tell whether there are visits that go without the whole caption."""
    return rules.caption_dropout_rate > 0 or rules.caption_dropout_every_n_epochs > 0


def depends_on_step(rules: CaptionRules) -> bool:
    """Tell whether the words change as the run goes on."""
    return rules.token_warmup_step > 0


def warmup_steps(rules: CaptionRules, max_train_steps: int) -> float:
    """Return the steps until all tags are said: ``token_warmup_step``, which below 1 is a share of the run."""
    steps = rules.token_warmup_step
    return math.floor(steps * max_train_steps) if steps < 1 else steps


def kept_tokens(count: int, rules: CaptionRules, visit: CaptionVisit) -> int:
    """Return how many of ``count`` flexible tags are said at this step: ``token_warmup_min`` at first, then more."""
    steps = warmup_steps(rules, visit.max_train_steps)
    if visit.step >= steps:
        return count
    grown = math.floor(visit.step * (count - rules.token_warmup_min) / steps)
    return min(count, grown + rules.token_warmup_min)


def _affixed(text: str, rules: CaptionRules) -> str:
    return with_affixes(text, rules.caption_prefix, rules.caption_suffix)


def _one_line(text: str, rules: CaptionRules, rng: random.Random) -> str:
    """Return the text's first line, or with wildcards any of its lines, blanks untouched."""
    lines = text.split("\n")
    return rng.choice(lines) if rules.enable_wildcard and len(lines) > 1 else lines[0]


def _tagged(text: str, rules: CaptionRules, visit: CaptionVisit, rng: random.Random) -> str:
    """Return the text with its tags warmed up, shuffled and dropped; as it is when none of that is on."""
    rate = rules.caption_tag_dropout_rate
    by_tag = rules.shuffle_caption or rate > 0 or warmup_steps(rules, visit.max_train_steps) > 0
    if not by_tag and (rules.legacy_captions or not is_parted(text, rules)):
        return text
    tags = split_tags(text, rules)
    flexible = list(tags.flexible[: kept_tokens(len(tags.flexible), rules, visit)])
    if rules.shuffle_caption:
        rng.shuffle(flexible)
    if rate > 0:
        flexible = [tag for tag in flexible if rng.random() >= rate]
    return join_tags((*tags.fixed, *flexible, *tags.closing))
