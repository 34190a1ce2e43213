"""What a run does with its models so that they fit: where they are loaded, what is stored how, what waits where."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain

import torch
from torch import nn

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.errors import ConfigError
from loracore.memory import float8
from loracore.memory.block_swap import SLOTS, rotating_places, swap_blocks
from loracore.memory.block_weights import frozen_tensors
from loracore.memory.checkpointing import checkpoint_blocks
from loracore.memory.quantised.forms import FORMS
from loracore.memory.quantised.storing import quantise
from loracore.memory.sharding import check_shardable, sharded_parameters
from loracore.types import DENOISER, Models, Part

_EVERY_PART: frozenset[Part] = frozenset({"text", "vae", "denoiser"})


def load_device(
    config: Config, device: torch.device, parts: Collection[Part] = _EVERY_PART, *, sharded: bool = False
) -> torch.device:
    """Return where ``load_models`` should put these parts, to be brought to ``device`` by `fit_models`.

    That is the CPU for a denoiser whose blocks swap or are ``sharded``, and for weights that are stored in fewer bits,
    so that the device never has to hold more than it will in training. With ``lowram`` these and shards are made on the
    device: the host is the smaller.
    """
    options = config[ModelOptions]
    text = options.fp8_base and not options.lowram
    fewer_bits = options.fp8_base_unet or options.base_model_precision != "given"
    spared = (fewer_bits or sharded) and not options.lowram
    denoiser = bool(options.blocks_to_swap) or text or spared
    waiting = ("denoiser" in parts and denoiser) or (text and bool(set(parts) - {"denoiser", "vae"}))
    return torch.device("cpu") if waiting and device.type != "meta" else device


def unneeded(config: Config, device: torch.device) -> Iterator[str]:
    """Give notes on options that change nothing on this device."""
    options = config[ModelOptions]
    fewer_bits = options.fp8_base or options.fp8_base_unet or options.base_model_precision != "given"
    if options.lowram and device.type == "cpu" and fewer_bits:
        yield "lowram is without effect on the CPU: its memory is the host's"
    if options.highvram and device.type != "cuda":
        yield f"highvram is without effect on this device ({device.type}): only of a CUDA device is memory given back"


def fit_models(
    models: Models,
    device: torch.device,
    dtype: torch.dtype,
    config: Config,
    *,
    stay: Collection[Part] = (),
    sharded: bool = False,
) -> None:
    """Store weights as the options ask and bring the models to the device, those of swapped blocks excepted.

    Called once, right after ``load_models`` was given `load_device` and before adapters are attached. ``dtype`` is that
    of the frozen weights. Modules named in ``stay``, and any that an architecture loaded to a device of its own, are
    left where they are, and so are the weights that will be shared of a ``sharded`` denoiser. On the meta device only
    the options are checked. Raises ConfigError when blocks_to_swap does not fit this denoiser, LoracoreError when it
    cannot be sharded.
    """
    swapped = _blocks_to_swap(models, config)
    _checkpointed(models, config)
    if sharded:
        _check_shared_form(config)
        check_shardable(models)
    if device.type == "meta":
        return
    origin = load_device(config, device, _parts(models), sharded=sharded)
    store_weights(models, dtype, config, device)
    waiting = {id(parameter) for parameter in sharded_parameters(models)} if sharded else set[int]()
    if swapped:
        blocks = models.blocks[DENOISER]
        swap_blocks(blocks, swapped, device)
        waiting = {id(one) for at in rotating_places(len(blocks), swapped) for one in frozen_tensors(blocks[at])}
    for name, module in models.modules().items():
        if name not in stay:
            _move(module, origin, device, waiting)


def store_weights(models: Models, dtype: torch.dtype, config: Config, device: torch.device | None = None) -> None:
    """Store the weights as the options ask, wherever they are; on the meta device, for `loracore plan`, too.

    What is made of the denoiser's for ``base_model_precision`` is computed on ``device``; None: where each weight is.
    """
    form = FORMS.get(config[ModelOptions].base_model_precision)
    if form is not None and models.denoiser is not None:
        quantise(float8.linear_layers(models.blocks.get(DENOISER) or [models.denoiser]), form, device, dtype)
    for name, module in models.modules().items():
        if name != "vae":
            _use_float8(module, models.blocks.get(name, ()), dtype, store=_stores_float8(name, config))


def spare_activations(models: Models, config: Config) -> None:
    """Let the blocks of the models forget their activations, as far as the options ask for it.

    Called once, after `fit_models`. Swapped blocks forget theirs anyway.
    """
    options = config[ModelOptions]
    swapped = _blocks_to_swap(models, config)
    for name, blocks in models.blocks.items():
        some = range(len(blocks)) if options.gradient_checkpointing else _checkpointed(models, config, name)
        rotating = set(rotating_places(len(blocks), swapped)) if swapped and name == DENOISER else set()
        chosen = [blocks[place] for place in some if place not in rotating]
        checkpoint_blocks(chosen, inputs_on_host=options.cpu_offload_checkpointing)


def _checkpointed(models: Models, config: Config, name: str = DENOISER) -> Sequence[int]:
    """Return the places of those blocks of a part that alone forget their activations."""
    wanted = sorted(set(config[ModelOptions].checkpointed_blocks))
    if not wanted or name != DENOISER or models.denoiser is None:
        return ()
    blocks = len(models.blocks.get(DENOISER, ()))
    strangers = [place for place in wanted if not 0 <= place < blocks]
    if strangers:
        message = f"checkpointed_blocks: this denoiser has no block {strangers[0]}: it names {blocks}"
        fix = f"give numbers from 0 to {blocks - 1}" if blocks else "leave checkpointed_blocks out"
        raise ConfigError(message, where=config.place("checkpointed_blocks"), fix=fix)
    return wanted


def _parts(models: Models) -> Collection[Part]:
    names = {DENOISER: "denoiser", "vae": "vae"}
    return {names.get(name, "text") for name in models.modules()}


def _blocks_to_swap(models: Models, config: Config) -> int:
    """Return how many of the denoiser's blocks swap; 0 when it is not loaded."""
    wanted = config[ModelOptions].blocks_to_swap
    if not wanted or models.denoiser is None:
        return 0
    blocks = len(models.blocks.get(DENOISER, ()))
    limit = blocks - SLOTS
    if wanted > limit:
        message = f"blocks_to_swap = {wanted} is too much for a model of {blocks} blocks: {SLOTS} need a place at once"
        if not blocks:
            message = "blocks_to_swap: this architecture names no blocks of its denoiser that could be swapped"
        fix = f"give at most {limit}" if limit > 0 else "leave blocks_to_swap out"
        raise ConfigError(message, where=config.place("blocks_to_swap"), fix=fix)
    return wanted


