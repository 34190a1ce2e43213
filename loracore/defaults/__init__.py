"""The core's own features, written as plugins; delete one and one feature is gone.

The modules here import no torch: they are loaded to read options, long before anything is trained.
"""

from __future__ import annotations

from types import ModuleType

from loracore.defaults import (
    answers,
    console,
    events,
    movement,
    previews,
    saving,
    trackers,
    uploading,
    validation,
)
from loracore.defaults.findings import checks

DEFAULT_PLUGINS: tuple[ModuleType, ...] = (
    answers,
    checks,
    console,
    events,
    movement,
    previews,
    saving,
    trackers,
    uploading,
    validation,
)
