"""What a data set is once every value is looked up: sizes, batches, folders, captions, augmentations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class CaptionRules:
    """How the text of a caption becomes what the text encoders read; names as in data-set files."""

    caption_prefix: str = ""
    caption_suffix: str = ""
    caption_separator: str = ","
    secondary_separator: str = ""  # "": off
    enable_wildcard: bool = False
    keep_tokens: int = 0
    keep_tokens_separator: str = ""  # "": off
    shuffle_caption: bool = False
    token_warmup_min: int = 1
    token_warmup_step: float = 0  # steps; below 1 a share of the run's; 0: off
    caption_tag_dropout_rate: float = 0.0
    caption_dropout_rate: float = 0.0
    caption_dropout_every_n_epochs: int = 0  # 0: never
    legacy_captions: bool = False  # the reference trainer's order, faults included


@dataclass(frozen=True, slots=True)
class Augmentations:
    """What is changed at random each time a picture is seen."""

    flip_aug: bool = False
    color_aug: bool = False
    random_crop: bool = False
    face_crop_aug_range: tuple[float, float] | None = None  # lower, upper

    @property
    def random_pixels(self) -> bool:
        """Tell whether no two visits have the same pixels, so that latents cannot be cached; a flip is cached twice."""
        return self.color_aug or self.random_crop or self.face_crop_aug_range is not None


@dataclass(frozen=True, slots=True)
class SubsetSpec:
    """One folder of pictures, or one list of them."""

    image_dir: Path | None  # as written: relative to the working directory; None: metadata_file has whole paths
    num_repeats: int  # 1 or more
    place: str  # ``file:line`` or ``--option`` that names the folder
    caption_extension: str = ".caption"  # with its dot
    class_tokens: str | None = None  # the caption of pictures without one
    captions: CaptionRules = CaptionRules()
    augmentations: Augmentations = Augmentations()
    resize_interpolation: str | None = None  # None chooses by enlarging or shrinking
    metadata_file: Path | None = None  # captions from a .json or .jsonl file instead of files beside the pictures
    conditioning_data_dir: Path | None = None  # masks: pictures of the same names
    alpha_mask: bool = False  # masks: the pictures' own transparency
    is_reg: bool = False  # regularisation: repeated until there are as many samples as of the others
    loss_weight: float = 1.0  # prior_loss_weight where is_reg
    validation_split: float | None = None  # share that is held out; None: the data set's
    custom_attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def source(self) -> Path:
        """The folder, or the list where there is no folder: what messages name."""
        found = self.image_dir if self.image_dir is not None else self.metadata_file
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """Folders that share a resolution, buckets and batches."""

    resolution: tuple[int, int]  # width, height
    batch_size: int  # on each device
    enable_bucket: bool
    min_bucket_reso: int
    max_bucket_reso: int
    bucket_reso_steps: int
    bucket_no_upscale: bool
    subsets: tuple[SubsetSpec, ...]
    warnings: tuple[str, ...] = ()  # what was left out or adjusted
    network_multiplier: float = 1.0  # of the adapters, for this data set's samples
    validation_split: float = 0.0  # share of the pictures that is held out, in [0, 1], of subsets that name none
    validation_seed: int | None = None  # None: the run's seed

    @property
    def holds_out(self) -> bool:
        """Tell whether a share of some subset is to be held out for validation."""
        return any(self.share_held_out(subset) > 0 for subset in self.subsets)

    def share_held_out(self, subset: SubsetSpec) -> float:
        """Return the share of a subset's pictures that is held out for validation: none of regularisation."""
        if subset.is_reg:
            return 0.0
        return self.validation_split if subset.validation_split is None else subset.validation_split

    @property
    def bucket_bounds(self) -> tuple[int, int]:
        """Return the smallest and the largest side of a bucket, brought to whole steps."""
        return whole_bounds(self.min_bucket_reso, self.max_bucket_reso, self.bucket_reso_steps)


def whole_bounds(smallest: int, largest: int, steps: int) -> tuple[int, int]:
    """Return bounds in whole steps: the smaller rounded down, the larger up."""
    return smallest - smallest % steps, -(-largest // steps) * steps
