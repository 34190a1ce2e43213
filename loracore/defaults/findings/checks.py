"""The core's own view of options that contradict each other or are without effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loracore import Finding, ModelOptions, NetworkOptions, TrainingOptions, hookimpl
from loracore.config.config import Config
from loracore.config.options import DataOptions
from loracore.defaults.findings.block_findings import block_findings
from loracore.defaults.findings.logging_findings import logging_findings
from loracore.defaults.findings.loss_findings import loss_findings
from loracore.defaults.findings.memory_findings import memory_findings
from loracore.defaults.findings.optimizer_findings import optimizer_findings
from loracore.defaults.findings.precision_findings import precision_findings
from loracore.defaults.findings.preview_findings import preview_findings
from loracore.defaults.findings.process_findings import process_findings
from loracore.defaults.findings.saving_findings import saving_findings
from loracore.defaults.findings.schedule_findings import schedule_findings
from loracore.defaults.findings.speed_findings import speed_findings
from loracore.defaults.findings.state_findings import state_findings
from loracore.defaults.findings.validation_findings import validation_findings
from loracore.training.assembly.base_weight_findings import base_weight_findings


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Return the core's findings."""
    return [
        *_data(config),
        *_caches(config),
        *_memory(config),
        *memory_findings(config),
        *process_findings(config),
        *_parts(config),
        *_network(config),
        *base_weight_findings(config),
        *block_findings(config),
        *_course(config),
        *loss_findings(config),
        *logging_findings(config),
        *optimizer_findings(config),
        *precision_findings(config),
        *saving_findings(config),
        *schedule_findings(config),
        *speed_findings(config),
        *state_findings(config),
        *validation_findings(config),
        *preview_findings(config),
    ]


def _data(config: Config) -> Iterator[Finding]:
    data = config[DataOptions]
    if config.given("vae_batch_size") and not data.caches_latents:
        yield Finding("without effect", "vae_batch_size", "without effect: pictures are encoded with their batch")
    if data.caption_extention is not None:
        message = "deprecated: a misspelling of caption_extension, over which it wins"
        yield Finding("without effect", "caption_extention", message, "write caption_extension")
    if data.persistent_data_loader_workers:
        message = "without effect: what loads ahead always persists"
        yield Finding("without effect", "persistent_data_loader_workers", message)
    if data.debug_dataset:
        message = "debug_dataset is not supported: a run does not stop to show its pictures"
        yield Finding("unsupported", "debug_dataset", message, "see what the data set holds with `loracore check`")
    if data.dataset_class is not None:
        message = "dataset_class is not supported: there are no data-set classes of one's own"
        fix = "give the pictures as a folder or as in_json; a plugin may change each batch in its hook prepare_batch"
        yield Finding("unsupported", "dataset_class", message, fix)


def _memory(config: Config) -> Iterator[Finding]:
    model = config[ModelOptions]
    if model.cpu_offload_checkpointing and model.blocks_to_swap:
        message = "a run either swaps blocks or keeps what checkpointing needs of them in host memory"
        fix = "drop cpu_offload_checkpointing to save more memory, or blocks_to_swap where the weights fit"
        yield Finding("wrong", "cpu_offload_checkpointing", message, fix)
    elif model.cpu_offload_checkpointing and not (model.gradient_checkpointing or model.checkpointed_blocks):
        message = "cpu_offload_checkpointing says where gradient checkpointing keeps things, and that is off"
        yield Finding("wrong", "cpu_offload_checkpointing", message, "add --gradient_checkpointing")
    if model.fp8_base and model.fp8_base_unet:
        yield Finding("without effect", "fp8_base_unet", "without effect: fp8_base includes the denoiser")
    for name in ("xformers", "mem_eff_attn"):
        if config.given(name):
            message = "without effect: attention is torch's scaled_dot_product_attention, which takes as little memory"
            yield Finding("without effect", name, message)
    if not model.sdpa:
        message = "there is no other attention: torch's scaled_dot_product_attention chooses the fastest kernel"
        yield Finding("unsupported", "sdpa", message, "leave --no_sdpa out")


def _caches(config: Config) -> Iterator[Finding]:
    data = config[DataOptions]
    for name, in_memory, on_disk in (
        ("cache_latents", data.cache_latents, data.cache_latents_to_disk),
        ("cache_text_encoder_outputs", data.cache_text_encoder_outputs, data.cache_text_encoder_outputs_to_disk),
    ):
        if on_disk and not in_memory and config.given(name):
            yield Finding("without effect", name, f"without effect: {name}_to_disk implies {name}")
    if data.cache_format == "npz" and not (data.cache_latents_to_disk or data.cache_text_encoder_outputs_to_disk):
        message = "without effect: training writes .npz files only of what it keeps on disk"
        fix = "add --cache_latents_to_disk or --cache_text_encoder_outputs_to_disk"
        yield Finding("without effect", "cache_format", message, fix)
    if data.cache_info:
        yield Finding("without effect", "cache_info", "without effect: the index is always kept and always checked")
    if data.skip_cache_check:
        yield Finding("without effect", "skip_cache_check", "without effect: the cache checks itself at no cost")


def _parts(config: Config) -> Iterator[Finding]:
    network = config[NetworkOptions]
    if network.network_train_unet_only and network.network_train_text_encoder_only:
        yield Finding(
            "wrong",
            "network_train_text_encoder_only",
            "network_train_unet_only and network_train_text_encoder_only leave nothing to train",
            "drop one of them",
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
    if training.min_timestep >= training.max_timestep:
        yield Finding("wrong", "min_timestep", "min_timestep must be below max_timestep")
