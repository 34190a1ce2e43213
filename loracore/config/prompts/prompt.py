"""One prompt of a preview, from the values that a file gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any, Literal, get_args

from loracore.config.limits import LONGEST_SIDE
from loracore.config.options.previews import Sampler
from loracore.errors import did_you_mean

#: Pixels of a side: its smallest number, and what it is a multiple of.
SMALLEST_SIDE, SIDE_STEP = 64, 8
MOST_STEPS = 1000
#: Seeds are what torch's generators take without a sign.
LARGEST_SEED = 2**63 - 1
SAMPLERS: tuple[str, ...] = get_args(Sampler)


@dataclass(frozen=True, slots=True)
class Remark:
    """What is said of a file of prompts before anything is loaded."""

    fate: Literal["wrong", "without effect"]
    message: str
    fix: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is drawn, and how; the defaults are the field's."""

    prompt: str
    negative_prompt: str = ""
    width: int = 512  # pixels
    height: int = 512
    seed: int | None = None  # None: from the run's seed, another for each prompt
    sample_steps: int = 30
    scale: float = 7.5  # of the guidance
    sample_sampler: str | None = None  # None: that of the option
    flow_shift: float | None = None  # None: the architecture's own
    where: str = ""  # file:line


def prompt_of(values: Mapping[str, Any], where: str) -> Prompt:
    """Return the prompt of sound values: sides floored as the field does, steps in 1 to 1000."""
    shift, sampler = values.get("flow_shift"), values.get("sample_sampler")
    return Prompt(
        prompt=values.get("prompt", ""),
        negative_prompt=values.get("negative_prompt", ""),
        width=floored(values.get("width", 512)),
        height=floored(values.get("height", 512)),
        seed=values.get("seed"),
        sample_steps=values.get("sample_steps", 30),
        scale=float(values.get("scale", 7.5)),
        sample_sampler=None if sampler is None else sampler.lower(),
        flow_shift=None if shift is None else float(shift),
        where=where,
    )


def floored(side: int) -> int:
    """Return the multiple of 8 at or below a side, at least 64."""
    return max(SMALLEST_SIDE, side - side % SIDE_STEP)


def remarks_on(values: Mapping[str, Any], where: str) -> Iterator[Remark]:
    """Give what is wrong with a prompt's values, and which of them change nothing."""
    for key, value in values.items():
        if key not in _KINDS:
            fix = did_you_mean(key, _KINDS) or f"known are {', '.join(_KINDS)}"
            yield Remark("wrong", f"unknown key '{key}'", fix, where)
            continue
        demand = _KINDS[key](value)
        if demand is not None:
            yield Remark("wrong", f"{key} is {value!r}, but should be {demand}", where=where)
        elif key in _UNUSED:
            yield Remark("without effect", f"{key} has no effect: {_UNUSED[key]}", where=where)
        elif key in {"width", "height"} and value != floored(value):
            message = f"{key} {value} becomes {floored(value)}: pictures have sides of multiples of {SIDE_STEP}"
            yield Remark("without effect", f"{message}, at least {SMALLEST_SIDE}", where=where)


def _text(value: object) -> str | None:
    return None if isinstance(value, str) else "text"


def _whole(least: int, most: int) -> Callable[[object], str | None]:
    def demand(value: object) -> str | None:
        sound = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if sound else f"a whole number from {least} to {most}"

    return demand


def _number(value: object) -> str | None:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0
    return None if sound else "a number that is not below 0"


def _shift(value: object) -> str | None:
    try:
        sound = isinstance(value, str | int | float) and isfinite(float(value)) and float(value) > 0
    except ValueError:
        sound = False
    return None if sound else "a number above 0"


def _sampler(value: object) -> str | None:
    if isinstance(value, str) and value.lower() in SAMPLERS:
        return None
    return f"one of {', '.join(SAMPLERS)}"


#: Every key → what its value should be, None for a sound one.
_KINDS: Mapping[str, Callable[[object], str | None]] = MappingProxyType(
    {
        "prompt": _text,
        "negative_prompt": _text,
        "width": _whole(1, LONGEST_SIDE),
        "height": _whole(1, LONGEST_SIDE),
        "seed": _whole(0, LARGEST_SEED),
        "sample_steps": _whole(1, MOST_STEPS),
        "scale": _number,
        "guidance_scale": _number,
        "sample_sampler": _sampler,
        "controlnet_image": _text,
        "cfg_trunc_ratio": _number,
        "renorm_cfg": _number,
        "flow_shift": _shift,
    }
)
#: Keys of other architectures' previews, and why they change nothing.
_UNUSED: Mapping[str, str] = MappingProxyType(
    {
        "guidance_scale": "it is of models with guidance distilled into them; scale is that of the guidance here",
        "controlnet_image": "previews are drawn without a control network",
        "cfg_trunc_ratio": "guidance is on in every step of a preview",
        "renorm_cfg": "guidance is not normalised in previews",
    }
)
