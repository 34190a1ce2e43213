"""What ``lora_targets`` gives: keys of the file, paths that lead to the layers, and the same without weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from torch import nn

from loracore.testing.contract.bench import META, Bench
from loracore.testing.contract.faults import CannotGoOn, Fault, gathered
from loracore.testing.contract.prefix_checks import prefix_faults
from loracore.types import DENOISER, LoraTarget, Models

HOOK = "lora_targets"


def target_faults(bench: Bench) -> list[Fault]:
    """Return what is wrong with the places of adapters: of everything that may train, and of the denoiser alone."""
    return gathered(partial(_whole_faults, bench), partial(_denoiser_faults, bench))


def places(bench: Bench, models: Models) -> Sequence[LoraTarget]:
    """Return the answer to ``lora_targets``; raises CannotGoOn when it is no list of targets, or empty."""
    targets = bench.ask(HOOK, Sequence, models=models)
    strange = next((one for one in targets if not isinstance(one, LoraTarget)), None)
    if strange is not None:
        message = f"gives {type(strange).__name__} among its answers"
        raise CannotGoOn(bench.fault(HOOK, message, "return a list of LoraTarget"))
    if not targets:
        raise CannotGoOn(bench.fault(HOOK, "gives no place for an adapter", "name the layers that may be adapted"))
    found: Sequence[LoraTarget] = targets
    return found


def _whole_faults(bench: Bench) -> Iterator[Fault]:
    models = bench.load("text", "denoiser")
    targets = places(bench, models)
    yield from prefix_faults(bench, targets)
    for target in targets:
        yield from _key_faults(bench, target)
        yield from _layer_faults(bench, target, models)
        yield from _block_faults(bench, target, models)
    for key, count in Counter(target.key for target in targets).items():
        if count > 1:
            message = f"the key '{key}' is given {count} times: a file holds it once"
            yield bench.fault(HOOK, message, "give every place a key of its own")
    empty = places(bench, bench.load("text", "denoiser", device=META))
    if [_told(one) for one in empty] != [_told(one) for one in targets]:
        pairs = zip(targets, empty, strict=False)
        first = next((real.key for real, other in pairs if _told(real) != _told(other)), "their number")
        message = f"on the meta device other places come, beginning with '{first}'"
        yield bench.fault(HOOK, message, "look at names and shapes alone, which need no weights")


def _denoiser_faults(bench: Bench) -> Iterator[Fault]:
    """Of the denoiser alone no place of a text encoder is given, and none is lost."""
    every = [target.key for target in places(bench, bench.load("text", "denoiser")) if target.part == DENOISER]
    alone = [target.key for target in places(bench, bench.load("denoiser"))]
    if every != alone:
        message = "with the denoiser alone its places are others than beside the text encoders"
        yield bench.fault(HOOK, message, "give the places of the loaded parts, whichever these are")


def _key_faults(bench: Bench, target: LoraTarget) -> Iterator[Fault]:
    key = target.key
    if "." in key:
        message = f"the key '{key}' has a dot: what follows one is the name of the adapter's tensor"
        yield bench.fault(HOOK, message, "write _ for the dots of the module's path")


def _layer_faults(bench: Bench, target: LoraTarget, models: Models) -> Iterator[Fault]:
    module = models.modules().get(target.part)
    if module is None:
        message = f"'{target.key}' is of part \"{target.part}\", which is not loaded"
        yield bench.fault(HOOK, message, f"give one of {', '.join(models.modules())}")
        return
    if not target.layers or len(target.layers) != len(target.paths):
        message = f"'{target.key}' has {len(target.layers)} layers and {len(target.paths)} paths"
        yield bench.fault(HOOK, message, "give at least one layer, and a path for each")
        return
    by_path = dict(module.named_modules(remove_duplicate=False))
    for layer, path in zip(target.layers, target.paths, strict=True):
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            message = f"'{target.key}' stands before {type(layer).__name__}"
            yield bench.fault(HOOK, message, "give layers that are nn.Linear or nn.Conv2d")
        elif by_path.get(path) is not layer:
            message = f"'{target.key}': the path '{path}' does not lead to its layer in {target.part}"
            yield bench.fault(HOOK, message, "give the very modules of these models, by their names in them")


def _block_faults(bench: Bench, target: LoraTarget, models: Models) -> Iterator[Fault]:
    known = [name for names in models.block_groups.values() for name in names]
    if known and target.part == DENOISER and target.block is not None and target.block not in known:
        message = f"'{target.key}' is of block '{target.block}', which is not among Models.block_groups"
        yield bench.fault(HOOK, message, "name blocks in both alike: block-wise options count them")


def _told(target: LoraTarget) -> object:
    """Return everything that a target says but for the layers themselves, of which it is the shape."""
    shapes = [tuple(layer.weight.shape) for layer in target.layers]
    own = (target.rank, target.alpha, target.lr, target.group, target.needs_conv, target.expected_unused)
    return target.key, target.paths, target.part, target.block, shapes, own, target.separate, target.swapped_halves
