from __future__ import annotations

from typing import Any

import pytest
from loracore_networks.dora.options import DoraOptions
from loracore_networks.dylora.options import DyloraOptions
from loracore_networks.lokr.options import LokrOptions
from loracore_networks.lora.options import LoraOptions
from loracore_networks.lycoris.building import build_algorithm
from loracore_networks.lycoris.checking import findings
from loracore_networks.lycoris.options import Algorithm, LycorisOptions
from torch import nn

from loracore import Config, LoraTarget, NetworkOptions

CONV = LoraTarget("lora_unet_x", (nn.Conv2d(8, 16, 3),), ("x",), "unet", needs_conv=True)


def config(network: NetworkOptions | None = None, lora: LoraOptions | None = None, **own: Any) -> Config:
    tables = [LycorisOptions(**own), lora or LoraOptions(), LokrOptions(), DoraOptions(), DyloraOptions()]
    return Config([network or NetworkOptions(network_dim=8, network_alpha=3), *tables], {})


def fates(own: LycorisOptions, *names: str) -> list[tuple[str, str]]:
    """Return the fate of these options, as if the user had given them."""
    tables = [own, LoraOptions(), LokrOptions(), DoraOptions(), DyloraOptions()]
    found = findings(Config([NetworkOptions(), *tables], {name: f"--{name}" for name in names}))
    return [(one.fate, one.option) for one in found]


def test_convolutions_take_part_with_the_rank_and_alpha_of_everything_else() -> None:
    found = build_algorithm(CONV, config())
    assert found is not None
    assert (found.rank, found.alpha_value) == (8, 3)


def test_the_preset_without_convolutions_leaves_them_out() -> None:
    assert build_algorithm(CONV, config(preset="attn-mlp")) is None


@pytest.mark.parametrize(
    ("algo", "names"),
    [
        ("lora", {"lora_down.weight", "lora_up.weight", "alpha"}),
        ("locon", {"lora_down.weight", "lora_up.weight", "alpha"}),
        ("dora", {"lora_down.weight", "lora_up.weight", "alpha", "dora_scale"}),
        ("dylora", {"lora_down.weight", "lora_up.weight", "alpha"}),
        ("loha", {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"}),
        ("glora", {"a1.weight", "a2.weight", "b1.weight", "b2.weight", "alpha"}),
        ("diag-oft", {"oft_blocks", "alpha"}),
        ("boft", {"oft_blocks", "alpha"}),
        ("ia3", {"weight", "on_input"}),
        ("full", {"diff"}),
    ],
)
def test_every_algorithm_is_one_of_the_networks(algo: Algorithm, names: set[str]) -> None:
    found = build_algorithm(CONV, config(algo=algo))
    assert found is not None
    assert set(found.file_tensors()) == names


def test_dora_is_an_option_of_lora() -> None:
    found = build_algorithm(CONV, config(dora_wd=True))
    assert found is not None
    assert found.file_tensors()["dora_scale"].shape == (1, 8, 1, 1)


@pytest.mark.parametrize("old", [{"use_cp": True}, {"use_conv_cp": True}, {"disable_conv_cp": False}])
def test_old_names_of_tucker_factors_work(old: dict[str, Any]) -> None:
    found = build_algorithm(CONV, config(algo="loha", **old))
    assert found is not None
    assert "hada_t1" in found.file_tensors()


def test_ranks_of_dylora_come_in_blocks() -> None:
    assert fates(LycorisOptions(algo="dylora", block_size=3), "block_size") == [("wrong", "block_size")]
    assert fates(LycorisOptions(algo="dylora", block_size=2), "block_size") == []


@pytest.mark.parametrize("name", ["use_scalar", "train_norm", "rescaled", "bypass_mode"])
def test_what_is_not_supported_says_so(name: str) -> None:
    switched: tuple[dict[str, Any], dict[str, Any]] = ({name: True}, {name: False})
    on, off = (LycorisOptions(**each) for each in switched)
    assert fates(on, name) == [("unsupported", name)]
    assert fates(off, name) == []


@pytest.mark.parametrize(
    ("own", "option"),
    [({"preset": "attn-only"}, "preset"), ({"algo": "tlora"}, "algo"), ({"algo": "lokr", "dora_wd": True}, "dora_wd")],
)
def test_values_that_are_not_supported_say_so(own: dict[str, Any], option: str) -> None:
    assert fates(LycorisOptions(**own), option) == [("unsupported", option)]


@pytest.mark.parametrize(
    ("algo", "option"),
    [
        ("lora", "factor"),
        ("loha", "constraint"),
        ("loha", "wd_on_output"),
        ("ia3", "network_dim"),
        ("full", "network_alpha"),
        ("boft", "rs_lora"),
        ("glora", "use_tucker"),
        ("lora", "block_size"),
        ("lora", "wd_on_output"),
    ],
)
def test_options_of_other_algorithms_are_without_effect(algo: Algorithm, option: str) -> None:
    assert fates(LycorisOptions(algo=algo), option) == [("without effect", option)]


@pytest.mark.parametrize("algo", ["diag-oft", "boft", "glora", "ia3"])
def test_norms_of_changes_that_need_the_weight_are_not_limited(algo: Algorithm) -> None:
    found = findings(config(NetworkOptions(scale_weight_norms=1.0), algo=algo))
    assert [(one.fate, one.option) for one in found] == [("unsupported", "scale_weight_norms")]
