"""Kinds of networks, told by the names and shapes of a file's tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loracore_networks.kinds import Kind, file_findings, kind_of, kinds_of_file
from safetensors.torch import save_file

from loracore import Config, DataError, NetworkOptions


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("lora", {"alpha": (), "lora_down.weight": (4, 8), "lora_up.weight": (8, 4)}),
        ("lora", {"lora_up.weight": (8, 4), "lora_mid.weight": (4, 4, 3, 3), "lora_down.weight": (4, 8, 1, 1)}),
        ("dora", {"dora_scale": (1, 8), "lora_down.weight": (4, 8), "lora_up.weight": (8, 4)}),
        ("loha", {"hada_w1_a": (8, 4), "hada_w1_b": (4, 8), "hada_w2_a": (8, 4), "hada_w2_b": (4, 8)}),
        ("lokr", {"lokr_w1": (2, 2), "lokr_w2_a": (4, 2), "lokr_w2_b": (2, 4)}),
        ("lokr", {"lokr_w1_a": (2, 2), "lokr_w1_b": (2, 2), "lokr_w2": (4, 4)}),
        ("oft", {"oft_blocks": (2, 4, 4), "alpha": ()}),
        ("boft", {"oft_blocks": (2, 2, 4, 4), "alpha": ()}),
        ("glora", {"a1.weight": (8, 4), "a2.weight": (4, 8), "b1.weight": (8, 4), "b2.weight": (4, 8)}),
        ("ia3", {"weight": (8,), "on_input": ()}),
        ("full", {"diff": (8, 8)}),
        (None, {"weight": (8, 8), "bias": (8,)}),
        (None, {"w_norm": (8,)}),
    ],
)
def test_names_and_shapes_tell_the_kind(kind: Kind | None, shapes: dict[str, tuple[int, ...]]) -> None:
    assert kind_of(shapes) == kind


def test_a_file_may_hold_several_kinds() -> None:
    shapes = {"lora_unet_a.diff": (2, 2), "lora_unet_b.diff": (2, 2), "lora_unet_c.hada_w1_a": (2, 2)}
    assert kinds_of_file(shapes) == {"full": "lora_unet_a", "loha": "lora_unet_c"}


def written(tmp_path: Path, *names: str) -> Config:
    path = tmp_path / "first.safetensors"
    save_file({f"lora_unet_x.{name}": torch.zeros(2, 2) for name in names}, path)
    return Config([NetworkOptions(network_weights=str(path))], {})


def test_a_file_of_another_kind_is_wrong_before_anything_is_loaded(tmp_path: Path) -> None:
    found = file_findings(written(tmp_path, "hada_w1_a", "hada_w1_b"), {"lora"})
    assert [(one.fate, one.option) for one in found] == [("wrong", "network_weights")]
    assert "'lora_unet_x' is a LoHa" in found[0].message
    assert found[0].fix == "give --network_module loha"


def test_a_file_of_the_run_s_own_kind_is_fine(tmp_path: Path) -> None:
    assert file_findings(written(tmp_path, "lora_down.weight", "lora_up.weight"), {"lora"}) == []


def test_kinds_without_a_network_of_their_own_are_chosen_by_their_algorithm(tmp_path: Path) -> None:
    found = file_findings(written(tmp_path, "a1.weight"), {"loha"})
    assert found[0].fix == "give --network_module lycoris --network_args algo=glora"


def test_a_run_without_a_file_finds_nothing_and_a_missing_one_is_an_error() -> None:
    assert file_findings(Config([NetworkOptions()], {}), {"lora"}) == []
    with pytest.raises(DataError, match="cannot be read"):
        file_findings(Config([NetworkOptions(network_weights="none.safetensors")], {}), {"lora"})
