"""What is said when memory runs out: what was asked for, what was in use, and what would help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from loracore.config.config import Config
from loracore.config.options import (
    DataOptions,
    MemoryOptions,
    ModelOptions,
    NetworkOptions,
    SpeedOptions,
    TrainingOptions,
)
from loracore.errors import LoracoreError

#: What a run was doing.
Phase = Literal["encoding captions", "encoding pictures", "loading", "training", "validation", "previews"]

#: As many changes are proposed.
_CHANGES = 3
#: What allocators say: of the card, of the host's memory (bytes), of numpy.
_ON_CARD = re.compile(r"[Tt]ried to allocate ([\d.]+ [KMGT]i?B)")
_ON_HOST = re.compile(r"you tried to allocate (\d+) bytes")
_IN_NUMPY = re.compile(r"Unable to allocate ([\d.]+ [KMGT]i?B)")
_SAYS_SO = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


class OutOfMemoryError(LoracoreError):
    """Memory of the device or of the host was too small; nothing that had been trained is lost to it."""


def explained(error: BaseException, config: Config, phase: Phase) -> OutOfMemoryError | None:
    """Return what a person needs to know of an error when it says that memory has run out, else None."""
    of_card = isinstance(error, torch.OutOfMemoryError)
    of_host = isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and not of_card and _SAYS_SO.search(str(error)) is not None
    )
    if not of_card and not of_host:
        return None
    asked = _asked(str(error))
    wanted = f"{asked} more were wanted" if asked else "more was wanted"
    message = f"out of memory while {_doing(phase)}: {wanted}; {card_use() if of_card else host_use()}"
    changes = list(_card_changes(config, phase) if of_card else _host_changes(config))[:_CHANGES]
    return OutOfMemoryError(message, fix="cheapest first: " + "; ".join(changes))


@contextmanager
def explaining(config: Config, phase: Phase) -> Iterator[None]:
    """Raise OutOfMemoryError for what says inside this that memory has run out; an inner phase speaks first."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        found = explained(error, config, phase)
        if found is None:
            raise
        raise found from error


def card_use() -> str:
    """Return how full the card is, as far as torch knows."""
    if not torch.cuda.is_available():
        return "how much is in use is not known"
    free, total = torch.cuda.mem_get_info()
    held, most = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    parts = f"this run held {_size(held)} ({_size(most)} at most), of {_size(total)} {_size(free)} were free"
    spare = torch.cuda.memory_reserved() - held
    return f"{parts}, {_size(spare)} were kept by torch in pieces"


def host_use() -> str:
    """Return how full the host's memory is."""
    import psutil  # of no use to a run that fits

    memory, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    return f"this process held {_size(own)}, of the host's {_size(memory.total)} {_size(memory.available)} were free"


def _doing(phase: Phase) -> str:
    match phase:
        case "loading":
            return "loading the model"
        case "validation":
            return "computing a validation loss"
        case "previews":
            return "drawing previews"
        case _:
            return phase


def _asked(text: str) -> str | None:
    """Return what the allocator was asked for."""
    bytes_wanted = _ON_HOST.search(text)
    if bytes_wanted is not None:
        return _size(int(bytes_wanted[1]))
    found = _ON_CARD.search(text) or _IN_NUMPY.search(text)
    return None if found is None else found[1]


