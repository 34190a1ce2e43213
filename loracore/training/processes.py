"""The processes of a run and their device, through accelerate."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from accelerate import PartialState
from torch import distributed

from loracore.config.config import Config
from loracore.config.options import DataOptions
from loracore.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process's place among the processes of a run."""

    device: torch.device
    index: int
    count: int

    @property
    def main(self) -> bool:
        """Tell whether this process writes files and prints."""
        return self.index == 0

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


def join_processes() -> Processes:
    """Return this process's place; a launcher (`accelerate launch`, torchrun) says how many there are."""
    # Without cpu=True accelerate sees no process group on a machine without a card: each process would run alone.
    state = PartialState(cpu=not torch.accelerator.is_available())
    # accelerate numbers the CPU ("cpu:0"), a name that file readers refuse.
    device = torch.device("cpu") if state.device.type == "cpu" else state.device
    return Processes(device, state.process_index, state.num_processes)


def loader_threads(config: Config) -> int:
    """Return how many threads load ahead: ``max_data_loader_n_workers``, but no more than there are processors."""
    return min(config[DataOptions].max_data_loader_n_workers, os.cpu_count() or 1)


def weight_dtype(mixed_precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of frozen weights and arithmetic; raises ConfigError for bf16 on a card that has none."""
    if mixed_precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        message = f"{torch.cuda.get_device_name(device)} has no bf16 arithmetic"
        raise ConfigError(message, where="--mixed_precision", fix='set mixed_precision = "fp16"')
    return {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[mixed_precision]
