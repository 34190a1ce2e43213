from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from loracore_sdxl import encode_images
from loracore_sdxl.models import check, file_names
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore import ConfigError, DataError, LoracoreError, Models
from tests.plugins.sdxl import tiny
from tests.plugins.sdxl.runs import ALL, DENOISER, TEXT, VAE, Parts, config_of, loaded


def states(models: Models) -> dict[str, Mapping[str, Tensor]]:
    return {name: module.state_dict() for name, module in models.modules().items()}


def assert_equal(models: Models, seed: int = 0) -> None:
    """Every tensor is the one that the tiny model was made with."""
    parts = tiny.tiny_parts(seed)
    for name, module in models.modules().items():
        torch.testing.assert_close(dict(module.state_dict()), dict(parts[name].state_dict()), rtol=0, atol=0)


def test_folder_gives_every_tensor(folder: Path) -> None:
    models = loaded(folder)
    assert set(models.modules()) == {"te1", "te2", "vae", "unet"}
    assert_equal(models)


def test_checkpoint_gives_every_tensor(checkpoint: Path) -> None:
    assert_equal(loaded(checkpoint))


def test_only_named_parts_are_loaded(folder: Path) -> None:
    assert set(loaded(folder, VAE).modules()) == {"vae"}


def test_parts_are_frozen_in_evaluation_mode_and_in_the_asked_precision(folder: Path) -> None:
    for module in loaded(folder, dtype=torch.bfloat16).modules().values():
        assert not module.training
        assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_vae_can_stay_in_float32(folder: Path) -> None:
    models = loaded(folder, dtype=torch.float16, no_half_vae=True)
    assert {name: next(part.parameters()).dtype for name, part in models.modules().items()} == {
        "te1": torch.float16,
        "te2": torch.float16,
        "vae": torch.float32,
        "unet": torch.float16,
    }


@pytest.mark.parametrize("whole", [False, True])
def test_vae_of_an_fp8_file_is_cast_and_encodes(checkpoint: Path, tmp_path: Path, *, whole: bool) -> None:
    path = tmp_path / "fp8.safetensors"
    shutil.copytree(checkpoint.with_suffix(""), path.with_suffix(""))
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(checkpoint).items()}, path)
    models = loaded(path, dtype=torch.bfloat16, no_half_vae=whole)
    assert models.vae is not None
    assert {tensor.dtype for tensor in models.vae.parameters()} == {torch.float32 if whole else torch.bfloat16}
    assert encode_images(models, torch.zeros(1, 3, 16, 16)).mean.isfinite().all()


@pytest.mark.parametrize("spelled", ["text_model.", ""])
def test_text_encoder_1_is_read_with_and_without_its_inner_level(folder: Path, tmp_path: Path, spelled: str) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy")
    file = copy / "text_encoder" / "model.safetensors"
    save_file({spelled + key.removeprefix("text_model."): tensor for key, tensor in load_file(file).items()}, file)
    assert_equal(loaded(copy, TEXT))


def test_text_encoder_that_lacks_a_tensor_is_never_filled_at_random(folder: Path, tmp_path: Path) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy")
    file = copy / "text_encoder" / "model.safetensors"
    tensors = load_file(file)
    lost = next(key for key in tensors if key.endswith("layers.1.mlp.fc1.weight"))
    save_file({key: tensor for key, tensor in tensors.items() if key != lost} | {"stranger": torch.ones(1)}, file)
    with pytest.raises(DataError) as caught:
        loaded(copy, TEXT)
    told = [problem.message for problem in caught.value.problems]
    assert len(told) == 2
    assert "layers.1.mlp.fc1.weight is missing" in told[0]
    assert "stranger is unknown" in told[1]


def test_meta_models_need_no_weights(folder: Path, tmp_path: Path) -> None:
    bare = tiny.copy_without(folder, tmp_path / "bare", "*.safetensors", "tokenizer*")
    for module in loaded(bare, device="meta").modules().values():
        assert {parameter.device.type for parameter in module.parameters()} == {"meta"}


def test_weights_are_asked_for_outside_meta(folder: Path, tmp_path: Path) -> None:
    bare = tiny.copy_without(folder, tmp_path / "bare", "*.safetensors")
    with pytest.raises(DataError, match=r"bare/unet: U-Net: no weights found"):
        loaded(bare, DENOISER)


