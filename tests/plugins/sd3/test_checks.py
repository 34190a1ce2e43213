"""What cannot work is told before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from loracore_sd3.models import check
from loracore_sd3.options import findings

from loracore import ConfigError, DataError
from loracore.config.dataset_spec import DatasetSpec
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import ALL, DENOISER, TEXT, VAE, Parts, config_of, loaded


@pytest.mark.parametrize(("steps", "said"), [(16, 0), (64, 0), (8, 1), (40, 1)])
def test_pictures_come_in_multiples_of_16(folder: Path, steps: int, said: int) -> None:
    dataset = DatasetSpec((256, 256), 1, True, 128, 256, steps, bucket_no_upscale=False, subsets=())
    found = [finding.message for finding in findings(config_of(folder).with_datasets([dataset]))]
    assert ["multiples of 16" in message for message in found] == [True] * said


def test_resolution_beyond_the_files_positions_is_told_early(checkpoint: Path) -> None:
    dataset = DatasetSpec((256, 272), 1, False, 128, 256, 64, bucket_no_upscale=False, subsets=())
    with pytest.raises(DataError, match=r"data set 1: the resolution 256x272 is .* positions reach 256 pixels"):
        check(DENOISER, config_of(checkpoint).with_datasets([dataset]))
    check(DENOISER, config_of(checkpoint, enable_scaled_pos_embed=True).with_datasets([dataset]))


def test_t5s_device_that_is_not_there_is_told_early(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"--t5xxl_device: .* is cuda:99, .*give cpu"):
        check(TEXT, config_of(folder, t5xxl_device="cuda:99"))
    check(DENOISER, config_of(folder, t5xxl_device="cuda:99"))


def test_check_reads_no_weights(checkpoint: Path, tmp_path: Path) -> None:
    hollow = Path(shutil.copy(checkpoint, tmp_path / "hollow.safetensors"))
    shutil.copytree(checkpoint.with_suffix(""), hollow.with_suffix(""))
    size = int.from_bytes(hollow.read_bytes()[:8], "little") + 8
    with hollow.open("r+b") as file:  # everything behind the header is a hole
        length = hollow.stat().st_size
        file.truncate(size)
        file.truncate(length)
    check(ALL, config_of(hollow))


def test_tokenizer_that_is_missing_is_told_early(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    copy = tiny.copy_without(folder, tmp_path / "copy", "tokenizer_3")
    with pytest.raises(DataError, match="google/t5-v1_1-xxl"):
        check(TEXT, config_of(copy))


def test_hub_model_is_read_from_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "hub" / "models--owner--tiny"
    shutil.copytree(folder, hub / "snapshots" / "abc")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("abc", encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    tiny.assert_equal(loaded("owner/tiny"))


def test_configuration_without_weights_is_told(folder: Path, tmp_path: Path) -> None:
    hollow = tiny.copy_without(folder, tmp_path / "hollow", "diffusion_pytorch_model.safetensors")
    parts: Parts = DENOISER | VAE
    with pytest.raises(DataError) as caught:
        loaded(hollow, parts)
    assert [problem.message.split(":")[0] for problem in caught.value.problems] == ["VAE", "transformer"]


def test_index_that_says_there_is_no_t5_counts_like_a_missing_folder(folder: Path, tmp_path: Path) -> None:
    copy = tiny.copy_without(folder, tmp_path / "copy", "text_encoder_3")
    index = json.loads((copy / "model_index.json").read_text(encoding="utf-8")) | {"text_encoder_3": [None, None]}
    (copy / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    assert set(loaded(copy, TEXT).text) == {"te1", "te2"}
