"""The core's own view of options that contradict each other or are without effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from loracore import Finding, ModelOptions, NetworkOptions, SavingOptions, TrainingOptions, hookimpl
from loracore.config.config import Config
from loracore.config.options import DataOptions


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return the core's findings."""
    return [
        *_data(config),
        *_caches(config),
        *_memory(config),
        *_parts(config),
        *_network(config),
        *_course(config),
        *_saving(config),
    ]


def _data(config: Config) -> Iterator[Finding]:
    data = config[DataOptions]
    if data.dataset_config is not None and data.train_data_dir is not None:
        yield Finding("without effect", "train_data_dir", "without effect: dataset_config says where the pictures are")
    if config.given("vae_batch_size") and not data.cache_latents:
        yield Finding("without effect", "vae_batch_size", "without effect: pictures are encoded with their batch")
    if data.bucket_reso_steps % 8:
        yield Finding("wrong", "bucket_reso_steps", f"{data.bucket_reso_steps} is no multiple of 8")


def _memory(config: Config) -> Iterator[Finding]:
    model = config[ModelOptions]
    if model.cpu_offload_checkpointing and model.blocks_to_swap:
        message = "a run either swaps blocks or keeps what checkpointing needs of them in host memory"
        fix = "drop cpu_offload_checkpointing to save more memory, or blocks_to_swap where the weights fit"
        yield Finding("wrong", "cpu_offload_checkpointing", message, fix)
    elif model.cpu_offload_checkpointing and not model.gradient_checkpointing:
        message = "cpu_offload_checkpointing says where gradient checkpointing keeps things, and that is off"
        yield Finding("wrong", "cpu_offload_checkpointing", message, "add --gradient_checkpointing")
    if model.fp8_base and model.fp8_base_unet:
        yield Finding("without effect", "fp8_base_unet", "without effect: fp8_base includes the denoiser")
    if not model.sdpa:
        message = "there is no other attention: torch's scaled_dot_product_attention chooses the fastest kernel"
        yield Finding("unsupported", "sdpa", message, "leave --no_sdpa out")


def _caches(config: Config) -> Iterator[Finding]:
    data = config[DataOptions]
    for name, is_on in (
        ("cache_latents_to_disk", data.cache_latents_to_disk),
        ("cache_text_encoder_outputs_to_disk", data.cache_text_encoder_outputs_to_disk),
    ):
        if is_on:
            message = f"{name}: this version keeps its caches in memory and fills them anew in every run"
            yield Finding("unsupported", name, message, f"give {name.removesuffix('_to_disk')}")


def _parts(config: Config) -> Iterator[Finding]:
    network = config[NetworkOptions]
    if network.network_train_unet_only and network.network_train_text_encoder_only:
        yield Finding(
            "wrong",
            "network_train_text_encoder_only",
            "network_train_unet_only and network_train_text_encoder_only leave nothing to train",
            "drop one of them",
        )
    if config[DataOptions].cache_text_encoder_outputs and not network.network_train_unet_only:
        yield Finding(
            "wrong",
            "cache_text_encoder_outputs",
            "cached text-encoder outputs would be stale while the text encoders train",
            "add --network_train_unet_only, or drop cache_text_encoder_outputs",
        )
    if network.network_train_unet_only and config.given("text_encoder_lr"):
        yield Finding("without effect", "text_encoder_lr", "without effect: the text encoders are not trained")
    if network.network_train_text_encoder_only and config.given("unet_lr"):
        yield Finding("without effect", "unet_lr", "without effect: the denoiser is not trained")
    if any(rate < 0 for rate in config[TrainingOptions].text_encoder_lr):
        yield Finding("wrong", "text_encoder_lr", "a learning rate is below 0")


def _network(config: Config) -> Iterator[Finding]:
    network = config[NetworkOptions]
    if not network.dim_from_weights:
        return
    if network.network_weights is None:
        yield Finding("wrong", "dim_from_weights", "dim_from_weights needs a file", "give --network_weights FILE")
    for name in ("network_dim", "network_alpha"):
        if config.given(name):
            yield Finding("without effect", name, "without effect: dim_from_weights takes it from the file")


def _course(config: Config) -> Iterator[Finding]:
    training = config[TrainingOptions]
    if training.lr_scheduler == "constant" and training.lr_warmup_steps:
        yield Finding(
            "wrong",
            "lr_warmup_steps",
            "the constant schedule has no warm-up",
            'set lr_scheduler = "constant_with_warmup"',
        )
    if training.min_timestep >= training.max_timestep:
        yield Finding("wrong", "min_timestep", "min_timestep must be below max_timestep")
    if training.max_train_epochs is not None and config.given("max_train_steps"):
        yield Finding("without effect", "max_train_steps", "without effect: max_train_epochs decides")
    if training.optimizer_type == "AdamW8bit" and find_spec("bitsandbytes") is None:
        yield Finding("wrong", "optimizer_type", "AdamW8bit needs bitsandbytes", "pip install bitsandbytes")


def _saving(config: Config) -> Iterator[Finding]:
    name = config[SavingOptions].output_name
    if name is not None and (not name.strip() or any(sign in name for sign in '/\\:*?"<>|')):
        fix = "leave folders to output_dir, and signs that file names cannot hold out"
        yield Finding("wrong", "output_name", f"'{name}' is no file name", fix)
