"""What users really do wrong: each is one clear message, exit code 2, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from loracore.cli.main import run
from tests.plugins.sd3 import tiny
from tests.plugins.sdxl import tiny as tiny_sdxl

Said = pytest.CaptureFixture[str]


@pytest.fixture
def home(pictures: Path, tmp_path: Path) -> Path:
    """A folder for the results of runs on the pictures beside it."""
    assert pictures.parent == tmp_path
    return tmp_path


def refused(said: Said, home: Path, model: Path, *words: str, arch: str = "sd3") -> str:
    """Return the message of a run that must end at once, with nothing written."""
    given = ["--pretrained_model_name_or_path", str(model), "--train_data_dir", str(home / "pictures")]
    run_words = ["train", "--arch", arch, *given, "--resolution", "64", "--output_dir", str(home / "out"), *words]
    assert run([*run_words, "--caption_extension", ".txt", "--max_train_steps", "1"]) == 2
    assert not list(home.glob("out/*.safetensors"))
    return " ".join(said.readouterr().err.split())


def test_an_sdxl_checkpoint_is_sent_to_its_own_architecture(capsys: Said, home: Path) -> None:
    path = tiny_sdxl.write_checkpoint(home / "xl.safetensors")
    assert "an SDXL model; use --arch sdxl" in refused(capsys, home, path)
    assert "an SDXL model; use --arch sdxl" in refused(capsys, home, path.with_suffix(""))


def test_an_sd3_checkpoint_is_sent_to_its_own_architecture(capsys: Said, home: Path, checkpoint: Path) -> None:
    assert "a Stable Diffusion 3 model; use --arch sd3" in refused(capsys, home, checkpoint, arch="sdxl")
    assert "use --arch sd3" in refused(capsys, home, checkpoint.with_suffix(""), arch="sdxl")


def test_missing_clips_are_asked_for_by_their_options(capsys: Said, home: Path, bare: Path) -> None:
    message = refused(capsys, home, bare)
    assert all(f"--{option}" in message for option in ("clip_l", "clip_g", "vae"))


def test_one_file_cannot_be_two_text_encoders(capsys: Said, home: Path, bare: Path, separate: dict[str, str]) -> None:
    files = separate | {"clip_g": separate["clip_l"]}
    message = refused(capsys, home, bare, *(word for name, path in files.items() for word in (f"--{name}", path)))
    assert "clip_l" in message
    assert "clip_g" in message


def test_t5_given_twice_is_told_and_the_files_own_is_left(
    caplog: pytest.LogCaptureFixture, home: Path, checkpoint: Path, separate: dict[str, str]
) -> None:
    given = ["--pretrained_model_name_or_path", str(checkpoint), "--train_data_dir", str(home / "pictures")]
    words = ["--t5xxl", separate["t5xxl"], "--resolution", "64", "--max_train_steps", "1", "--network_train_unet_only"]
    assert run(["train", "--arch", "sd3", *given, *words, "--output_dir", str(home / "out")]) == 0
    assert any("t5xxl" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--v2",), ("v2 means Stable Diffusion 2", "leave it out")),
        (("--v_parameterization",), ("v_parameterization", "leave it out")),
        (("--blocks_to_swap", "1", "--cpu_offload_checkpointing", "--gradient_checkpointing"), ("drop",)),
        (("--blocks_to_swap", "2"), ("blocks_to_swap = 2", "at most 1")),
        (("--network_args", "emb_dims=[1,2,3]"), ("emb_dims", "6 whole numbers")),
        (("--network_args", "emb_dims=[1,2,3,4,5,x]"), ("emb_dims", "6 whole numbers")),
        (("--network_args", "train_block_indices=1,5"), ("names 5", "blocks are 0-2")),
        (("--network_args", "train_block_indices=two"), ("train_block_indices", "all, none")),
        (("--network_args", "x_atn_dim=4"), ("x_atn_dim", "x_attn_dim")),
        (("--network_args", "train_block_indices=none", "--network_train_unet_only"), ("leave out every layer",)),
        (("--cache_text_encoder_outputs", "--network_args", "train_t5xxl=True"), ("--network_train_unet_only",)),
        (("--weighting_scheme", "sigma_square"), ("sigma_sqrt",)),
        (("--clip_l", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("--t5xxl_dtype", "fp8_e5m2"), ("fp8_e4m3fn",)),
    ],
)
def test_options_that_cannot_work_say_what_to_change(
    capsys: Said, home: Path, folder: Path, words: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    message = refused(capsys, home, folder, *words)
    assert all(part in message for part in parts), message


def test_clip_skip_is_one_line_and_the_run_goes_on(capsys: Said, home: Path, folder: Path) -> None:
    given = ["--pretrained_model_name_or_path", str(folder), "--train_data_dir", str(home / "pictures")]
    words = ["--clip_skip", "2", "--resolution", "64", "--max_train_steps", "1", "--network_train_unet_only"]
    assert run(["train", "--arch", "sd3", *given, *words, "--output_dir", str(home / "out")]) == 0
    captured = capsys.readouterr()
    assert "clip_skip has no effect" in captured.out + captured.err


def test_a_cut_off_file_is_told_before_anything_is_encoded(capsys: Said, home: Path) -> None:
    path = tiny.write_checkpoint(home / "cut.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    assert "cut off" in refused(capsys, home, path)


def test_a_missing_tensor_is_named(capsys: Said, home: Path) -> None:
    path = tiny.write_checkpoint(home / "lacking.safetensors")
    lacking = "model.diffusion_model.joint_blocks.1.x_block.attn.proj.weight"
    save_file({name: tensor for name, tensor in load_file(path).items() if name != lacking}, path)
    assert lacking in refused(capsys, home, path)
