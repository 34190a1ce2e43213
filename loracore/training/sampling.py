"""Pictures of some prompts, from the base model or with a trained network in front of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pluggy
import torch
from PIL.Image import Image
from torch import Tensor

from loracore.config.config import Config
from loracore.data.cache import TextCache
from loracore.data.store.memory import MemoryStore
from loracore.networks.adapter import Adapter
from loracore.networks.network import Network, build_network
from loracore.training.assembly.phases import Loading, free_memory
from loracore.training.caches.encoding import encode_texts
from loracore.types import Drawing, LoraTarget, Models


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is drawn: one picture a prompt, all alike, from one seed."""

    prompts: Sequence[str]
    drawing: Drawing
    seed: int
    negative: str = ""


def sample(loading: Loading, sampling: Sampling, weights: Mapping[str, Tensor] | None = None) -> list[Image]:
    """Return one picture for each prompt; with a network file's ``weights`` its adapters are live, dropouts off."""
    hook, config = loading.hook, loading.config
    if weights is not None:
        loading = replace(loading, adapt=partial(attach_weights, hook, config, weights, loading.device))
    text = TextCache(MemoryStore(), identity=b"")
    captions = sorted({*sampling.prompts, sampling.negative})
    encode_texts(loading, text.store, text.identity, captions, ("text",), hits=0, show=False)
    models = loading.models("denoiser", "vae")
    with torch.no_grad():
        drawn = hook.generate_images(
            models=models,
            conditioning=text.batch(sampling.prompts).to(loading.device),
            negative=text.batch([sampling.negative]).to(loading.device),
            drawing=sampling.drawing,
            rng=torch.Generator().manual_seed(sampling.seed),
            config=config,
        )
    del models
    free_memory(config)
    return list(drawn)


def attach_weights(
    hook: pluggy.HookRelay, config: Config, weights: Mapping[str, Tensor], device: torch.device, models: Models
) -> Network:
    """Put a file's adapters, on the device, in front of the loaded parts, ranks as in the file, and return them.

    Modules of parts that are not loaded wait until those are.
    """
    targets = hook.lora_targets(models=models, config=config)
    keys = {target.key for target in targets}
    own = {name: tensor for name, tensor in weights.items() if name.partition(".")[0] in keys}
    network = build_network(targets, partial(_build, hook, config), own)
    if own:
        network.load(own, "network")
    for entry in network.entries:  # a part that an option puts on a device of its own has its adapters there
        place = entry.target.layers[0].weight.device
        entry.adapter.to(place if entry.target.part in models.placed else device)
    network.modules.eval()
    network.attach(models.together)
    return network


def _build(
    hook: pluggy.HookRelay, config: Config, target: LoraTarget, weights: Mapping[str, Tensor] | None
) -> Adapter | None:
    adapter: Adapter | None = hook.build_adapter(target=target, weights=weights, config=config)
    return adapter
