"""What contradicts validation, or is without effect without it."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding
from loracore.config.config import Config
from loracore.config.options import ValidationOptions

#: Options that say when and how is validated: nothing follows from them where nothing is.
WHEN = ("validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps")


def validation_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong or without effect of the validation options."""
    options = config[ValidationOptions]
    if config.given("early_stopping_threshold") and options.early_stopping_patience is None:
        message = "without effect: early_stopping_threshold belongs to early_stopping_patience"
        yield Finding("without effect", "early_stopping_threshold", message, "add --early_stopping_patience N")
    if not options.validates:
        reason = "validate_every_n_steps and validate_every_n_epochs are 0"
        yield from _never(config, reason, "set one of them above 0")
    elif config.datasets and not any(dataset.holds_out for dataset in config.datasets):
        yield from _never(config, "no data set has a validation_split", "add --validation_split 0.1")


def _never(config: Config, reason: str, fix: str) -> Iterator[Finding]:
    """Give what is said of options though nothing is ever validated."""
    options, values = config[ValidationOptions], dict(config)
    if options.keep_best:
        yield Finding("wrong", "keep_best", f"keep_best needs validations: {reason}", fix)
    if options.early_stopping_patience is not None:
        name = "early_stopping_patience"
        yield Finding("wrong", name, f"{name} needs validations: {reason}", fix)
    for name in WHEN:
        if config.given(name) and values[name]:
            yield Finding("without effect", name, f"without effect: nothing is validated, {reason}", fix)
