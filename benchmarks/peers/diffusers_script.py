"""The process of diffusers' script: its own training script for SDXL, run from a checkout, with the work's draws.

``python -m benchmarks.peers.diffusers_script WORK WORDS…``, in an environment that has what the script needs, and no
loracore; diffusers itself comes from the checkout, too. WORK is a JSON file: paths of "checkout", "draws", "record",
"adapters" to start from, "result" and "pictures", "script", "order" (stems of pictures), "batch", "names" (a layer's
path in the U-Net → its name in the adapters' file), "gradient" (is the first gradient wanted?).

What is replaced, and nothing else:

- VAE and text encoders, which the script runs in every step: they say what the caches say, at once;
- the random numbers of a step, and the values that adapters start from, in float32;
- torchvision where it is missing: the same few transforms with Pillow and numpy;
- for the gradient AdamW, by an optimizer that leaves adapters and their gradients alone;
- what follows the saved file: a pipeline that is loaded for pictures, which nobody asks for.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.peers.diffusers_encoders import IdleEncoder, IdleVae, Pictures
from benchmarks.peers.draws import Draws
from benchmarks.peers.recording import Recording


class OverError(Exception):
    """All is trained and saved."""


class StillOptimizer(torch.optim.SGD):
    """Leaves parameters as they are, and their gradients where they are."""

    def __init__(self, parameters: Any, lr: float, **_: object) -> None:
        super().__init__(parameters, lr=lr)

    def step(self, closure: Any = None) -> Any:
        """Do nothing."""

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: FBT001, FBT002  # torch's signature
        """Do nothing."""


def main(work: dict[str, Any], words: list[str]) -> None:
    """Train by these words, and write what was noted and the adapters."""
    sys.path.insert(0, str(Path(work["checkout"], "src")))
    recording, draws = Recording(cuda=torch.cuda.is_available()), Draws(load_file(work["draws"]))
    _encode(Pictures(Path(work["pictures"]), work["order"], work["batch"], draws))
    adapters = Adapters(work["names"], load_file(work["adapters"]))
    adapters.watch()
    _draw(draws)
    _watch(recording)
    if work["gradient"]:
        optimizers: Any = torch.optim
        optimizers.AdamW = StillOptimizer
    if find_spec("torchvision") is None:
        importlib.import_module("benchmarks.peers.pillow_transforms").stand_in()
    sys.argv = [work["script"], *words]
    with suppress(OverError):
        runpy.run_path(str(Path(work["checkout"], work["script"])), run_name="__main__")
    recording.write(Path(work["record"]))
    adapters.write(Path(work["result"]))


class Adapters:
    """The script's adapters under the names of the work's file."""

    def __init__(self, names: Mapping[str, str], start: Mapping[str, Tensor]) -> None:
        self.names = names  # a layer's path → its name in the file
        self.start = start
        self.trained: dict[str, nn.Parameter] = {}  # by their names in the file

    def watch(self) -> None:
        """Have those that the script adds start from the file."""
        models: Any = importlib.import_module("diffusers")
        whole: Callable[..., None] = models.UNet2DConditionModel.add_adapter

        def add_adapter(unet: nn.Module, config: Any) -> None:
            whole(unet, config)
            self._begin(unet)

        models.UNet2DConditionModel.add_adapter = add_adapter

    @torch.no_grad()
    def _begin(self, unet: nn.Module) -> None:
        for path, parameter in unet.named_parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()  # as the script does with fp16, and ours always
                name = self._name(path)
                parameter.copy_(self.start[name])
                self.trained[name] = parameter

    def _name(self, path: str) -> str:
        """Return the name in the file of a parameter such as "mid_block….to_q.lora_A.default.weight"."""
        layer, _, end = path.partition(".lora_")
        kind = {"A": "down", "B": "up"}[end[0]]
        return f"{self.names.get(layer, layer)}.lora_{kind}.weight"

    def write(self, path: Path) -> None:
        """Write all that was trained, where gradients are left one step of plain descent further, in float32."""
        found = dict[str, Tensor]()
        for name, parameter in self.trained.items():
            value = parameter.detach().float()
            found[name] = (value if parameter.grad is None else self.start[name].to(value) - parameter.grad).cpu()
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(found, path)


def _encode(pictures: Pictures) -> None:
    """Have encoders that say what the caches say."""
    models: Any = importlib.import_module("diffusers")
    encoders: Any = importlib.import_module("transformers")
    models.AutoencoderKL.from_pretrained = lambda *_, **__: IdleVae(pictures)
    encoders.CLIPTextModel.from_pretrained = lambda *_, **__: IdleEncoder(pictures, "hidden_state1")
    encoders.CLIPTextModelWithProjection.from_pretrained = lambda *_, **__: IdleEncoder(pictures, "hidden_state2")

    def over(*_: object, **__: object) -> None:
        raise OverError

    models.StableDiffusionXLPipeline.from_pretrained = over


def _draw(draws: Draws) -> None:
    """Have every step draw the work's noise and timesteps; the script alone draws with these functions."""

    def noise(like: Tensor) -> Tensor:
        return draws.noise().to(like.dtype)

    def timesteps(_low: int, _high: int, _size: tuple[int], *, device: torch.device) -> Tensor:
        return draws.timesteps_there().to(device)

    drawing: Any = torch
    drawing.randn_like, drawing.randint = noise, timesteps


def _watch(recording: Recording) -> None:
    """Note moment and loss where the script shows the loss that it has just read, at the end of its step."""
    bars: Any = importlib.import_module("tqdm.auto")
    whole = bars.tqdm.set_postfix

    def set_postfix(bar: Any, *rest: Any, **shown: Any) -> None:
        recording.step_done()
        recording.losses.append(shown["step_loss"])
        whole(bar, *rest, **shown)

    bars.tqdm.set_postfix = set_postfix


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2:])
