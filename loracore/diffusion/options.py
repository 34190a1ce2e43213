"""Option families that several architectures share: an architecture owns those that it returns; no torch here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from loracore.config.config import Config, Finding
from loracore.config.dataset_spec import CaptionRules
from loracore.config.options import LossOptions, ModelOptions, option
from loracore.config.refused import Refusal
from loracore.diffusion.pictures.preview_findings import flow_preview_findings

#: Tokens of a chunk between its first and its last, which CLIP's 77 positions leave.
CHUNK_TOKENS = 75


@dataclass(frozen=True, slots=True)
class DdpmOptions:
    """What a denoiser trained with DDPM noise predicts and sees, and how its loss is weighted over noise levels."""

    v_parameterization: Annotated[bool, option("the base model predicts v, not noise")] = False
    zero_terminal_snr: Annotated[
        bool, option("rescale the noise schedule so that nothing of the picture is left at the last timestep")
    ] = False
    min_snr_gamma: Annotated[
        float | None, option("min-SNR loss weighting; 5 is usual, smaller is stronger, 0 is off", ge=0)
    ] = None
    debiased_estimation_loss: Annotated[bool, option("weight the loss by 1/sqrt(SNR), or 1/(SNR+1) for v")] = False
    scale_v_pred_loss_like_noise_pred: Annotated[
        bool, option("weight a v-prediction's loss over noise levels as a noise prediction's")
    ] = False
    v_pred_like_loss: Annotated[
        float | None, option("add this share of the loss weighted as for v-prediction", ge=0)
    ] = None
    noise_offset: Annotated[
        float | None, option("add to the noise of each channel one number of this deviation; 0.05 is usual", ge=0)
    ] = None
    noise_offset_random_strength: Annotated[
        bool, option("draw each sample's noise offset between 0 and noise_offset")
    ] = False
    adaptive_noise_scale: Annotated[
        float | None, option("add this times |mean of a latent channel| to noise_offset, for every channel")
    ] = None
    multires_noise_iterations: Annotated[
        int | None, option("add noise of so many smaller and smaller sizes; 6 to 10 are usual, 0 is off", ge=0, le=64)
    ] = None
    multires_noise_discount: Annotated[
        float, option("each smaller size of multires_noise_iterations counts so much of the one before", ge=0, le=1)
    ] = 0.3
    ip_noise_gamma: Annotated[
        float | None, option("noise of this deviation on the noise that the model sees; 0.1 is usual", ge=0)
    ] = None
    ip_noise_gamma_random_strength: Annotated[
        bool, option("draw each sample's input noise between 0 and ip_noise_gamma")
    ] = False
    ignore_model_marks: Annotated[bool, option("train as the options say, whatever the base model says of itself")] = (
        False
    )


@dataclass(frozen=True, slots=True)
class VaeOptions:
    """Which VAE, and how it computes."""

    vae: Annotated[
        str | None,
        option(
            "file, diffusers folder or hub id of a VAE; wins over the base model's own", hashed_as="vae", place=True
        ),
    ] = None
    #: Latents depend on it where it changes the precision alone: `cache_identity` says so, not the option.
    no_half_vae: Annotated[bool, option("run the VAE in float32: some overflow in half precision")] = False


_OF_DDPM = Refusal("it is for denoisers trained with DDPM noise, and this one learns flow matching", "leave it out")


@dataclass(frozen=True, slots=True)
class FlowOptions:
    """Which noise levels a flow-matching denoiser is trained on, and how its loss is weighted over them."""

    #: The other family's options: known, and no strangers to be guessed at.
    REFUSES: ClassVar[Mapping[str, Refusal]] = MappingProxyType(
        {each.name: _OF_DDPM for each in fields(DdpmOptions)},
    )
    weighting_scheme: Annotated[
        Literal["sigma_sqrt", "logit_normal", "mode", "cosmap", "uniform", "none"],
        option("logit_normal and mode spread timesteps, sigma_sqrt and cosmap weight the loss, the others do neither"),
    ] = "uniform"
    logit_mean: Annotated[float, option("mean of the logit of timesteps, for logit_normal")] = 0.0
    logit_std: Annotated[float, option("spread of the logit of timesteps, for logit_normal", ge=0)] = 1.0
    mode_scale: Annotated[float, option("how strongly mode prefers the middle; 0 is uniform")] = 1.29
    training_shift: Annotated[float, option("shift of timesteps; above 1: towards noise", gt=0)] = 1.0


@dataclass(frozen=True, slots=True)
class ClipTextOptions:
    """How captions become tokens of CLIP text encoders."""

    max_token_length: Annotated[
        int | None,
        option("tokens of a caption: a multiple of 75, encoded in chunks of 75 (unset: 75)", ge=1, affects={"text"}),
    ] = None
    weighted_captions: Annotated[
        bool, option("(text:1.2), (text) and [text] in captions weight their tokens", affects={"text"})
    ] = False


@dataclass(frozen=True, slots=True)
class TokenizerOptions:
    """Where tokenizers are when they are not beside the model."""

    tokenizer_cache_dir: Annotated[
        str | None, option("folder of tokenizers, looked at before the hub; kept there after a download", place=True)
    ] = None


def ddpm_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong or without effect among the options of ``DdpmOptions``."""
    ddpm = config[DdpmOptions]
    if ddpm.scale_v_pred_loss_like_noise_pred and not ddpm.v_parameterization:
        yield Finding(
            "wrong",
            "scale_v_pred_loss_like_noise_pred",
            "scale_v_pred_loss_like_noise_pred weights the loss of a v-prediction, but v_parameterization is off",
            "add v_parameterization for a base model that predicts v, or leave this option out",
        )
    if ddpm.v_pred_like_loss and ddpm.v_parameterization:
        yield Finding(
            "wrong",
            "v_pred_like_loss",
            "v_pred_like_loss makes a noise prediction's loss resemble that of v, but v_parameterization is on already",
            "leave out one of the two",
        )
    if ddpm.zero_terminal_snr and not ddpm.v_parameterization:
        yield Finding(
            "without effect",
            "zero_terminal_snr",
            "zero_terminal_snr is meant for v_parameterization: at the last timestep a noise prediction learns nothing",
        )
    if ddpm.min_snr_gamma and ddpm.debiased_estimation_loss:
        yield Finding(
            "without effect",
            "debiased_estimation_loss",
            "min_snr_gamma and debiased_estimation_loss are both on: their loss weights are multiplied",
            "most runs want one of them",
        )
    yield from _noise_findings(config)


