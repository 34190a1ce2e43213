"""``loracore resize``: options of its own, a report beside the path, and a result that a run starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loracore.networks.network import Network
from loracore.training.assembly.run_network import adapters_for
from loracore.types import Models
from tests.loracore.cli.conftest import Call
from tests.loracore.weights.network_files import LINEAR, lora, write
from tests.loracore.weights.toy_files import ToyFiles, toy_request, write_lora


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(write(tmp_path / "lora.safetensors", lora(), {"ss_network_dim": "6"}))


def test_no_architecture_is_needed(loracore: Call, file: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "small.safetensors"
    answer = loracore("resize", "--network_weights", file, "--save_to", str(path), "--new_rank", "4")
    assert (answer.code, answer.out.strip()) == (0, str(path))
    assert "unet: 2 modules, mean rank 5.5 to 4.0" in answer.err
    assert "te1: 1 modules, mean rank 4.0 to 4.0, 100.00 % of the norm kept" in answer.err
    assert f"lost most: {LINEAR}" in answer.err or "lost most: lora_unet_middle" in answer.err
    assert "1 modules keep their rank" in answer.err
    assert len(load_file(path)[f"{LINEAR}.lora_down.weight"]) == 4


def test_convolutions_have_a_rank_of_their_own(loracore: Call, file: str, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    words = ("--network_weights", file, "--save_to", str(path), "--new_rank", "4", "--new_conv_rank", "1")
    assert loracore("resize", *words, "--save_precision", "bf16").code == 0
    found = load_file(path)
    assert {len(one) for name, one in found.items() if "down" in name and one.dim() == 4} == {1}
    assert {one.dtype for one in found.values()} == {torch.bfloat16}


def test_a_rule_gives_ranks(loracore: Call, file: str, tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    rule = ("--dynamic_method", "sv_ratio", "--dynamic_param", "1.01")
    assert loracore("resize", "--network_weights", file, "--save_to", str(path), "--new_rank", "64", *rule).code == 0
    assert {len(one) for name, one in load_file(path).items() if "down" in name} == {2}


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--dynamic_method", "sv_ratio"), "--dynamic_method"),
        (("--dynamic_param", "0.9"), "--dynamic_param"),
        (("--dynamic_method", "sv_ratio", "--dynamic_param", "1"), "--dynamic_param"),
        (("--dynamic_method", "sv_ratio", "--dynamic_param", "inf"), "--dynamic_param"),
        (("--dynamic_method", "sv_fro", "--dynamic_param", "1.5"), "--dynamic_param"),
        (("--dynamic_method", "sv_cumulative", "--dynamic_param", "0"), "--dynamic_param"),
        (("--dynamic_method", "sv_cumulative", "--dynamic_param", "nan"), "--dynamic_param"),
        (("--dynamic_method", "sv_best", "--dynamic_param", "1"), "--dynamic_method"),
        (("--new_rank", "0"), "--new_rank"),
        (("--new_conv_rank", "0"), "--new_conv_rank"),
    ],
)
def test_a_wrong_rule_is_an_error(loracore: Call, file: str, words: tuple[str, ...], option: str) -> None:
    rank = () if "--new_rank" in words else ("--new_rank", "4")
    answer = loracore("resize", "--network_weights", file, "--save_to", "x.safetensors", *rank, *words)
    assert answer.code == 2
    assert answer.errors[0].startswith(option)


def test_everything_that_is_wrong_is_told_at_once(loracore: Call) -> None:
    words = ("--network_weights", "nowhere.safetensors", "--save_to", "x.ckpt", "--new_rank", "4")
    answer = loracore("resize", *words, "--dynamic_param", "2")
    assert [error.partition(":")[0] for error in answer.errors] == ["--network_weights", "--save_to", "--dynamic_param"]


def test_what_is_needed_is_told(loracore: Call) -> None:
    assert [error.split()[0] for error in loracore("resize").errors] == ["network_weights", "save_to", "new_rank"]


def test_what_is_there_is_kept(loracore: Call, file: str, tmp_path: Path) -> None:
    path = tmp_path / "there.safetensors"
    path.write_bytes(b"precious")
    words = ("--network_weights", file, "--save_to", str(path), "--new_rank", "4")
    assert "give --overwrite" in loracore("resize", *words).errors[0]
    assert path.read_bytes() == b"precious"
    assert loracore("resize", *words, "--overwrite").code == 0


def test_magnitudes_of_dora_are_spoken_of(loracore: Call, tmp_path: Path) -> None:
    path = write(tmp_path / "dora.safetensors", {**lora(), f"{LINEAR}.dora_scale": torch.ones(1, 10)})
    words = ("--network_weights", str(path), "--save_to", str(tmp_path / "small.safetensors"), "--new_rank", "4")
    assert "magnitudes of DoRA are kept" in loracore("resize", *words).err


def test_options_that_are_wrong_cost_no_torch(imports: Call) -> None:
    words = ("--network_weights", "nowhere.safetensors", "--save_to", "new.safetensors", "--new_rank", "4")
    answer = imports("resize", *words)
    assert (answer.code, answer.out.strip()) == (2, "")


@pytest.mark.usefixtures("toy_site")
def test_a_run_starts_from_the_result(loracore: Call, tmp_path: Path) -> None:
    before = write_lora(tmp_path / "lora.safetensors", toy_request(ToyFiles(), "--network_dim", "4"))
    after = tmp_path / "small.safetensors"
    words = ("--network_weights", str(before), "--save_to", str(after), "--new_rank", "2")
    assert loracore("resize", *words).code == 0
    network = _started(after)
    assert {entry.adapter.rank for entry in network.entries} == {2}
    assert network.load(load_file(after), str(after)) == len(network.entries)


def _started(path: Path) -> Network:
    request = toy_request(ToyFiles(), "--network_weights", str(path), "--dim_from_weights")
    hook, config = request.plugins.hook, request.config
    parts = frozenset({"text", "denoiser"})
    models: Models = hook.load_models(parts=parts, device=torch.device("cpu"), dtype=torch.float32, config=config)
    targets = hook.lora_targets(models=models, config=config)
    return adapters_for(hook, targets, config, 0, load_file(path))
