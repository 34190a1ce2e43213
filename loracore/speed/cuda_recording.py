"""How a pass over a module is recorded on a CUDA device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from loracore.errors import LoracoreError
from loracore.speed.graphs import Pass, Recording, Tensors

#: Passes before the recording: libraries choose their kernels and take their workspaces in the first ones.
_WARM_UPS = 3


@dataclass(eq=False, slots=True)
class CudaRecorder:
    """Records passes of one device; all share one pool of memory.

    They may, because no two are ever between their forward and their backward pass at the same time: what one has kept
    for its backward pass is free for another as soon as that is over. Frozen weights are read where they lie.
    """

    device: torch.device
    pool: Any = field(init=False)  # torch's handle, which has no public type

    def __post_init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Pass, inputs: Tensors, parameters: Sequence[nn.Parameter]) -> Recording:
        """Return the recording.

        Raises RuntimeError for what cannot be computed at all, in the passes before the recording; LoracoreError for
        what cannot be recorded: a recording that breaks off may leave torch's allocator and generator as they are
        inside of one, so that the run had better end.
        """
        own = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in inputs]
        wanted = [one for one in (*own, *parameters) if one.requires_grad]
        self._warm_up(run, own, wanted)
        forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with self._captured(forward):
            outputs = list(run(own))
        heads = [torch.zeros_like(one) for one in outputs]
        with self._captured(backward):
            gradients = torch.autograd.grad(outputs, wanted, heads, allow_unused=True)
            found = dict(zip(map(id, wanted), gradients, strict=True))
            of_parameters = [found.get(id(one)) for one in parameters]
            flat = _joined(of_parameters)
        return Recording(
            inputs=own,
            outputs=[one.detach() for one in outputs],
            output_gradients=heads,
            input_gradients=[found.get(id(one)) for one in own],
            flat=flat,
            shapes=[None if one is None else one.shape for one in of_parameters],
            replay_forward=forward.replay,
            replay_backward=backward.replay,
        )

    @contextmanager
    def _captured(self, graph: torch.cuda.CUDAGraph) -> Iterator[None]:
        """Record what is computed inside; the current stream is as before in any case."""
        stream = torch.cuda.current_stream(self.device)
        try:
            # "thread_local": other threads read pictures into page-locked memory and write files meanwhile.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                yield
        except RuntimeError as error:
            message = f"cuda_graphs: recording failed: {first_reason(error)}"
            raise LoracoreError(message, fix="leave out cuda_graphs") from error
        finally:
            torch.cuda.set_stream(stream)  # torch's own way back fails with the end of a broken recording

    def _warm_up(self, run: Pass, inputs: Tensors, wanted: Tensors) -> None:
        """Run a few passes on a stream of their own, as a recording does."""
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]  # torch's own
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                outputs = list(run(inputs))
                heads = [torch.zeros_like(one) for one in outputs]
                torch.autograd.grad(outputs, wanted, heads, allow_unused=True)
        torch.cuda.current_stream(self.device).wait_stream(stream)


def first_reason(error: BaseException) -> str:
    """Return the first line of the error that others came of: ending a broken recording fails once more."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _joined(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Return all gradients one behind the other; None where there are none."""
    found = [one.flatten() for one in gradients if one is not None]
    return torch.cat(found) if found else None
