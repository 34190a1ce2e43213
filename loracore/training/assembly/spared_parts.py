"""Which parts of the base model a run's caches on disk may spare it: then nobody need look at their files."""

from __future__ import annotations

from loracore.config.config import Config
from loracore.config.options import DataOptions, PreviewOptions
from loracore.training.assembly.run_network import trained_kinds
from loracore.training.caches.caching import caches_latents
from loracore.types import Part


def perhaps_spared(config: Config) -> frozenset[Part]:
    """Return the parts that are needed only where caches on disk lack something: the VAE, text encoders, or none.

    Looking at them takes the import of their libraries, and as long as building them. Text encoders are among them only
    beside the VAE: else pictures would be decoded before it is known what becomes of the captions.
    """
    data = config[DataOptions]
    if not (caches_latents(config) and data.cache_latents_to_disk) or config[PreviewOptions].sample_prompts is not None:
        return frozenset()
    text = data.cache_text_encoder_outputs_to_disk and "text" not in trained_kinds(config)
    return frozenset({"vae", "text"}) if text else frozenset({"vae"})