def _check_shared_form(config: Config) -> None:
    """Raise ConfigError where matrices in fewer bits would be divided: FSDP shares parameters, of one dtype."""
    precision = config[ModelOptions].base_model_precision
    if precision != "given":
        message = f'base_model_precision = "{precision}": matrices in so few bits cannot be shared by FSDP'
        fix = "leave base_model_precision out, or launch without FSDP"
        raise ConfigError(message, where=config.place("base_model_precision"), fix=fix)


def _stores_float8(name: str, config: Config) -> bool:
    options = config[ModelOptions]
    return options.fp8_base or (options.fp8_base_unet and name == DENOISER)


def _use_float8(module: nn.Module, blocks: Sequence[nn.Module], dtype: torch.dtype, *, store: bool) -> None:
    """Store and use the Linear weights of the blocks in float8, of the whole module when it lists none.

    What stands around the blocks is small, and often asked for its dtype by the code that calls it.
    """
    layers = list(float8.linear_layers(blocks or [module]))
    if store:
        float8.store_weights(layers)
    float8.compute_in_input_dtype(module, layers, dtype)


def _move(module: nn.Module, origin: torch.device, device: torch.device, waiting: Collection[int]) -> None:
    """Bring what is on ``origin`` to the device, those parameters excepted whose ids are ``waiting``."""
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.device == origin and id(tensor) not in waiting:
            tensor.data = tensor.data.to(device)
