"""Build the demo's U-Net and text encoders with random weights: SDXL in small."""

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from make_demo.tokenizers import END, LENGTH, START

CHANNELS = (32, 40, 48)
TEXT_WIDTHS = (48, 64)
TIME_WIDTH = 8  # of each of the six size numbers


def empty_unet() -> UNet2DConditionModel:
    """Build the U-Net: SDXL's blocks and conditioning, so that every layer's name is also one of SDXL's."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=CHANNELS,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4, 4),  # the number of heads, as in SDXL's own file
        transformer_layers_per_block=(1, 1, 1),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTHS[1] + 6 * TIME_WIDTH,
        cross_attention_dim=sum(TEXT_WIDTHS),
        norm_num_groups=8,
    )


def empty_text_encoders(tokens: dict[str, int]) -> tuple[CLIPTextModel, CLIPTextModelWithProjection]:
    """Build both text encoders for a vocabulary."""
    shared = {
        "vocab_size": len(tokens),
        "num_hidden_layers": 2,
        "max_position_embeddings": LENGTH,
        "bos_token_id": tokens[START],
        "eos_token_id": tokens[END],  # a real id: the pooled state is then the one at the first end
    }
    small = {
        "hidden_size": TEXT_WIDTHS[0],
        "intermediate_size": 96,
        "num_attention_heads": 3,
        "hidden_act": "quick_gelu",
    }
    large = {"hidden_size": TEXT_WIDTHS[1], "intermediate_size": 128, "num_attention_heads": 4, "hidden_act": "gelu"}
    first = CLIPTextModel(CLIPTextConfig(**shared, **small, projection_dim=TEXT_WIDTHS[1], pad_token_id=tokens[END]))
    second = CLIPTextModelWithProjection(
        CLIPTextConfig(**shared, **large, projection_dim=TEXT_WIDTHS[1], pad_token_id=tokens["!"])
    )
    for encoder in (first, second):
        _spread(encoder)
    return first, second


@torch.no_grad()
def _spread(encoder: nn.Module) -> None:
    for name, weight in encoder.named_parameters():
        if "embedding" in name:
            weight.normal_(std=0.3)  # the library's 0.02 is for large models and learns slowly here
        elif weight.ndim > 1:
            weight.normal_(std=0.7 / weight.shape[1] ** 0.5)
