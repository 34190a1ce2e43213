"""The toy model as a checkpoint of a layout of its own: fused, transposed and swapped tensors, and a text encoder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from loracore import FileTensor, Models, Part, PartNames, hookimpl
from loracore.cli.request import Request, read_request
from loracore.testing import toy_models
from loracore.training.assembly.run_network import adapters_for
from loracore.weights.layout import Names, to_file

WIDTH = 8
DENOISER: Names = {
    "enter.weight": FileTensor("model.in.weight"),
    "enter.bias": FileTensor("model.in.bias"),
    "told.weight": FileTensor("model.told", transposed=True),
    "told.bias": FileTensor("model.told_bias"),
    "blocks.0.conv.weight": FileTensor("model.0.conv.weight"),
    "blocks.0.conv.bias": FileTensor("model.0.conv.bias"),
    "blocks.1.conv.weight": FileTensor("model.1.conv.weight", swapped_halves=True),
    "blocks.1.conv.bias": FileTensor("model.1.conv.bias", swapped_halves=True),
    "blocks.0.mix.weight": FileTensor("model.mix.weight", part=(0, 2)),
    "blocks.1.mix.weight": FileTensor("model.mix.weight", part=(1, 2)),
    "blocks.0.mix.bias": FileTensor("model.mix.bias", part=(0, 2)),
    "blocks.1.mix.bias": FileTensor("model.mix.bias", part=(1, 2)),
    "leave.weight": FileTensor("model.out.weight"),
    "leave.bias": FileTensor("model.out.bias"),
}
TEXT: Names = {
    "table.weight": FileTensor("text.table.weight"),
    "projection.weight": FileTensor("text.projection.weight", transposed=True),
    "projection.bias": FileTensor("text.projection.bias"),
}
TABLES: Mapping[str, Names] = {"te1": TEXT, "unet": DENOISER}


class ToyFiles:
    """Answers ``weight_names`` for the toy: its tensors come from the modules themselves, in a precision."""

    def __init__(
        self, dtype: torch.dtype = torch.float32, parts: Collection[str] = tuple(TABLES), bias: float | None = None
    ) -> None:
        self.dtype = dtype
        self.bias = bias  # of the first layer, where it is another
        self.parts = parts
        self.largest = 0  # number of tensors asked for at once

    @hookimpl
    def weight_names(self, parts: frozenset[Part]) -> Mapping[str, PartNames]:
        """Return the toy's layout."""
        modules = toy_modules(parts)
        return {
            name: PartNames(TABLES[name], "text_encoder" if name == "te1" else "toy", self._reader(module))
            for name, module in modules.items()
            if name in self.parts
        }

    def _reader(self, module: nn.Module) -> Callable[[Collection[str], torch.device], Iterator[tuple[str, Tensor]]]:
        def read(names: Collection[str], device: torch.device) -> Iterator[tuple[str, Tensor]]:
            self.largest = max(self.largest, len(names))
            state = module.state_dict()
            if self.bias is not None and "enter.bias" in state:
                state["enter.bias"] = torch.full_like(state["enter.bias"], self.bias)
            return ((name, state[name].to(device, self.dtype)) for name in names)

        return read


def toy_modules(parts: Collection[str] = ("text", "denoiser")) -> dict[str, nn.Module]:
    modules = toy_models.build(frozenset(parts), torch.device("cpu"), torch.float32, WIDTH).modules()
    return {name: module for name, module in modules.items() if name in TABLES}


def toy_checkpoint(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return modules in the toy's original layout."""
    return {
        name: tensor
        for part, module in modules.items()
        for name, tensor in to_file(module.state_dict(), TABLES[part]).items()
    }


def toy_request(files: ToyFiles, *words: str, tables: Sequence[type] = ()) -> Request:
    """Return the request of a command on the toy with this layout."""
    request = read_request(["--arch", "toy", "--pretrained_model_name_or_path", "owner/toy", *words], tables=tables)
    request.plugins.register(files)
    return request


def write_lora(path: Path, request: Request, seed: int = 0, dtype: torch.dtype = torch.float32) -> Path:
    """Write a LoRA of random numbers for every place of the request's network."""
    models: Models = request.plugins.hook.load_models(
        parts=frozenset({"text", "denoiser"}), device=torch.device("cpu"), dtype=torch.float32, config=request.config
    )
    targets = request.plugins.hook.lora_targets(models=models, config=request.config)
    network = adapters_for(request.plugins.hook, targets, request.config, 0, None)
    torch.manual_seed(seed)
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter, std=0.2)
    save_file(network.file_tensors(dtype), path, {"ss_steps": "7", "sshs_model_hash": "00"})
    return path
