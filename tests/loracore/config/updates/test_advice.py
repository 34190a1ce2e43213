from __future__ import annotations

import pytest

from loracore import TrainingOptions
from loracore.config.updates.advice import advice

FIXED = ("relative_step=False", "scale_parameter=False")


def options(*arguments: str, **others: object) -> TrainingOptions:
    return TrainingOptions(optimizer_type="Adafactor", optimizer_args=arguments, **others)  # type: ignore[arg-type]


def other(name: str, **others: object) -> TrainingOptions:
    return TrainingOptions(optimizer_type=name, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (TrainingOptions(), []),
        (options(), ["relative_step=False takes yours"]),
        (options("warmup_init=True"), ["relative_step=False, without warmup_init, takes yours"]),
        (options(*FIXED), ["max_grad_norm = 0", "constant_with_warmup is advised, not constant"]),
        (options(*FIXED, max_grad_norm=0.0, lr_scheduler="constant_with_warmup"), []),
        (
            options(*FIXED, "clip_threshold=2", max_grad_norm=0.0, lr_scheduler="constant_with_warmup"),
            ["clip_threshold = 1.0"],
        ),
        (options(fused_backward_pass=True), ["each tensor's own gradient", "relative_step"]),
        (options(fused_backward_pass=True, max_grad_norm=0.0), ["relative_step"]),
        (other("Prodigy"), ["learning_rate = 1 is advised, not 2e-06", "prodigyopt.Prodigy of prodigyopt"]),
        (other("Prodigy", learning_rate=1.0), ["optimizer prodigyopt.Prodigy of prodigyopt"]),
        (other("DAdaptAdam", unet_lr=0.5), ["unet_lr = 1 is advised, not 0.5", "of dadaptation"]),
        (other("SGDNesterov8bit"), ["coarse"]),
    ],
)
def test_advice(training: TrainingOptions, words: list[str]) -> None:
    found = list(advice(training))
    assert len(found) == len(words)
    assert all(word in note for word, note in zip(words, found, strict=True))
