"""What contradicts an optimizer, or is without effect under it."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding, ModelOptions, TrainingOptions
from loracore.config.config import Config
from loracore.config.optimizer_arguments import finds_own_rates, parse_arguments
from loracore.errors import ConfigError

#: Options that give learning rates, to everything or to parts.
RATES = ("learning_rate", "unet_lr", "text_encoder_lr")
#: Options that give some learning rates in terms of others.
FACTORS = (
    "down_lr_weight",
    "mid_lr_weight",
    "up_lr_weight",
    "loraplus_lr_ratio",
    "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio",
)


def optimizer_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong or without effect with the optimizer that was chosen."""
    training = config[TrainingOptions]
    if training.optimizer_type == "Adafactor":
        yield from _adafactor(config)
    if training.fused_backward_pass:
        yield from _fused(config)
    if config[ModelOptions].full_fp16 and training.optimizer_type == "AdamW":
        # 0.001 · gradient² is below 6e-8, where fp16 ends, for every gradient below 0.0077 (the default beta2): all but
        # the newest is lost, and the step grows by 1/√0.001.
        message = (
            "full_fp16 does not go with AdamW, which would keep squares of gradients in fp16: most become 0, and its "
            "steps up to 30 times too long"
        )
        fix = "set optimizer_type to AdamW8bit or Adafactor, or train with full_bf16"
        yield Finding("unsupported", "full_fp16", message, fix)


def _adafactor(config: Config) -> Iterator[Finding]:
    """Give what contradicts Adafactor's way of finding learning rates, or is without effect under it."""
    training = config[TrainingOptions]
    try:
        arguments = parse_arguments(training.optimizer_args, "optimizer_args")
    except ConfigError:  # said where the optimizer is made
        return
    if arguments.get("warmup_init") and not arguments.get("relative_step", True):
        message = "warmup_init=True warms up the relative steps that relative_step=False turns off"
        fix = 'drop one of them; lr_scheduler = "constant_with_warmup" warms up learning rates of your own'
        yield Finding("wrong", "optimizer_args", message, fix)
    elif finds_own_rates(training):
        instead = " in the place of warmup_init=True" if arguments.get("warmup_init") else ""
        yield from _own_rates(config, f'add --optimizer_args "relative_step=False" "scale_parameter=False"{instead}')


def _own_rates(config: Config, fix: str) -> Iterator[Finding]:
    """Give what cannot be told to an optimizer that finds its rates by itself."""
    because = "Adafactor finds its own learning rates (relative_step)"
    for name in RATES:
        if config.given(name):
            yield Finding("without effect", name, f"{name} has no effect: {because}", fix)
    for name in FACTORS:
        if config.given(name):
            yield Finding("wrong", name, f"{name}: {because}, and there is none to multiply", fix)
    if config[TrainingOptions].lr_warmup_steps:
        yield Finding("wrong", "lr_warmup_steps", f"{because}: there is none to warm up", fix)
    if config[TrainingOptions].lr_scheduler != "constant":
        yield Finding("without effect", "lr_scheduler", f"lr_scheduler has no effect: {because} and their course", fix)


def _fused(config: Config) -> Iterator[Finding]:
    """Give what cannot go together with using each gradient as it arrives."""
    training, name = config[TrainingOptions], "fused_backward_pass"
    if training.optimizer_type != "Adafactor":
        message = (
            f"{name} works with Adafactor only, which treats every tensor by itself and keeps little of it; "
            f"{training.optimizer_type} steps all of them at once, and its state is larger than the gradients"
        )
        yield Finding("wrong", name, message, f'set optimizer_type = "Adafactor", or drop {name}')
    if training.gradient_accumulation_steps > 1:
        message = f"{name} frees each gradient as it arrives: gradients of several batches cannot be added up"
        yield Finding("wrong", name, message, "set gradient_accumulation_steps = 1 and raise train_batch_size")
    if config[ModelOptions].mixed_precision == "fp16":
        message = f"{name} uses each gradient as it arrives: whether fp16 has overflowed is known only after the last"
        yield Finding("wrong", name, message, 'set mixed_precision = "bf16"')
