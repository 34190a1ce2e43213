"""What stands in a saved file's header: the field's ss_*, sshs_* and modelspec.* keys, every value as text."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from types import MappingProxyType

from safetensors.torch import save
from torch import Tensor

from loracore.config.config import Config
from loracore.config.dataset_keys import parse_face_range
from loracore.config.optimizer_arguments import finds_own_rates
from loracore.config.options import (
    DataOptions,
    ModelOptions,
    NetworkOptions,
    PluginOptions,
    SavingOptions,
    TrainingOptions,
)
from loracore.networks.network import Network
from loracore.networks.rates import is_text, learning_rate
from loracore.training.length import Length
from loracore.weights.hashing import LEGACY_OFFSET, LEGACY_SIZE

#: What ``no_metadata`` leaves in place: what a loader may need.
ESSENTIAL = (
    "ss_v2",
    "ss_base_model_version",
    "ss_network_module",
    "ss_network_dim",
    "ss_network_alpha",
    "ss_network_args",
)

#: What other trainers can switch on and this one does not have: readers find the keys that they know.
UNUSED: Mapping[str, object] = MappingProxyType(
    {
        "ss_clip_skip": None,
        "ss_loss_type": "l2",
        "ss_noise_offset": None,
        "ss_adaptive_noise_scale": None,
        "ss_multires_noise_iterations": None,
        "ss_ip_noise_gamma": None,
    }
)


def run_metadata(config: Config, network: Network, length: Length, seed: int, optimizer: str) -> dict[str, str]:
    """Return the keys that stay the same for every file of a run."""
    values = {**UNUSED, **_training_values(config, network, length), **_network_values(config, network)}
    values |= _data_values(config[DataOptions])
    found = {name: str(value) for name, value in values.items()}
    arguments = config.network_args()
    if arguments:
        found["ss_network_args"] = json.dumps(arguments)
    session = random.SystemRandom().randrange(2**32)
    return {**found, "ss_seed": str(seed), "ss_optimizer": optimizer, "ss_session_id": str(session)}


def _training_values(config: Config, network: Network, length: Length) -> dict[str, object]:
    training, model = config[TrainingOptions], config[ModelOptions]
    own = finds_own_rates(training)  # the optimizer took none of ours
    return {
        "ss_output_name": config[SavingOptions].output_name,
        "ss_learning_rate": None if own else training.learning_rate,
        "ss_unet_lr": None if own else training.unet_lr,
        "ss_text_encoder_lr": None if own else _text_rates(config, network),
        "ss_num_batches_per_epoch": length.batches_per_epoch,
        "ss_num_epochs": length.epochs,
        "ss_max_train_steps": length.steps,
        "ss_gradient_checkpointing": model.gradient_checkpointing,
        "ss_gradient_accumulation_steps": training.gradient_accumulation_steps,
        "ss_lr_scheduler": training.lr_scheduler,
        "ss_lr_warmup_steps": training.lr_warmup_steps,
        "ss_mixed_precision": model.mixed_precision,
        "ss_full_fp16": model.full_fp16,
        "ss_lowram": model.lowram,
        "ss_fp8_base": model.fp8_base,
        "ss_fp8_base_unet": model.fp8_base_unet,
        "ss_max_grad_norm": training.max_grad_norm,
        "ss_training_comment": config[NetworkOptions].training_comment,
        "ss_sd_scripts_commit_hash": f"(loracore {version('loracore')})",
    }


def _data_values(data: DataOptions) -> dict[str, object]:
    """Return the run's own options of its data, as the field does; a data-set file may say otherwise (ss_datasets)."""
    faces = data.face_crop_aug_range
    return {
        "ss_cache_latents": data.caches_latents,
        "ss_prior_loss_weight": data.prior_loss_weight,
        "ss_resize_interpolation": data.resize_interpolation,
        "ss_face_crop_aug_range": None if faces is None else parse_face_range(faces),
        "ss_caption_dropout_rate": data.caption_dropout_rate,
        "ss_caption_dropout_every_n_epochs": data.caption_dropout_every_n_epochs,
        "ss_caption_tag_dropout_rate": data.caption_tag_dropout_rate,
        "ss_validation_split": data.validation_split,
        "ss_validation_seed": data.validation_seed,
    }


