"""What contradicts an optimizer, or is without effect under it."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding, ModelOptions, NetworkOptions, TrainingOptions
from loracore.config.config import Config
from loracore.config.updates.optimizer_arguments import finds_own_rates, parse_arguments, read_arguments
from loracore.config.updates.optimizer_choice import OURS, choose_optimizer
from loracore.config.updates.optimizer_names import SQUARES, is_schedule_free, optimizer_name, takes_one_rate
from loracore.config.updates.schedule_names import SHAPING
from loracore.config.updates.signatures import written_problems
from loracore.errors import ConfigError, Problem

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

#: The old spellings, and the names that they stand for.
OLD = (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion"))


def optimizer_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong or without effect with the optimizer that was chosen."""
    training = config[TrainingOptions]
    yield from _old_spellings(config)
    problems = tuple(_problems(training))
    for one in problems:
        yield Finding("wrong", one.where.removeprefix("--"), one.message, one.fix)
    name = optimizer_name(training)
    if name == "Adafactor" and not problems:
        yield from _adafactor(config)
    if takes_one_rate(training):
        yield from _one_rate(config, name)
    if training.use_ema and is_schedule_free(training):
        message = f"{name} keeps an average of the weights already, which is what is saved; use_ema would be a second"
        yield Finding("wrong", "use_ema", message, "drop use_ema, or choose an optimizer without an average of its own")
    if training.fused_backward_pass:
        yield from _fused(config, name)
    if config[ModelOptions].full_fp16 and name in SQUARES:
        # 0.001 · gradient² is below 6e-8, where fp16 ends, for every gradient below 0.0077 (the default beta2): all but
        # the newest is lost, and the step grows by 1/√0.001.
        message = (
            f"full_fp16 does not go with {name}, which would keep squares of gradients in fp16: most become 0, and its "
            "steps up to 30 times too long"
        )
        fix = "set optimizer_type to AdamW8bit or Adafactor, or train with full_bf16"
        yield Finding("unsupported", "full_fp16", message, fix)


def _problems(training: TrainingOptions) -> Iterator[Problem]:
    """Give what is wrong with the optimizer's name and arguments; its class is not imported."""
    arguments, misread = read_arguments(training.optimizer_args, "optimizer_args")
    try:
        choice = choose_optimizer(training)
    except ConfigError as error:
        yield from error.problems
    else:
        yield from written_problems(choice.module, choice.kind, arguments, OURS, "optimizer_args")
    yield from misread


def _old_spellings(config: Config) -> Iterator[Finding]:
    """Give the optimizer that an old switch stands for; two of them, or one and a name, contradict each other."""
    training = config[TrainingOptions]
    chosen = [(old, name) for old, name in OLD if getattr(training, old)]
    if len(chosen) > 1:
        message = "use_8bit_adam and use_lion_optimizer name two optimizers"
        yield Finding("wrong", "use_lion_optimizer", message, "drop one of them")
        return
    for old, name in chosen:
        if config.given("optimizer_type") and training.optimizer_type.strip():
            message = f"{old} and optimizer_type = {training.optimizer_type} name two optimizers"
            yield Finding("wrong", old, message, "drop one of them")
        else:
            yield Finding("implied", "optimizer_type", f"{old} means optimizer_type = {name}", value=name)


def _one_rate(config: Config, name: str) -> Iterator[Finding]:
    """Give what asks for several learning rates of an optimizer that has but one."""
    because = f"{name} finds one size of steps for all parameters"
    for option in FACTORS:
        if config.given(option):
            yield Finding("wrong", option, f"{option}: {because}", "leave it out, or choose another optimizer")
    training, network = config[TrainingOptions], config[NetworkOptions]
    common = ("learning_rate", training.learning_rate)
    denoiser = common if training.unet_lr is None else ("unet_lr", training.unet_lr)
    text = [("text_encoder_lr", rate) for rate in training.text_encoder_lr] or [common]
    rates = [] if network.network_train_text_encoder_only else [denoiser]
    rates += [] if network.network_train_unet_only else text
    if len({rate for _, rate in rates if rate}) > 1:
        given = next((one for one in ("text_encoder_lr", "unet_lr") if config.given(one)), "learning_rate")
        message = f"{because}, and cannot have {', '.join(f'{name} = {rate:g}' for name, rate in rates)}"
        yield Finding("wrong", given, message, "give the same rate everywhere (1 is advised), or 0 to leave a part out")


def _adafactor(config: Config) -> Iterator[Finding]:
    """Give what contradicts Adafactor's way of finding learning rates, or is without effect under it."""
    training = config[TrainingOptions]
    arguments = parse_arguments(training.optimizer_args, "optimizer_args")
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
    for name in ("lr_scheduler_type", "lr_scheduler_args", *SHAPING[1:]):
        if config.given(name):
            yield Finding("without effect", name, f"{name} has no effect: {because} and their course", fix)


def _fused(config: Config, optimizer: str) -> Iterator[Finding]:
    """Give what cannot go together with using each gradient as it arrives."""
    training, name = config[TrainingOptions], "fused_backward_pass"
    if optimizer != "Adafactor":
        message = (
            f"{name} works with Adafactor only, which treats every tensor by itself and keeps little of it; "
            f"{optimizer} steps all of them at once, and its state is larger than the gradients"
        )
        yield Finding("wrong", name, message, f'set optimizer_type = "Adafactor", or drop {name}')
    if training.gradient_accumulation_steps > 1:
        message = f"{name} frees each gradient as it arrives: gradients of several batches cannot be added up"
        yield Finding("wrong", name, message, "set gradient_accumulation_steps = 1 and raise train_batch_size")
    if config[ModelOptions].mixed_precision == "fp16":
        message = f"{name} uses each gradient as it arrives: whether fp16 has overflowed is known only after the last"
        yield Finding("wrong", name, message, 'set mixed_precision = "bf16"')
