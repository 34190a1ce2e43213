"""What ``loracore plan`` tells as plain data; sizes are bytes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loracore.training.planning.outlook import Outlook


def described(found: Outlook) -> dict[str, Any]:
    """Return a plan as JSON can hold it."""
    return {
        "batch": {"size": list(found.batch.size), "samples": found.batch.samples, "dataset": found.batch.dataset},
        "phases": [{"name": one.name, "peak": one.peak, "parts": dict(one.parts)} for one in found.phases],
        "reserve": found.reserve,
        "needed": found.needed,
        "memory": "auto" if found.auto else "given",
        "counted": asdict(found.counted),
        "blocks": [asdict(one) for one in found.blocks],
        "cards": [
            {
                "budget": one.budget,
                "needed": one.needed,
                "fits": one.fits,
                "settings": asdict(one.treatment),
                "effort": one.effort,
                "why": list(one.why),
            }
            for one in found.fitted
        ],
        "proposals": list(found.proposals),
        "notes": list(found.notes),
    }
