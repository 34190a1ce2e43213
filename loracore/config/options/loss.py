"""How far a prediction is from its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class LossOptions:
    """How the difference between prediction and target becomes a loss."""

    loss_type: Annotated[
        Literal["l2", "l1", "huber", "smooth_l1"], option("square, absolute value, or between the two")
    ] = "l2"
    huber_schedule: Annotated[
        Literal["snr", "exponential", "constant"], option("how huber_c follows the noise level")
    ] = "snr"
    huber_c: Annotated[float, option("where huber and smooth_l1 go over from square to absolute value", gt=0)] = 0.1
    huber_scale: Annotated[float, option("factor on huber_c; not with the schedule snr", gt=0)] = 1.0
