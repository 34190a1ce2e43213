"""The tensors of the file that a run starts from (``network_weights``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import pluggy
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from loracore.config.config import Config
from loracore.config.options import ModelOptions, NetworkOptions, TrainingOptions
from loracore.errors import DataError
from loracore.networks.network import split_by_key
from loracore.networks.rates import part_of, trains
from loracore.networks.spellings import misnamed
from loracore.types import LoraTarget, Models
from loracore.weights.convert.kohya_keys import under_known_keys
from loracore.weights.extremes import is_finite
from loracore.weights.foreign_network import Modules, foreign
from loracore.weights.headers import Header
from loracore.weights.network_header import check_modules, network_header
from loracore.weights.plain_reading import read_plainly

_SHOWN = 3


def read_network_weights(config: Config) -> tuple[Mapping[str, Tensor] | None, list[str]]:
    """Return the tensors of ``network_weights`` that this run trains, and notes on what is left out.

    Raises DataError for a file that cannot be read or is damaged, for numbers that are not finite, in whichever part,
    and when no part of it trains.
    """
    network = config[NetworkOptions]
    if network.network_weights is None:
        return None, []
    path, mapped = Path(network.network_weights), not config[ModelOptions].disable_mmap_load_safetensors
    header = network_header(path)
    check_modules(header)
    try:
        tensors = load_file(path) if mapped else _read_plainly(header)
    except (OSError, SafetensorError) as error:
        message = f"network_weights cannot be read: {error}"
        raise DataError(message, where=str(path), fix="give a whole .safetensors file of a LoRA") from error
    _check_finite(tensors, path)
    own = {name: tensor for name, tensor in tensors.items() if trains(part_of(name), config)}
    if len(own) == len(tensors):
        return tensors, []
    if not own:
        wrong = misnamed(tensors, str(path))
        if wrong is not None:
            raise DataError.of([wrong])
        fix = "leave out network_weights, or --network_train_unet_only / --network_train_text_encoder_only"
        raise DataError("none of its parts train in this run", where=str(path), fix=fix)
    return own, [f"network_weights: {len(tensors) - len(own)} tensors of parts that do not train are left out"]


def read_on_resume(config: Config) -> bool:
    """Tell whether a run that goes on from a state still needs ``network_weights``, whose tensors the state replaces.

    Ranks are the file's with ``dim_from_weights``; a text encoder at a learning rate of 0 may be changed by it.
    """
    training = config[TrainingOptions]
    rates = training.text_encoder_lr or (training.learning_rate,)
    still = 0 in rates and not config[NetworkOptions].network_train_unet_only
    return config[NetworkOptions].dim_from_weights or still


def placed_weights(
    hook: pluggy.HookRelay,
    models: Models,
    config: Config,
    weights: Mapping[str, Tensor] | None,
    targets: Collection[LoraTarget],
) -> Mapping[str, Tensor] | None:
    """Return the tensors of ``network_weights`` under the targets' own keys.

    Raises DataError when modules have no place in the model because the file's header is of another architecture.
    """
    if weights is None:
        return None
    placed = under_known_keys(weights, targets)
    path = Path(config[NetworkOptions].network_weights or "")
    modules = Modules(weights, split_by_key(placed), [target.key for target in targets])
    message = foreign(modules, network_header(path).metadata, partial(_own_header, hook, models, config))
    if message is None:
        return placed
    fix = f"give a file of this architecture; '{modules.unknown[0]}' has no place in this model"
    raise DataError(message, where=str(path), fix=fix)


def _own_header(hook: pluggy.HookRelay, models: Models, config: Config) -> Mapping[str, str]:
    """Return what this model's files say; only the denoiser tells which model it is, trained or not."""
    if models.denoiser is None:
        denoiser = frozenset({"denoiser"})
        models = hook.load_models(parts=denoiser, device=torch.device("meta"), dtype=torch.float32, config=config)
    said: Mapping[str, str] = hook.file_metadata(models=models, config=config)
    return said


def _read_plainly(header: Header) -> dict[str, Tensor]:
    return dict(read_plainly(header, header.shapes, torch.device("cpu")))


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise DataError, with all that it can name in a few lines, for tensors with NaN or infinity."""
    bad = sorted(name for name, one in tensors.items() if not is_finite(one))
    if not bad:
        return
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    message = f"network_weights: {len(bad)} of {len(tensors)} tensors hold NaN or infinity: "
    fix = "the training that wrote the file broke down: give an earlier save"
    raise DataError(f"{message}{', '.join(bad[:_SHOWN])}{more}", where=str(path), fix=fix)
