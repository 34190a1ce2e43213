from __future__ import annotations

import pytest

from loracore.diffusion.files.config_shapes import clip_config, count_blocks, heads, norm_groups, t5_config, vae_config
from loracore.diffusion.files.weight_names import clip_name, vae_names
from loracore.testing import tiny_models
from loracore.weights.layout import to_file

STANDARD_VAE = {"block_out_channels": [128, 256], "norm_num_groups": 32, "scaling_factor": 0.5}
STANDARD_CLIP = {"hidden_size": 768, "num_attention_heads": 12, "hidden_act": "quick_gelu"}


def test_vae_of_any_size_is_described() -> None:
    vae = tiny_models.vae((8, 16, 16))
    shapes = {
        name: tuple(tensor.shape) for name, tensor in to_file(vae.state_dict(), vae_names(vae.state_dict())).items()
    }
    found = vae_config(shapes, STANDARD_VAE)
    assert (found["block_out_channels"], found["layers_per_block"], found["latent_channels"]) == ([8, 16, 16], 1, 4)
    assert (found["use_quant_conv"], found["scaling_factor"]) == (True, 0.5)


def test_text_encoder_of_any_size_is_described() -> None:
    encoder = tiny_models.projecting_text_encoder(24, layers=3)
    shapes = {clip_name(key): tuple(tensor.shape) for key, tensor in encoder.state_dict().items()}
    found = clip_config(shapes, STANDARD_CLIP, "text encoder")
    assert (found["hidden_size"], found["num_hidden_layers"], found["intermediate_size"]) == (24, 3, 48)
    assert (found["vocab_size"], found["projection_dim"]) == (tiny_models.TOKENS, 24)


def test_guesses_are_told(caplog: pytest.LogCaptureFixture) -> None:
    assert heads([64, 128], "U-Net") == [1, 2]
    assert norm_groups([64, 320], "U-Net") == 32
    assert caplog.messages == []
    assert heads([48], "U-Net") == [1]
    assert norm_groups([8, 48], "U-Net") == 8
    assert len(caplog.messages) == 2


def test_blocks_are_counted_by_their_highest_number() -> None:
    assert count_blocks(["a.0.x", "a.11.y", "b.20.z"], "a.") == 12
    assert count_blocks(["b.0"], "a.") == 0


def test_t5_of_any_size_is_described() -> None:
    encoder = tiny_models.t5_encoder(32, layers=3, heads=4)
    found = t5_config({name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}, {"eps": 1})
    assert (found["d_model"], found["num_heads"], found["d_kv"], found["d_ff"]) == (32, 4, 8, 64)
    assert (found["num_layers"], found["feed_forward_proj"], found["eps"]) == (3, "gated-gelu", 1)


def test_vae_with_the_names_of_diffusers_is_described_alike() -> None:
    vae = tiny_models.vae((8, 16, 16), latent_channels=16, quant_conv=False)
    original = to_file(vae.state_dict(), vae_names(vae.state_dict()))
    both = [
        vae_config({name: tuple(tensor.shape) for name, tensor in tensors.items()}, STANDARD_VAE)
        for tensors in (original, vae.state_dict())
    ]
    assert both[0] == both[1]
    assert (both[0]["latent_channels"], both[0]["use_quant_conv"]) == (16, False)
