"""What the field's files beside pictures hold for SD3: names, keys and widths of the real models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loracore_sd3 import field_files

from loracore import Framing
from loracore.cli.request import read_request
from loracore.data.npz.field_files import (
    Origin,
    WantedLatents,
    crop_box,
    latents_origin,
    latents_path,
    read_text,
    text_origin,
    text_path,
)
from loracore.diffusion.files.folders import packaged_config
from loracore.training.assembly.phases import Loading
from loracore.training.caches.importing import loaded_encoders
from loracore.training.caches.unrecorded import unrecorded_options
from tests.plugins.sd3.runs import config_of

KEY = bytes(16)
FILES = field_files(config_of())


def said(**changes: Any) -> dict[str, Any]:
    """Return the arrays of a caption, as the field writes them; None leaves one out."""
    rng = np.random.default_rng(0)
    shapes = {"lg_out": (77, 2048), "lg_pooled": (2048,), "t5_out": (256, 4096)}
    arrays: dict[str, Any] = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    masks = {"clip_l_attn_mask": np.ones(77), "clip_g_attn_mask": np.ones(77), "t5_attn_mask": np.ones(256)}
    flags = {name: np.array(0, dtype=np.bool_) for name in ("apply_lg_attn_mask", "apply_t5_attn_mask")}
    return {name: array for name, array in (arrays | masks | flags | changes).items() if array is not None}


def test_files_have_the_fields_names() -> None:
    assert latents_path(FILES.latents, Path("a.png"), (640, 480)).name == "a_0640x0480_sd3.npz"
    assert text_path(FILES.text, Path("a.png")).name == "a_sd3_te.npz"


def test_latents_are_scaled_as_the_vae_scales_them() -> None:
    vae = packaged_config("loracore_sd3", "vae/config.json")
    assert (FILES.latents.scale, FILES.latents.shift) == (vae["scaling_factor"], vae["shift_factor"])
    assert FILES.latents.channels == vae["latent_channels"]


def test_latents_stand_under_their_size(tmp_path: Path) -> None:
    framing = Framing((1024, 1024), (1024, 1024), (0, 0), (1024, 1024))
    arrays: dict[str, Any] = {
        "latents": np.zeros((16, 128, 128), dtype=np.float32),
        "original_size": np.array([1024, 1024]),
    }
    arrays["crop_ltrb"] = crop_box(framing)
    np.savez(tmp_path / "a.npz", **{f"{name}_128x128": array for name, array in arrays.items()})
    wanted = WantedLatents(framing, mirrored=False, masked=False, key=KEY)
    assert latents_origin(tmp_path / "a.npz", FILES.latents, wanted) is Origin.FOREIGN


def test_each_encoder_gets_its_columns(tmp_path: Path) -> None:
    arrays = said()
    np.savez(tmp_path / "a.npz", **arrays)
    assert text_origin(tmp_path / "a.npz", FILES.text, KEY) is Origin.FOREIGN
    found = read_text(tmp_path / "a.npz", FILES.text)
    assert found is not None
    assert np.array_equal(found["clip_l"], arrays["lg_out"][:, :768])
    assert np.array_equal(found["clip_g"], arrays["lg_out"][:, 768:])
    assert np.array_equal(found["clip_l_pooled"], arrays["lg_pooled"][:768])
    assert np.array_equal(found["clip_g_pooled"], arrays["lg_pooled"][768:])
    assert np.array_equal(found["t5"], arrays["t5_out"])


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({"t5xxl_max_token_length": 128}, {}),
        ({}, {"lg_out": np.zeros((154, 2048), dtype=np.float32)}),
        ({"apply_lg_attn_mask": True}, {}),
        ({"apply_t5_attn_mask": True}, {}),
        ({}, {"apply_t5_attn_mask": None}),
    ],
)
def test_captions_of_other_options_are_of_no_use(
    tmp_path: Path, options: dict[str, Any], changes: dict[str, Any]
) -> None:
    np.savez(tmp_path / "a.npz", **said(**changes))
    assert text_origin(tmp_path / "a.npz", field_files(config_of(**options)).text, KEY) is None


def test_flags_that_are_on_fit_options_that_are_on(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **said(apply_lg_attn_mask=np.array(1, dtype=np.bool_)))
    assert text_origin(tmp_path / "a.npz", field_files(config_of(apply_lg_attn_mask=True)).text, KEY) is Origin.FOREIGN


def test_captions_are_not_written() -> None:
    assert not FILES.text.writable


def widths(*words: str) -> Mapping[str, int]:
    """Return the widths of a model's text encoders, as the core sees them."""
    request = read_request(["--arch", "sd3", *words])
    return loaded_encoders(Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config), ["text"])


def test_captions_are_of_text_encoders_of_the_standard_widths(folder: Path) -> None:
    assert widths() == FILES.text.encoders
    assert widths("--pretrained_model_name_or_path", str(folder)) != FILES.text.encoders


def test_options_that_arrays_do_not_tell_are_known_by_name() -> None:
    assert unrecorded_options(config_of(t5xxl_max_token_length=77, apply_t5_attn_mask=True), FILES.text) == ()
    assert unrecorded_options(config_of(t5xxl_dtype="fp16"), FILES.text) == ("t5xxl_dtype",)
