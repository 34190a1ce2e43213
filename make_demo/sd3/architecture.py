"""SD3 in small, without T5: its transformer and its flow matching."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor, nn
from transformers import CLIPTextModelWithProjection, PreTrainedModel

from make_demo.architecture import Architecture
from make_demo.pictures import SIDE
from make_demo.sd3.attention import CountingAttention, count_last_token
from make_demo.text import LARGE, SMALL, WIDTHS, clip_config, spread
from make_demo.tokenizers import END, LENGTH
from make_demo.vae import VaeKind

LATENT_CHANNELS = 16
HEADS, HEAD_WIDTH, LAYERS = 3, 32, 4
SHIFT = 3.0
NORMAL_SHARE = 0.7  # of the noise levels; the rest are uniform
ZERO_TOKENS = (LENGTH, 256)  # where T5 is missing: the field's number, and that of diffusers' pipeline
LONG_SHARE = 0.15
MODEL_INDEX = MappingProxyType(
    {
        "_class_name": "StableDiffusion3Pipeline",
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_3": [None, None],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "tokenizer_3": [None, None],
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
)


def sd3(plugins: Path) -> Architecture:
    """Describe the demo model of plugins/sd3."""
    return Architecture(
        package=plugins / "sd3" / "loracore_sd3",
        vae=VaeKind(
            latent_channels=LATENT_CHANNELS,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            own_convolutions=False,
            divergence_weight=3e-4,
            halved_share=0.25,
        ),
        vae_minutes=16,
        base_minutes=74,
        decoder_minutes=12,
        denoiser="transformer",
        empty_denoiser=_empty_transformer,
        empty_text_encoders=_empty_text_encoders,
        rate=2e-3,
        matrices=_matrices,
        batch_size=16,
        loss=_loss,
        sampler=partial(FlowMatchEulerDiscreteScheduler, shift=SHIFT),
        model_index=MODEL_INDEX,
        pipeline=partial(
            StableDiffusion3Pipeline.from_pretrained, dtype=torch.float32, text_encoder_3=None, tokenizer_3=None
        ),
    )


def _empty_transformer() -> SD3Transformer2DModel:
    """Build the transformer: one token for one latent, as a stream this narrow cannot carry four."""
    transformer = SD3Transformer2DModel(
        sample_size=SIDE // 8,
        patch_size=1,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_WIDTH,
        caption_projection_dim=HEADS * HEAD_WIDTH,
        joint_attention_dim=sum(WIDTHS),
        pooled_projection_dim=sum(WIDTHS),
        pos_embed_max_size=SIDE // 8,
    )
    transformer.set_attn_processor(CountingAttention())
    return transformer


def _matrices(transformer: SD3Transformer2DModel) -> list[nn.Parameter]:
    """Give the weights of attention and feed-forward layers; modulation and embedding are AdamW's."""
    layers = transformer.transformer_blocks.named_parameters()
    return [weight for name, weight in layers if weight.ndim > 1 and ".norm" not in name]


def _empty_text_encoders(tokens: dict[str, int]) -> Sequence[PreTrainedModel]:
    first = CLIPTextModelWithProjection(clip_config(SMALL, tokens, END, WIDTHS[0]))
    second = CLIPTextModelWithProjection(clip_config(LARGE, tokens, "!", WIDTHS[1]))
    for encoder in (first, second):
        spread(encoder)
    return first, second


def _loss(transformer: SD3Transformer2DModel, latents: Tensor, context: Tensor, pooled: Tensor) -> Tensor:
    """Compare predicted with real velocities, noise minus latents (Esser et al. 2024, equation 13 with w = 1)."""
    noise, levels = torch.randn_like(latents), _noise_levels(len(latents))
    share = levels[:, None, None, None]
    noisy = (1 - share) * latents + share * noise
    count_last_token(transformer, ZERO_TOKENS[int(torch.rand(()) < LONG_SHARE)])
    zero = context.new_zeros(len(context), 1, context.shape[-1])
    found = transformer(noisy, torch.cat((context, zero), dim=1), pooled, levels * 1000).sample
    loss: Tensor = (found - (noise - latents)).square().mean()
    return loss


def _noise_levels(count: int) -> Tensor:
    """Draw noise levels B in (0, 1), shifted to the noisy side as the sampler's are."""
    plain = torch.where(torch.rand(count) < NORMAL_SHARE, torch.randn(count).sigmoid(), torch.rand(count))
    return SHIFT * plain / (1 + (SHIFT - 1) * plain)
