"""An architecture in whole runs: gradients reach its places, its files read back, a run can be repeated and resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from loracore.config.options import NetworkOptions, PluginOptions
from loracore.errors import ConfigError
from loracore.hookspecs import hookimpl
from loracore.networks.network import split_by_key
from loracore.testing.contract.bench import META, Bench
from loracore.testing.contract.faults import CannotGoOn, Fault
from loracore.testing.contract.reruns import differing, rerun_faults, trained
from loracore.testing.contract.target_checks import HOOK, places
from loracore.training.assembly.run_network import trained_kinds
from loracore.training.run import Run
from loracore.types import DENOISER, LoraTarget

_TOY = "toy"
_CUT = "compute without .detach() and torch.no_grad(), from weights that are not all 0"


def run_faults(bench: Bench) -> Iterator[Fault]:
    """Give the faults of whole runs of two steps, that are repeated, resumed, and started from a file."""
    subject, watch = bench.subject, _Watch()
    targets = places(bench, bench.load(*trained_kinds(bench.config), device=META))
    first = trained(subject, "first", watch)
    found = [*_gradient_faults(bench, watch), *_key_faults(bench, watch, targets, first)]
    yield from found
    yield from _other_part_faults(bench)
    if found:
        return
    unsteady = list(rerun_faults(subject, first))
    yield from unsteady
    yield from _start_faults(bench, first)
    if not unsteady:  # otherwise it says nothing of checkpoints
        yield from _checkpointing_faults(bench, first)


def _start_faults(bench: Bench, first: Mapping[str, Tensor]) -> Iterator[Fault]:
    """Start a run from the file of another."""
    watch, file = _Watch(), bench.subject.folder / "out" / "first.safetensors"
    trained(bench.subject, "started", watch, network_weights=str(file))
    other = differing(first, watch.start)
    if other:
        message = f"a run that starts from its own file (network_weights) starts with other numbers: {other}"
        yield bench.fault(HOOK, message, "give the same keys, layers and order whenever the options are the same")


def _checkpointing_faults(bench: Bench, first: Mapping[str, Tensor]) -> Iterator[Fault]:
    """Run the blocks a second time in the backward pass: what comes of it is the same bit for bit on the CPU."""
    if not bench.load("denoiser", device=META).blocks:
        return
    other = differing(first, trained(bench.subject, "checkpointed", gradient_checkpointing=True))
    if other:
        message = f"with gradient_checkpointing, which runs Models.blocks twice, it ends otherwise: {other}"
        yield bench.fault("load_models", message, "list whole blocks, that keep nothing between two calls")


def _other_part_faults(bench: Bench) -> Iterator[Fault]:
    """Train what the run itself does not: the denoiser alone, or the text encoders too, where these have places."""
    alone = bench.config[NetworkOptions].network_train_unet_only
    if not any(
        target.part != DENOISER and target.rank != 0
        for target in places(bench, bench.load("text", "denoiser", device=META))
    ):
        return
    watch = _Watch()
    try:
        trained(bench.subject, "others", watch, network_train_unet_only=not alone)
    except CannotGoOn as end:
        if not isinstance(end.__cause__, ConfigError):  # an architecture may refuse to train them
            raise
        return
    yield from _gradient_faults(bench, watch)


def _gradient_faults(bench: Bench, watch: _Watch) -> Iterator[Fault]:
    """Look whether a gradient reached every adapter that may expect one, and no other."""
    expecting = [target for target in watch.targets if not target.expected_unused]
    for part in dict.fromkeys(target.part for target in expecting):
        own = [target.key for target in expecting if target.part == part]
        lacking = [key for key in own if key not in watch.reached]
        if len(lacking) == len(own):
            hook = "predict_noise" if part == DENOISER else "encode_text"
            yield bench.fault(hook, f"no adapter of {part} gets a gradient", _CUT)
        elif lacking:
            message = f"{len(lacking)} adapters never get a gradient: {', '.join(lacking[:3])}"
            fix = "mark places whose output is never used with expected_unused=True, or use it"
            yield bench.fault(HOOK, message, fix)
    marked = [target.key for target in watch.targets if target.expected_unused and target.key in watch.reached]
    if marked:
        message = f"{', '.join(marked[:3])}: marked as expected_unused, but a gradient comes"
        yield bench.fault(HOOK, message, "take the mark away: such an adapter is never trained")


def _key_faults(
    bench: Bench, watch: _Watch, targets: Sequence[LoraTarget], saved: Mapping[str, Tensor]
) -> Iterator[Fault]:
    """Look whether the file has the modules of the run, and these are the places that were told before it."""
    entries, inside = {target.key for target in watch.targets}, set(split_by_key(saved))
    if entries != inside:
        message = f"the file does not hold the run's modules: {', '.join(sorted(entries ^ inside)[:3])}"
        yield bench.fault(HOOK, message, "give every place a key of its own, without dots")
    asked = {target.key for target in targets if target.rank != 0}
    if bench.config[PluginOptions].network_module == _TOY and asked != entries:
        message = f"a run has other places than the meta device told of: {', '.join(sorted(entries ^ asked)[:3])}"
        yield bench.fault(HOOK, message, "look at names and shapes alone, which need no weights")


class _Watch:
    """Keeps in mind where the adapters of a run start, and which of them a gradient reaches."""

    def __init__(self) -> None:
        self.start: Mapping[str, Tensor] = {}
        self.targets: Sequence[LoraTarget] = ()
        self.reached: set[str] = set()  # keys

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Look at the network, and listen at its parameters, those that nobody trains included."""
        self.start = run.network.file_tensors(torch.float32)
        self.targets = [entry.target for entry in run.network.entries]
        for entry in run.network.entries:
            for parameter in entry.adapter.trained_parameters():
                parameter.requires_grad_()  # the run leaves those alone that are marked as never used
                note = partial(self._note, entry.target.key)
                parameter.register_post_accumulate_grad_hook(note)  # type: ignore[no-untyped-call]  # torch has no types here

    def _note(self, key: str, parameter: Tensor) -> None:
        """Note a key when a gradient that is not 0 comes to one of its parameters."""
        if parameter.grad is not None and bool(parameter.grad.any()):
            self.reached.add(key)
