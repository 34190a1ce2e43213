"""The work's noise and timesteps in a trainer's process; a peer's has no loracore: torch alone here."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """The work's noise and timesteps, step by step."""

    def __init__(self, stored: dict[str, Tensor]) -> None:
        self.host_timesteps = self.device_timesteps = stored["timesteps"]  # steps,B
        self.device_noise = stored["noise"]  # steps,B,C,h,w
        self.step = -1

    def next_step(self, device: torch.device) -> None:
        """Go on; from the first step on all draws are on the device, on all sides."""
        self.step += 1
        if self.step == 0:
            self.device_noise = self.device_noise.to(device)
            self.device_timesteps = self.host_timesteps.to(device)

    def timesteps(self) -> Tensor:
        """Return the step's timesteps (B), on the host, for those who draw them there."""
        return self.host_timesteps[self.step]

    def timesteps_there(self) -> Tensor:
        """Return the step's timesteps (B), on the device."""
        return self.device_timesteps[self.step]

    def noise(self, *_: object, **__: object) -> Tensor:
        """Return the step's noise (B,C,h,w), whatever is asked for."""
        return self.device_noise[self.step]
