"""An exponential moving average of the trained parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from loracore.config.options import TrainingOptions
from loracore.errors import DataError
from loracore.networks.network import Network

#: Numbers that are averaged at a time: bounds the memory of what lies between.
CHUNK = 16 * 2**20


class Ema:
    """Averages in float32 beside the parameters, on their device.

    With decay d, after applied step n (from 0): average += (1 - d_n) · (parameter - average), where
    d_n = min(d, (1 + n) / (10 + n)), so that the start is soon forgotten (the ``num_updates`` of TensorFlow's
    ``tf.train.ExponentialMovingAverage``).
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._averages = {one: one.detach().to(torch.float32, copy=True) for one in parameters}
        self._decay = decay
        device = parameters[0].device
        self._updates = torch.zeros((), device=device)  # applied so far; on the device, as only it knows of bad steps

    @property
    def averages(self) -> Mapping[nn.Parameter, Tensor]:
        """The average of every trained parameter."""
        return self._averages

    @torch.no_grad()
    def update(self, bad: Tensor) -> None:
        """Take in the parameters after a step, in place; nothing changes for a ``bad`` one, which was not applied.

        The device is not waited for.
        """
        decay = ((1 + self._updates) / (10 + self._updates)).clamp(max=self._decay)
        applied = (bad == 0).to(torch.float32)
        weight = (1 - decay) * applied
        for parameters in _chunks(list(self._averages)):
            averages = [self._averages[one] for one in parameters]
            change = torch._foreach_sub([one.float() for one in parameters], averages)  # noqa: SLF001  # torch has no public name for what its own optimizers use
            torch._foreach_mul_(change, weight)  # a lerp would read its weight, for which the host would wait
            torch._foreach_add_(averages, change)
        self._updates += applied

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the averages in the place of the parameters, for reading, as long as this lasts."""
        before = {one: one.data for one in self._averages}
        for one, average in self._averages.items():
            one.data = average.to(one.dtype)
        try:
            yield
        finally:
            for one, data in before.items():
                one.data = data

    def state(self) -> dict[str, Tensor]:
        """Return what a resumed run needs, the live tensors: "updates" and each average by its place, "0", "1", …."""
        numbered = {str(place): average for place, average in enumerate(self._averages.values())}
        return {"updates": self._updates, **numbered}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state; raises DataError when it is of other parameters."""
        own = self.state()
        if {name: one.shape for name, one in own.items()} != {name: one.shape for name, one in state.items()}:
            raise DataError("the moving averages are those of another network", fix="resume with the options of then")
        for name, tensor in own.items():
            tensor.copy_(state[name])


def moving_average(network: Network, training: TrainingOptions) -> Ema | None:
    """Return the average of what a run trains (``use_ema``); None without."""
    parameters = [one for one in network.modules.parameters() if one.requires_grad]
    return Ema(parameters, training.ema_decay) if training.use_ema else None


def _chunks(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Give the parameters in their order, about ``CHUNK`` numbers at a time."""
    chunk: list[nn.Parameter] = []
    taken = 0
    for one in parameters:
        chunk.append(one)
        taken += one.numel()
        if taken >= CHUNK:
            yield chunk
            chunk, taken = [], 0
    if chunk:
        yield chunk
