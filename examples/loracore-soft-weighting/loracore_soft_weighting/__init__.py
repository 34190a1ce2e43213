"""Weigh noise levels where others draw them: the logit-normal density as a factor of the loss.

Timesteps drawn by a density and losses weighted by it have the same expectation; weighted, every level is still seen.
The density is that of Esser et al. 2024 (arXiv 2403.03206), section 3.1, "Logit-Normal Sampling".
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from loracore import Config, Finding, NoisyBatch, hookimpl, option

if TYPE_CHECKING:
    from torch import Tensor

LORACORE_API = 1


@dataclass(frozen=True, slots=True)
class SoftWeightingOptions:
    """Which noise levels count most."""

    soft_weighting_mean: Annotated[float, option("middle of the weights: above 0 noise, below 0 the picture")] = 0.0
    soft_weighting_std: Annotated[float, option("width of the weights; above 1.4 the ends count most", gt=0)] = 1.0


@hookimpl
def options() -> tuple[type, ...]:
    """Return what can be chosen."""
    return (SoftWeightingOptions,)


@hookimpl
def check_options(config: Config) -> Sequence[Finding]:
    """Say that levels which are drawn by such a density already would count twice."""
    if dict(config).get("weighting_scheme") != "logit_normal":
        return ()
    message = "soft_weighting weighs by the density that logit_normal draws by"
    return [Finding("wrong", "weighting_scheme", message, "leave one of them out")]


@hookimpl(wrapper=True)
def loss_weighting(batch: NoisyBatch, config: Config) -> Generator[None, Tensor, Tensor]:
    """Return the run's own factors (B) times the density of the samples' levels, whose mean over all levels is 1."""
    weights, chosen = (yield), config[SoftWeightingOptions]
    level = (batch.timesteps.float() / 1000).clamp(1e-4, 1 - 1e-4)  # at 0 and 1 there is no logit
    spread = chosen.soft_weighting_std * math.sqrt(2 * math.pi) * level * (1 - level)
    return (
        weights
        * (-0.5 * ((level.logit() - chosen.soft_weighting_mean) / chosen.soft_weighting_std) ** 2).exp()
        / spread
    )
