from __future__ import annotations

from pathlib import Path

import pytest
from loracore_sdxl.parts import kinds
from loracore_sdxl.recognition import UNET

from loracore import DataError
from loracore.diffusion.files.loading import check_parts
from loracore.diffusion.files.parts import EmptyParts, file_parts, standard_parts, wanted
from loracore.diffusion.files.weights import Weights


def unet_of(weights: Weights) -> EmptyParts:
    return file_parts(wanted(kinds(), {"denoiser"}), weights)


@pytest.fixture(scope="module")
def full_size() -> Weights:
    """The names and shapes of a full-size checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {}
    parts = standard_parts(kinds())
    for kind in kinds():
        state = parts[kind.name].module.state_dict()
        for key, place in kind.names(parts[kind.name].module, ()).items():
            shapes[kind.prefix + place.name] = place.file_shape(tuple(state[key].shape))
    return Weights(Path("nowhere/full.safetensors"), shapes, lambda *_: iter(()))


def test_full_size_checkpoint_has_the_standard_configurations_and_no_guesses(
    full_size: Weights, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in kinds():
        found, standard = kind.config_of_shapes(full_size, kind.prefix), kind.standard()
        assert {key: found[key] for key in standard} == standard
    assert caplog.messages == []


def test_full_size_checkpoint_fits_tensor_by_tensor(full_size: Weights) -> None:
    parts = file_parts(kinds(), full_size)
    check_parts(parts.values(), weights_needed=True)
    assert len(parts["unet"].names) == 1680


@pytest.mark.parametrize("lost", ["label_emb.0.0.weight", "middle_block.1.proj_in.weight"])
def test_missing_tensor_is_told_by_its_name(full_size: Weights, lost: str) -> None:
    shapes = {name: shape for name, shape in full_size.shapes.items() if name != UNET + lost}
    with pytest.raises(DataError, match=rf"{UNET}{lost}.* is missing"):
        check_parts(unet_of(Weights(full_size.origin, shapes, full_size.read)).values(), weights_needed=True)


def test_tensor_that_tells_a_size_is_missed_by_its_name(full_size: Weights) -> None:
    shapes = {name: shape for name, shape in full_size.shapes.items() if name != f"{UNET}out.2.weight"}
    with pytest.raises(DataError, match=r"U-Net: the tensor model\.diffusion_model\.out\.2\.weight is missing"):
        unet_of(Weights(full_size.origin, shapes, full_size.read))
