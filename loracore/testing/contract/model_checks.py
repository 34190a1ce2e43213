"""What ``load_models`` gives: the parts that are asked for and no others, frozen, and the same without weights."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import nn

from loracore.testing.contract.bench import META, Bench
from loracore.testing.contract.faults import CannotGoOn, Fault, any_error_is, gathered
from loracore.types import DENOISER, Models, Part

_HALF = torch.bfloat16


def model_faults(bench: Bench) -> list[Fault]:
    """Return what is wrong with the models of a run; each part is loaded alone, whole, in half precision, and empty."""
    checks = [partial(_part_faults, bench, part) for part in ("text", "vae", "denoiser")]
    checks += [partial(_encoder_faults, bench), partial(_half_faults, bench), partial(_cache_faults, bench)]
    checks += [partial(_kept_faults, bench)]
    return gathered(partial(_header_faults, bench), *checks)


def _header_faults(bench: Bench) -> Sequence[Fault]:
    """Have the headers looked at, as before the first phase: nothing may be wrong with a model that loads."""
    fix = "give check_architecture a model that loads, or mend this look at it"
    with any_error_is(partial(bench.subject.raised, "check_models", fix)):
        vars(bench.plugins.hook)["check_models"](parts=frozenset({"text", "vae", "denoiser"}), config=bench.config)
    return ()


def _part_faults(bench: Bench, part: Part) -> Iterator[Fault]:
    models = bench.load(part)
    lacking, extra = _asked(models, part)
    if extra:
        message = f'asked for "{part}" alone, it gives {", ".join(extra)} too'
        fix = "leave the other parts None or empty: a phase of a run holds what it needs, and no more"
        yield bench.fault("load_models", message, fix)
    if lacking:
        raise CannotGoOn(
            bench.fault("load_models", f'asked for "{part}", it gives none', "load every part that is named")
        )
    yield from _state_faults(bench, models)
    yield from _block_faults(bench, models)
    yield from _empty_faults(bench, models, part)


def _asked(models: Models, part: Part) -> tuple[bool, list[str]]:
    """Return whether the part lacks, and what is there that was not asked for."""
    named = {"text": list(models.text), "vae": ["vae"], "denoiser": [DENOISER]}[part]
    there = models.modules()
    extra = ["denoiser" if name == DENOISER else name for name in there if name not in named]
    return not named or any(name not in there for name in named), extra


def _state_faults(bench: Bench, models: Models) -> Iterator[Fault]:
    for name, module in models.modules().items():
        if any(parameter.requires_grad for parameter in module.parameters()):
            fix = "call requires_grad_(False) on it: the adapters alone are trained"
            yield bench.fault("load_models", f"the weights of {name} are not frozen", fix)
        if any(one.training for one in module.modules() if next(one.parameters(), None) is not None):
            fix = "call eval() on it: dropout of the base model would make every step differ"
            yield bench.fault("load_models", f"{name} is in training mode", fix)
        wrong = {str(parameter.device) for parameter in module.parameters() if parameter.device.type != "cpu"}
        if wrong and name not in models.placed:
            message = f"asked for the CPU, {name} is on {', '.join(sorted(wrong))}"
            yield bench.fault("load_models", message, "move it to the device that is asked for, or name it in placed")
        wrong = {
            str(one.dtype) for one in module.parameters() if one.is_floating_point() and one.dtype != torch.float32
        }
        if wrong:
            message = f"asked for float32, {name} has weights of {', '.join(sorted(wrong))}"
            yield bench.fault("load_models", message, "load it with the dtype that is asked for")


def _block_faults(bench: Bench, models: Models) -> Iterator[Fault]:
    """Blocks are parts of the loaded modules, in a list for each."""
    modules = models.modules()
    for name, blocks in models.blocks.items():
        if name not in modules:
            message = f'blocks are given for "{name}", which is not loaded'
            yield bench.fault("load_models", message, f"name loaded parts in blocks: {', '.join(modules)}")
            continue
        own = set(map(id, modules[name].modules()))
        if any(id(block) not in own for block in blocks):
            message = f"a block of {name} is no module of it"
            yield bench.fault("load_models", message, "list the very modules that the part runs through")


def _empty_faults(bench: Bench, models: Models, part: Part) -> Iterator[Fault]:
    """On the meta device the same modules come, without weights."""
    empty = bench.load(part, device=META)
    if list(empty.modules()) != list(models.modules()):
        message = f'on the meta device "{part}" is {list(empty.modules())}, otherwise {list(models.modules())}'
        yield bench.fault("load_models", message, "build the same modules on the meta device, without weights")
        return
    for name, module in empty.modules().items():
        if any(not parameter.is_meta for parameter in module.parameters()):
            message = f"asked for the meta device, {name} has real weights"
            yield bench.fault(
                "load_models", message, "build it under torch.device('meta') from its configuration alone"
            )
        one, other = _shapes(module), _shapes(models.modules()[name])
        wrong = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
        if wrong:
            message = f"on the meta device {name} differs in {len(wrong)} weights, for example {wrong[0]}"
            yield bench.fault("load_models", message, "build it from the same configuration as with weights")


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}


def _kept_faults(bench: Bench) -> Iterator[Fault]:
    """Nothing is left of models that a phase has let go: another phase needs their memory."""
    loaded = bench.load("text", "vae", "denoiser").modules()
    left = {name: weakref.ref(module) for name, module in loaded.items()}
    del loaded
    if any(one() is not None for one in left.values()):
        gc.collect()
    kept = [name for name, one in left.items() if one() is not None]
    if kept:
        message = f"keeps {', '.join(kept)} when the run has let go of it"
        fix = "load anew in every call: no cache around it, no list or attribute that holds modules"
        yield bench.fault("load_models", message, fix)


def _encoder_faults(bench: Bench) -> Iterator[Fault]:
    """Of several text encoders each comes alone: where some train and others do not, a step needs only the first."""
    names = list(bench.load("text").text)
    for name in names if len(names) > 1 else ():  # a single one is always asked for as "text"
        found = list(bench.load(name).modules())
        if found != [name]:
            message = f'asked for the text encoder "{name}", it gives {found or "nothing"}'
            fix = "parts may name single text encoders, as Models.text does: load these alone"
            yield bench.fault("load_models", message, fix)


def _half_faults(bench: Bench) -> Iterator[Fault]:
    """Denoiser and text encoders follow ``dtype``; a VAE may stay in float32, where half precision overflows."""
    models = bench.load("text", "denoiser", dtype=_HALF)
    for name, module in models.modules().items():
        weights = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
        half = sum(weight.numel() for weight in weights if weight.dtype == _HALF)
        if 2 * half < sum(weight.numel() for weight in weights):
            message = f"asked for {_HALF}, most weights of {name} are others"
            yield bench.fault("load_models", message, "load it with the dtype that is asked for")


def _cache_faults(bench: Bench) -> Iterator[Fault]:
    encoders = list(bench.load("text", device=META).text)
    for part in ("vae", "text", *encoders):
        first, second = (bench.ask("cache_identity", str, part=part) for _ in range(2))
        if not first and bench.answers("cache_identity"):
            fix = "return what tells its files from others: sizes, times of change, a revision"
            yield bench.fault("cache_identity", f'says nothing of "{part}"', fix)
        if first != second:
            message = f'says two things of the same "{part}", so that no cache is ever found again'
            yield bench.fault("cache_identity", message, "return a text that depends on the files and options alone")
