"""Copies of the adapters on the host, from which files are made while training goes on."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import accumulate
from queue import SimpleQueue

import torch
from torch import Tensor, nn

from loracore.networks.network import Entry, Network

#: Bytes that go to the host as one copy: about two thousand small ones would take longer to ask for than to do.
STAGE = 32 * 2**20
MOST = 2  # copies: one is being written, one waits


@dataclass(frozen=True, eq=False, slots=True)
class _Piece:
    """Some tensors of one device, side by side and in one dtype in one stretch of host memory."""

    tensors: tuple[Tensor, ...]  # the network's own
    host: Tensor  # all of their numbers, flat
    stage: Tensor | None  # as long as ``host``, on the tensors' device; None: they are copied one by one
    views: tuple[Tensor, ...]  # of the stage, else of the host, shaped as the tensors


class Shadow:
    """A network's twin on the host, with tensors of its own: in float32 for those that are ``averaged``."""

    def __init__(self, network: Network, averaged: Collection[nn.Parameter] = ()) -> None:
        self._pieces = [*_pieces(network.modules, {id(one) for one in averaged})]
        twins = {
            id(tensor): _like(tensor, view)
            for piece in self._pieces
            for tensor, view in zip(piece.tensors, _split(piece.host, piece.tensors), strict=True)
        }
        adapters = [copy.deepcopy(entry.adapter, twins) for entry in network.entries]  # the twins are not copied
        entries = [
            Entry(replace(entry.target, layers=()), adapter)
            for entry, adapter in zip(network.entries, adapters, strict=True)
        ]
        self._network = Network(entries)
        self._network.clear_masks()
        self._copied: torch.Event | None = None

    @torch.no_grad()
    def fill(self, instead: Mapping[nn.Parameter, Tensor]) -> None:
        """Ask for a copy of the network as it is now, of some tensors the one that stands for them.

        Nothing waits for a CUDA device: steps that are asked for afterwards change the network after the copy.
        """
        self._copied = None
        for piece in self._pieces:
            # One kernel for many tensors; torch's own optimizers are written with these.
            torch._foreach_copy_(list(piece.views), [_chosen(one, instead) for one in piece.tensors])
            if piece.stage is not None:
                piece.host.copy_(piece.stage, non_blocking=True)
                self._copied = torch.Event(piece.stage.device, blocking=True)
                self._copied.record()

    def file_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the file's tensors as of the last ``fill``, waiting for the device; from any thread."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._network.file_tensors(dtype)


class Snapshots:
    """The copies of one network that may be in use at a time; the first is made here, before training starts.

    ``averaged`` are the parameters in whose place moving averages may stand: copies hold those in float32, as they are.
    """

    def __init__(self, network: Network, averaged: Collection[nn.Parameter] = ()) -> None:
        self._network, self._averaged = network, averaged
        self._free: SimpleQueue[Shadow] = SimpleQueue()
        self._free.put(Shadow(network, averaged))
        self._made = 1

    def take(self, instead: Mapping[nn.Parameter, Tensor]) -> Shadow:
        """Return a copy of the network as it is now, which belongs to the caller until ``give_back``.

        ``instead`` has the tensors that stand in the place of trained ones, as moving averages do. Waits while all
        copies are in use.
        """
        if self._free.empty() and self._made < MOST:
            shadow, self._made = Shadow(self._network, self._averaged), self._made + 1
        else:
            shadow = self._free.get()
        shadow.fill(instead)
        return shadow

    def give_back(self, shadow: Shadow) -> None:
        """Let the copy be used again; from any thread."""
        self._free.put(shadow)


def _pieces(modules: nn.Module, wide: AbstractSet[int]) -> Iterator[_Piece]:
    """Give every parameter and buffer, gathered to pieces of about ``STAGE`` bytes that share a stage.

    Those whose id is in ``wide`` are held in float32.
    """
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for tensor in [*modules.parameters(), *modules.buffers()]:
        kinds[tensor.device, torch.float32 if id(tensor) in wide else tensor.dtype].append(tensor)
    for (device, dtype), tensors in kinds.items():
        runs = [*_runs(tensors)]
        sizes = [sum(one.numel() for one in run) for run in runs]
        staged = device.type == "cuda"
        stage = torch.empty(max(sizes), dtype=dtype, device=device) if staged else None
        for run, size in zip(runs, sizes, strict=True):
            host = torch.empty(size, dtype=dtype, pin_memory=staged)
            own = None if stage is None else stage[:size]
            yield _Piece(tuple(run), host, own, tuple(_split(host if own is None else own, run)))


def _runs(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Give the tensors in their order, as many at a time as fit the stage, one at least."""
    run: list[Tensor] = []
    taken = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if run and taken + size > STAGE:
            yield run
            run, taken = [], 0
        run.append(tensor)
        taken += size
    yield run


def _split(flat: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return views of ``flat`` in the tensors' shapes, side by side."""
    ends = [*accumulate(tensor.numel() for tensor in tensors)]
    return [flat[end - one.numel() : end].view(one.shape) for end, one in zip(ends, tensors, strict=True)]


def _like(tensor: Tensor, view: Tensor) -> Tensor:
    return nn.Parameter(view, requires_grad=False) if isinstance(tensor, nn.Parameter) else view


def _chosen(tensor: Tensor, instead: Mapping[nn.Parameter, Tensor]) -> Tensor:
    return instead.get(tensor, tensor) if isinstance(tensor, nn.Parameter) else tensor
