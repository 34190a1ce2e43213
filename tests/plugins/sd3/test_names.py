from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from loracore_sd3.names import place_of, transformer_names
from safetensors.torch import load_file, save_file

from loracore.diffusion.files.weights import open_weights
from loracore.weights.layout import to_file
from tests.plugins.sd3 import tiny
from tests.plugins.sd3.runs import DENOISER, loaded

PREFIX = "model.diffusion_model."


@pytest.mark.parametrize("model", ["sd3", "sd35"])
def test_transformer_gives_the_golden_output(data: Path, tmp_path: Path, model: str) -> None:
    path = tmp_path / f"{model}.safetensors"
    save_file({name: t.float() for name, t in load_file(data / f"tiny-{model}-mmdit.safetensors").items()}, path)
    golden = load_file(data / "forward-sd3.safetensors")
    transformer = loaded(path, DENOISER).denoiser
    assert transformer is not None
    with torch.no_grad():
        out = transformer(
            hidden_states=golden["in.latent"],
            encoder_hidden_states=golden["in.context"],
            pooled_projections=golden["in.pooled"],
            timestep=golden["in.timestep"],
            return_dict=False,
        )[0]
    torch.testing.assert_close(out, golden[f"{model}.out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("model", ["sd3", "sd35"])
def test_golden_files_sizes_are_read_off_their_shapes(data: Path, model: str) -> None:
    transformer = loaded(data / f"tiny-{model}-mmdit.safetensors", DENOISER, device="meta").denoiser
    assert transformer is not None
    info = json.loads((data / "forward-sd3.json").read_text(encoding="utf-8"))["info"][model]
    assert sum(parameter.numel() for parameter in transformer.parameters()) == info["num_params"]


@pytest.mark.parametrize("model", ["sd3", "sd35"])
def test_golden_files_have_exactly_the_names_of_the_table(data: Path, model: str) -> None:
    path = data / f"tiny-{model}-mmdit.safetensors"
    transformer = loaded(path, DENOISER, device="meta").denoiser
    assert transformer is not None
    names = {PREFIX + place.name for place in transformer_names(transformer).values()}
    assert names == set(open_weights(path, allow_pickle=False).shapes)


@pytest.mark.parametrize("style", tiny.STYLES)
def test_file_is_read_as_it_was_written(style: str) -> None:
    transformer = tiny.tiny_transformer(style)
    names, state = transformer_names(transformer), transformer.state_dict()
    written = to_file(state, names)
    read = {key: place.from_file(written[place.name]) for key, place in names.items()}
    torch.testing.assert_close(read, dict(state), rtol=0, atol=0)


def test_halves_are_swapped_in_two_layers_only() -> None:
    names = transformer_names(tiny.tiny_transformer("5-medium"))
    swapped = {key.rpartition(".")[0] for key, place in names.items() if place.swapped_halves}
    assert swapped == {"norm_out.linear", "transformer_blocks.2.norm1_context.linear"}


@pytest.mark.parametrize(
    ("path", "name", "part"),
    [
        ("transformer_blocks.3.attn.to_k", "joint_blocks.3.x_block.attn.qkv", (1, 3)),
        ("transformer_blocks.3.attn.add_v_proj", "joint_blocks.3.context_block.attn.qkv", (2, 3)),
        ("transformer_blocks.0.attn2.to_q", "joint_blocks.0.x_block.attn2.qkv", (0, 3)),
        ("transformer_blocks.11.ff_context.net.2", "joint_blocks.11.context_block.mlp.fc2", None),
        ("pos_embed.proj", "x_embedder.proj", None),
        ("context_embedder", "context_embedder", None),
    ],
)
def test_modules_have_the_names_of_the_original_layout(path: str, name: str, part: tuple[int, int] | None) -> None:
    assert place_of(path) == (name, part)
