"""Networks that are merged into the base model before a run trains on it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loracore import DataError, LoracoreError, Models, hookimpl
from loracore.config.config import Config
from loracore.training.assembly.phases import Loading
from loracore.weights.merge.base_weights import (
    base_weights_lines,
    base_weights_metadata,
    changes_text,
    check_base_weights,
    text_changes,
)
from loracore.weights.merge.merging import merge
from tests.loracore.weights.toy_files import TABLES, ToyFiles, toy_modules, toy_request, write_lora
from tests.toy_runs import TrainToy

pytestmark = pytest.mark.usefixtures("toy_site")

CONV = ("--network_args", "conv_dim=2")
MIX = "lora_unet_blocks_0_mix"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """A file with convolutions, which the runs here do not adapt, and the text encoder."""
    return write_lora(tmp_path / "lora.safetensors", toy_request(ToyFiles(), *CONV))


def loading(*words: str | Path, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Loading:
    request = toy_request(ToyFiles(), *map(str, words))
    return Loading(request.plugins.hook, torch.device(device), dtype, request.config)


def checked(*files: Path) -> None:
    run = loading("--base_weights", *files)
    check_base_weights(run.hook, run.config)


def config_of(*words: str | Path) -> Config:
    return toy_request(ToyFiles(), *map(str, words)).config


def merged_modules(tmp_path: Path, *files: tuple[Path, float], dtype: torch.dtype) -> dict[str, dict[str, Tensor]]:
    """Return the state of the toy's parts as `loracore merge` writes them."""
    request, path = toy_request(ToyFiles(dtype)), tmp_path / "merged.safetensors"
    merge(request.plugins.hook, request.config, files, path, None)
    file = load_file(path)
    return {
        part: {name: place.from_file(file[place.name]) for name, place in names.items()}
        for part, names in TABLES.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weights_are_those_that_merge_writes(tmp_path: Path, lora: Path, dtype: torch.dtype) -> None:
    other = write_lora(tmp_path / "other.safetensors", toy_request(ToyFiles()), seed=1)
    run = loading("--base_weights", lora, other, "--base_weights_multiplier", "0.5", dtype=dtype)
    wanted = merged_modules(tmp_path, (lora, 0.5), (other, 1.0), dtype=dtype)
    found = {name: part.state_dict() for name, part in run.models("text", "denoiser").modules().items()}
    assert all(torch.equal(found[part][name], tensor) for part, own in wanted.items() for name, tensor in own.items())
    assert not torch.equal(
        found["unet"]["blocks.0.conv.weight"], toy_modules()["unet"].state_dict()["blocks.0.conv.weight"].to(dtype)
    )


def test_each_part_gets_its_own_modules(lora: Path) -> None:
    run, base = loading("--base_weights", lora), toy_modules()
    text, denoiser = run.models("text").text["te1"], run.models("denoiser").denoiser
    assert denoiser is not None
    for found, plain, name in ((text, base["te1"], "projection"), (denoiser, base["unet"], "blocks.0.mix")):
        assert not torch.equal(weight(found, name), weight(plain, name))


def weight(module: nn.Module, name: str = "blocks.0.mix") -> Tensor:
    found = module.get_submodule(name).weight
    assert isinstance(found, Tensor)
    return found


class MergedToy:
    """Loads the toy with a checkpoint's weights, as an architecture with files does."""

    def __init__(self, states: dict[str, dict[str, Tensor]]) -> None:
        self.states = states

    @hookimpl(wrapper=True)
    def load_models(self, device: torch.device) -> Generator[None, Any, Models]:
        models: Models = yield
        if device.type != "meta":
            for name, module in models.modules().items():
                if name in self.states:
                    module.load_state_dict(self.states[name])
        return models


@pytest.mark.parametrize("words", [(), ("--no_network_train_unet_only",)], ids=["cached text", "live text"])
def test_a_run_is_that_on_the_merged_checkpoint(
    tmp_path: Path, lora: Path, train_toy: TrainToy, words: tuple[str, ...]
) -> None:
    ours = load_file(train_toy("--base_weights", str(lora), *words, "--overwrite"))
    states = merged_modules(tmp_path, (lora, 1.0), dtype=torch.float32)
    theirs = load_file(train_toy(*words, "--overwrite", plugin=MergedToy(states)))
    plain = load_file(train_toy(*words, "--overwrite"))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
    assert not all(torch.allclose(ours[name], plain[name], atol=1e-4) for name in plain)


def test_weights_are_merged_before_they_become_float8(lora: Path) -> None:
    plain = loading("--base_weights", lora).models("denoiser").denoiser
    small = loading("--base_weights", lora, "--fp8_base").models("denoiser").denoiser
    assert plain is not None
    assert small is not None
    found, wanted = weight(small), weight(plain)
    assert found.dtype == torch.float8_e4m3fn
    assert torch.equal(found.float(), wanted.to(torch.float8_e4m3fn).float())


def test_the_seed_draws_the_same_with_base_weights(lora: Path) -> None:
    torch.manual_seed(3)
    loading("--base_weights", lora).models("denoiser")
    drawn = torch.rand(3)
    torch.manual_seed(3)
    loading().models("denoiser")
    assert torch.equal(drawn, torch.rand(3))


def test_numbers_beyond_the_precision_are_an_error(lora: Path) -> None:
    run = loading("--base_weights", lora, "--base_weights_multiplier", "1e6", dtype=torch.float16)
    with pytest.raises(
        LoracoreError, match=r"unet: blocks\.0\.conv\.weight with these ratios is too large for float16"
    ):
        run.models("denoiser")


class Captions:
    """Notes what is encoded."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self) -> list[str]:
        return self.seen

    @hookimpl(wrapper=True)
    def encode_text(self, captions: list[str]) -> Generator[None, Any, Any]:
        self.seen += captions
        return (yield)


# ---- what is told before anything is encoded -------------------------------------------------------------------------


def _changed(lora: Path, name: str, new: str, tensor: Tensor | None = None) -> Path:
    tensors = load_file(lora)
    value = tensors.pop(name)
    save_file({**tensors, new: value if tensor is None else tensor}, lora)
    return lora


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, lora: Path) -> None:
    paths = [tmp_path / f"{name}.safetensors" for name in ("nan", "wide")]
    for path in paths:
        path.write_bytes(lora.read_bytes())
    _changed(paths[0], f"{MIX}.alpha", f"{MIX}.alpha", torch.tensor(torch.nan))
    _changed(paths[1], f"{MIX}.lora_up.weight", f"{MIX}.lora_up.weight", torch.zeros(9, 4))
    _changed(lora, f"{MIX}.alpha", f"{MIX}x.alpha")
    with pytest.raises(DataError) as caught:
        checked(lora, *paths)
    stranger, finite, shape = map(str, caught.value.problems)
    assert f"did you mean '{MIX}'" in stranger
    assert f"1 tensors are not finite, for example {MIX}.alpha" in finite
    assert "lora_up.weight has shape [9, 4]" in shape


def test_a_file_of_another_architecture_is_told_as_such(lora: Path) -> None:
    foreign = {name.replace("lora_unet_", "lora_unet_other_"): one for name, one in load_file(lora).items()}
    save_file(foreign, lora, {"ss_base_model_version": "other_v1"})
    with pytest.raises(DataError, match="its header says 'other_v1', this run's model is 'toy'") as caught:
        checked(lora)
    assert len(caught.value.problems) == 1


def test_a_file_that_fits_may_name_any_model(lora: Path) -> None:
    save_file(load_file(lora), lora, {"ss_base_model_version": "other_v1"})
    checked(lora)


def test_a_look_at_the_models_sizes_reads_no_base_weights(lora: Path) -> None:
    _changed(lora, f"{MIX}.alpha", f"{MIX}x.alpha")
    assert loading("--base_weights", lora, device="meta").models("denoiser").denoiser is not None


def test_nothing_is_encoded_before_files_are_looked_at(lora: Path, train_toy: TrainToy) -> None:
    _changed(lora, "lora_te1_projection.alpha", "lora_te1_projection.alpha", torch.tensor(torch.inf))
    captions = Captions()
    with pytest.raises(DataError, match="not finite"):
        train_toy("--base_weights", str(lora), plugin=captions)
    assert captions() == []


# ---- what is told of them --------------------------------------------------------------------------------------------


def test_the_header_line_names_file_strength_and_modules(lora: Path) -> None:
    config = config_of("--base_weights", lora, lora, "--base_weights_multiplier", "0.8")
    assert base_weights_lines(config) == ["lora.safetensors x 0.8 (5 modules)", "lora.safetensors x 1 (5 modules)"]
    assert base_weights_metadata(config) == {
        "ss_base_weights": "lora.safetensors, lora.safetensors",
        "ss_base_weights_multiplier": "0.8, 1",
    }
    assert base_weights_metadata(config_of()) == {}


def test_texts_are_told_apart_by_content_and_strength(tmp_path: Path, lora: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(lora.read_bytes())
    other = write_lora(tmp_path / "other.safetensors", toy_request(ToyFiles(), *CONV), seed=1)
    plain, named = text_changes(config_of("--base_weights", lora)), text_changes(config_of("--base_weights", copy))
    assert plain == named
    assert text_changes(config_of("--base_weights", other)) != plain
    assert text_changes(config_of("--base_weights", lora, "--base_weights_multiplier", "0.5")) != plain


def test_texts_are_shared_with_runs_whose_files_leave_the_text_encoders_alone(tmp_path: Path, lora: Path) -> None:
    denoiser = tmp_path / "denoiser.safetensors"
    save_file({name: tensor for name, tensor in load_file(lora).items() if "_te1_" not in name}, denoiser)
    assert text_changes(config_of("--base_weights", denoiser)) == []
    assert not changes_text(config_of("--base_weights", denoiser))
    assert changes_text(config_of("--base_weights", lora))
    assert text_changes(config_of("--base_weights", lora, "--base_weights_multiplier", "0")) == []


def test_cached_texts_are_not_those_of_other_base_weights(
    lora: Path, train_toy: TrainToy, tmp_path: Path, counted: Captions
) -> None:
    words = ("--cache_text_encoder_outputs_to_disk", "--cache_dir", str(tmp_path / "cache"), "--overwrite")
    train_toy(*words, plugin=counted)
    first = len(counted())
    train_toy(*words, plugin=counted)
    assert len(counted()) == first
    train_toy(*words, "--base_weights", str(lora), plugin=counted)
    assert len(counted()) == 2 * first


@pytest.fixture
def counted() -> Captions:
    return Captions()
