"""Which class an ``lr_scheduler_type`` means; nothing of it is imported here, nor is torch."""

from __future__ import annotations

from loracore.config.updates.class_origins import distribution_of
from loracore.config.updates.schedule_names import REFUSED_SCHEDULES, TORCH_SCHEDULES
from loracore.errors import ConfigError, did_you_mean

OPTION = "lr_scheduler_type"
TORCH = "torch.optim.lr_scheduler"
#: Arguments of courses that the run gives.
OURS = frozenset({"optimizer"})


def schedule_class(name: str) -> tuple[str, str]:
    """Return module and class of an ``lr_scheduler_type``, importing nothing.

    Raises ConfigError for unknown names, with the nearest, and for classes that cannot be chosen, with the reason.
    """
    module, dot, kind = name.strip().rpartition(".")
    if module in {"", TORCH}:
        if kind in TORCH_SCHEDULES:
            return TORCH, kind
        if kind in REFUSED_SCHEDULES:
            message = f"{kind} cannot be the course of a run: {REFUSED_SCHEDULES[kind]}"
            raise ConfigError(message, where=f"--{OPTION}", fix=f"one of {', '.join(TORCH_SCHEDULES)}")
    if not dot or module == TORCH:
        message = f"{TORCH} has no '{kind}'"
        raise ConfigError(message, where=f"--{OPTION}", fix=did_you_mean(kind, TORCH_SCHEDULES))
    distribution_of(module, OPTION)
    return module, kind
