"""The ss_* keys of a run's options, the same in all of its files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from types import MappingProxyType

from loracore.config.config import Config
from loracore.config.dataset_keys import parse_face_range
from loracore.config.options import (
    DataOptions,
    LossOptions,
    ModelOptions,
    NetworkOptions,
    PluginOptions,
    SavingOptions,
    TrainingOptions,
    ValidationOptions,
)
from loracore.config.updates.optimizer_arguments import finds_own_rates
from loracore.networks.network import Network
from loracore.networks.rates import is_text, learning_rate
from loracore.training.steps.length import Length

#: Options of families that some architectures have, and what the field writes for the others.
FAMILIES: Mapping[str, object] = MappingProxyType(
    {
        "clip_skip": None,
        "max_token_length": None,
        "noise_offset": None,
        "noise_offset_random_strength": False,
        "adaptive_noise_scale": None,
        "multires_noise_iterations": None,
        "multires_noise_discount": 0.3,
        "ip_noise_gamma": None,
        "ip_noise_gamma_random_strength": False,
        "zero_terminal_snr": False,
        "min_snr_gamma": None,
        "debiased_estimation_loss": False,
    }
)


def run_metadata(config: Config, network: Network, length: Length, seed: int, optimizer: str) -> dict[str, str]:
    """Return the keys that stay the same for every file of a run; ``optimizer`` is class and arguments in force."""
    values = {
        **_family_values(config),
        **_loss_values(config),
        **_training_values(config, network, length),
        **_network_values(config, network),
        **_data_values(config),
        **_own_values(config),
    }
    found = {name: str(value) for name, value in values.items()}
    arguments = config.network_args()
    if arguments:
        # The field adds its dropout to what it hands to a network, and writes that down.
        dropout = {"dropout": config[NetworkOptions].network_dropout or None}
        found["ss_network_args"] = json.dumps({**arguments, **(dropout if "dropout" not in arguments else {})})
    return {**found, "ss_seed": str(seed), "ss_optimizer": optimizer}


def _family_values(config: Config) -> dict[str, object]:
    options = dict(config)
    found = {f"ss_{name}": options.get(name, absent) for name, absent in FAMILIES.items()}
    return {**found, "ss_debiased_estimation": found.pop("ss_debiased_estimation_loss")}


def _loss_values(config: Config) -> dict[str, object]:
    loss = config[LossOptions]
    return {
        "ss_loss_type": loss.loss_type,
        "ss_huber_schedule": loss.huber_schedule,
        "ss_huber_scale": loss.huber_scale,
        "ss_huber_c": loss.huber_c,
    }


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
        "ss_lr_scheduler": _course(training),
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


def _course(training: TrainingOptions) -> str:
    """Return the course of the rates: a class where one is given; of Adafactor's own rates as the field spells them."""
    if finds_own_rates(training):
        return f"adafactor:{training.learning_rate}"
    return training.lr_scheduler_type or training.lr_scheduler


def _data_values(config: Config) -> dict[str, object]:
    """Return the run's own options of its data, as the field does; a data-set file may say otherwise (ss_datasets)."""
    data, validation = config[DataOptions], config[ValidationOptions]
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
        "ss_max_validation_steps": validation.max_validation_steps,
        "ss_validate_every_n_epochs": validation.validate_every_n_epochs,
        "ss_validate_every_n_steps": validation.validate_every_n_steps,
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


def _own_values(config: Config) -> dict[str, object]:
    """Return what the field has no keys for."""
    training = config[TrainingOptions]
    return {
        "loracore_version": version("loracore"),
        "loracore_full_bf16": config[ModelOptions].full_bf16,
        "loracore_ema_decay": training.ema_decay if training.use_ema else None,
    }


def _text_rates(config: Config, network: Network) -> object:
    """Return the rates in force: one number when all text encoders share it, a list otherwise, None without any."""
    rates = {entry.target.part: learning_rate(entry.target, config) for entry in network.entries}
    found = [rate for part, rate in rates.items() if is_text(part)]
    return found[0] if len(set(found)) == 1 else found or None


def _field_name(name: str) -> str:
    """Return the network's name as the field's files spell it: readers look for ``networks.lora``."""
    return name if "." in name else f"networks.{name}"