def _noise_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong or without effect among the options of the noise, for want of another."""
    ddpm = config[DdpmOptions]
    if ddpm.adaptive_noise_scale and not ddpm.noise_offset:
        message = "adaptive_noise_scale changes noise_offset, which is off"
        yield Finding("wrong", "adaptive_noise_scale", message, "add noise_offset = 0.05, or leave it out")
    iterations, discount = ddpm.multires_noise_iterations, config.given("multires_noise_discount")
    for name, asked, needed, on in (
        ("noise_offset_random_strength", ddpm.noise_offset_random_strength, "noise_offset", ddpm.noise_offset),
        ("multires_noise_discount", discount, "multires_noise_iterations", iterations),
        ("ip_noise_gamma_random_strength", ddpm.ip_noise_gamma_random_strength, "ip_noise_gamma", ddpm.ip_noise_gamma),
    ):
        if asked and not on:
            yield Finding("without effect", name, f"{name} has no effect: {needed} is off", "leave it out")


def flow_findings(config: Config) -> Iterator[Finding]:
    """Give what is without effect among the options of ``FlowOptions``."""
    chosen = config[FlowOptions].weighting_scheme
    for name, scheme in (("logit_mean", "logit_normal"), ("logit_std", "logit_normal"), ("mode_scale", "mode")):
        if config.given(name) and chosen != scheme:
            message = f"{name} has no effect: it belongs to weighting_scheme {scheme}, not to {chosen}"
            yield Finding("without effect", name, message)
    declared = dict(config)  # an architecture may say something of its own of one of them
    for name, why in FlowOptions.REFUSES.items():
        if config.given(name) and name not in declared:  # and off: else it would have been refused
            yield Finding("without effect", name, f"{name} has no effect: {why.message}", why.fix)
    yield from flow_preview_findings(config)
    yield from _huber_findings(config)


def _huber_findings(config: Config) -> Iterator[Finding]:
    """Give what stands in the place of the schedule that needs a signal-to-noise ratio, which flow matching has not."""
    loss = config[LossOptions]
    if loss.loss_type not in ("huber", "smooth_l1") or loss.huber_schedule != "snr":
        return
    message = "huber_schedule snr needs the signal-to-noise ratio of DDPM noise, which flow matching has not"
    if config.given("huber_schedule"):
        yield Finding("wrong", "huber_schedule", message, "use exponential or constant")
    else:
        yield Finding("implied", "huber_schedule", f"exponential: {message}", value="exponential")


def upcasts_vae(config: Config) -> bool:
    """Tell whether the VAE computes in float32 in a run that is in half precision."""
    return config[VaeOptions].no_half_vae and config[ModelOptions].mixed_precision != "no"


def vae_findings(config: Config) -> Iterator[Finding]:
    """Give what is without effect among the options of ``VaeOptions``."""
    if config[VaeOptions].no_half_vae and not upcasts_vae(config):
        message = 'no_half_vae has no effect: with mixed_precision = "no" everything is in float32'
        yield Finding("without effect", "no_half_vae", message, "leave it out")


def clip_text_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong among the options of ``ClipTextOptions``, and what tears weighted captions apart."""
    length = config[ClipTextOptions].max_token_length
    if length is not None and length % CHUNK_TOKENS:
        message = f"max_token_length is {length}, but captions are encoded in chunks of {CHUNK_TOKENS} tokens"
        yield Finding("wrong", "max_token_length", message, "use 75, 150 or 225")
    rules = (subset.captions for dataset in config.datasets for subset in dataset.subsets)
    tearing = sorted({name for one in rules for name in _by_tag(one)})
    if tearing and config[ClipTextOptions].weighted_captions:
        message = f"commas inside brackets part tags, which {', '.join(tearing)} moves or leaves out one by one"
        yield Finding("without effect", "weighted_captions", message, "write (a:1.2), (b:1.2), not (a, b:1.2)")


def _by_tag(rules: CaptionRules) -> Iterator[str]:
    """Give the rules in force that treat each tag by itself."""
    if rules.shuffle_caption:
        yield "shuffle_caption"
    if rules.caption_tag_dropout_rate > 0:
        yield "caption_tag_dropout_rate"
    if rules.token_warmup_step > 0:
        yield "token_warmup_step"


def chunk_count(config: Config) -> int:
    """Return the number of chunks that a caption is encoded in."""
    return (config[ClipTextOptions].max_token_length or CHUNK_TOKENS) // CHUNK_TOKENS
