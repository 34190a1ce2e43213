"""Pictures as every visit finds them alike: nothing is mirrored, cut, shuffled or left out at random."""

from __future__ import annotations

from dataclasses import replace

from loracore.config.dataset_spec import Augmentations, CaptionRules, SubsetSpec
from loracore.data.index import Index
from loracore.data.sources import Source


def unchanging(index: Index) -> Index:
    """Return the index with its augmentations and dropouts off, so that two validations read the same.

    Every tag of a caption is there: ``token_warmup_step`` is of training. What remains to be drawn of a caption, the
    order of its tags and its wildcards, hangs on its visit alone: who always makes the same visit reads the same text.
    """
    return replace(index, sources=tuple(_unchanging(source) for source in index.sources))


def _unchanging(source: Source) -> Source:
    subset: SubsetSpec = source.subset
    return replace(
        source, subset=replace(subset, augmentations=Augmentations(), captions=_whole_captions(subset.captions))
    )


def _whole_captions(rules: CaptionRules) -> CaptionRules:
    return replace(
        rules,
        token_warmup_step=0,
        caption_tag_dropout_rate=0.0,
        caption_dropout_rate=0.0,
        caption_dropout_every_n_epochs=0,
    )
