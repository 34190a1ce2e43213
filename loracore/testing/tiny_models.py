"""Tiny models with random weights: tokenizers, CLIP and T5 text encoders, VAEs; parts of any tiny base model."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from loracore.diffusion.quiet import quiet_libraries

START, END = "<|startoftext|>", "<|endoftext|>"
POSITIONS = 77
#: Every byte inside a word and at its end, first and last token.
TOKENS = 2 * 256 + 2
GROUPS = 4
_T5_SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
#: T5's special tokens in the order of their ids, the mark at the front of a word, and the printable ASCII letters.
T5_PIECES = ("<pad>", "</s>", "<unk>", "▁", *(chr(code) for code in range(ord("!"), ord("~") + 1)))


def write_tokenizer(folder: Path, padding: str = END) -> None:
    """Write a CLIP tokenizer that spells every word letter by letter; its first token, id 0, is "!"."""
    folder.mkdir(parents=True)
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    names = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": padding}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": POSITIONS, **names}
    vocabulary = {token: number for number, token in enumerate(tokens)}
    _write_json(folder / "vocab.json", vocabulary)
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "special_tokens_map.json", names)
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def write_t5_tokenizer(folder: Path) -> None:
    """Write a T5 tokenizer that spells every word letter by letter; it pads with id 0 and ends with id 1."""
    folder.mkdir(parents=True)
    scores = [(piece, 0.0 if number < len(_T5_SPECIAL) else -2.0) for number, piece in enumerate(T5_PIECES)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=T5_PIECES.index("<unk>"), byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    end = ("</s>", T5_PIECES.index("</s>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[end])
    tokenizer.add_special_tokens(list(_T5_SPECIAL.values()))
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, **_T5_SPECIAL})


def text_encoder(width: int, layers: int, *, heads: int = 2) -> CLIPTextModel:
    """Return a text encoder in the manner of CLIP-L."""
    with quiet_libraries():
        return _randomized(CLIPTextModel(_clip_config(width, layers, heads, "quick_gelu")))


def projecting_text_encoder(
    width: int, layers: int, *, heads: int = 2, activation: str = "gelu"
) -> CLIPTextModelWithProjection:
    """Return a text encoder with a projection of its pooled state: OpenCLIP-G's, or CLIP-L's with "quick_gelu"."""
    with quiet_libraries():
        return _randomized(CLIPTextModelWithProjection(_clip_config(width, layers, heads, activation)))


def t5_encoder(width: int, layers: int = 2, *, heads: int = 2) -> T5EncoderModel:
    """Return a text encoder in the manner of T5 v1.1: gated, without biases, its embeddings tied."""
    config = T5Config(
        vocab_size=len(T5_PIECES),
        d_model=width,
        d_kv=width // heads,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=heads,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    with quiet_libraries():
        return _randomized(T5EncoderModel(config))


def vae(
    widths: tuple[int, ...] = (8, 8, 16, 16),
    *,
    latent_channels: int = 4,
    scale: float = 0.13025,
    shift: float | None = None,
    quant_conv: bool = True,
) -> AutoencoderKL:
    """Return a VAE that makes one latent of 2^(levels-1) pixels a side."""
    return _randomized(
        AutoencoderKL(
            block_out_channels=widths,
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            latent_channels=latent_channels,
            norm_num_groups=GROUPS,
            scaling_factor=scale,
            shift_factor=shift,
            use_quant_conv=quant_conv,
            use_post_quant_conv=quant_conv,
            sample_size=64,
        )
    )


def _clip_config(width: int, layers: int, heads: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=TOKENS,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=POSITIONS,
        hidden_act=activation,
        bos_token_id=TOKENS - 2,
        eos_token_id=TOKENS - 1,
        pad_token_id=TOKENS - 1,
    )


@torch.no_grad()
def _randomized(module: nn.Module) -> nn.Module:
    """Draw all matrices anew, from the global generator: the libraries' own draws leave biases and norms at 0 and 1."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=0.5 * parameter[0].numel() ** -0.5)
        else:
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return module.eval()


def _byte_letters() -> list[str]:
    """Return a printable letter for each byte, as CLIP's tokenizer spells them, in the order of its vocabulary."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(code) for code in plain] + [chr(256 + number) for number in range(256 - len(plain))]


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
