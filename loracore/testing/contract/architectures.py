"""The contract of architectures: every hook asked by itself, then whole runs with the toy network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from loracore.testing.contract.batch_checks import batch_faults
from loracore.testing.contract.bench import Bench, bench
from loracore.testing.contract.cache_checks import cache_faults
from loracore.testing.contract.encoding_checks import encoding_faults
from loracore.testing.contract.faults import CannotGoOn, Fault, gathered
from loracore.testing.contract.model_checks import model_faults
from loracore.testing.contract.module_checks import implementations, module_faults
from loracore.testing.contract.result_checks import result_faults
from loracore.testing.contract.run_checks import run_faults
from loracore.testing.contract.step_checks import first_steps, step_faults
from loracore.testing.contract.subject import Subject, examine
from loracore.testing.contract.target_checks import target_faults

#: Without an answer to these there is no run, and the core has none of its own.
REQUIRED = ("load_models", "encode_text", "encode_images", "lora_targets", "noise_latents", "predict_noise")


def check_architecture(name: str, **options: Any) -> None:  # whatever a configuration file may hold
    """Look whether an installed architecture keeps the contract, and raise ContractError with everything that is wrong.

    ``name`` is its entry point's, ``options`` are what its runs need, as in a configuration file: a tiny base model,
    above all. Every hook is asked with pictures and captions made here, on the CPU. When all is well it trains a few
    steps with the toy network, several times, on pictures of ``write_pictures``. A check that an earlier fault makes
    pointless is left out. Raises PluginError when no such architecture is installed.
    """
    examine("architecture", name, options, architecture_faults)


def architecture_faults(examined: Subject) -> Sequence[Fault]:
    """Return everything that is wrong with an architecture; it trains only when its hooks answer rightly."""
    found = gathered(partial(module_faults, examined), partial(_missing, examined))
    try:
        ready = bench(examined)
    except CannotGoOn as end:
        return found or [end.fault]  # what keeps a run from being read is told by its module's faults, if it has any
    found = _each_once([*found, *_answer_faults(ready)])
    return found or gathered(partial(run_faults, ready))


def _missing(examined: Subject) -> Iterator[Fault]:
    """Give the required hooks that the module does not answer."""
    marked = implementations(examined)
    for hook in REQUIRED:
        if hook not in marked:
            message = "the architecture does not answer this hook, and the core has no answer of its own"
            yield examined.fault(hook, message, f"write a function {hook} and mark it with @hookimpl")


def _answer_faults(ready: Bench) -> list[Fault]:
    """Return the faults of what its hooks answer, in the order of a run."""
    found = [*model_faults(ready), *encoding_faults(ready), *target_faults(ready)]
    found += gathered(partial(cache_faults, ready), partial(_step_faults, ready))
    return [*found, *result_faults(ready)]


def _step_faults(ready: Bench) -> list[Fault]:
    """Return the faults of the hooks of a step; other batches are tried when those of a usual one are right."""
    a, b = first_steps(ready)
    return step_faults(a, b) or batch_faults(a)


def _each_once(found: Sequence[Fault]) -> list[Fault]:
    """Return faults without those that say the same of the same hook."""
    first: dict[tuple[str, str, str], Fault] = {}
    for fault in found:
        first.setdefault((fault.hook, fault.message, fault.fix), fault)
    return list(first.values())
