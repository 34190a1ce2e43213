"""Which trackers a run tells, and what they need."""

from __future__ import annotations

from types import MappingProxyType

#: accelerate's trackers by the name that ``log_with`` takes, each with the packages of which one must be installed.
TRACKER_PACKAGES = MappingProxyType(
    {
        "tensorboard": ("tensorboard", "tensorboardX"),
        "wandb": ("wandb",),
        "comet_ml": ("comet_ml",),
        "aim": ("aim",),
        "mlflow": ("mlflow",),
        "clearml": ("clearml",),
        "dvclive": ("dvclive",),
        "swanlab": ("swanlab",),
        "trackio": ("trackio",),
    }
)
#: Those that write into ``logging_dir``.
IN_FOLDER = frozenset({"tensorboard", "aim"})

_ALL = ("tensorboard", "wandb")


def tracker_names(log_with: str | None, logging_dir: str | None) -> tuple[str, ...]:
    """Return the names of the trackers that the options ask for; "all" are the two that the field names."""
    if log_with is None:
        return ("tensorboard",) if logging_dir is not None else ()
    return _ALL if log_with == "all" else (log_with,)
