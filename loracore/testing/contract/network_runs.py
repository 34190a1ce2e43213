"""A network in whole runs: its tensors move, its file starts another run, and a run can be repeated and resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from loracore.errors import LoracoreError
from loracore.hookspecs import hookimpl
from loracore.testing.contract.faults import CannotGoOn, Fault, place
from loracore.testing.contract.reruns import differing, rerun_faults, trained
from loracore.testing.contract.subject import Subject
from loracore.training.run import Run


def run_faults(subject: Subject) -> Iterator[Fault]:
    """Give the faults of whole runs on the toy architecture."""
    watch = _Watch()
    first = trained(subject, "first", watch)
    for key, name in watch.still:
        message = f"'{name}' of the adapter at {key} has not moved in {watch.steps} steps"
        fix = "let forward depend on it, or leave it out of trained_parameters()"
        yield Fault("trained_parameters", watch.places[key], message, fix)
    yield from rerun_faults(subject, first)
    yield from _start_faults(subject, subject.folder / "out" / "first.safetensors", first)


def _start_faults(subject: Subject, path: Path, saved: Mapping[str, Tensor]) -> Iterator[Fault]:
    """Look whether a run starts from a file bit for bit, with the run's ranks and with the file's."""
    for ranks_of_file in (False, True):
        watch, name = _Watch(), f"from-file-{ranks_of_file}"
        options = {"network_weights": str(path), "dim_from_weights": ranks_of_file}
        try:
            trained(subject, name, watch, **options)
        except CannotGoOn as end:
            if ranks_of_file and isinstance(end.__cause__, LoracoreError):
                continue  # not every network takes its ranks from a file, and this one says so
            raise
        other = differing(saved, watch.start)
        if other:
            given = "network_weights and dim_from_weights" if ranks_of_file else "network_weights"
            message = f"a run that starts from its own file ({given}) starts with other numbers: {other}"
            fix = "take over every tensor that file_tensors names"
            yield Fault("load_file_tensors", place(subject.module), message, fix)


class _Watch:
    """Keeps in mind where the adapters of a run start, and which trained parameters never move."""

    def __init__(self) -> None:
        self.start: Mapping[str, Tensor] = {}
        self.still: list[tuple[str, str]] = []  # key of the target, name of the parameter
        self.places: dict[str, str] = {}  # of the adapters' classes, by key
        self.steps = 0
        self._values: dict[tuple[str, str], Tensor] = {}

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Copy what there is."""
        self.start = run.network.file_tensors(torch.float32)
        self.places = {entry.target.key: place(type(entry.adapter)) for entry in run.network.entries}
        self._values = {name: one.detach().clone() for name, one in _parameters(run).items()}

    @hookimpl
    def run_finished(self, run: Run, step: int) -> None:
        """Compare."""
        self.steps = step
        self.still = [name for name, one in _parameters(run).items() if torch.equal(one, self._values[name])]


def _parameters(run: Run) -> dict[tuple[str, str], Tensor]:
    """Return the trained parameters of places that get a gradient."""
    found: dict[tuple[str, str], Tensor] = {}
    for entry in run.network.entries:
        trains = {id(one) for one in entry.adapter.trained_parameters()}
        for name, one in entry.adapter.named_parameters():
            if id(one) in trains and not entry.target.expected_unused:
                found[entry.target.key, name] = one
    return found
