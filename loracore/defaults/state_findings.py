"""What contradicts going on from a state, or is without effect in saving them."""

from __future__ import annotations

from collections.abc import Iterator

from loracore import Finding, TrainingOptions
from loracore.config.config import Config
from loracore.config.options import StateOptions


def state_findings(config: Config) -> Iterator[Finding]:
    """Give what is wrong or without effect of where a run begins, and of the states that it saves."""
    yield from _beginning(config)
    state = config[StateOptions]
    if state.save_state and state.save_state_on_train_end:
        message = "without effect: save_state saves one at the end, too"
        yield Finding("without effect", "save_state_on_train_end", message)
    for name in ("save_last_n_epochs_state", "save_last_n_steps_state"):
        if config.given(name) and not state.save_state:
            message = "without effect: no states are saved on the way"
            yield Finding("without effect", name, message, "add --save_state")


def _beginning(config: Config) -> Iterator[Finding]:
    training = config[TrainingOptions]
    given = [name for name in ("initial_step", "initial_epoch") if config.given(name)]
    if config[StateOptions].resume is not None:
        for name in given:
            message = f"resume goes on behind the state's own step; {name} says another"
            yield Finding("wrong", name, message, f"drop {name}, or resume")
    elif len(given) > 1:
        yield Finding("wrong", "initial_epoch", "initial_step says already where the run begins", "drop one of them")
    if training.skip_until_initial_step:
        message = "without effect: the data always begin where the run does, and nothing is read to get there"
        yield Finding("without effect", "skip_until_initial_step", message)
