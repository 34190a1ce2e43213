"""The processes of a run and their device, through accelerate."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from torch import distributed

from loracore.config.config import Config
from loracore.config.options import DataOptions, ProcessOptions
from loracore.config.sharding import Sharding
from loracore.errors import ConfigError

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's place among the processes of a run."""

    device: torch.device
    index: int
    count: int
    sharding: Sharding | None = None  # of the denoiser's frozen weights

    @property
    def main(self) -> bool:
        """Tell whether this process writes files and prints."""
        return self.index == 0

    @property
    def in_step(self) -> bool:
        """Tell whether every process runs the denoiser as often as the others: they share its weights."""
        return self.sharding is not None

    @property
    def part(self) -> tuple[int, int]:
        """Which part of previews and validations is this process's, of how many; in step, each does everything."""
        return (0, 1) if self.in_step else (self.index, self.count)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor summed over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            distributed.barrier()

    def agree(self, number: int) -> int:
        """Return the main process's number in every process."""
        if self.count == 1:
            return number
        shared = torch.tensor([number if self.main else 0], device=self.device)
        return int(self.sum(shared).item())

    def gather(self, own: Sequence[Item]) -> Sequence[Item]:
        """Return what all processes have, those of the first process first, in every process."""
        if self.count == 1:
            return own
        several: list[Sequence[Item]] = [()] * self.count
        distributed.all_gather_object(several, list(own))
        return [one for some in several for one in some]

    def leave(self) -> None:
        """Give up the connection to the other processes, who need not have come here.

        Left to the end of the interpreter, the connection's own threads may ask for what is gone: gloo then aborts.
        """
        if self.count > 1:
            distributed.destroy_process_group()


def join_processes(options: ProcessOptions, sharding: Sharding | None = None) -> Processes:
    """Return this process's place; a launcher (`accelerate launch`, torchrun, our own) says how many there are.

    ``ddp_timeout`` is how long processes wait for each other. Raises ConfigError where a process has no device of its
    own.
    """
    arguments: dict[str, Any] = {}  # accelerate's, each of another type
    if options.ddp_timeout is not None:
        arguments["timeout"] = timedelta(minutes=options.ddp_timeout)
    if sys.platform == "win32" and torch.cuda.is_available():
        arguments["backend"] = "gloo"  # torch for Windows has no NCCL
    # Without cpu=True accelerate sees no process group on a machine without a card: each process would run alone.
    cpu = not torch.accelerator.is_available() or bool(parse_flag_from_env("ACCELERATE_USE_CPU"))
    state = PartialState(cpu=cpu, **arguments)
    if state.device.type == "cuda" and state.local_process_index >= torch.cuda.device_count():
        raise too_many_processes(state.local_process_index + 1, torch.cuda.device_count())
    # accelerate numbers the CPU ("cpu:0"), a name that file readers refuse.
    device = torch.device("cpu") if state.device.type == "cpu" else state.device
    shared = sharding if state.num_processes > 1 else None
    return Processes(device, state.process_index, state.num_processes, shared)


def too_many_processes(processes: int, devices: int) -> ConfigError:
    """Return the error of a machine that has fewer devices than processes."""
    message = f"{processes} processes need as many devices on this machine, which has {devices}"
    return ConfigError(message, where="--num_processes", fix=f"start {devices}, or train on the CPU")


def devices() -> int | None:
    """Return how many CUDA devices this machine has; None where it computes on its processor, or otherwise."""
    return torch.cuda.device_count() if torch.cuda.is_available() else None


def loader_threads(config: Config, *, cached: bool = False) -> int:
    """Return how many threads load ahead: ``max_data_loader_n_workers``, but no more than there are processors.

    One is enough to copy ``cached`` latents: more would only wait for each other.
    """
    wanted = min(config[DataOptions].max_data_loader_n_workers, os.cpu_count() or 1)
    return min(wanted, 1) if cached else wanted


def weight_dtype(mixed_precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of frozen weights and arithmetic; raises ConfigError for bf16 on a card that has none."""
    if mixed_precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        message = f"{torch.cuda.get_device_name(device)} has no bf16 arithmetic"
        raise ConfigError(message, where="--mixed_precision", fix='set mixed_precision = "fp16"')
    return {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[mixed_precision]
