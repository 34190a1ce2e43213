"""A file whose header tells the hashes of its content, written without the whole in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from loracore.training.metadata import file_hashes
from loracore.weights.hashed_writing import write_hashed
from loracore.weights.network_file import open_network_file
from loracore.weights.writing import Piece


def tensors() -> dict[str, Tensor]:
    """Return 2 MiB of numbers: the legacy hash reads behind the first."""
    torch.manual_seed(0)
    return {f"key{number}.weight": torch.randn(256, 512) for number in range(4)}


def pieces(made: dict[str, Tensor]) -> list[Piece]:
    return [Piece((name,), lambda name=name: {name: made[name]}) for name in made]  # type: ignore[misc]  # bound now


@pytest.mark.parametrize("length", [1, 500_000, 1_040_000, 1_100_000, 1_800_000])
def test_both_hashes_are_those_of_a_training_s_file(tmp_path: Path, length: int) -> None:
    """A header may reach into the bytes of the legacy hash, or beyond them."""
    path, said = tmp_path / "file.safetensors", {"ss_tag_frequency": "7" * length, "modelspec.title": "cat"}
    write_hashed(path, pieces(tensors()), list(tensors()), lambda _: said)
    expected = {**said, **file_hashes(tensors(), said)}
    assert open_network_file(path).metadata == expected
    assert all(torch.equal(tensor, tensors()[name]) for name, tensor in load_file(path).items())


def test_the_header_is_made_of_the_tensors_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    write_hashed(path, pieces(tensors()), list(tensors()), lambda made: {"count": str(len(made.shapes))})
    assert open_network_file(path).metadata["count"] == "4"


def test_nothing_is_left_behind_when_a_tensor_cannot_be_made(tmp_path: Path) -> None:
    broken = [*pieces(tensors()), Piece(("other",), lambda: {"other": torch.zeros(2) @ torch.zeros(3)})]
    with pytest.raises(RuntimeError):
        write_hashed(tmp_path / "file.safetensors", broken, [*tensors(), "other"], lambda _: {})
    assert list(tmp_path.iterdir()) == []
