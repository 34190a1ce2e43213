"""The keys that a run with one data set has beside ss_datasets, as the field writes them without a data-set file."""

from __future__ import annotations

from loracore.config.config import Config
from loracore.config.options import TrainingOptions


def single_data_metadata(config: Config, processes: int) -> dict[str, str]:
    """Return them, those of its first subset where subsets may differ; nothing for several data sets.

    ``processes`` is how many share a step: ss_total_batch_size counts the samples of all of them.
    """
    if len(config.datasets) != 1:
        return {}
    (dataset,) = config.datasets
    captions, augmentations = dataset.subsets[0].captions, dataset.subsets[0].augmentations
    values = {
        "ss_total_batch_size": dataset.batch_size * processes * config[TrainingOptions].gradient_accumulation_steps,
        "ss_color_aug": augmentations.color_aug,
        "ss_flip_aug": augmentations.flip_aug,
        "ss_random_crop": augmentations.random_crop,
        "ss_shuffle_caption": captions.shuffle_caption,
        "ss_keep_tokens": captions.keep_tokens,
    }
    return {name: str(value) for name, value in values.items()}
