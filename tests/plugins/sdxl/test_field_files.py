"""What the field's files beside pictures hold for SDXL: names, keys and widths of the real models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loracore_sdxl import field_files

from loracore import Framing
from loracore.cli.request import read_request
from loracore.data.npz.field_files import (
    Origin,
    WantedLatents,
    crop_box,
    latents_origin,
    latents_path,
    read_text,
    text_arrays,
    text_origin,
    text_path,
)
from loracore.diffusion.files.folders import packaged_config
from loracore.training.assembly.phases import Loading
from loracore.training.caches.importing import loaded_encoders
from loracore.training.caches.unrecorded import unrecorded_options
from tests.plugins.sdxl.runs import config_of

KEY = bytes(16)
FILES = field_files(config_of())


def said(tokens: int) -> dict[str, Any]:
    """Return the arrays of a caption, as the field writes them."""
    rng = np.random.default_rng(0)
    shapes = {"hidden_state1": (tokens, 768), "hidden_state2": (tokens, 1280), "pool2": (1280,)}
    return {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}


def test_files_have_the_fields_names() -> None:
    assert latents_path(FILES.latents, Path("a.png"), (1920, 1080)).name == "a_1920x1080_sdxl.npz"
    assert text_path(FILES.text, Path("a.png")).name == "a_te_outputs.npz"


def test_latents_are_scaled_as_the_vae_scales_them() -> None:
    vae = packaged_config("loracore_sdxl", "vae/config.json")
    assert (FILES.latents.scale, FILES.latents.shift) == (vae["scaling_factor"], vae.get("shift_factor") or 0)
    assert FILES.latents.channels == vae["latent_channels"]


def test_latents_of_another_tool_are_recognised(tmp_path: Path) -> None:
    framing = Framing((1920, 1080), (1365, 768), (10, 0), (1344, 768))
    arrays: dict[str, Any] = {
        "latents": np.zeros((4, 96, 168), dtype=np.float32),
        "original_size": np.array([1920, 1080]),
    }
    np.savez(tmp_path / "a.npz", **arrays, crop_ltrb=crop_box(framing))
    wanted = WantedLatents(framing, mirrored=False, masked=False, key=KEY)
    assert latents_origin(tmp_path / "a.npz", FILES.latents, wanted) is Origin.FOREIGN


def test_context_is_both_hidden_states_side_by_side(tmp_path: Path) -> None:
    arrays = said(77)
    np.savez(tmp_path / "a.npz", **arrays)
    assert text_origin(tmp_path / "a.npz", FILES.text, KEY) is Origin.FOREIGN
    found = read_text(tmp_path / "a.npz", FILES.text)
    assert found is not None
    both = np.concatenate([arrays["hidden_state1"], arrays["hidden_state2"]], axis=1)
    assert np.array_equal(found["context"], both)
    assert np.array_equal(found["pooled"], arrays["pool2"])


@pytest.mark.parametrize(("length", "tokens"), [(None, 77), (150, 152), (225, 227)])
def test_captions_must_have_the_runs_token_length(tmp_path: Path, length: int | None, tokens: int) -> None:
    layout = field_files(config_of(max_token_length=length)).text
    for there in (77, 152, 227):
        np.savez(tmp_path / "a.npz", **said(there))
        assert (text_origin(tmp_path / "a.npz", layout, KEY) is not None) == (there == tokens)


def test_captions_are_written_as_they_are_read() -> None:
    arrays = said(77)
    context = np.concatenate([arrays["hidden_state1"], arrays["hidden_state2"]], axis=1)
    written = text_arrays(FILES.text, {"context": context, "pooled": arrays["pool2"]}, KEY)
    assert written is not None
    assert all(np.array_equal(written[name], array) for name, array in arrays.items())


def widths(*words: str) -> Mapping[str, int]:
    """Return the widths of a model's text encoders, as the core sees them."""
    request = read_request(["--arch", "sdxl", *words])
    return loaded_encoders(Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config), ["text"])


def test_captions_are_of_text_encoders_of_the_standard_widths(folder: Path) -> None:
    assert widths() == FILES.text.encoders
    assert widths("--pretrained_model_name_or_path", str(folder)) != FILES.text.encoders


def test_options_that_arrays_do_not_tell_are_known_by_name() -> None:
    assert unrecorded_options(config_of(max_token_length=150), FILES.text) == ()
    assert unrecorded_options(config_of(weighted_captions=True), FILES.text) == ("weighted_captions",)
