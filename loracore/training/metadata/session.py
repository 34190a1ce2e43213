"""What a run is known by: a number of its own, and when it began; a run that is resumed goes on with both."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """One training from its first step to its last, however often it was interrupted."""

    identity: str  # ss_session_id
    started: float  # ss_training_started_at, seconds since the epoch


def new_session() -> Session:
    """Return the session of a training that begins now."""
    return Session(str(random.SystemRandom().randrange(2**32)), time.time())
