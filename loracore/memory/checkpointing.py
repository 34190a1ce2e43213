"""Activation checkpointing, block by block: keep a block's inputs, compute the rest again in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten  # diffusers and transformers stand on it too
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(blocks: Iterable[nn.Module], *, inputs_on_host: bool = False) -> None:
    """Make every block forget its activations (Chen et al. 2016, arXiv 1604.06174).

    With ``inputs_on_host`` the inputs that it keeps wait in host memory, too. The global generators are put back for
    the second computation, so that dropout inside a block draws the same masks.
    """
    run = _run_inputs_on_host if inputs_on_host else _run
    for block in blocks:
        block.forward = partial(run, block.forward)


def run_checkpointed(forward: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what ``forward`` returns; nothing is kept for the backward pass but the tensors among the arguments.

    ``forward`` is called again in the backward pass, and left by an exception as soon as all that is needed is there.
    Tensors given by name or inside containers are bound to positions: torch looks only there for what it keeps by its
    hooks, and for the devices whose generators it puts back.
    """
    leaves, form = tree_flatten((tuple(args), dict(kwargs)))
    rest = [Tensor if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    return checkpoint(_Call(forward, rest, form), *tensors, use_reentrant=False)


@dataclass(frozen=True, eq=False, slots=True)
class _Call:
    """A call whose tensors are taken out, so that nobody but the checkpoint holds them."""

    forward: Callable[..., Any]
    rest: Sequence[Any]  # the arguments as leaves; the class Tensor stands where a tensor was
    form: TreeSpec

    def __call__(self, *tensors: Tensor) -> Any:
        coming = iter(tensors)
        leaves = [next(coming) if leaf is Tensor else leaf for leaf in self.rest]
        args, kwargs = tree_unflatten(leaves, self.form)
        return self.forward(*args, **kwargs)


def _run(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # any block
    return run_checkpointed(forward, args, kwargs)


def _run_inputs_on_host(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # Only the checkpoint's own inputs pass these hooks: inside the block its innermost hooks count, the checkpoint's.
    with saved_tensors_hooks(_to_host, _from_host):
        return run_checkpointed(forward, args, kwargs)


def _to_host(tensor: Tensor) -> tuple[torch.device, Tensor]:
    """Return where the tensor was, and its copy in host memory with the same strides.

    On CUDA the copy queues up behind the tensor's own kernels and nobody waits for it: freed device memory is used
    again in the same queue.
    """
    on_cuda = tensor.device.type == "cuda"
    host = torch.empty_like(tensor, device="cpu", pin_memory=on_cuda)
    return tensor.device, host.copy_(tensor, non_blocking=on_cuda)


def _from_host(kept: tuple[torch.device, Tensor]) -> Tensor:
    device, host = kept
    return host.to(device, non_blocking=True)
