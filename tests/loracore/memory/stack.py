"""Blocks in a row that do all that blocks may: different sizes, named inputs, dropout, None among their outputs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

WIDTH = 6


class Block(nn.Module):
    """Two matrices, a norm and dropout; told the same as every other block."""

    def __init__(self, hidden_width: int, *, last: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.widen = nn.Linear(WIDTH, hidden_width)
        self.dropout = nn.Dropout(0.3)
        self.narrow = nn.Linear(hidden_width, WIDTH, bias=False)
        self.register_buffer("shift", torch.randn(WIDTH))
        self._last = last

    def forward(self, hidden: Tensor, *, told: Tensor, extras: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor]:
        """Return what the next block is told, None from the last, and B,T,WIDTH."""
        wide = torch.tanh(self.widen(self.norm(hidden) + told[:, None]) + extras["level"])
        hidden = hidden + self.narrow(self.dropout(wide)) + self.shift
        return (None if self._last else told * 1.5), hidden


class Stack(nn.Module):
    """Blocks in a row."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter = nn.Linear(WIDTH, WIDTH)
        self.tell = nn.Linear(WIDTH, WIDTH)
        widths = [8 + 3 * (place % 4) for place in range(depth)]
        self.blocks = nn.ModuleList(Block(width, last=place == depth - 1) for place, width in enumerate(widths))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return B,T,WIDTH for B,T,WIDTH."""
        hidden, told = self.enter(inputs), self.tell(inputs.mean(dim=1))
        extras = {"level": inputs.mean()}
        for block in self.blocks:
            told, hidden = block(hidden, told=told, extras=extras)
        left: Tensor = hidden
        return left

    def answer(self) -> Tensor:
        """Return what comes out for always the same inputs."""
        inputs = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))
        answer: Tensor = self(inputs.to(self.enter.weight.device))
        return answer