def _size(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004  # of the next unit
            return f"{count:.0f} {unit}"
        count = count / 1024  # type: ignore[assignment]  # a share of the next unit
    return f"{count:.2f} GiB"


def _card_changes(config: Config, phase: Phase) -> Iterator[str]:
    """Give changes that are not made yet, those first that cost least of speed and quality."""
    model, data = config[ModelOptions], config[DataOptions]
    if model.mixed_precision == "no":
        yield 'set mixed_precision = "bf16": half the weights'
    if phase == "encoding pictures" and data.vae_batch_size > 1:
        yield "set vae_batch_size = 1"
    if phase == "encoding captions" and data.text_encoder_batch_size > 1:
        yield "set text_encoder_batch_size = 1"
    if phase == "previews":
        yield "draw smaller previews (--w 512 --h 512 in the prompt), or none (leave sample_prompts out)"
    if phase in ("training", "validation", "loading", "previews"):
        yield from _training_changes(config)
    if phase == "encoding captions":
        if not model.fp8_base:
            yield "set fp8_base: weights of text encoders in 8 bits"
        yield "encode captions on the host, where the architecture has an option for it"
    yield "train at a smaller resolution"
    yield "end other programs that use the card"


def _training_changes(config: Config) -> Iterator[str]:
    model, data, network = config[ModelOptions], config[DataOptions], config[NetworkOptions]
    training, auto = config[TrainingOptions], config[MemoryOptions].memory == "auto"
    yield from _block_changes(config)
    if not data.caches_latents:
        yield "set cache_latents: the VAE leaves the card"
    if not network.network_train_unet_only:
        yield "set network_train_unet_only: captions are encoded once, and the text encoders leave the card"
    size = max([data.train_batch_size, *(dataset.batch_size for dataset in config.datasets)])
    if size > 1:
        more = training.gradient_accumulation_steps * size
        yield f"set train_batch_size = 1 with gradient_accumulation_steps = {more}: the same step, in parts"
    if training.optimizer_type == "AdamW":
        yield 'set optimizer_type = "AdamW8bit": a quarter of the optimizer\'s state'
    if not model.fp8_base and not model.fp8_base_unet and model.base_model_precision == "given":
        yield "set fp8_base_unet: half the denoiser's weights"
    if not (model.blocks_to_swap or model.cpu_offload_checkpointing or _fixed(config)) and not auto:
        yield "set blocks_to_swap: blocks of the denoiser wait in host memory, which takes time"
    yield "give the network a smaller network_dim"


def _block_changes(config: Config) -> Iterator[str]:
    """Give what blocks can do to keep less; nothing that contradicts other options."""
    model = config[ModelOptions]
    if config[MemoryOptions].memory == "auto":
        yield "give memory auto less than it counted on (memory_budget), see `loracore plan`"
        return
    for name in _fixed(config):
        yield f'leave out {name}: then memory = "auto" can be set'
    if not (model.gradient_checkpointing or model.checkpointed_blocks or model.blocks_to_swap or _fixed(config)):
        yield 'set memory = "auto": checkpointing and block swap as far as needed (see `loracore plan`)'
    if not model.gradient_checkpointing and not config[SpeedOptions].cuda_graphs:
        instead = " in place of checkpointed_blocks" if model.checkpointed_blocks else ""
        yield f"set gradient_checkpointing{instead}: much less for activations, a third more time"


def _fixed(config: Config) -> list[str]:
    """Return the options of speed beside which memory auto and blocks_to_swap are refused."""
    speed = config[SpeedOptions]
    wanted = {"cuda_graphs": speed.cuda_graphs, "opt_channels_last": speed.opt_channels_last}
    return [name for name, is_on in wanted.items() if is_on]


def _host_changes(config: Config) -> Iterator[str]:
    model, data = config[ModelOptions], config[DataOptions]
    if data.caches_latents and not data.cache_latents_to_disk:
        yield "set cache_latents_to_disk: latents stay in files"
    text_is_cached = data.demands_text_cache or config[NetworkOptions].network_train_unet_only
    if text_is_cached and not data.cache_text_encoder_outputs_to_disk:
        yield "set cache_text_encoder_outputs_to_disk: encoded captions stay in files"
    if data.max_data_loader_n_workers > 1:
        yield "set max_data_loader_n_workers = 1"
    if model.mixed_precision == "no":
        yield 'set mixed_precision = "bf16": half the weights'
    if not model.lowram:
        yield "set lowram: weights are read straight to the device"
    if model.blocks_to_swap or model.cpu_offload_checkpointing:
        yield "let less wait on the host: fewer blocks_to_swap, no cpu_offload_checkpointing"
    yield "train at a smaller resolution"
    yield "end other programs"
    yield "add swap space"
