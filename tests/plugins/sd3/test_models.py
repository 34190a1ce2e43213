from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from loracore_sd3.models import check, file_names
from safetensors.torch import load_file, save_file

from loracore import ConfigError, DataError
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import ALL, DENOISER, TEXT, VAE, config_of, loaded

CPU = torch.device("cpu")
FP8 = torch.float8_e4m3fn
Separate = dict[str, Any]


@pytest.mark.parametrize("style", tiny.STYLES)
def test_folder_and_checkpoint_give_every_tensor_of_each_kind(tmp_path: Path, style: str) -> None:
    for model in (
        tiny.write_folder(tmp_path / "folder", style=style),
        tiny.write_checkpoint(tmp_path / "file.safetensors", style=style),
    ):
        models = loaded(model)
        assert set(models.modules()) == {"te1", "te2", "te3", "vae", "unet"}
        tiny.assert_equal(models, style=style)


def test_bare_transformer_and_separate_files_give_every_tensor(bare: Path, separate: Separate) -> None:
    tiny.assert_equal(loaded(bare, **separate))


def test_separate_files_may_have_the_prefixes_of_a_checkpoint(bare: Path, tmp_path: Path) -> None:
    files = tiny.write_separate(tmp_path / "files", prefixed=True)
    given: Separate = {option: str(path) for option, path in files.items()}
    tiny.assert_equal(loaded(bare, **given))


def test_vae_of_a_folder_is_a_separate_file_too(bare: Path, folder: Path) -> None:
    tiny.assert_equal(loaded(bare, VAE, vae=str(folder / "vae" / "diffusion_pytorch_model.safetensors")))


@pytest.mark.parametrize("option", ["clip_l", "clip_g", "t5xxl", "vae"])
def test_separate_file_wins_over_the_base_model(folder: Path, checkpoint: Path, tmp_path: Path, option: str) -> None:
    files = tiny.write_separate(tmp_path / "files", seed=1)
    part = next(name for name, known in tiny.OPTIONS.items() if known == option)
    for model in (folder, checkpoint):
        given: Separate = {option: str(files[option])}
        models = loaded(model, TEXT | VAE, **given)
        for name, module in models.modules().items():
            expected = tiny.tiny_parts(seed=int(name == part))[name].state_dict()
            torch.testing.assert_close(dict(module.state_dict()), dict(expected), rtol=0, atol=0)


def test_part_that_is_given_twice_is_said_once(
    checkpoint: Path, separate: Separate, caplog: pytest.LogCaptureFixture
) -> None:
    check(ALL, config_of(checkpoint, t5xxl=separate["t5xxl"]))
    assert [message.split(":")[0] for message in caplog.messages] == ["T5-XXL is given twice"]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"te3"}, {"te3"}),
        ({"te1", "te2"}, {"te1", "te2"}),
        ({"text"}, {"te1", "te2", "te3"}),
        ({"te2", "vae"}, {"te2", "vae"}),
    ],
)
def test_parts_are_asked_for_by_group_or_by_name(folder: Path, asked: set[str], names: set[str]) -> None:
    models = loaded(folder, frozenset(asked))
    assert set(models.modules()) == names
    assert set(models.extras) == {name for name in names if name.startswith("te")}


def test_blocks_are_listed_in_execution_order(folder: Path) -> None:
    models = loaded(folder)
    assert {name: len(blocks) for name, blocks in models.blocks.items()} == {
        "te1": 2,
        "te2": 3,
        "te3": 2,
        "unet": tiny.STYLES["medium"][0],
    }


def test_model_without_t5_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for model in (
        tiny.write_folder(tmp_path / "folder", t5=False),
        tiny.write_checkpoint(tmp_path / "file.safetensors", inside=("te1", "te2", "vae", "unet")),
    ):
        caplog.clear()
        check(ALL, config_of(model))
        assert [message.split(":")[0] for message in caplog.messages] == ["there is no T5-XXL"]
        assert set(loaded(model, TEXT).text) == {"te1", "te2"}


def test_options_of_an_absent_t5_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tmp_path / "folder"
    tiny.write_folder(model, t5=False)
    check(ALL, config_of(model, t5_dropout_rate=0.5, apply_t5_attn_mask=True))
    assert "apply_t5_attn_mask, t5_dropout_rate without effect" in caplog.text
    with pytest.raises(ConfigError, match="train_t5xxl: the model has no T5-XXL"):
        check(ALL, config_of(model, train_t5xxl=True))


