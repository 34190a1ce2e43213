"""Notes on options that the field advises against with an optimizer, or that mean something else."""

from __future__ import annotations

from collections.abc import Iterator

from loracore.config.options import TrainingOptions
from loracore.config.updates.optimizer_arguments import finds_own_rates, optimizer_arguments
from loracore.config.updates.optimizer_choice import choose_optimizer, optimizer_origin
from loracore.config.updates.optimizer_names import adapts, optimizer_name


def advice(training: TrainingOptions) -> Iterator[str]:
    """Give the notes of one run's optimizer, a line each."""
    if training.fused_backward_pass and training.max_grad_norm:
        yield (
            f"fused_backward_pass: max_grad_norm = {training.max_grad_norm:g} limits each tensor's own gradient; the "
            "norm of all is known only when the last has been used"
        )
    name = optimizer_name(training)
    if name == "Adafactor":
        yield from _adafactor(training)
    if adapts(training):
        yield from _adapting(training, name)
    if name == "SGDNesterov8bit":
        yield "SGDNesterov8bit: 8-bit SGD is coarse; SGDNesterov costs little more for adapters"
    if not choose_optimizer(training).module.startswith(("torch.", "bitsandbytes.", "transformers.")):
        yield f"optimizer {optimizer_origin(training)}"


def _adapting(training: TrainingOptions, name: str) -> Iterator[str]:
    rates = {"learning_rate": training.learning_rate, "unet_lr": training.unet_lr}
    for option, rate in rates.items():
        used = rate is not None and (option == "unet_lr" or training.unet_lr is None)
        if used and rate != 1:
            yield (
                f"{name} finds the size of its steps itself and multiplies it by the learning rate: {option} = 1 is "
                f"advised, not {rate:g}"
            )


def _adafactor(training: TrainingOptions) -> Iterator[str]:
    if finds_own_rates(training):
        instead = ", without warmup_init," if optimizer_arguments(training).get("warmup_init") else ""
        yield (
            "Adafactor finds its own learning rates (relative_step); "
            f"optimizer_args relative_step=False{instead} takes yours"
        )
        return
    if training.max_grad_norm and not training.fused_backward_pass:
        yield "Adafactor limits its updates by itself (clip_threshold): max_grad_norm = 0 is advised with it"
    if training.lr_scheduler != "constant_with_warmup":
        yield f"Adafactor with a given learning rate: constant_with_warmup is advised, not {training.lr_scheduler}"
    if optimizer_arguments(training).get("clip_threshold", 1.0) != 1.0:
        yield "Adafactor with a given learning rate: clip_threshold = 1.0 is advised"
