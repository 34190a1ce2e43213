from __future__ import annotations

from pathlib import Path

import pytest
from loracore_sdxl import checkpoint
from loracore_sdxl.configs import standard_config
from loracore_sdxl.folder import FOLDERS, standard_parts
from loracore_sdxl.recognition import TE1, TE2, UNET, VAE

from loracore import DataError
from loracore.diffusion.loading import check_parts
from loracore.diffusion.weights import Weights

PREFIXES = {"te1": TE1, "te2": TE2, "vae": VAE, "unet": UNET}
PARTS = tuple(PREFIXES)


@pytest.fixture(scope="module")
def full_size() -> Weights:
    """The names and shapes of a full-size checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, part in standard_parts(PARTS).items():
        state = part.module.state_dict()
        for key, place in checkpoint._names(name, part.module, {}).items():
            shapes[PREFIXES[name] + place.name] = place.file_shape(tuple(state[key].shape))
    return Weights(Path("nowhere/full.safetensors"), shapes, lambda *_: iter(()))


def test_full_size_checkpoint_has_the_standard_configurations_and_no_guesses(
    full_size: Weights, caplog: pytest.LogCaptureFixture
) -> None:
    for name in PARTS:
        found = checkpoint.config_of_shapes(name, full_size)
        standard = standard_config(FOLDERS[name])
        assert {key: found[key] for key in standard} == standard
    assert caplog.messages == []


def test_full_size_checkpoint_fits_tensor_by_tensor(full_size: Weights) -> None:
    parts = checkpoint.empty_parts(PARTS, full_size)
    check_parts(parts.values(), weights_needed=True)
    assert len(parts["unet"].names) == 1680


@pytest.mark.parametrize("lost", ["label_emb.0.0.weight", "middle_block.1.proj_in.weight"])
def test_missing_tensor_is_told_by_its_name(full_size: Weights, lost: str) -> None:
    shapes = {name: shape for name, shape in full_size.shapes.items() if name != UNET + lost}
    with pytest.raises(DataError, match=rf"{UNET}{lost}.* is missing"):
        check_parts(
            checkpoint.empty_parts(["unet"], Weights(full_size.origin, shapes, full_size.read)).values(),
            weights_needed=True,
        )


def test_tensor_that_tells_a_size_is_missed_by_its_name(full_size: Weights) -> None:
    shapes = {name: shape for name, shape in full_size.shapes.items() if name != f"{UNET}out.2.weight"}
    with pytest.raises(DataError, match=r"U-Net: the tensor model\.diffusion_model\.out\.2\.weight is missing"):
        checkpoint.empty_parts(["unet"], Weights(full_size.origin, shapes, full_size.read))
