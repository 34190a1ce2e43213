"""What a network's header says, in groups that a person can read; no torch here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

#: The group of a header's key by what it begins with; the first that fits counts, other ss_ keys are of training.
_GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "ss_base_model": "base model",
        "ss_sd_model": "base model",
        "ss_new_sd_model": "base model",
        "ss_vae": "base model",
        "ss_new_vae": "base model",
        "ss_v2": "base model",
        "ss_network": "network",
        "ss_dataset": "data sets",
        "ss_reg_dataset": "data sets",
        "ss_tag_frequency": "data sets",
        "ss_bucket": "data sets",
        "ss_num_train_images": "data sets",
        "ss_num_reg_images": "data sets",
        "ss_num_validation_images": "data sets",
        "ss_resolution": "data sets",
        "ss_": "training",
        "modelspec.": "modelspec",
        "sshs_": "hashes",
    }
)
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of pictures that was trained on."""

    name: str
    pictures: int
    repeats: int


def grouped(metadata: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return a header's keys by group, in the order that a person asks for them; groups without keys are left out."""
    order = [*dict.fromkeys(_GROUPS.values()), _OTHER]
    found: dict[str, dict[str, str]] = {group: {} for group in order}
    for name in sorted(metadata):
        group = next((group for start, group in _GROUPS.items() if name.startswith(start)), _OTHER)
        found[group][name] = metadata[name]
    return {group: keys for group, keys in found.items() if keys}


def folders(metadata: Mapping[str, str]) -> tuple[Folder, ...]:
    """Return the folders of the training's pictures (``ss_dataset_dirs``)."""
    table = _table(metadata, "ss_dataset_dirs")
    return tuple(
        Folder(name, _number(entry, "img_count"), _number(entry, "n_repeats"))
        for name, entry in table.items()
        if isinstance(entry, dict)
    )


def top_tags(metadata: Mapping[str, str], most: int) -> list[tuple[str, int]]:
    """Return the most frequent tags of all folders together (``ss_tag_frequency``)."""
    counts: Counter[str] = Counter()
    for tags in _table(metadata, "ss_tag_frequency").values():
        if isinstance(tags, dict):
            counts.update({tag.strip(): count for tag, count in tags.items() if isinstance(count, int)})
    return counts.most_common(most)


def _table(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    """Return a key's JSON object; an empty one where it holds none, as files of other programs may."""
    try:
        found = json.loads(metadata.get(name, ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(entry: Mapping[str, Any], name: str) -> int:
    found = entry.get(name, 0)
    return found if isinstance(found, int) else 0
