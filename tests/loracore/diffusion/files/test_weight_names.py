from __future__ import annotations

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint, convert_open_clip_checkpoint
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection

from loracore.diffusion.files.weight_names import clip_names, open_clip_names, vae_names
from loracore.testing import tiny_models
from loracore.weights.layout import FileTensor, Names, to_file


@pytest.fixture
def encoder() -> CLIPTextModelWithProjection:
    return tiny_models.projecting_text_encoder(24, layers=2)


def from_file(tensors: dict[str, Tensor], names: Names) -> dict[str, Tensor]:
    return {key: place.from_file(tensors[place.name]) for key, place in names.items()}


def assert_same(found: dict[str, Tensor], module: nn.Module) -> None:
    torch.testing.assert_close(found, dict(module.state_dict()), rtol=0, atol=0)


def test_open_clip_file_is_read_as_it_was_written(encoder: CLIPTextModelWithProjection) -> None:
    names = open_clip_names(encoder.state_dict(), ())
    assert_same(from_file(to_file(encoder.state_dict(), names), names), encoder)


def test_diffusers_reads_our_open_clip_file_as_we_do(encoder: CLIPTextModelWithProjection) -> None:
    ours = to_file(encoder.state_dict(), open_clip_names(encoder.state_dict(), ()))
    theirs = convert_open_clip_checkpoint(encoder, {f"x.{key}": tensor for key, tensor in ours.items()}, prefix="x.")
    assert_same({key: theirs[key] for key in encoder.state_dict()}, encoder)


def test_diffusers_reads_our_vae_file_as_we_do() -> None:
    vae = tiny_models.vae()
    names = vae_names(vae.state_dict())
    ours = to_file(vae.state_dict(), names)
    assert ours["encoder.mid.attn_1.q.weight"].shape == (16, 16, 1, 1)
    theirs = convert_ldm_vae_checkpoint(
        {f"first_stage_model.{key}": tensor for key, tensor in ours.items()}, vae.config
    )
    # diffusers leaves the 1x1 convolutions to its loader, which squeezes them
    assert_same({key: tensor.reshape(vae.state_dict()[key].shape) for key, tensor in theirs.items()}, vae)
    assert_same(from_file(ours, names), vae)


def test_no_two_tensors_share_a_place() -> None:
    vae = tiny_models.vae()
    places = [place.name for place in vae_names(vae.state_dict()).values()]
    assert len(places) == len(set(places)) == len(vae.state_dict())


@pytest.mark.parametrize("spelled", ["text_model.", ""])
def test_clip_names_follow_the_files_spelling(spelled: str) -> None:
    encoder = tiny_models.text_encoder(16, layers=2)
    in_file = {spelled + key.removeprefix("text_model.") for key in encoder.state_dict()}
    assert {place.name for place in clip_names(encoder.state_dict(), in_file).values()} == in_file


@pytest.mark.parametrize(
    ("place", "shape"),
    [
        (FileTensor("x"), (2, 3)),
        (FileTensor("x", transposed=True), (3, 2)),
        (FileTensor("x", part=(1, 3)), (6, 3)),
        (FileTensor("x", pointwise=True), (2, 3, 1, 1)),
    ],
)
def test_form_in_the_file_and_in_the_model_agree(place: FileTensor, shape: tuple[int, ...]) -> None:
    assert place.file_shape((2, 3)) == shape
    assert place.from_file(torch.zeros(shape)).shape == (2, 3)
