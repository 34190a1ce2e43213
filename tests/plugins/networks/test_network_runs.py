"""Whole runs of the toy architecture with each network: trained, saved, and started from again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loracore import LoracoreError
from tests.toy_runs import TrainToy

NETWORKS: dict[str, tuple[tuple[str, ...], str]] = {
    "loha": (("--network_module", "loha"), "hada_w1_a"),
    "lokr": (("--network_module", "lokr", "--network_args", "factor=2"), "lokr_w1"),
    "oft": (("--network_module", "networks.oft", "--network_dim", "2", "--network_alpha", "0.1"), "oft_blocks"),
    "glora": (("--network_module", "lycoris.kohya", "--network_args", "algo=glora"), "a1.weight"),
    "boft": (("--network_module", "lycoris", "--network_args", "algo=boft"), "oft_blocks"),
    "ia3": (("--network_module", "lycoris", "--network_args", "algo=ia3"), "weight"),
    "full": (("--network_module", "lycoris", "--network_args", "algo=full"), "diff"),
}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_trains_and_starts_from_its_own_file(network: str, train_toy: TrainToy, tmp_path: Path) -> None:
    flags, name = NETWORKS[network]
    first = train_toy(*flags)
    trained = load_file(first)
    assert any(tensor.abs().max() > 0 for key, tensor in trained.items() if key.endswith(f".{name}"))
    again = ("--network_weights", str(first), "--output_dir", str(tmp_path / "again"), "--learning_rate", "1e-12")
    for more in ((), ("--dim_from_weights", "--overwrite")):
        kept = load_file(train_toy(*flags, *again, *more))
        assert kept.keys() == trained.keys()
        assert all(torch.allclose(kept[key], tensor, atol=1e-6) for key, tensor in trained.items())


@pytest.mark.parametrize("network", ["lokr", "oft"])
def test_a_file_of_another_network_is_refused_by_name(network: str, train_toy: TrainToy, tmp_path: Path) -> None:
    first = train_toy("--network_module", "loha")
    flags = ("--network_module", network, "--network_weights", str(first), "--output_dir", str(tmp_path / "again"))
    for more in ((), ("--dim_from_weights",)):
        with pytest.raises(LoracoreError, match="is a LoHa") as caught:
            train_toy(*flags, *more)
        assert "--network_module loha" in str(caught.value)
