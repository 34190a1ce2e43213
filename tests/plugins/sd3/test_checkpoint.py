"""Full-size files, of which only names and shapes are made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from loracore_sd3.parts import kinds
from safetensors.torch import save_file

from loracore import DataError
from loracore.diffusion.files.folders import packaged_config
from loracore.diffusion.files.loading import check_parts
from loracore.diffusion.files.parts import PartKind, file_parts, wanted
from loracore.diffusion.files.weights import Weights
from loracore.weights.layout import Names

#: Tensors in a file, counted by hand: 5 layers on each side of a block, 3 fewer on the last text side, the positions
#: and 8 outer layers, each with a bias; 4 norms in each block; 2 layers and 2 norms in each second attention.
TENSORS = {
    "medium": 2 * (24 * 10 - 3 + 8) + 1,
    "5-medium": 2 * (24 * 10 - 3 + 8) + 1 + 24 * 4 + 13 * (2 * 2 + 2),
    "5-large": 2 * (38 * 10 - 3 + 8) + 1 + 38 * 4,
}
#: Values of all parameters, positions apart.
VALUES = {"medium": 2_028_328_000, "5-medium": 2_243_171_520, "5-large": 8_056_627_520}
WIDTHS = {"medium": None, "5-medium": 1536, "5-large": 2432}


def shapes_of(kind: PartKind) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a part of standard size in a checkpoint."""
    module = kind.build(kind.standard())
    state = module.state_dict()
    names: Names = kind.names(module, ())
    return {kind.prefix + place.name: place.file_shape(tuple(state[key].shape)) for key, place in names.items()}


def of_kind(kind: str, folder: Path) -> PartKind:
    """Return the transformer whose standard size a LoRA of this kind asks for."""
    lora, width = None, WIDTHS[kind]
    if width is not None:
        save_file(
            {"lora_unet_joint_blocks_0_x_block_attn2_qkv.lora_down.weight": torch.zeros(1, width)},
            folder / "lora.safetensors",
        )
        lora = str(folder / "lora.safetensors")
    return wanted(kinds(lora), {"unet"})[0]


def file_of(shapes: dict[str, tuple[int, ...]]) -> Weights:
    return Weights(Path("nowhere/full.safetensors"), shapes, lambda *_: iter(()))


@pytest.mark.parametrize("name", TENSORS)
def test_kind_is_told_by_the_shapes_of_a_file(tmp_path: Path, name: str) -> None:
    transformer = of_kind(name, tmp_path)
    shapes = shapes_of(transformer)
    assert transformer.standard() == packaged_config("loracore_sd3", f"transformer/{name}.json")
    for prefix in (transformer.prefix, ""):
        named = {prefix + key.removeprefix(transformer.prefix): shape for key, shape in shapes.items()}
        assert transformer.config_of_shapes(file_of(named), prefix) == transformer.standard()


@pytest.mark.parametrize("name", TENSORS)
def test_full_size_file_fits_tensor_by_tensor(tmp_path: Path, name: str) -> None:
    transformer = of_kind(name, tmp_path)
    parts = file_parts([transformer], file_of(shapes_of(transformer)))
    check_parts(parts.values(), weights_needed=True)
    module = parts["unet"].module
    assert isinstance(module, SD3Transformer2DModel)
    assert len(shapes_of(transformer)) == TENSORS[name]
    assert sum(parameter.numel() for parameter in module.parameters()) == VALUES[name]


def test_text_encoders_and_vae_have_the_standard_configurations_and_no_guesses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for kind in wanted(kinds(), {"text", "vae"}):
        found = kind.config_of_shapes(file_of(shapes_of(kind)), kind.prefix)
        assert {key: found[key] for key in kind.standard()} == kind.standard()
    assert caplog.messages == []


def test_names_of_a_checkpoint_are_the_ones_that_the_field_uses() -> None:
    names = set().union(*(shapes_of(kind) for kind in kinds()))
    assert names >= {
        "text_encoders.clip_l.transformer.text_model.embeddings.position_embedding.weight",
        "text_encoders.clip_g.transformer.text_projection.weight",
        "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.k.weight",
        "text_encoders.t5xxl.transformer.shared.weight",
        "first_stage_model.decoder.mid.attn_1.q.weight",
        "model.diffusion_model.pos_embed",
    }


def test_tensor_that_tells_a_size_is_missed_by_its_name() -> None:
    transformer = wanted(kinds(), {"unet"})[0]
    shapes = {name: shape for name, shape in shapes_of(transformer).items() if "context_embedder" not in name}
    with pytest.raises(DataError, match=r"model\.diffusion_model\.context_embedder\.weight is missing"):
        file_parts([transformer], file_of(shapes))
