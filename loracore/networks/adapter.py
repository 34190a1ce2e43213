"""The base class of every adapter: what stands in front of one target's layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from loracore.networks.low_rank import LowRank
from loracore.noise.rng import SampleRng


class Adapter(nn.Module, ABC):
    """The trainable tensors of one target, and what they make of its layers' outputs.

    It holds no reference to the layers, and changes nothing while it is fresh. Nothing is kept between two calls of
    ``forward``: activation checkpointing calls it again in the backward pass and must get the same answer, so that
    random masks are drawn by ``draw_masks``, once a micro-batch, not inside ``forward``.
    """

    @abstractmethod
    def forward(self, index: int, inputs: Tensor, output: Tensor, layers: Sequence[nn.Module]) -> Tensor:
        """Return the adapted output of layer ``index`` of the target, from its inputs and its own output.

        ``layers`` are the target's, for networks that look at their weights; these may be in half precision or float8.
        """

    @abstractmethod
    def file_tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors as the file holds them, by the name behind the target's key ("lora_down.weight", …)."""

    @abstractmethod
    def load_file_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over tensors of a file; raises LoracoreError when names, shapes or alpha do not fit."""

    @abstractmethod
    def weight_change(self, index: int, weights: Sequence[Tensor]) -> Tensor:
        """Return what merging adds to the weight of layer ``index``, in float32.

        ``weights`` are those of all layers of the target, in float32, for networks whose change depends on them. A
        network whose change is no addition to the weight raises DataError: what merges or converts it ends with that.
        """

    def low_rank(self, index: int) -> LowRank | None:  # noqa: ARG002  # for those who can
        """Return the factors whose product is all that is ever added to layer ``index``; None: ``forward`` is asked.

        Asked once, when a network is attached. Plain Linear layers then compute in one function with their factors,
        which gives what ``forward`` would, in fewer operations. Adapters with random masks answer None.
        """
        return None

    def trained_parameters(self) -> Sequence[nn.Parameter]:
        """Return the parameters that the optimizer moves; the others stay as they start."""
        return list(self.parameters())

    def up_parameters(self) -> Sequence[nn.Parameter]:
        """Return those of the trained parameters that LoRA+ gives a higher learning rate; none: it is refused."""
        return ()

    def draw_masks(self, rng: SampleRng) -> None:
        """Draw this micro-batch's random masks, sample by sample; evaluation needs none."""

    @property
    def draws(self) -> bool:
        """Tell whether `draw_masks` draws anything in this run; whoever defines it knows better than this answer."""
        return type(self).draw_masks is not Adapter.draw_masks

    def clear_masks(self) -> None:
        """Forget the masks: every sample is adapted in full."""

    def limit_norm(self, largest: float) -> Tensor | None:  # noqa: ARG002  # for those who can
        """Scale the tensors down so that the norm of the weight change is at most ``largest``.

        Return the norm as it was before (a scalar on the device), or None when there is none to tell of.
        """
        return None

    @property
    @abstractmethod
    def rank(self) -> int:
        """The rank, for `loracore targets` and metadata."""

    @property
    @abstractmethod
    def alpha_value(self) -> float:
        """The alpha, for `loracore targets` and metadata."""
