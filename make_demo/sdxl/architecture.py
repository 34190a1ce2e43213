"""SDXL in small: its U-Net, its noise schedule, its size numbers."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, PreTrainedModel

from make_demo.architecture import Architecture
from make_demo.pictures import SIDE
from make_demo.text import LARGE, SMALL, WIDTHS, clip_config, spread
from make_demo.tokenizers import END
from make_demo.vae import VaeKind

CHANNELS = (32, 40, 48)
TIME_WIDTH = 8  # of each of the six size numbers
WEIGHT_LIMIT = 25.0
RESIZED_SHARE = 0.15
SCHEDULE = MappingProxyType({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
MODEL_INDEX = MappingProxyType(
    {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": "0.42.1",
        "force_zeros_for_empty_prompt": True,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
)


def sdxl(plugins: Path) -> Architecture:
    """Describe the demo model of plugins/sdxl."""
    schedule = DDPMScheduler(**SCHEDULE, num_train_timesteps=1000)
    return Architecture(
        package=plugins / "sdxl" / "loracore_sdxl",
        vae=VaeKind(
            latent_channels=4,
            scaling_factor=0.13025,
            shift_factor=None,
            own_convolutions=True,
            divergence_weight=1e-4,
            halved_share=0.0,
        ),
        vae_minutes=20,
        base_minutes=56,
        decoder_minutes=12,
        denoiser="unet",
        empty_denoiser=_empty_unet,
        empty_text_encoders=_empty_text_encoders,
        rate=1.5e-3,
        matrices=lambda _unet: [],
        batch_size=32,
        loss=partial(_loss, schedule),
        sampler=partial(EulerDiscreteScheduler, **SCHEDULE, timestep_spacing="leading", steps_offset=1),
        model_index=MODEL_INDEX,
        pipeline=partial(StableDiffusionXLPipeline.from_pretrained, dtype=torch.float32, add_watermarker=False),
    )


def _empty_unet() -> UNet2DConditionModel:
    """Build the U-Net: SDXL's blocks and conditioning, so that every layer's name is also one of SDXL's."""
    unet = UNet2DConditionModel(
        sample_size=SIDE // 8,
        block_out_channels=CHANNELS,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4, 4),  # the number of heads, as in SDXL's own file
        transformer_layers_per_block=(1, 1, 1),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=WIDTHS[1] + 6 * TIME_WIDTH,
        cross_attention_dim=sum(WIDTHS),
        norm_num_groups=8,
    )
    return unet.to(memory_format=torch.channels_last)  # a tenth faster on a CPU


def _empty_text_encoders(tokens: dict[str, int]) -> Sequence[PreTrainedModel]:
    first = CLIPTextModel(clip_config(SMALL, tokens, END, WIDTHS[1]))
    second = CLIPTextModelWithProjection(clip_config(LARGE, tokens, "!", WIDTHS[1]))
    for encoder in (first, second):
        spread(encoder)
    return first, second


def _loss(
    schedule: DDPMScheduler, unet: UNet2DConditionModel, latents: Tensor, context: Tensor, pooled: Tensor
) -> Tensor:
    """Compare predicted with real noise, with more weight where there is much of it: that decides colour and place."""
    noise, timesteps = torch.randn_like(latents), torch.randint(1000, (len(latents),))
    weights: Tensor = (1 / schedule.alphas_cumprod).clamp(max=WEIGHT_LIMIT)
    extra = {"text_embeds": pooled, "time_ids": _size_numbers(len(latents))}
    noisy = schedule.add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
    found = unet(noisy, timesteps, context, added_cond_kwargs=extra).sample
    errors: Tensor = (found - noise).square().mean((1, 2, 3))
    return (errors * weights[timesteps]).mean() / weights.mean()


def _size_numbers(count: int) -> Tensor:
    """Give SDXL's size numbers B,6: original size, crop, target size; some originals are said to be of other sizes."""
    numbers = torch.tensor([SIDE, SIDE, 0, 0, SIDE, SIDE]).repeat(count, 1)
    elsewhere = torch.rand(count, 1) < RESIZED_SHARE
    numbers[:, :2] = torch.where(elsewhere, torch.randint(64, 257, (count, 2)), numbers[:, :2])
    return numbers.float()
