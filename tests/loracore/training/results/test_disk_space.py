from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from torch import nn

from loracore import Config, LoracoreError
from loracore.config.options import CORE_OPTIONS
from loracore.networks.network import Network
from loracore.training.results.disk_space import MIB, check_room, free_bytes, kept_files, kept_states, room_notes
from loracore.training.steps.length import Length

LENGTH = Length(batches_per_epoch=10, steps_per_epoch=10, steps=100, epochs=10)


class Usage(NamedTuple):
    free: int


def config(**options: Any) -> Config:
    tables = [
        table(**{name: value for name, value in options.items() if name in {field.name for field in fields(table)}})
        for table in CORE_OPTIONS
    ]
    return Config(tables, {})


@pytest.fixture
def network() -> Network:
    """Return a network of a quarter of a MiB of numbers: 1 MiB in float32."""
    network = Network([])
    network.modules.append(nn.Linear(512, 512, bias=False))
    return network


def leave(monkeypatch: pytest.MonkeyPatch, mib: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(int(mib * MIB)))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 1),
        ({"save_every_n_epochs": 1}, 10),  # the last epoch's file is the final one
        ({"save_every_n_epochs": 2, "save_last_n_epochs": 1}, 3),
        ({"save_every_n_steps": 10}, 11),
        ({"save_every_n_steps": 10, "save_last_n_steps": 30}, 6),
    ],
)
def test_files_that_stand_at_the_same_time(options: dict[str, Any], expected: int) -> None:
    assert kept_files(config(**options), LENGTH) == expected
    assert kept_states(config(**options, save_state=True), LENGTH) == expected


def test_a_disk_without_room_for_one_file_is_an_error(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, 0.75)
    with pytest.raises(LoracoreError, match="one file of this network takes 1"):
        check_room(network, config(output_dir=str(tmp_path)))
    check_room(network, config(output_dir=str(tmp_path), save_precision="fp16"))


def test_a_disk_without_room_for_all_files_is_a_note(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(monkeypatch, 5.5)
    many = config(output_dir=str(tmp_path), save_every_n_epochs=1)
    assert ["10 files will take about 10 MiB" in note for note in room_notes(network, many, LENGTH)] == [True]
    few = config(output_dir=str(tmp_path), save_every_n_epochs=1, save_last_n_epochs=3)
    assert list(room_notes(network, few, LENGTH)) == []


def test_a_folder_that_is_not_there_yet_has_the_room_of_its_disk(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0
