"""Rank and alpha, of a target's own and of the options: an adapter follows them, or somebody says that it does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from loracore.errors import LoracoreError
from loracore.networks.adapter import Adapter
from loracore.testing.contract.adapter_trial import Trial
from loracore.testing.contract.faults import Fault

_HOOK = "build_adapter"
_RANK = 2
#: Two values of each, by the option that has it too. Powers of two: many networks take no others.
_TRIED: Mapping[str, tuple[str, tuple[float, float]]] = {
    "network_dim": ("rank", (_RANK, 2 * _RANK)),
    "network_alpha": ("alpha", (1.0, 2.5)),
}
_USE = (
    "take target.{0} unless it is None, else config[NetworkOptions].{1}, "
    'or let check_options say Finding("without effect", "{1}", …)'
)


def size_faults(trial: Trial) -> Iterator[Fault]:
    """Give the faults of a network that builds the same adapter whatever rank or alpha is asked for, silently."""
    for option, (name, values) in _TRIED.items():
        fix = _USE.format(name, option)
        if _said(trial, option, values[1]):
            continue
        if _same(*(_size_of_target(trial, name, value) for value in values)):
            message = f"a target's own {name} changes nothing: the adapter is the same for {values[0]} and {values[1]}"
            yield trial.subject.fault(_HOOK, message, fix)
        if _same(*(_size_of_options(trial, option, value) for value in values)):
            message = f"{option} changes nothing: the adapter is the same for {values[0]} and {values[1]}"
            yield trial.subject.fault(_HOOK, message, fix)


def _same(one: object, other: object) -> bool:
    return one is not None and one == other


def _size_of_target(trial: Trial, name: str, value: float) -> object:
    """Return what shows an adapter's size, for a target with a choice of its own; None where it is refused."""
    target = replace(trial.layout.target(), rank=_RANK)
    try:
        return _size(trial.built(replace(target, **{name: value})))  # type: ignore[arg-type]  # rank or alpha
    except LoracoreError:
        return None


def _size_of_options(trial: Trial, option: str, value: float) -> object:
    """Return what shows an adapter's size under an option; None where it is refused."""
    try:
        request = trial.subject.request(**{"network_dim": _RANK, option: value})  # some ranks make alpha pointless
        return _size(replace(trial, config=request.config).built(trial.layout.target()))
    except LoracoreError:
        return None


def _size(adapter: Adapter | None) -> object:
    if adapter is None:
        return None
    shapes: Mapping[str, Any] = {name: tuple(one.shape) for name, one in adapter.file_tensors().items()}
    return adapter.rank, adapter.alpha_value, shapes


def _said(trial: Trial, option: str, value: float) -> bool:
    """Tell whether a run with this option is refused, or has more to say of itself than one without it."""
    bare = {name: one for name, one in trial.subject.options.items() if name != option}
    subject = replace(trial.subject, options=bare)
    try:
        return len(subject.request(**{option: value}).notes) > len(subject.request().notes)
    except LoracoreError:
        return True
