"""Regional compilation: the repeated blocks of a model share compiled code, one graph a kind of block and shape."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from inspect import signature
from itertools import chain
from time import perf_counter
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from loracore.speed.attention import lacks_kernel
from loracore.speed.news import News

if TYPE_CHECKING:
    from torch._dynamo.types import GuardFilterEntry
    from torch.fx import GraphModule

#: As many shapes of its inputs a block is compiled for: one for each bucket, and batch size.
SHAPES = 16
#: As many blocks of one class may differ in what they hold (widths, adapters' ranks): each kind is a graph of its own.
KINDS = 16

Shapes = tuple[torch.Size, ...]


class Compiler:
    """Compiles blocks when they are first called with a shape, and knows what came of it.

    A class's own ``forward`` is compiled once and called with each block in turn: parameters, and the adapters in front
    of layers, are inputs of the graph, so that blocks which are built alike find the graph of the first of them. What
    cannot be compiled is computed as it was, in the same step: the backward graph is made together with the forward
    one, so that no failure is left for later.
    """

    def __init__(self, backend: str, news: News) -> None:
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException  # a second for those who compile

        self.errors: tuple[type[Exception], ...] = (TorchDynamoException, FailOnRecompileLimitHit)
        self.backend = backend
        self._news = news
        self._failed: set[type] = set()
        self._broken = False  # no block will ever be compiled
        self._seconds, self._called = 0.0, 0  # since they were last told
        self._graphs = made_graphs()
        self.bounded = "recompile_limit" in signature(torch.compile).parameters  # each code alone; older torch: all

    def take(self, blocks: Sequence[nn.Module]) -> None:
        """Let every one of these blocks be compiled when it is first called with gradients on.

        Blocks whose ``forward`` is shadowed already, because they swap, are left alone.
        """
        free = [block for block in blocks if "forward" not in vars(block)]
        if len(free) < len(blocks):
            self._news.say(
                f"torch_compile: {len(blocks) - len(free)} of {len(blocks)} blocks swap and are not compiled"
            )
        counts = Counter(type(block) for block in free)
        compiled = {kind: self._compiled(kind, count) for kind, count in counts.items()}
        for block in free:
            block.forward = CompiledBlock(block, block.forward, compiled[type(block)], self)

    def limited(self) -> AbstractContextManager[object]:
        """Let a call be compiled for all shapes and kinds of blocks, where torch has one limit for all code."""
        from torch._dynamo import config

        return nullcontext() if self.bounded else config.patch(recompile_limit=SHAPES * KINDS)

    @contextmanager
    def making(self) -> Iterator[None]:
        """Have backward graphs made together with forward ones, without a word, as long as this lasts."""
        from torch._functorch import config

        with warnings.catch_warnings(), config.patch(force_non_lazy_backward_lowering=True):
            warnings.simplefilter("ignore")  # what the compiler has to say is for its developers
            yield

    def accepts(self, block: nn.Module, shapes: int) -> bool:
        """Tell whether a block that has been called with so many shapes is compiled for one more."""
        if self._broken or type(block) in self._failed:
            return False
        if shapes < SHAPES:
            return True
        self._news.say(f"torch_compile: blocks are compiled for {SHAPES} shapes at most; further ones are not")
        return False

    def compiled_in(self, seconds: float) -> None:
        """Count the first call of a block with a shape, or one that was compiled again."""
        self._seconds += seconds
        self._called += 1

    def give_up(self, block: nn.Module, error: Exception) -> None:
        """Compile no block of this class any more, none at all when it is the backend that fails, and say so."""
        from torch._dynamo.exc import BackendCompilerFailed

        self._broken = self._broken or isinstance(error, BackendCompilerFailed)
        self._failed.add(type(block))
        which = "the run goes on" if self._broken else f"blocks of class {type(block).__name__} are computed"
        self._news.say(f"torch_compile: {which} without it: {_reason(error)}")

    def summary(self) -> Iterator[str]:
        """Give a line on what was compiled since the last time, when anything was."""
        found = made_graphs()
        graphs, self._graphs = found - self._graphs, found
        if graphs and self._called:  # else a library compiles for itself
            yield (
                f"torch_compile: {graphs} graphs for {self._called} blocks, "
                f"made in {self._seconds:.1f} s ({self.backend})"
            )
        self._seconds, self._called = 0.0, 0

    def _compiled(self, kind: type[nn.Module], count: int) -> Callable[..., Any]:
        """Return the compiled ``forward`` of a class of which a model has so many blocks."""
        settings: dict[str, Any] = {"backend": self._make, "dynamic": False, "fullgraph": True}
        settings["options"] = {"guard_filter_fn": _needed}
        if self.bounded:
            settings |= {"recompile_limit": SHAPES * min(count, KINDS), "isolate_recompiles": True}
        made: Callable[..., Any] = torch.compile(kind.forward, **settings)
        return made

    def _make(self, graph: GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        """Return a graph compiled; torch may ask for shapes that are known, when a number in a block is another."""
        from torch._dynamo import lookup_backend

        with self.making():
            made: Callable[..., Any] = lookup_backend(self.backend)(graph, list(inputs))
        return made


@dataclass(eq=False, slots=True)
class CompiledBlock:
    """One block's ``forward``: compiled where gradients are wanted, as it was elsewhere.

    Whether a call is compiled depends on the shapes alone and never changes: a checkpoint that calls again in the
    backward pass must get the same tensors to keep.
    """

    block: nn.Module
    eager: Callable[..., Any]
    compiled: Callable[..., Any]
    compiler: Compiler
    shapes: dict[Shapes, bool] = field(default_factory=dict)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the block returns."""
        if not torch.is_grad_enabled():  # validation, previews: other graphs, for few calls
            return self.eager(*args, **kwargs)
        shapes = shapes_of(args, kwargs)
        known = self.shapes.get(shapes)
        if known is None:
            return self._first(shapes, args, kwargs)
        return self._tried(shapes, args, kwargs) if known else self.eager(*args, **kwargs)

    def _first(self, shapes: Shapes, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if not self.compiler.accepts(self.block, len(self.shapes)):
            self.shapes[shapes] = False
            return self.eager(*args, **kwargs)
        with self.compiler.making():
            return self._tried(shapes, args, kwargs)

    def _tried(self, shapes: Shapes, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        started, graphs, first = perf_counter(), made_graphs(), shapes not in self.shapes
        try:
            with self.compiler.limited():
                found = self.compiled(self.block, *args, **kwargs)
        except self.compiler.errors as error:
            if lacks_kernel(error):  # not the compiler's fault: whoever chose among the kernels knows what to do
                raise
            self.compiler.give_up(self.block, error)
            self.shapes[shapes] = False
            return self.eager(*args, **kwargs)
        if first or made_graphs() > graphs:
            self.compiler.compiled_in(perf_counter() - started)
        self.shapes[shapes] = True
        return found


def shapes_of(args: Iterable[Any], kwargs: Mapping[str, Any]) -> Shapes:
    """Return the shapes of all tensors among the arguments of a call."""
    return tuple(one.shape for one in chain(args, kwargs.values()) if isinstance(one, Tensor))


def _needed(guards: Sequence[GuardFilterEntry]) -> list[bool]:
    """Tell which of dynamo's guards a graph needs: all, but for one that would keep blocks from sharing it.

    Where an object shadows a layer's ``forward``, dynamo asks whether it is the very same object, beside asking for all
    that it read of it (class, numbers, kinds of tensors). The first alone is left out, and only of objects of which the
    second is asked: what a function closes over is not.
    """
    return [
        not (
            guard.guard_type == "CLOSURE_MATCH"
            and guard.derived_guard_types == ("ID_MATCH",)
            and guard.name.endswith(".forward")
            and not isinstance(guard.value, FunctionType)
        )
        for guard in guards
    ]


def made_graphs() -> int:
    """Return how many graphs this process has compiled so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def _reason(error: Exception) -> str:
    """Return the first line of what the compiler says, without its advice to developers."""
    from torch._dynamo.exc import BackendCompilerFailed

    cause = error.inner_exception if isinstance(error, BackendCompilerFailed) else error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
