"""What users really do wrong with networks: each message names the option or key, the place, and the cure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from loracore import LoracoreError
from loracore.cli.main import run
from loracore.cli.request import read_request
from loracore.training.assembly.target_list import TargetRow, list_targets
from tests.plugins.networks.every_kind import network_of, request_of
from tests.plugins.sd3 import tiny as tiny_sd3
from tests.plugins.sdxl import tiny as tiny_sdxl

PLACE = "lora_unet_input_blocks_4_1_proj_in"
MODULES = ("lora", "networks.lora_fa", "dylora", "dora", "oft", "loha", "lokr", "lycoris.kohya")
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("folders")
    return {"sdxl": tiny_sdxl.write_folder(place / "sdxl"), "sd3": tiny_sd3.write_folder(place / "sd3")}


@pytest.fixture
def write(folders: dict[str, Path], tmp_path: Path) -> Write:
    """Give a function that writes the file of a fresh network of the U-Net or transformer."""

    def written(*words: str, arch: str = "sdxl") -> Path:
        asked = request_of(folders[arch], ["--arch", arch, "--network_train_unet_only", *words])
        hook, parts = asked.plugins.hook, frozenset({"denoiser"})
        models = hook.load_models(parts=parts, device=torch.device("cpu"), dtype=torch.float32, config=asked.config)
        path = tmp_path / "start.safetensors"
        save_file(network_of(asked, models).file_tensors(torch.float32), path)
        return path

    return written


def problems(folders: dict[str, Path], *words: str | Path, arch: str = "sdxl") -> Sequence[str]:
    """Return what is said of a run: message, place, cure."""
    base = ["--arch", arch, "--pretrained_model_name_or_path", str(folders[arch]), "--network_train_unet_only"]
    with pytest.raises(LoracoreError) as caught:
        rows([*base, *map(str, words)])
    return [f"{one.message} | {one.where} | {one.fix}" for one in caught.value.problems]


def rows(words: Sequence[str]) -> Sequence[TargetRow]:
    request = read_request(words)
    return list_targets(request.config, request.plugins)


@pytest.mark.parametrize("module", MODULES)
def test_rank_0_and_unknown_arguments_are_refused_by_every_network(folders: dict[str, Path], module: str) -> None:
    (said,) = problems(folders, "--network_module", module, "--network_dim", "0")
    assert said.startswith("must be a whole number, at least 1, not '0' | --network_dim")
    (said,) = problems(folders, "--network_module", module, "--network_args", "blok_dims=1")
    assert said == "unknown key 'blok_dims' | --network_args | did you mean 'block_dims'?"


@pytest.mark.parametrize("module", [module for module in MODULES if module != "oft"])
def test_rank_0_of_convolutions_is_refused(folders: dict[str, Path], module: str) -> None:
    (said,) = problems(folders, "--network_module", module, "--network_args", "conv_dim=0")
    assert said.startswith("conv_dim: must be a whole number, at least 1, not '0' | --network_args")


@pytest.mark.parametrize(
    ("module", "wrong", "right"),
    [
        ("lora", "rs_lra=True", "rs_lora"),
        ("networks.lora_fa", "conv_dims=4", "conv_dim"),
        ("dylora", "unti=2", "unit"),
        ("dora", "wd_on_out=True", "wd_on_output"),
        ("oft", "enable_con=True", "enable_conv"),
        ("loha", "use_tuker=True", "use_tucker"),
        ("lokr", "facter=8", "factor"),
        ("lycoris.kohya", "constrant=1", "constraint"),
    ],
)
def test_the_nearest_name_of_each_networks_own_arguments(
    folders: dict[str, Path], module: str, wrong: str, right: str
) -> None:
    (said,) = problems(folders, "--network_module", module, "--network_args", wrong)
    assert said == f"unknown key '{wrong.partition('=')[0]}' | --network_args | did you mean '{right}'?"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--network_module", "lorra"), ("no network named 'lorra'", "did you mean 'lora'?")),
        (("--network_module", "oft", "--network_dim", "5"), ("16 outputs, which 5 blocks", "--network_dim", "4 or 8")),
        (("--network_module", "oft", "--network_dim", "99"), ("input_blocks_4_1_proj_in", "99 blocks", "give 16")),
        (
            ("--network_module", "oft", "--network_args", f"block_dims={','.join(['3'] * 23)}"),
            ("input_blocks_4_1_proj_in", "3 blocks", "--network_args", "give 2 or 4"),
        ),
        (
            ("--network_module", "lycoris", "--network_dim", "1", "--network_args", "algo=boft"),
            ("blocks up to 1", "--network_dim", "give 2 or more"),
        ),
        (("--network_module", "lycoris", "--network_args", "preset=attn"), ("preset 'attn'", "full or attn-mlp")),
        (("--network_module", "lycoris", "--network_args", "algo=lohaa"), ("'lohaa'", "did you mean 'loha'?")),
        (("--network_args", "up_lr_weight=sin"), ("up_lr_weight: 'sin'", "--network_args", "'sine'")),
        (("--network_module", "loha", "--network_args", "block_dims=1,2"), ("length 2", "23 blocks", "write 23")),
    ],
)
def test_what_cannot_be_is_said_with_its_cure(
    folders: dict[str, Path], words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    (said,) = problems(folders, *words)
    assert all(part in said for part in parts), said


def test_mixed_ranks_need_the_ranks_of_the_file(folders: dict[str, Path], write: Write) -> None:
    path = write("--network_args", f"block_dims={','.join(['4'] * 8 + ['8'] * 15)}")
    (said,) = problems(folders, "--network_weights", path)
    assert "lora_unet_input_blocks_7_1_proj_in: lora_down.weight has shape [8, 32]" in said
    assert str(path) in said
    assert "--dim_from_weights" in said


@pytest.mark.parametrize("more", [(), ("--dim_from_weights",)])
@pytest.mark.parametrize(("arch", "other"), [("sdxl", "sd3"), ("sd3", "sdxl")])
def test_a_file_of_another_architecture_is_told(
    folders: dict[str, Path], write: Write, arch: str, other: str, more: tuple[str, ...]
) -> None:
    (said,) = problems(folders, "--network_weights", write(arch=other), *more, arch=arch)
    assert "have no place in this run's network, for example 'lora_unet_" in said
    assert "a file of another architecture cannot be used" in said


@pytest.mark.parametrize("more", [(), ("--dim_from_weights",)])
@pytest.mark.parametrize(("arch", "other", "said"), [("sdxl", "sd3", "sd3m"), ("sd3", "sdxl", "sdxl_base_v1-0")])
def test_a_header_tells_that_a_file_is_of_another_architecture(
    folders: dict[str, Path], write: Write, arch: str, other: str, said: str, more: tuple[str, ...]
) -> None:
    path = write(arch=other)
    save_file(load_file(path), path, {"ss_base_model_version": said})
    (found,) = problems(folders, "--network_weights", path, *more, arch=arch)
    assert found.startswith(f"the file is of another architecture: its header says '{said}', this run's model is '")
    assert "did you mean" not in found
    assert "--dim_from_weights" not in found


@pytest.mark.parametrize(("more", "advised"), [((), True), (("--dim_from_weights",), False)])
def test_ranks_of_the_file_are_advised_only_where_they_are_not_given(
    folders: dict[str, Path], write: Write, more: tuple[str, ...], advised: bool
) -> None:
    (said,) = problems(folders, "--network_weights", write(arch="sd3"), *more)
    assert ("--dim_from_weights" in said, "did you mean" in said) == (advised, False)


def test_a_file_whose_parts_do_not_train_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    key, path = "lora_te1_text_model_encoder_layers_0_mlp_fc1", tmp_path / "text.safetensors"
    save_file({f"{key}.lora_down.weight": torch.zeros(4, 8), f"{key}.lora_up.weight": torch.zeros(8, 4)}, path)
    (said,) = problems(folders, "--network_weights", path)
    assert said.startswith(f"none of its parts train in this run | {path} | ")


@pytest.mark.parametrize(("module", "more"), [*((module, ()) for module in MODULES), ("lora", ("--dim_from_weights",))])
def test_a_damaged_file_is_told_as_such_by_every_network(
    folders: dict[str, Path], write: Write, module: str, more: tuple[str, ...]
) -> None:
    path = write()
    tensors = load_file(path)
    tensors[f"{PLACE}.lora_up.weight"] = torch.zeros(32, 3)
    save_file(tensors, path)
    (said,) = problems(folders, "--network_module", module, "--network_weights", path, *more)
    assert f"{PLACE}: lora_up.weight [32, 3], lora_down.weight [4, 16] do not fit one another" in said
    assert str(path) in said


@pytest.mark.parametrize("kind", ["lora", "dora", "loha"])
def test_ranks_of_a_file_of_another_size_name_file_and_key(folders: dict[str, Path], write: Write, kind: str) -> None:
    path = write("--network_module", kind)
    tensors = load_file(path)
    for name in [name for name in tensors if name.startswith(PLACE) and name.endswith(("down.weight", "_b"))]:
        tensors[name] = torch.zeros(4, 31)
    save_file(tensors, path)
    (said,) = problems(folders, "--network_module", kind, "--network_weights", path, "--dim_from_weights")
    assert f"{PLACE}: " in said
    assert f"has shape [4, 31], here it is [4, 16] | {path} | the file is damaged, or of another model" in said


def test_an_alpha_of_0_is_no_advice(folders: dict[str, Path], write: Write) -> None:
    path = write()
    save_file({**load_file(path), f"{PLACE}.alpha": torch.tensor(0.0)}, path)
    (said,) = problems(folders, "--network_weights", path)
    assert said == f"{PLACE}: alpha is 0 in the file: it changes nothing | {path} | start without it"


@pytest.mark.parametrize("module", ["loha", "lokr", "oft"])
def test_a_rate_of_up_factors_is_refused_where_there_are_none(folders: dict[str, Path], module: str) -> None:
    (said,) = problems(folders, "--network_module", module, "--network_args", "loraplus_lr_ratio=4")
    assert "no up factors that LoRA+ could speed up" in said


def test_dylora_takes_any_ranks_that_its_unit_divides(folders: dict[str, Path]) -> None:
    words = ("--network_module", "dylora", "--network_dim", "4", "--network_args", "unit=2")
    base = ["--arch", "sdxl", "--pretrained_model_name_or_path", str(folders["sdxl"]), "--network_train_unet_only"]
    assert {row.rank for row in rows([*base, *words, "conv_dim=2"])} == {2, 4}
    (said,) = problems(folders, *words, "conv_dim=3")
    assert "unit = 2 does not divide conv_dim = 3" in said


def test_a_file_with_keys_of_another_version_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    key, path = "lora_unet_down_blocks_0_attentions_0_proj_in", tmp_path / "sd1.safetensors"
    save_file({f"{key}.lora_down.weight": torch.zeros(4, 8), f"{key}.lora_up.weight": torch.zeros(8, 4)}, path)
    (said,) = problems(folders, "--network_weights", path)
    assert f"'{key}' | {path} |" in said


@pytest.mark.parametrize("module", ["dora", "oft", "loha", "lokr"])
@pytest.mark.parametrize("more", [(), ("--dim_from_weights",)])
def test_a_lora_does_not_start_another_network(
    folders: dict[str, Path], write: Write, module: str, more: tuple[str, ...]
) -> None:
    (said,) = problems(folders, "--network_module", module, "--network_weights", write(), *more)
    assert "lora_unet_input_blocks_4_1_proj_in" in said
    assert "give --network_module lora" in said


@pytest.mark.parametrize("more", [(), ("--dim_from_weights",)])
def test_another_network_does_not_start_a_lora(folders: dict[str, Path], write: Write, more: tuple[str, ...]) -> None:
    (said,) = problems(folders, "--network_weights", write("--network_module", "loha"), *more)
    assert "lora_unet_input_blocks_4_1_proj_in" in said
    assert "give --network_module loha" in said


def test_nan_in_the_file_ends_a_training_before_anything_is_encoded(
    folders: dict[str, Path], write: Write, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = write(), pictures.parent / "out"
    tensors = load_file(path)
    broken = "lora_unet_middle_block_1_proj_in.lora_up.weight"
    tensors[broken][0, 0] = float("nan")
    save_file(tensors, path)
    words = ["--pretrained_model_name_or_path", str(folders["sdxl"]), "--train_data_dir", str(pictures)]
    words += ["--resolution", "64", "--max_train_steps", "1", "--output_dir", str(out)]
    assert run(["train", "--arch", "sdxl", *words, "--network_weights", str(path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert broken in said
    assert str(path) in said
    assert "earlier save" in said
    assert not list(out.glob("*.safetensors"))
