"""A saved file's header, put together when it is saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loracore.config.config import Config
from loracore.config.options import SavingOptions
from loracore.training.metadata.session import Session
from loracore.training.metadata.specification import specification

#: What ``no_metadata`` leaves in place: what a loader may need.
ESSENTIAL = (
    "ss_v2",
    "ss_base_model_version",
    "ss_network_module",
    "ss_network_dim",
    "ss_network_alpha",
    "ss_network_args",
)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a file is saved."""

    steps: int  # taken so far
    epochs: int  # finished so far


@dataclass(frozen=True, eq=False, slots=True)
class Header:
    """What every file of a run says, and what each says of its own moment."""

    config: Config
    values: Mapping[str, str]  # the same for every file
    slow: Sequence[Callable[[], Mapping[str, str]]]  # found in the background, and waited for
    resolution: tuple[int, int]  # width, height
    session: Session

    def metadata(self, moment: Moment) -> dict[str, str]:
        """Return all keys but the file's hashes; waits for what is looked for in the background."""
        found = {
            "ss_steps": str(moment.steps),
            "ss_epoch": str(moment.epochs),
            "ss_session_id": self.session.identity,
            "ss_training_started_at": str(self.session.started),
            "ss_training_finished_at": str(time.time()),
            **specification(self.config, self.session.started, self.resolution),
        }
        for known in self.slow:
            found |= known()
        found |= self.values
        return without_details(found) if self.config[SavingOptions].no_metadata else found


def without_details(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return what ``no_metadata`` leaves: the model specification and what a loader may need."""
    return {name: value for name, value in metadata.items() if name in ESSENTIAL or name.startswith("modelspec.")}
