from __future__ import annotations

import sys
import weakref
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from loracore.config.config import Config
from loracore.diffusion.files.loading import (
    EmptyPart,
    Precision,
    building_quietly,
    check_device,
    check_parts,
    fill_part,
    precisions,
)
from loracore.diffusion.files.weights import open_weights
from loracore.diffusion.options import VaeOptions
from loracore.errors import ConfigError, DataError
from loracore.weights.layout import FileTensor

CPU, META = torch.device("cpu"), torch.device("meta")
FP8 = torch.float8_e4m3fn


class Small(nn.Module):
    """A matrix, an embedding, a norm and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Linear(4, 6)
        self.words = nn.Embedding(3, 4)
        self.norm = nn.LayerNorm(4)
        self.conv = nn.Conv2d(4, 4, 1)


def part_of(folder: Path, **changed: Tensor | None) -> EmptyPart:
    """Return a part whose file has every tensor, some of them changed or left out (None)."""
    torch.manual_seed(0)
    given: Mapping[str, Tensor | None] = Small().state_dict() | {k.replace("__", "."): v for k, v in changed.items()}
    save_file({f"x.{key}": tensor for key, tensor in given.items() if tensor is not None}, folder / "x.safetensors")
    with building_quietly():
        module = Small()
    names = {key: FileTensor(f"x.{key}") for key in module.state_dict()}
    return EmptyPart("part", module, open_weights(folder / "x.safetensors", allow_pickle=False), names, "x.")


def test_weights_get_the_precision_asked_for_and_are_frozen(tmp_path: Path) -> None:
    module = fill_part(part_of(tmp_path), CPU, Precision(torch.bfloat16))
    assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in module.parameters())


@pytest.mark.parametrize("device", [CPU, META])
def test_only_matrices_stay_in_fp8(tmp_path: Path, device: torch.device) -> None:
    stored = {key.replace(".", "__"): tensor.to(FP8) for key, tensor in Small().state_dict().items()}
    module = fill_part(part_of(tmp_path, **stored), device, Precision(torch.float16))
    held = {key for key, parameter in module.named_parameters() if parameter.dtype == FP8}
    assert held == {"matrix.weight"}
    assert {parameter.device.type for parameter in module.parameters()} == {device.type}


def test_matrices_can_be_asked_for_in_fp8_and_out_of_it(tmp_path: Path) -> None:
    to_fp8 = fill_part(part_of(tmp_path), CPU, Precision(torch.float16, matrices=FP8))
    assert to_fp8.get_parameter("matrix.weight").dtype == FP8
    stored = part_of(tmp_path, matrix__weight=torch.ones(6, 4).to(FP8))
    assert fill_part(stored, CPU, Precision(torch.float16, matrices=torch.float16)).get_parameter(
        "matrix.weight"
    ).dtype == (torch.float16)


@pytest.mark.parametrize("no_half_vae", [False, True])
def test_each_given_part_has_a_precision_and_only_the_vae_may_keep_its_own(*, no_half_vae: bool) -> None:
    config, half = Config([VaeOptions(no_half_vae=no_half_vae)], {}), torch.float16
    vae = torch.float32 if no_half_vae else half
    expected = {"te1": Precision(half), "vae": Precision(vae, matrices=vae)}
    assert precisions(["te1", "vae"], half, config) == expected
    assert precisions(["te1"], half, config) == {"te1": Precision(half)}


@pytest.mark.parametrize(("rest", "kept"), [(torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_some_tensors_are_kept_out_of_float16_alone(tmp_path: Path, rest: torch.dtype, kept: torch.dtype) -> None:
    module = fill_part(part_of(tmp_path), CPU, Precision(rest, float32=("matrix.weight",)))
    assert (module.get_parameter("matrix.weight").dtype, module.get_parameter("matrix.bias").dtype) == (kept, rest)


def test_everything_that_does_not_fit_is_told_at_once(tmp_path: Path) -> None:
    part = part_of(tmp_path, norm__bias=None, conv__weight=torch.zeros(1), stranger=torch.zeros(1))
    with pytest.raises(DataError) as caught:
        check_parts([part], weights_needed=True)
    told = " / ".join(problem.message for problem in caught.value.problems)
    assert told == (
        "part: the tensor x.norm.bias is missing / part: x.conv.weight has shape [1], not [4, 4, 1, 1]"
        " / part: the tensor x.stranger is unknown"
    )


@pytest.mark.parametrize("dtype", [torch.float8_e5m2, torch.float8_e5m2fnuz, torch.float8_e4m3fnuz])
def test_other_kinds_of_fp8_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    with pytest.raises(DataError, match=str(dtype).removeprefix("torch.")):
        check_parts([part_of(tmp_path, matrix__weight=torch.ones(6, 4).to(dtype))], weights_needed=True)


def test_fp8_with_scales_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scales of their own"):
        check_parts([part_of(tmp_path, matrix__scale_weight=torch.ones(1))], weights_needed=True)


def test_tensors_are_read_on_demand_in_the_files_own_dtype(tmp_path: Path) -> None:
    part = part_of(tmp_path, norm__weight=torch.ones(4, dtype=torch.float64))
    assert [(key, tensor.dtype) for key, tensor in part.tensors(["norm.weight"], CPU)] == [
        ("norm.weight", torch.float64)
    ]


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:2", "mps", "cuda:01", "cpu:1"])
def test_device_that_is_not_there_is_told_with_those_that_are(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    with pytest.raises(ConfigError, match=f"--its_device: its_device is {device}, which .* has not .*give cpu"):
        check_device("its_device", device, Config([], {"its_device": "--its_device"}))


def test_devices_that_are_there_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    for device in (None, "cpu", "cpu:0", "cuda", "cuda:0", "cuda:1"):
        check_device("its_device", device, Config([], {}))
    with pytest.raises(ConfigError, match="give one of cpu, cuda:0, cuda:1"):
        check_device("its_device", "cuda:2", Config([], {}))


def test_every_tensor_is_read_once_and_let_go_of_before_the_next_but_one(tmp_path: Path) -> None:
    part = part_of(tmp_path)
    assert part.weights is not None
    read, alive, most = part.weights.read, list[weakref.ref[Tensor]](), 0
    seen: list[str] = []

    def watched(names: Collection[str], device: torch.device) -> Iterator[tuple[str, Tensor]]:
        nonlocal most
        for name, tensor in read(names, device):
            seen.append(name)
            alive.append(weakref.ref(tensor))
            most = max(most, sum(one() is not None for one in alive))
            yield name, tensor

    cast = replace(part, weights=replace(part.weights, read=watched))
    fill_part(cast, CPU, Precision(torch.float64))
    assert sorted(seen) == sorted(part.weights.shapes)
    assert most <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory is this process's own")
def test_weights_in_the_precision_of_their_file_take_no_memory_of_their_own(tmp_path: Path) -> None:
    layers = [nn.Linear(1024, 1024, bias=False, dtype=torch.bfloat16) for _ in range(16)]
    save_file(nn.Sequential(*layers).state_dict(), tmp_path / "x.safetensors")
    del layers
    with building_quietly():
        module = nn.Sequential(*(nn.Linear(1024, 1024, bias=False) for _ in range(16)))
    names = {key: FileTensor(key) for key in module.state_dict()}
    weights = open_weights(tmp_path / "x.safetensors", allow_pickle=False)
    before = own_memory()
    filled = fill_part(EmptyPart("part", module, weights, names), CPU, Precision(torch.bfloat16))
    assert all(bool(one.any()) for one in filled.parameters())  # every page has been looked at
    assert own_memory() - before < (tmp_path / "x.safetensors").stat().st_size / 10


def own_memory() -> int:
    """Return the bytes of this process that lie on no file."""
    used = psutil.Process().memory_info()
    return int(used.rss - used.shared)
