"""Every kind of network on a tiny model: built by a run's own options, its numbers random, saved."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import save_file

from loracore import Models
from loracore.cli.request import Request, read_request
from loracore.networks.network import Network
from loracore.training.assembly.network_weights import read_network_weights
from loracore.training.assembly.phases import Loading
from loracore.training.assembly.run_network import adapters_for
from loracore.training.assembly.run_targets import run_targets
from loracore.weights.convert.kohya_keys import under_known_keys

CONV = ("conv_dim=2", "conv_alpha=1")


@dataclass(frozen=True, slots=True)
class Kind:
    """A network as a user asks for it."""

    module: str
    arguments: tuple[str, ...] = ()
    convolutions: tuple[str, ...] = CONV  # what makes it adapt convolutions of a U-Net too
    dim: int = 2
    alpha: float = 1


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "lora": Kind("lora", convolutions=()),
        "locon": Kind("networks.lora"),
        "rs_lora": Kind("lora", ("rs_lora=True",)),
        "tucker": Kind("lora", ("use_tucker=True",)),
        "lora_fa": Kind("networks.lora_fa"),
        "dylora": Kind("networks.dylora", ("unit=1",)),
        "dora": Kind("dora"),
        "dora_on_output": Kind("dora", ("wd_on_output=True",)),
        "oft": Kind("oft", convolutions=("enable_conv=True",), alpha=0),
        "oft_constraint": Kind("networks.oft", convolutions=("enable_conv=True",), alpha=0.02),
        "loha": Kind("loha"),
        "loha_tucker": Kind("loha", ("use_tucker=True",)),
        "lokr": Kind("lokr", ("factor=4",)),
        "lokr_both": Kind("lokr", ("factor=8", "decompose_both=True")),
        "lokr_full": Kind("lokr", ("full_matrix=True",)),
        "lokr_tucker": Kind("lokr", ("factor=2", "use_tucker=True")),
        "lycoris_loha": Kind("lycoris.kohya", ("algo=loha",), ()),
        "diag_oft": Kind("lycoris.kohya", ("algo=diag-oft",), (), dim=4),
        "diag_oft_constraint": Kind("lycoris.kohya", ("algo=diag-oft", "constraint=0.02"), (), dim=4),
        "boft": Kind("lycoris.kohya", ("algo=boft",), (), dim=18),
        "glora": Kind("lycoris.kohya", ("algo=glora",), ()),
        "ia3": Kind("lycoris.kohya", ("algo=ia3",), ()),
        "full": Kind("lycoris.kohya", ("algo=full",), ()),
    }
)


def words_of(kind: Kind, arch: str, more: Sequence[str] = ()) -> list[str]:
    """Return the options of a run with this network; ``more`` are network arguments of the architecture."""
    arguments = (*kind.arguments, *(kind.convolutions if arch == "sdxl" else ()), *more)
    words = ["--arch", arch, "--network_module", kind.module]
    words += ["--network_dim", str(kind.dim), "--network_alpha", str(kind.alpha)]
    return [*words, *(("--network_args", *arguments) if arguments else ())]


def request_of(model: Path, words: Sequence[str]) -> Request:
    """Return the run of a model with these options."""
    return read_request([*words, "--pretrained_model_name_or_path", str(model)])


def models_of(request: Request) -> Models:
    """Return denoiser and text encoders of a run."""
    loading = Loading(request.plugins.hook, torch.device("cpu"), torch.float32, request.config)
    return loading.models("text", "denoiser")


def network_of(request: Request, models: Models, seed: int = 0) -> Network:
    """Return the network that a run starts with, from its file of starting weights where it has one."""
    targets = run_targets(request.plugins.hook, models, request.config)
    found, _ = read_network_weights(request.config)
    weights = None if found is None else under_known_keys(found, targets)
    network = adapters_for(request.plugins.hook, targets, request.config, seed, weights)
    if weights is not None:
        assert network.load(weights, "network_weights") == len(network.entries)
    return network


@torch.no_grad()
def train_at_random(network: Network) -> None:
    """Move every number of every adapter, the frozen ones too, by an amount that depends on its name alone."""
    for entry in network.entries:
        generator = torch.Generator().manual_seed(zlib.crc32(entry.target.key.encode()))
        for parameter in entry.adapter.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def save(network: Network, path: Path) -> Path:
    """Write a network's file."""
    save_file(network.file_tensors(torch.float32), path)
    return path
