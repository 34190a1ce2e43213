"""The contract of networks: adapters in front of tiny layers, and whole runs on the toy architecture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from loracore.errors import LoracoreError
from loracore.networks.adapter import Adapter
from loracore.testing.contract.adapter_checks import forward_faults
from loracore.testing.contract.adapter_file_checks import file_faults
from loracore.testing.contract.adapter_trial import Trial
from loracore.testing.contract.bench import unread
from loracore.testing.contract.building_checks import building_faults
from loracore.testing.contract.faults import Fault, any_error_is, gathered
from loracore.testing.contract.module_checks import module_faults
from loracore.testing.contract.network_runs import run_faults
from loracore.testing.contract.size_checks import size_faults
from loracore.testing.contract.subject import Subject, examine
from loracore.testing.contract.tiny_layouts import LAYOUTS

_HOOK = "build_adapter"
#: What `unread` calls options that are the user's own affair.
_GIVEN = "options of a run"
#: So many that what starts behind factors of zero gets its gradient too.
_STEPS = 3
_ANSWER = "return a loracore.Adapter, or None to leave the target's layers alone"


def check_network(name: str, **options: Any) -> None:  # whatever a configuration file may hold
    """Look whether an installed network keeps the contract, and raise ContractError with everything that is wrong.

    ``name`` is its entry point's, ``options`` are what its runs need, as in a configuration file. Its adapters are
    looked at in front of layers of a few numbers, then it trains the toy architecture for a few steps, several times.
    A target may be refused (LoracoreError) or left alone (None), but not all of them. Takes some seconds.
    """
    own = {"max_train_steps": _STEPS, "console_log_level": "ERROR", **options}
    examine("network", name, own, network_faults)


def network_faults(examined: Subject) -> Sequence[Fault]:
    """Return everything that is wrong; runs are not tried with a module or with adapters that are."""
    found = gathered(partial(module_faults, examined))
    if found:
        return found
    found = _each_once(gathered(partial(_adapter_faults, examined)))
    return found or gathered(partial(run_faults, examined))


def _adapter_faults(examined: Subject) -> Iterator[Fault]:
    """Give the faults of the adapters of every layout."""
    with any_error_is(partial(_unread, examined)):
        request = examined.request()
    refused: list[str] = []
    for layout in LAYOUTS:
        trial = Trial(examined, request.plugins.hook, request.config, layout)
        try:
            adapter = trial.built(layout.target())
        except LoracoreError as error:
            refused.append(f"{layout.title}: {error.problems[0].message}")
        except Exception as error:  # noqa: BLE001  # a stranger's hook may raise whatever it likes
            yield trial.raised(_HOOK, error)
        else:
            if isinstance(adapter, Adapter):
                yield from gathered(partial(_of_layout, trial))
            elif adapter is None:
                refused.append(f"{layout.title}: None")
            else:
                yield examined.fault(_HOOK, f"returns {type(adapter).__name__} for {layout.title}", _ANSWER)
    if len(refused) == len(LAYOUTS):
        message = f"no layer of any form gets an adapter ({'; '.join(refused)})"
        yield examined.fault(_HOOK, message, "return an adapter for a Linear layer at least")


def _unread(examined: Subject, error: Exception) -> Fault:
    """Return the fault of options that cannot be read."""
    fault = unread(examined, error)
    if fault.hook != _GIVEN:
        return fault
    return examined.fault("options", f"a run is refused: {error}", "give check_network the options it needs")


def _of_layout(trial: Trial) -> Sequence[Fault]:
    """Return the faults of one layout's adapters; the later ones are looked for where the earlier ones are not."""
    with any_error_is(partial(trial.raised, _HOOK)):
        found = list(building_faults(trial))
        if not found and trial.layout is LAYOUTS[0]:  # others may have options of their own
            found = list(size_faults(trial))
        if not found:
            found = list(forward_faults(trial))
            found += file_faults(trial, merged=not found)
    return found


def _each_once(found: Sequence[Fault]) -> list[Fault]:
    """Return faults without those that an earlier layout has shown already."""
    first: dict[tuple[str, str, str], Fault] = {}
    for fault in found:
        first.setdefault((fault.hook, fault.where, fault.fix), fault)
    return list(first.values())