def _network_values(config: Config, network: Network) -> dict[str, object]:
    options = config[NetworkOptions]
    ranks = Counter(entry.adapter.rank for entry in network.entries)
    rank = options.network_dim or ranks.most_common(1)[0][0]
    return {
        "ss_network_module": _field_name(config[PluginOptions].network_module),
        "ss_network_dim": None if options.dim_from_weights else rank,
        "ss_network_alpha": options.network_alpha,
        "ss_network_dropout": options.network_dropout or None,
        "ss_scale_weight_norms": options.scale_weight_norms,
    }


def moment_metadata(
    config: Config, steps: int, epoch: int, started: float, resolution: tuple[int, int]
) -> dict[str, str]:
    """Return the keys of one save: when it was, how far, and the model specification (modelspec 1.0.1)."""
    training, name = config[TrainingOptions], config[SavingOptions].output_name
    now = datetime.now(timezone.utc).astimezone().replace(microsecond=0, tzinfo=None)
    found = {
        "ss_steps": str(steps),
        "ss_epoch": str(epoch),
        "ss_training_started_at": str(started),
        "ss_training_finished_at": str(time.time()),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": name or f"LoRA@{started}",
        "modelspec.date": now.isoformat(),
        "modelspec.resolution": f"{resolution[0]}x{resolution[1]}",
        "modelspec.implementation_version": f"loracore/{version('loracore')}",
    }
    if config.given("min_timestep") or config.given("max_timestep"):
        found["modelspec.timestep_range"] = f"{training.min_timestep},{training.max_timestep}"
    return found


def without_details(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what ``no_metadata`` leaves: the model specification and what a loader may need."""
    return {name: value for name, value in metadata.items() if name in ESSENTIAL or not name.startswith("ss_")}


def file_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """Return ``sshs_model_hash`` and ``sshs_legacy_hash`` of a file's content with its ss_* keys alone."""
    content = save(dict(tensors), {name: value for name, value in metadata.items() if name.startswith("ss_")})
    header = int.from_bytes(content[:8], "little")
    legacy = content[LEGACY_OFFSET : LEGACY_OFFSET + LEGACY_SIZE]
    return {
        "sshs_model_hash": hashlib.sha256(memoryview(content)[8 + header :]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(legacy).hexdigest()[:8],
    }


class ModelHashes:
    """A model's name and hashes, computed in the background while the run is assembled.

    ``kind`` is what the field's keys call it: "sd_model" is the base model, "vae" one in the place of its own.
    """

    def __init__(self, model: str, kind: str = "sd_model", *, wanted: bool = True) -> None:
        path = Path(model)
        self._kind, self._name = kind, path.name if path.exists() else model
        self._found: Future[tuple[str, str]] | None = None
        if wanted and path.is_file():
            self._found = Future()
            # A daemon: a run that fails early does not wait for gigabytes to be read.
            Thread(target=_fulfil, args=(self._found, path), name="hash", daemon=True).start()

    def metadata(self) -> dict[str, str]:
        """Return the name (ss_sd_model_name) and, for a single file, both hashes; waits until they are known."""
        name = {f"ss_{self._kind}_name": self._name}
        if self._found is None:
            return name
        legacy, whole = self._found.result()
        return {**name, f"ss_{self._kind}_hash": legacy, f"ss_new_{self._kind}_hash": whole}


def model_hashes(config: Config, *, wanted: bool) -> list[ModelHashes]:
    """Return the hashes of the base model, and of the files that options put in the place of its parts."""
    base = ModelHashes(config[ModelOptions].pretrained_model_name_or_path or "", wanted=wanted)
    return [base, *(ModelHashes(path, kind, wanted=wanted) for kind, path in config.hashed_files().items())]


def _fulfil(promise: Future[tuple[str, str]], path: Path) -> None:
    try:
        promise.set_result(_hashes(path))
    except OSError as error:
        promise.set_exception(error)


def _hashes(path: Path) -> tuple[str, str]:
    """Return the short hash of old tools, and SHA-256."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(LEGACY_OFFSET)
        legacy = hashlib.sha256(file.read(LEGACY_SIZE)).hexdigest()[:8]
        file.seek(0)
        while chunk := file.read(1 << 20):
            whole.update(chunk)
    return legacy, whole.hexdigest()


def _text_rates(config: Config, network: Network) -> object:
    """Return the rates in force: one number when all text encoders share it, a list otherwise, None without any."""
    rates = {entry.target.part: learning_rate(entry.target, config) for entry in network.entries}
    found = [rate for part, rate in rates.items() if is_text(part)]
    return found[0] if len(set(found)) == 1 else found or None


def _field_name(name: str) -> str:
    """Return the network's name as the field's files spell it: readers look for ``networks.lora``."""
    return name if "." in name else f"networks.{name}"
