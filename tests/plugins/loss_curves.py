"""How a model with weights in fewer bits stays with the wide one: its gradients, its targets, and what runs lose.

The gate of the losses is that of docs/quantised-weights.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from loracore import Config, LoraTarget, Models, hookimpl
from loracore.cli.request import read_request
from loracore.config.datasets import read_datasets
from loracore.memory.fitting import fit_models, store_weights
from loracore.memory.quantised.forms import FORMS
from loracore.training.train import train
from tests.loracore.memory.adapted import CPU, adapt, memory_config

STEPS = 60
#: Of the difference between two seeds.
GATE = 0.25
#: How well a step's gradients must point where those of the wide model do.
COSINES: Mapping[str, float] = {"fp8_scaled": 0.998, "int8": 0.9999, "nf4": 0.98}


class Listening:
    """An extension that keeps what is lost."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    @hookimpl
    def step_done(self, loss: Tensor) -> None:
        self.losses.append(loss.item())


def losses(model: Path, folder: Path, *words: str) -> Tensor:
    """Train STEPS steps on four pictures and return each step's loss."""
    pictures = folder / "pictures"
    if not pictures.exists():
        pictures.mkdir()
        for number in range(4):
            colour = (60 * number, 255 - 60 * number, 40 * number)
            Image.new("RGB", (64, 64), colour).save(pictures / f"{number}.png")
    request = read_request(
        [
            *("--pretrained_model_name_or_path", str(model), "--output_dir", str(folder / "out"), "--overwrite"),
            *("--train_data_dir", str(pictures), "--resolution", "64", "--network_train_unet_only"),
            *("--network_dim", "8", "--learning_rate", "2e-3", "--max_train_steps", str(STEPS)),
            *words,
        ]
    )
    listening = Listening()
    request.plugins.register(listening, name="extension listening")
    train(request.config, request.plugins, read_datasets(request.config, request.document))
    return torch.tensor(listening.losses)


def gate_shares(model: Path, folder: Path, *words: str) -> Mapping[str, float]:
    """Return by form how far the losses are from the wide model's, as a share of how far two seeds are apart."""
    wide, other = (losses(model, folder, *words, "--seed", seed) for seed in ("0", "1"))
    stored = {form: losses(model, folder, *words, "--seed", "0", "--base_model_precision", form) for form in FORMS}
    apart = (wide - other).abs().mean()
    return {form: ((found - wide).abs().mean() / apart).item() for form, found in stored.items()}


def early_gradients(models: Models, answer: Callable[[], Tensor], form: str = "given") -> Tensor:
    """Return all gradients of adapters that have learnt a little, where the model is to predict noise."""
    fit_models(models, CPU, torch.float32, memory_config(base_model_precision=form))
    network, generator = adapt(models.blocks["unet"]), torch.Generator().manual_seed(3)
    for parameter in network.modules.parameters():
        nn.init.normal_(parameter, std=0.02, generator=generator)
    output = answer()
    (output - torch.randn(output.shape, generator=generator)).square().mean().backward()  # type: ignore[no-untyped-call]  # torch's own
    found = [one.grad for one in network.modules.parameters()]
    return torch.cat([one.flatten() for one in found if one is not None]).double()


def assert_near(form: str, found: Tensor, wide: Tensor) -> None:
    """Gradients point where the wide model's do, and are not the very same."""
    assert COSINES[form] < functional.cosine_similarity(found, wide, dim=0).item() < 1 - 1e-7


def assert_within_gate(model: Path, folder: Path, *words: str) -> None:
    """Losses in every form stay within the gate, and are not the very same."""
    shares = gate_shares(model, folder, *words)
    assert shares.keys() == FORMS.keys()
    assert {form: share for form, share in shares.items() if not 0 < share < GATE} == {}


def targets_kept(
    every: Callable[[Models, Config], Sequence[LoraTarget]], models: Models, config: Config
) -> Sequence[LoraTarget]:
    """Store the weights as the options ask and return the targets, which are those of the wide model."""
    wide = [_told(target) for target in every(models, config)]
    store_weights(models, torch.float32, config)
    found = every(models, config)
    assert [_told(target) for target in found] == wide
    return found


def _told(target: LoraTarget) -> tuple[str, Sequence[str], Sequence[int]]:
    return target.key, target.paths, [len(layer.weight) for layer in target.layers]