@pytest.mark.parametrize(("option", "part"), [("clip_l", "te1"), ("clip_g", "te2"), ("vae", "vae")])
def test_part_that_a_model_lacks_is_named_with_its_option(tmp_path: Path, option: str, part: str) -> None:
    inside = [name for name in tiny.FOLDERS if name != part]
    file = tiny.write_checkpoint(tmp_path / "file.safetensors", inside=inside)
    folder = tiny.write_folder(tmp_path / "folder")
    shutil.rmtree(folder / tiny.FOLDERS[part])
    for model in (file, folder):
        with pytest.raises(DataError, match=rf"--{option} FILE"):
            loaded(model, TEXT | VAE)


def test_every_part_that_a_file_lacks_is_named_at_once(bare: Path) -> None:
    with pytest.raises(DataError) as caught:
        loaded(bare)
    assert [problem.message.split(" ")[0] for problem in caught.value.problems] == ["CLIP-L", "CLIP-G", "VAE"]


def test_clip_l_without_a_projection_has_the_identity(bare: Path, separate: Separate, tmp_path: Path) -> None:
    path = tmp_path / "clip_l.safetensors"
    save_file({k: v for k, v in load_file(separate["clip_l"]).items() if "text_projection" not in k}, path)
    shutil.copytree(Path(separate["clip_l"]).with_suffix(""), path.with_suffix(""))
    projection = loaded(bare, frozenset({"te1"}), clip_l=str(path)).text["te1"].state_dict()["text_projection.weight"]
    assert torch.equal(projection, torch.eye(tiny.WIDTHS[0]))


def test_clip_g_without_a_projection_is_damaged(bare: Path, separate: Separate, tmp_path: Path) -> None:
    path = tmp_path / "clip_g.safetensors"
    save_file({k: v for k, v in load_file(separate["clip_g"]).items() if "text_projection" not in k}, path)
    with pytest.raises(DataError, match=r"CLIP-G: the tensor text_projection\.weight is missing"):
        loaded(bare, frozenset({"te2"}), clip_g=str(path))


@pytest.mark.parametrize("kept", ["shared.weight", "encoder.embed_tokens.weight"])
def test_t5s_embedding_is_one_tensor_whatever_the_file_calls_it(
    bare: Path, separate: Separate, tmp_path: Path, kept: str
) -> None:
    tensors = load_file(separate["t5xxl"])
    tensors[kept] = tensors.pop("shared.weight")
    path = tmp_path / "t5xxl.safetensors"
    save_file(tensors, path)
    shutil.copytree(Path(separate["t5xxl"]).with_suffix(""), path.with_suffix(""))
    shutil.copytree(bare.with_suffix("") / "tokenizer_3", tmp_path / "cache" / "google_t5-v1_1-xxl")
    models = loaded(bare, frozenset({"te3"}), t5xxl=str(path))
    tiny.assert_equal(models)
    encoder = models.text["te3"]
    assert encoder.get_parameter("encoder.embed_tokens.weight") is encoder.get_parameter("shared.weight")


def test_lost_and_unknown_tensors_are_both_told(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    shutil.copytree(checkpoint.with_suffix(""), path.with_suffix(""))
    tensors = load_file(checkpoint)
    del tensors["text_encoders.t5xxl.transformer.encoder.block.1.layer.1.DenseReluDense.wo.weight"]
    tensors["model.diffusion_model.stranger"] = torch.ones(1)
    save_file(tensors, path)
    with pytest.raises(DataError) as caught:
        loaded(path)
    told = [problem.message for problem in caught.value.problems]
    assert "T5-XXL: the tensor text_encoders.t5xxl.transformer.encoder.block.1" in told[0]
    assert "model.diffusion_model.stranger is unknown" in told[1]


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("clip_l", "t5xxl", "holds T5-XXL, not CLIP-L.*--t5xxl"),
        ("t5xxl", "vae", "holds VAE, not T5-XXL.*--vae"),
        ("vae", "clip_g", "holds CLIP-., not VAE"),
        ("clip_g", "base", "holds transformer, not CLIP-G.*--pretrained_model_name_or_path"),
    ],
)
def test_file_of_another_part_is_told_with_its_option(
    bare: Path, separate: Separate, option: str, given: str, message: str
) -> None:
    path = {**separate, "base": str(bare)}[given]
    with pytest.raises(DataError, match=message):
        loaded(bare, TEXT | VAE, **{**separate, option: path})