def test_meta_reads_headers_only(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(checkpoint, tmp_path / "hollow.safetensors"))
    shutil.copytree(checkpoint.with_suffix(""), copy.with_suffix(""))
    size = int.from_bytes(copy.read_bytes()[:8], "little") + 8
    with copy.open("r+b") as file:  # everything behind the header is a hole
        length = copy.stat().st_size
        file.truncate(size)
        file.truncate(length)
    assert set(loaded(copy, device="meta").modules()) == {"te1", "te2", "vae", "unet"}


def test_meta_without_a_model_has_the_full_size() -> None:
    unet = loaded(None, DENOISER, device="meta").denoiser
    assert unet is not None
    assert len(unet.state_dict()) == 1680


def test_a_model_must_be_given_for_a_run() -> None:
    with pytest.raises(ConfigError, match="no base model"):
        loaded(None, DENOISER)


def test_sizes_of_a_checkpoint_are_read_off_its_shapes(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = Path(shutil.copy(checkpoint, tmp_path / "alone.safetensors"))
    check(DENOISER | VAE, config_of(alone))
    assert_equal(loaded(alone, DENOISER | VAE))
    assert caplog.text.count("guessing [1, 1, 1] attention heads") == 1
    assert caplog.text.count("VAE: ") == 1


def test_sizes_that_no_shape_tells_come_from_the_folder_beside(checkpoint: Path) -> None:
    unet = loaded(checkpoint, DENOISER).denoiser
    assert unet is not None
    assert list(unet.config["attention_head_dim"]) == [1, 2, 4]  # type: ignore[index]  # diffusers' FrozenDict


@pytest.mark.parametrize(
    ("prefix", "part", "label"),
    [("first_stage_model.", VAE, "VAE"), ("conditioner.embedders.1", TEXT, "text encoder 2")],
)
def test_part_that_a_checkpoint_lacks_is_named(
    checkpoint: Path, tmp_path: Path, prefix: str, part: Parts, label: str
) -> None:
    path = tmp_path / "part.safetensors"
    save_file({key: tensor for key, tensor in load_file(checkpoint).items() if not key.startswith(prefix)}, path)
    with pytest.raises(DataError, match=rf"{label}.* is not in this file"):
        loaded(path, part)


def test_unet_is_enough_where_nothing_else_is_asked_for(data: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(data / "tiny-sdxl-unet.safetensors", tmp_path / "tiny.safetensors"))
    config = json.loads((data / "forward-sdxl.json").read_text(encoding="utf-8"))["diffusers_config"]
    (tmp_path / "tiny" / "unet").mkdir(parents=True)
    (tmp_path / "tiny" / "unet" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    unet = loaded(path, DENOISER).denoiser
    assert unet is not None
    assert sum(parameter.numel() for parameter in unet.parameters()) == 517_652


def test_transposed_projection_is_told_by_its_name(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "linear.safetensors"
    shutil.copytree(checkpoint.with_suffix(""), path.with_suffix(""))
    tensors = load_file(checkpoint)
    key = "conditioner.embedders.1.model.text_projection"
    tensors[f"{key}.weight"] = tensors.pop(key).t().contiguous()
    save_file(tensors, path)
    assert_equal(loaded(path, TEXT))


def test_leftovers_of_old_files_are_passed_over(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    shutil.copytree(checkpoint.with_suffix(""), path.with_suffix(""))
    old = {
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(77),
        "conditioner.embedders.1.model.logit_scale": torch.ones(()),
        "model_ema.decay": torch.ones(()),
    }
    save_file(load_file(checkpoint) | old, path)
    assert_equal(loaded(path))


def test_pickled_checkpoint_is_refused_unless_allowed(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.ckpt"
    shutil.copytree(checkpoint.with_suffix(""), path.with_suffix(""))
    torch.save({"state_dict": load_file(checkpoint), "epoch": 3}, path)
    with pytest.raises(DataError, match="pickle"):
        loaded(path)
    assert_equal(loaded(path, allow_pickle=True))


def test_pickled_folder_is_refused_unless_allowed(folder: Path, tmp_path: Path) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy")
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(DataError, match="pickle"):
        loaded(copy, DENOISER)
    assert_equal(loaded(copy, DENOISER, allow_pickle=True))


class Evil:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/never"),))  # type: ignore[return-value]  # noqa: S108  # never run


def test_pickle_that_holds_code_is_refused_even_when_allowed(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(DataError, match="holds more than weights"):
        loaded(path, allow_pickle=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_half_precision_files_are_first_for_half_precision_runs(
    folder: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy")
    other = tiny.tiny_parts(seed=1)["unet"].state_dict()
    save_file({k: v.half() for k, v in other.items()}, copy / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    expected = other if dtype == torch.float16 else tiny.tiny_parts()["unet"].state_dict()
    found = states(loaded(copy, DENOISER, dtype=dtype))["unet"]
    assert torch.equal(found["conv_in.weight"], expected["conv_in.weight"].to(dtype))


def test_half_precision_files_serve_where_there_are_no_others(folder: Path, tmp_path: Path) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy")
    (copy / "unet" / "diffusion_pytorch_model.safetensors").rename(
        copy / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    )
    assert_equal(loaded(copy, DENOISER))


def test_weights_in_several_files_are_joined(folder: Path, tmp_path: Path) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy", "diffusion_pytorch_model.safetensors")
    unet: Any = tiny.tiny_parts()["unet"]
    unet.save_pretrained(copy / "unet", max_shard_size="500KB")
    assert len(list((copy / "unet").glob("*.safetensors"))) > 1
    assert_equal(loaded(copy, DENOISER))


def test_hub_model_is_read_from_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub" / "models--owner--tiny"
    shutil.copytree(folder, hub / "snapshots" / "abc")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("abc", encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert_equal(loaded("owner/tiny"))


def test_hub_model_that_cannot_be_had_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(LoracoreError, match="owner/absent"):
        loaded("owner/absent", DENOISER)


def test_model_and_folder_beside_it_may_stand_in_the_home_folder(
    folder: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in (folder, checkpoint):
        monkeypatch.setenv("HOME", str(model.parent))
        assert_equal(loaded(f"~/{model.name}"))


def test_first_processor_is_a_device_too(folder: Path, checkpoint: Path) -> None:
    for model in (folder, checkpoint):
        assert_equal(loaded(model, DENOISER, device="cpu:0"))


def test_tokenizers_may_stand_in_a_folder_of_their_own(folder: Path, tmp_path: Path) -> None:
    bare = tiny.copy_without(folder, tmp_path / "bare", "tokenizer*")
    cache = tmp_path / "tokenizers"
    shutil.copytree(folder / "tokenizer", cache / "openai_clip-vit-large-patch14")
    shutil.copytree(folder / "tokenizer", cache / "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k")
    models = loaded(bare, TEXT, tokenizer_cache_dir=str(cache))
    assert models.extras["te1"].pad_id == models.extras["te1"].end_id
    assert models.extras["te2"].pad_id == 0


def test_sizes_that_contradict_the_weights_are_all_told(folder: Path, tmp_path: Path) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy")
    path = copy / "vae" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"latent_channels": 8}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DataError, match=r"VAE: decoder\.conv_in\.weight has shape") as caught:
        loaded(copy, VAE, device="meta")
    assert len(caught.value.problems) > 1


def test_every_part_is_checked_before_any_weight_is_read(folder: Path, tmp_path: Path) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy", "diffusion_pytorch_model.safetensors")
    with pytest.raises(DataError) as caught:
        loaded(copy, ALL)
    assert [problem.message.split(":")[0] for problem in caught.value.problems] == ["VAE", "U-Net"]


def test_names_in_files_give_back_the_checkpoint(folder: Path, checkpoint: Path) -> None:
    stored, cpu = load_file(checkpoint), torch.device("cpu")
    written: set[str] = set()
    for part in file_names(ALL, config_of(folder)).values():
        for key, tensor in part.read(list(part.original), cpu):
            place = part.original[key]
            assert torch.equal(place.from_file(stored[place.name]), tensor)
            written.add(place.name)
    assert written == set(stored)


def test_single_text_encoder_is_loaded_by_its_name(folder: Path) -> None:
    models = loaded(folder, frozenset({"te2"}))
    assert (set(models.modules()), set(models.extras)) == ({"te2"}, {"te2"})
