"""What a run's options of speed come to: prepared once, used in every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import get_args

import torch
from torch import nn

from loracore.config.config import Config
from loracore.config.options import SpeedOptions
from loracore.config.options.speed import Backend
from loracore.errors import ConfigError
from loracore.speed.attention import Attention
from loracore.speed.channels import convolves, lay_channels_last
from loracore.speed.compiling import Compiler
from loracore.speed.cuda_recording import CudaRecorder
from loracore.speed.graphs import GraphedModule
from loracore.speed.news import News
from loracore.types import DENOISER, Models


@dataclass(frozen=True, eq=False, slots=True)
class Speed:
    """How the passes of a run's models are computed."""

    options: SpeedOptions
    device: torch.device
    news: News
    attention: Attention
    compiler: Compiler | None  # None: nothing is compiled

    @classmethod
    def of(cls, config: Config, device: torch.device) -> Speed:
        """Return what the options ask for on a device."""
        options, news = config[SpeedOptions], News()
        attention = Attention.on(device, options.attention_backend, news, compiled=options.torch_compile)
        compiler = Compiler(_backend(options), news) if options.torch_compile else None
        return cls(options, device, news, attention, compiler)

    @property
    def records(self) -> bool:
        """Tell whether the denoiser's passes are recorded as CUDA graphs."""
        return self.options.cuda_graphs and self.device.type == "cuda"

    def prepare(self, models: Models) -> None:
        """Lay weights out and let blocks be compiled, before anything shadows their ``forward``."""
        if self.options.opt_channels_last and models.denoiser is not None and _convolves(models):
            lay_channels_last(models.denoiser)
        if self.compiler is not None:
            for blocks in models.blocks.values():
                self.compiler.take(blocks)

    def record(
        self,
        models: Models,
        parameters: Sequence[nn.Parameter],
        state: Callable[[], object],
        prepared: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Let the denoiser's passes be recorded, once everything else stands in front of its layers.

        ``parameters`` are those that train in it, ``state`` gives what its passes depend on beside their arguments, and
        each pass stands in ``prepared``.
        """
        denoiser = models.denoiser
        if self.records and denoiser is not None:
            recorder = CudaRecorder(self.device)
            denoiser.forward = GraphedModule(denoiser.forward, parameters, recorder, self.news, state, prepared)

    def lines(self) -> list[str]:
        """Return what has become known since the last time."""
        made = () if self.compiler is None else self.compiler.summary()
        return [*made, *self.news.take()]


def check_speed(config: Config, *, sharded: bool, draws: bool) -> None:
    """Raise ConfigError for what a launcher or a network makes impossible.

    ``sharded``: processes share the denoiser's weights; ``draws``: the network leaves out something else in each step.
    """
    options = config[SpeedOptions]
    switches = {
        "torch_compile": options.torch_compile,
        "cuda_graphs": options.cuda_graphs,
        "opt_channels_last": options.opt_channels_last,
    }
    wanted = next((name for name, on in switches.items() if on), None)
    if sharded and wanted is not None:
        message = f"{wanted} with FSDP: weights that are gathered block by block lie somewhere else each time"
        raise ConfigError(message, where=config.place(wanted), fix=f"leave out {wanted}, or FSDP")
    if draws and options.cuda_graphs:
        message = "cuda_graphs with a network that leaves something out at random: a recording always does the same"
        fix = "leave out cuda_graphs or the network's dropouts, or take another network_module"
        raise ConfigError(message, where=config.place("cuda_graphs"), fix=fix)
    if options.torch_compile:
        _check_backend(config)


def _backend(options: SpeedOptions) -> str:
    """Return torch's name of what compiles."""
    return "tensorrt" if options.dynamo_backend == "tensort" else options.dynamo_backend


def _check_backend(config: Config) -> None:
    """Raise ConfigError for a backend that no installed package brings."""
    from torch._dynamo import list_backends  # a second for those who compile

    name, known = _backend(config[SpeedOptions]), set(list_backends(()))
    if name not in known:
        message = f"dynamo_backend {name} is not installed: torch knows it by a package of its own"
        fix = f"install that package, or take one of {', '.join(one for one in get_args(Backend) if one in known)}"
        raise ConfigError(message, where=config.place("dynamo_backend"), fix=fix)


def _convolves(models: Models) -> bool:
    """Tell whether the denoiser's blocks, or it itself where it names none, hold convolutions."""
    blocks = models.blocks.get(DENOISER, ())
    return convolves(blocks or ([] if models.denoiser is None else [models.denoiser]))


def speed_notes(config: Config, device: torch.device, models: Models) -> Iterator[str]:
    """Give notes on options that change nothing on this device or for this model; it may be on the meta device."""
    options = config[SpeedOptions]
    if device.type != "cuda":
        for name in ("cuda_graphs", "attention_backend"):
            if config.given(name):
                yield f"{name} is without effect on this device ({device.type}): it is of CUDA"
        if options.torch_compile and options.dynamo_backend == "cudagraphs":
            yield f"dynamo_backend cudagraphs records nothing on this device ({device.type}): it is of CUDA"
    if options.opt_channels_last and models.denoiser is not None and not _convolves(models):
        yield "opt_channels_last is without effect: the denoiser's blocks hold no convolutions"
    if options.torch_compile and not any(models.blocks.values()):
        yield "torch_compile is without effect: this architecture names no blocks"
