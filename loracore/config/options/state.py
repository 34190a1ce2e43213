"""The state of a run, from which it can go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from loracore.config.limits import MOST_STEPS
from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class StateOptions:
    """When the state of the run is saved, how many are kept, and where a run goes on."""

    save_state: Annotated[bool, option("save the state too, with every file and at the end")] = False
    save_state_on_train_end: Annotated[bool, option("save the state at the end")] = False
    save_last_n_epochs_state: Annotated[
        int | None,
        option("of the states saved by epochs, keep so many (unset: save_last_n_epochs)", ge=0, le=MOST_STEPS),
    ] = None
    save_last_n_steps_state: Annotated[
        int | None,
        option(
            "of the states saved by steps, keep those of so many steps (unset: save_last_n_steps)", ge=0, le=MOST_STEPS
        ),
    ] = None
    resume: Annotated[
        str | None, option("go on from this state folder, or from the latest one of this run: latest")
    ] = None
