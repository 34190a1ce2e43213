"""What every kind of network must keep to on a whole model; each architecture's tests bring their tiny one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from loracore import Models
from loracore.cli.main import run
from loracore.networks.network import Network
from loracore.weights.headers import read_header
from tests.plugins.networks import comfyui_rules
from tests.plugins.networks.every_kind import KINDS, models_of, network_of, request_of, save, train_at_random, words_of

#: Of the largest number of the output. Float32 has 1.2e-7 of relative precision; some ten layers, each with sums of
#: a hundred products in another order (change · inputs added, or added to the weight first), leave about 1e-6.
TOLERANCE = 1e-5
#: The adapters must move outputs by much more than that, or there was nothing to compare.
EFFECT = 1e-3


@dataclass(frozen=True, slots=True)
class Base:
    """A tiny model, as a checkpoint, as a folder and loaded, and what it gives without adapters."""

    arch: str
    checkpoint: Path
    folder: Path
    models: Models
    answer: Callable[[nn.Module], Tensor]  # of the denoiser
    arguments: tuple[str, ...]  # network arguments that choose its layers
    merging: tuple[str, ...] = ()  # options of merge that write every part

    def words(self, kind: str) -> list[str]:
        """Return the options of a run on this model."""
        return words_of(KINDS[kind], self.arch, self.arguments)

    @torch.no_grad()
    def outputs(self, models: Models) -> dict[str, Tensor]:
        """Return what the denoiser says of noise, and every layer of each text encoder of a caption."""
        assert models.denoiser is not None
        return {"unet": self.answer(models.denoiser), **{name: _hidden(one) for name, one in models.text.items()}}

    def live(self, network: Network) -> dict[str, Tensor]:
        """Return the outputs with these adapters in front of the layers."""
        network.attach()
        try:
            return self.outputs(self.models)
        finally:
            network.detach()


@dataclass(frozen=True, slots=True)
class Trained:
    """A network's file, and what the model gives with the live adapters."""

    kind: str
    base: Base
    file: Path
    outputs: Mapping[str, Tensor]


def trained_network(kind: str, base: Base, folder: Path) -> Trained:
    """Return a network of a run of this kind, every number of it moved."""
    network = network_of(request_of(base.checkpoint, base.words(kind)), base.models)
    train_at_random(network)
    return Trained(kind, base, save(network, folder / f"{kind}.safetensors"), base.live(network))


def check_merged(trained: Trained, folder: Path) -> None:
    """Assert that a checkpoint merged with the file, loaded again, gives what the live adapters give."""
    base, merged = trained.base, folder / "merged.safetensors"
    copytree(base.checkpoint.with_suffix(""), merged.with_suffix(""))
    words = ["--pretrained_model_name_or_path", str(base.checkpoint), "--models", str(trained.file)]
    assert run(["merge", "--arch", base.arch, *words, "--save_to", str(merged), *base.merging]) == 0
    assert_same(base.outputs(models_of(request_of(merged, ["--arch", base.arch]))), trained.outputs)
    plain = base.outputs(base.models)
    for part, tensor in trained.outputs.items():
        assert (tensor - plain[part]).abs().max() > EFFECT * tensor.abs().max(), part


def check_started_again(trained: Trained, *words: str) -> None:
    """Assert that a new run that starts from the file begins where the other one ended."""
    base = trained.base
    given = [*base.words(trained.kind), "--network_weights", str(trained.file), *words]
    network = network_of(request_of(base.checkpoint, given), base.models, seed=1)
    assert_same(base.live(network), trained.outputs)
    assert network.file_tensors(torch.float32).keys() == load_file(trained.file).keys()


def check_comfyui(trained: Trained) -> None:
    """Assert that ComfyUI takes every tensor of the file and patches every module."""
    shapes = read_header(trained.file).shapes
    taken = comfyui_rules.take(shapes, frozenset(comfyui_keys(trained.base)))
    if trained.kind == "ia3":  # its loader knows no IA3
        assert not taken.modules
        return
    assert taken.modules == {name.partition(".")[0] for name in shapes}
    assert taken.tensors == set(shapes)


def comfyui_keys(base: Base) -> Iterator[str]:
    """Give the module names that ComfyUI knows for this model."""
    yield from comfyui_rules.denoiser_keys(read_header(base.checkpoint).shapes)
    encoders = sorted(base.folder.glob("text_encoder*/model.safetensors"))
    yield from comfyui_rules.text_keys([read_header(path).shapes for path in encoders])


def assert_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tolerance: float = TOLERANCE) -> None:
    """Assert that outputs are the same for float32."""
    assert found.keys() == wanted.keys()
    for part, tensor in wanted.items():
        assert (found[part] - tensor).abs().max() <= tolerance * tensor.abs().max(), part


def _hidden(encoder: nn.Module) -> Tensor:
    called: Any = encoder
    tokens = torch.tensor([[3, 5, 8, 2, 1]])
    states: Tensor = torch.cat(called(input_ids=tokens, output_hidden_states=True).hidden_states, dim=1)
    return states
