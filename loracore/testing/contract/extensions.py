"""The contract of extensions: what its hooks make of the toy's answers, and whole runs with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pluggy

from loracore import hookspecs
from loracore.defaults import DEFAULT_PLUGINS
from loracore.errors import ConfigError
from loracore.testing.contract.bench import bench, unread
from loracore.testing.contract.cache_checks import cache_faults
from loracore.testing.contract.extension_answers import answer_faults, is_wrapper
from loracore.testing.contract.extension_options import option_effect_faults
from loracore.testing.contract.faults import Fault, any_error_is, gathered
from loracore.testing.contract.module_checks import implementations, module_faults
from loracore.testing.contract.reruns import rerun_faults, trained
from loracore.testing.contract.subject import Subject, examine


def check_extension(name: str, **options: Any) -> None:  # whatever a configuration file may hold
    """Look whether an installed extension keeps the contract, and raise ContractError with everything that is wrong.

    ``name`` is its entry point's, ``options`` are what its runs need, as in a configuration file. Each of its hooks is
    asked with what a run of the toys would ask it; then these runs are taken with it, repeated and resumed. Hooks that
    such a run never calls (``generate_images``, ``weight_names``, …) are looked at by name and arguments alone. Takes
    some seconds, and one run more for every option of its own.
    """
    examine("extension", name, {"console_log_level": "ERROR", **options}, extension_faults)


def extension_faults(examined: Subject) -> Sequence[Fault]:
    """Return everything that is wrong; what builds on something that is wrong is not looked at."""
    for checks in ((module_faults, _place_faults), (_request_faults,), (answer_faults, _cache_faults), (_run_faults,)):
        found = gathered(*(partial(check, examined) for check in checks))
        if found:
            return found
    return ()


def _place_faults(examined: Subject) -> Iterator[Fault]:
    """Give hooks that are another's to answer, and say so when there are none at all."""
    found = implementations(examined)
    if not set(found) - {"options"}:  # whoever answers check_options alone may have rules for the options of others
        message = "it answers no hook of a run, so that nothing depends on it"
        yield examined.fault("hooks", message, "answer one, or wrap it with @hookimpl(wrapper=True)")
    free = _answered_by_default()
    for hook, implementation in found.items():
        first = vars(hookspecs)[hook].loracore_spec["firstresult"] if hook in vars(hookspecs) else False
        if first and hook not in free and not is_wrapper(implementation):
            owner = "network" if hook == "build_adapter" else "architecture"
            message = f"it answers a hook that the {owner} answers, so that no run has both"
            fix = "mark it @hookimpl(wrapper=True), get the answer by `answer = yield`, and return it or another"
            yield examined.fault(hook, message, fix)


def _answered_by_default() -> frozenset[str]:
    """Return the hooks that an extension may answer: those that the core itself answers."""
    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(hookspecs)
    for module in DEFAULT_PLUGINS:
        manager.register(module)
    callers = {name: one for name, one in vars(manager.hook).items() if isinstance(one, pluggy.HookCaller)}
    return frozenset(name for name, one in callers.items() if one.get_hookimpls())


def _request_faults(examined: Subject) -> Sequence[Fault]:
    with any_error_is(partial(_unread, examined)):
        examined.request()
    return ()


def _unread(examined: Subject, error: Exception) -> Fault:
    """Return the fault of options that cannot be read."""
    if not isinstance(error, ConfigError):
        return unread(examined, error)
    return examined.fault(
        "options", f"a run is refused: {error}", "give check_extension the options that its runs need"
    )


def _cache_faults(examined: Subject) -> Iterator[Fault]:
    yield from cache_faults(bench(examined))


def _run_faults(examined: Subject) -> Iterator[Fault]:
    first = trained(examined, "first")
    yield from rerun_faults(examined, first)
    yield from option_effect_faults(examined, first)
