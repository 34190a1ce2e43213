"""What is without effect among the options of the loss."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding
from loracore.config.config import Config
from loracore.config.options import LossOptions


def loss_findings(config: Config) -> Iterator[Finding]:
    """Give options of huber and smooth_l1 that another loss does not read, and a scale that the schedule does not."""
    loss = config[LossOptions]
    if loss.loss_type in ("l2", "l1"):
        for name in ("huber_schedule", "huber_c", "huber_scale"):
            if config.given(name):
                message = f"{name} has no effect: it belongs to the losses huber and smooth_l1, not to {loss.loss_type}"
                yield Finding("without effect", name, message, 'leave it out, or set loss_type = "huber"')
    elif config.given("huber_scale") and loss.huber_schedule == "snr":
        message = "huber_scale has no effect: huber_schedule snr does without it"
        yield Finding("without effect", "huber_scale", message, "leave it out, or use exponential or constant")
