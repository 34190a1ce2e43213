"""What contradicts going on from a state, or is without effect in saving them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loracore import Finding, TrainingOptions
from loracore.config.config import Config
from loracore.config.options import HubOptions, StateOptions
from loracore.training.state.names import LATEST, aside


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


def _place(config: Config) -> Iterator[Finding]:
    """Give a state that is not there; one that steps aside for a newer one is."""
    wanted = config[StateOptions].resume
    if wanted in {None, LATEST} or config[HubOptions].resume_from_huggingface:
        return
    path = Path(wanted).expanduser()
    if not any(place.exists() for place in (path, aside(path), path)):  # it may move in between
        message, fix = f"there is no state {path}", f"give a state's folder or '{LATEST}', or leave --resume out"
        yield Finding("wrong", "resume", message, fix)


def _beginning(config: Config) -> Iterator[Finding]:
    training = config[TrainingOptions]
    yield from _place(config)
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
