"""What trackers are told of an event: the field's names of scalars, and where on the x axis they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loracore.config.config import Config
from loracore.config.options import NetworkOptions, TrainingOptions
from loracore.config.updates.optimizer_names import has_one_product
from loracore.types import Event

#: Values of a step's event by the names that trackers show them under.
_STEP_NAMES = (
    ("loss", "loss/current"),
    ("average", "loss/average"),
    ("keys_scaled", "max_norm/keys_scaled"),
    ("max_key_norm", "max_norm/max_key_norm"),
    ("average_key_norm", "norm/avg_key_norm"),
    ("grad_norm", "norm/grad_norm"),
)


@dataclass(frozen=True, slots=True)
class Scalars:
    """Numbers by name, for one place of the x axis."""

    values: Mapping[str, float]
    x: int  # the optimizer step, or the epoch (1-based) for what is known of epochs
    epoch: int  # 1-based


def scalars(event: Event, config: Config) -> Scalars | None:
    """Return what trackers show of an event; None for events that hold no such numbers."""
    values = event.values
    if event.kind == "step":
        return Scalars(_numbers(_step(values, config)), event.step, values["epoch"])
    if event.kind == "epoch":
        return Scalars(_numbers([("loss/epoch_average", values["average"])]), values["epoch"], values["epoch"])
    if event.kind == "validation":
        x = values["epoch"] if values["scope"] == "epoch" else event.step
        return Scalars(_numbers(_validation(values)), x, values["epoch"])
    return None


def tracked_options(config: Config) -> dict[str, bool | int | float | str | None]:
    """Return the options that ``log_config`` tells: all but secrets and places; what trackers cannot hold as text."""
    plain = bool | int | float | str | None
    return {name: value if isinstance(value, plain) else str(value) for name, value in config.sent().items()}


def _step(values: Mapping[str, Any], config: Config) -> Iterator[tuple[str, Any]]:
    yield from ((name, values.get(key)) for key, name in _STEP_NAMES)
    rates, products = values["lr"], values.get("d_lr") or {}
    yield from ((f"lr/{group}", rate) for group, rate in rates.items())
    if has_one_product(config[TrainingOptions]):
        yield from (("lr/d*lr", product) for product in list(products.values())[:1])
    else:
        yield from ((f"lr/d*lr/{group}", product) for group, product in products.items())
    yield from _counted(list(rates.values()), list(products.values()), config)


def _counted(rates: list[float], products: list[float], config: Config) -> Iterator[tuple[str, Any]]:
    """Give the rates a second time, counted instead of named: trackers' panels of the field are made of these."""
    start = 0
    if rates and not config[NetworkOptions].network_train_unet_only:
        yield "lr/textencoder", rates[0]  # whatever the first group is
        start = 1
    for number in range(start, len(rates)):
        yield f"lr/group{number}", rates[number]
        if number < len(products) and not has_one_product(config[TrainingOptions]):
            yield f"lr/d*lr/group{number}", products[number]


def _validation(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    scope = values["scope"]
    yield f"loss/validation/{scope}_average", values["loss"]
    yield f"loss/validation/{scope}_divergence", values.get("divergence")
    for band, loss in (values.get("bands") or {}).items():
        yield f"loss/validation/{scope}_timestep_{band}", loss


def _numbers(pairs: Any) -> dict[str, float]:
    return {name: float(value) for name, value in pairs if value is not None}
