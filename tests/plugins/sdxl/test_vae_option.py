"""A VAE of its own in the place of the base model's."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from loracore_sdxl import models
from loracore_sdxl.options import findings
from loracore_sdxl.recognition import VAE as PREFIX
from safetensors.torch import load_file, save_file
from torch import Tensor

from loracore import DataError
from loracore.diffusion.files.identity import cache_identity
from loracore.diffusion.files.weight_names import vae_names
from loracore.testing import tiny_models
from loracore.training.metadata import model_hashes
from loracore.weights.layout import to_file
from tests.plugins.sdxl.runs import ALL, VAE, config_of, loaded

CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    """A VAE that is not that of the tiny model."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return tiny_models.vae()


@pytest.fixture
def home(vae: AutoencoderKL, tmp_path: Path) -> Path:
    """The folder of the VAE alone, as it is on the hub."""
    vae.save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def assert_replaced(model: Path, given: Path | str, vae: AutoencoderKL, *, allow_pickle: bool = False) -> None:
    found = loaded(model, VAE, vae=str(given), allow_pickle=allow_pickle)
    assert isinstance(found.vae, AutoencoderKL)
    assert found.vae.config.scaling_factor == 0.13025
    for name, tensor in vae.state_dict().items():
        assert torch.equal(found.vae.state_dict()[name], tensor), name


def original(vae: AutoencoderKL) -> dict[str, Tensor]:
    """The VAE's tensors in the original layout."""
    state = vae.state_dict()
    return {name: tensor.contiguous() for name, tensor in to_file(state, vae_names(list(state))).items()}


def beside(path: Path, home: Path) -> Path:
    """Put the sizes that no tensor tells into the folder of a file's name."""
    (path.with_suffix("") / "vae").mkdir(parents=True)
    shutil.copy(home / CONFIG, path.with_suffix("") / "vae" / CONFIG)
    return path


def test_a_folder_holds_it_at_its_root_or_in_vae(
    folder: Path, checkpoint: Path, home: Path, vae: AutoencoderKL
) -> None:
    for model in (folder, checkpoint):
        assert_replaced(model, home, vae)
        assert_replaced(model, home.parent, vae)


def test_a_vae_on_the_hub_is_read_from_its_cache(
    folder: Path, home: Path, vae: AutoencoderKL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub" / "models--owner--vae"
    shutil.copytree(home, hub / "snapshots" / "abc")
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("abc", encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert_replaced(folder, "owner/vae", vae)
    before = cache_identity(part="vae", config=config_of(folder, vae="owner/vae"))
    (hub / "snapshots" / "abc").rename(hub / "snapshots" / "def")
    (hub / "refs" / "main").write_text("def", encoding="utf-8")
    assert cache_identity(part="vae", config=config_of(folder, vae="owner/vae")) != before


def test_a_file_has_the_names_of_diffusers(folder: Path, home: Path, vae: AutoencoderKL) -> None:
    assert_replaced(folder, home / WEIGHTS, vae)


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_a_file_has_the_names_of_the_original_layout(
    folder: Path, home: Path, vae: AutoencoderKL, tmp_path: Path, prefix: str
) -> None:
    tensors = {prefix + name: tensor for name, tensor in original(vae).items()}
    path = beside(tmp_path / "one.safetensors", home)
    save_file(tensors | {f"{prefix}loss.logvar": torch.zeros(1)}, path)
    assert_replaced(folder, path, vae)


def test_a_pickle_is_read_with_leave(folder: Path, home: Path, vae: AutoencoderKL, tmp_path: Path) -> None:
    path = beside(tmp_path / "one.ckpt", home)
    torch.save({"state_dict": original(vae)}, path)
    with pytest.raises(DataError, match="allow_pickle"):
        loaded(folder, VAE, vae=str(path))
    assert_replaced(folder, path, vae, allow_pickle=True)


def test_a_model_without_a_vae_may_be_given_one(
    checkpoint: Path, home: Path, vae: AutoencoderKL, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file({name: each for name, each in load_file(checkpoint).items() if not name.startswith(PREFIX)}, bare)
    shutil.copytree(checkpoint.with_suffix(""), bare.with_suffix(""))
    models.check(ALL, config_of(bare, vae=str(home)))
    assert_replaced(bare, home, vae)


@pytest.mark.parametrize("sizes", [{"latent_channels": 16}, {"scale": 0.18215}])
@pytest.mark.parametrize("place", ["other", "other/vae"])
def test_a_vae_of_another_architecture_is_told(
    folder: Path, tmp_path: Path, sizes: dict[str, float], place: str
) -> None:
    tiny_models.vae(**sizes).save_pretrained(tmp_path / place)  # type: ignore[arg-type]  # each has its own type
    words = "16 latent channels, not 4" if "scale" not in sizes else "0.18215"
    with pytest.raises(DataError, match=words) as caught:
        models.check(VAE, config_of(folder, vae=str(tmp_path / "other")))
    assert [problem.where for problem in caught.value.problems] == [f"--vae {tmp_path / 'other'}"]


def test_what_is_no_vae_is_told(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    unet = folder / "unet" / WEIGHTS
    for given, message in ((unet, "no VAE"), (folder / "unet", "not an AutoencoderKL"), (tmp_path, "neither config")):
        with pytest.raises(DataError, match=message):
            models.check(VAE, config_of(checkpoint, vae=str(given)))


def test_a_missing_one_is_told_before_anything_is_loaded(folder: Path) -> None:
    (finding,) = findings(config_of(folder, vae="nowhere/vae.safetensors"))
    assert (finding.fate, finding.option) == ("wrong", "vae")


def test_latents_are_cached_for_this_vae_and_captions_for_any(folder: Path, home: Path) -> None:
    given, plain = config_of(folder, vae=str(home)), config_of(folder)
    before = cache_identity(part="vae", config=given)
    assert before != cache_identity(part="vae", config=plain)
    assert cache_identity(part="text", config=given) == cache_identity(part="text", config=plain)
    (home / WEIGHTS).write_bytes((home / WEIGHTS).read_bytes()[:-1])
    assert cache_identity(part="vae", config=given) != before


def test_the_header_tells_which_vae_was_used(folder: Path, home: Path) -> None:
    path = home / WEIGHTS
    _, found = model_hashes(config_of(folder, vae=str(path)), wanted=True)
    assert found.metadata() == {
        "ss_vae_name": WEIGHTS,
        "ss_vae_hash": hashlib.sha256(path.read_bytes()[0x100000:0x110000]).hexdigest()[:8],
        "ss_new_vae_hash": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert len(model_hashes(config_of(folder), wanted=True)) == 1


def test_a_vae_that_is_given_twice_is_said_once(folder: Path, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    models.check(ALL, config_of(folder, vae=str(home)))
    assert [message.split(":")[0] for message in caplog.messages] == ["VAE is given twice"]
    caplog.clear()
    models.check(ALL, config_of(folder))
    assert caplog.messages == []