def test_clip_g_given_as_clip_l_is_told_by_its_width(bare: Path, separate: Separate, tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    save_file({"text_model.embeddings.token_embedding.weight": torch.zeros(1, 1280)}, path)
    with pytest.raises(DataError, match=r"holds CLIP-G, not CLIP-L.*--clip_g"):
        loaded(bare, TEXT, **{**separate, "clip_l": str(path)})


def test_a_whole_checkpoint_given_as_clip_l_is_judged_by_its_clip_l(
    bare: Path, separate: Separate, tmp_path: Path
) -> None:
    path = tmp_path / "whole.safetensors"
    name = "text_encoders.clip_{}.transformer.text_model.embeddings.token_embedding.weight"
    save_file({name.format("g"): torch.zeros(1, 1280), name.format("l"): torch.zeros(1, 768)}, path)
    with pytest.raises(DataError) as refused:  # the file lacks the rest of CLIP-L
        loaded(bare, TEXT, **{**separate, "clip_l": str(path)})
    assert "holds CLIP-G" not in str(refused.value)


def test_lora_given_as_a_part_is_told(bare: Path, separate: Separate, data: Path) -> None:
    with pytest.raises(DataError, match=r"--clip_l .*a LoRA"):
        loaded(bare, TEXT, **{**separate, "clip_l": str(data / "tiny-sd3-lora.safetensors")})


def test_vae_of_another_architecture_is_told_by_its_channels(bare: Path, tmp_path: Path) -> None:
    from tests.plugins.sdxl import tiny as other

    path = other.write_folder(tmp_path / "other") / "vae" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(DataError, match="4 latent channels, not 16"):
        loaded(bare, VAE, vae=str(path))


# ---- without weights, and names for writing --------------------------------------------------------------------------


def test_meta_models_need_no_weights(folder: Path, tmp_path: Path) -> None:
    hollow = tiny.copy_without(folder, tmp_path / "hollow", "*.safetensors", "tokenizer*")
    for module in loaded(hollow, device="meta").modules().values():
        assert {tensor.device.type for tensor in module.state_dict().values()} == {"meta"}


@pytest.mark.parametrize(
    ("key", "rows", "depth", "norm", "second"),
    [
        (None, 0, 24, None, 0),
        ("lora_unet_joint_blocks_0_x_block_mlp_fc1.lora_down.weight", 1536, 24, None, 0),
        ("lora_unet_joint_blocks_0_x_block_attn2_qkv.lora_down.weight", 1536, 24, "rms_norm", 13),
        ("lora_unet_joint_blocks_0_x_block_mlp_fc1.lora_down.weight", 2432, 38, "rms_norm", 0),
        ("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", 2432, 38, "rms_norm", 0),
    ],
)
def test_without_a_model_the_starting_weights_tell_the_kind(
    tmp_path: Path, key: str | None, rows: int, depth: int, norm: str | None, second: int
) -> None:
    weights = None if key is None else str(tmp_path / "lora.safetensors")
    if key is not None:
        save_file({key: torch.zeros(4, rows)}, tmp_path / "lora.safetensors")
    transformer = loaded(None, DENOISER, device="meta", network_weights=weights).denoiser
    assert transformer is not None
    config = transformer.config
    assert (config["num_layers"], config["qk_norm"], len(config["dual_attention_layers"])) == (depth, norm, second)  # type: ignore[index]  # diffusers' FrozenDict


def test_a_model_must_be_given_for_a_run() -> None:
    with pytest.raises(ConfigError, match="no base model"):
        loaded(None, DENOISER)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, {"vae", "unet"}),
        ({"save_clip": True}, {"te1", "te2", "vae", "unet"}),
        ({"save_t5xxl": True}, {"te3", "vae", "unet"}),
    ],
)
def test_text_encoders_are_written_when_asked_for(checkpoint: Path, options: dict[str, bool], names: set[str]) -> None:
    assert set(file_names(ALL, config_of(checkpoint, **options))) == names


def test_names_in_files_give_back_the_checkpoint(folder: Path, checkpoint: Path) -> None:
    stored = load_file(checkpoint)
    written: set[str] = set()
    for part in file_names(ALL, config_of(folder, save_clip=True, save_t5xxl=True)).values():
        for key, tensor in part.read(list(part.original), CPU):
            place = part.original[key]
            assert torch.equal(place.from_file(stored[place.name]), tensor)
            written.add(place.name)
    assert written == set(stored)


def test_names_in_files_are_read_in_the_files_own_dtype(checkpoint: Path, tmp_path: Path) -> None:
    part = file_names(DENOISER, config_of(tiny.fp8_file(checkpoint, tmp_path / "fp8.safetensors")))["unet"]
    assert {tensor.dtype for _, tensor in part.read(["proj_out.weight", "proj_out.bias"], CPU)} == {FP8}


def test_names_without_a_model_cannot_be_read() -> None:
    part = file_names(DENOISER, config_of())["unet"]
    assert part.diffusers == "transformer"
    assert part.original["pos_embed.pos_embed"].name == "model.diffusion_model.pos_embed"
    with pytest.raises(DataError, match="no base model"):
        part.read(["proj_out.weight"], CPU)
