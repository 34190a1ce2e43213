"""Random weights that every trainer can load: a checkpoint in the original layout, and adapters to start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.peers.architectures import Architecture, linear_sizes
from loracore.diffusion.files.parts import PartKind
from loracore.testing import tiny_models
from loracore.weights.layout import Names, to_file
from loracore.weights.writing import Piece, write_pieces

#: What makes text encoders and VAEs small: they must be there, with the widths that cached captions have.
_CLIP = {
    "num_hidden_layers": 1,
    "intermediate_size": 64,
    "vocab_size": tiny_models.TOKENS,
    "bos_token_id": tiny_models.TOKENS - 2,
    "eos_token_id": tiny_models.TOKENS - 1,
    "pad_token_id": tiny_models.TOKENS - 1,
}
_T5 = {"num_layers": 1, "d_ff": 64, "d_kv": 64, "num_heads": 1, "vocab_size": len(tiny_models.T5_PIECES)}
_VAE = {"block_out_channels": [32] * 4, "layers_per_block": 1}
_SMALLER: Mapping[str, Mapping[str, Any]] = {"te1": _CLIP, "te2": _CLIP, "te3": _T5, "vae": _VAE}


def empty_denoiser(architecture: Architecture, *, small: bool) -> nn.Module:
    """Return a denoiser without weights, of the architecture's own size or a small one."""
    config = {**architecture.full(), **(architecture.small if small else {})}
    return _built(kind_of(architecture, "unet"), config)


def write_checkpoint(path: Path, architecture: Architecture, denoiser: nn.Module, *, device: str) -> None:
    """Write the denoiser with random weights, float32 or for a card bf16, tensor by tensor.

    Text encoders and VAE are there to be found, and are never run.
    """
    rng, dtype = torch.Generator(device).manual_seed(0), torch.float32 if device == "cpu" else torch.bfloat16
    pieces = list[Piece]()
    for kind in architecture.kinds():
        whole = kind.name == "unet"
        module = denoiser if whole else _built(kind, {**kind.standard(), **_SMALLER[kind.name]})
        pieces += _pieces(kind, module, rng, dtype if whole else torch.float32)
    write_pieces(path, pieces, [name for piece in pieces for name in piece.names], {})


def write_adapters(path: Path, architecture: Architecture, denoiser: nn.Module, rank: int) -> None:
    """Write a LoRA file of every layer that trains by default; its ups are not 0, so that all gradients are alive."""
    rng, tensors = torch.Generator().manual_seed(100), dict[str, Tensor]()
    for target in architecture.targets(denoiser):
        inside, outside = linear_sizes(target)
        tensors[f"{target.key}.lora_down.weight"] = torch.randn(rank, inside, generator=rng) * inside**-0.5
        tensors[f"{target.key}.lora_up.weight"] = torch.randn(outside, rank, generator=rng) * 0.02
        tensors[f"{target.key}.alpha"] = torch.tensor(float(rank))
    save_file(tensors, path)


def write_tokenizers(folder: Path) -> None:
    """Write tokenizers that spell every word, where ``tokenizer_cache_dir`` is looked through."""
    tiny_models.write_tokenizer(folder / "openai_clip-vit-large-patch14")
    tiny_models.write_tokenizer(folder / "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k", padding="!")
    tiny_models.write_t5_tokenizer(folder / "google_t5-v1_1-xxl")


def kind_of(architecture: Architecture, name: str) -> PartKind:
    """Return how one part of the architecture's models is made: "unet"."""
    return next(kind for kind in architecture.kinds() if kind.name == name)


def _built(kind: PartKind, config: Mapping[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return kind.build(config)


def _pieces(kind: PartKind, module: nn.Module, rng: torch.Generator, dtype: torch.dtype) -> Iterator[Piece]:
    """Give the part's tensors as a file has them, each drawn when it is written."""
    names, files = kind.names(module, ()), dict[str, dict[str, Tensor]]()
    for key, empty in module.state_dict().items():
        if "embed_tokens" not in key:  # T5's table, which has another name in files
            files.setdefault(kind.prefix + names[key].name, {})[key] = empty
    for name, several in files.items():
        yield Piece((name,), partial(_drawn, name, several, names, rng, dtype))


def _drawn(
    name: str, several: Mapping[str, Tensor], names: Names, rng: torch.Generator, dtype: torch.dtype
) -> Mapping[str, Tensor]:
    (tensor,) = to_file({key: _random(key, empty, rng).to(dtype) for key, empty in several.items()}, names).values()
    return {name: tensor}


def _random(name: str, empty: Tensor, rng: torch.Generator) -> Tensor:
    """Return weights under which activations keep their size: matrices by what goes in, norms near 1, biases near 0."""
    drawn = torch.randn(empty.shape, generator=rng, device=rng.device)
    if empty.ndim > 1:
        return drawn.mul_(empty[0].numel() ** -0.5)
    return drawn.mul_(0.02).add_(1.0 if name.endswith("weight") else 0.0)
