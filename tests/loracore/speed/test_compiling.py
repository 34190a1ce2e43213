from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import lookup_backend, register_backend
from torch._dynamo.backends import registry
from torch._dynamo.utils import counters
from torch.testing import assert_close

from loracore.memory.fitting import spare_activations
from loracore.speed.compiling import KINDS, SHAPES, CompiledBlock, Compiler
from loracore.speed.news import News
from tests.loracore.memory.adapted import adapt, equal, gradients, memory_config, models_of
from tests.loracore.memory.stack import WIDTH, Block, Stack

ALIKE = 6


class Alike(nn.Module):
    """Blocks of one class and width in a row."""

    def __init__(self, depth: int = ALIKE, tokens: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block(8, last=False) for _ in range(depth))
        self.tokens = tokens

    def answer(self) -> Tensor:
        """Return what comes out for always the same inputs."""
        hidden = torch.randn(2, self.tokens, WIDTH, generator=torch.Generator().manual_seed(1))
        told = hidden.mean(dim=1)
        for block in self.blocks:
            told, hidden = block(hidden, told=told, extras={"level": hidden.mean()})
        return hidden


@pytest.fixture
def broken() -> Iterator[Callable[[Callable[..., Any]], str]]:
    """Give a function that makes a backend known to torch, under a name that is returned."""
    names: list[str] = []

    def known(backend: Callable[..., Any]) -> str:
        names.append(f"loracore_test_{len(names)}")
        register_backend(backend, name=names[-1])
        assert lookup_backend(names[-1]) is backend
        return names[-1]

    yield known
    for name in names:
        registry._COMPILER_FNS.pop(name)  # torch has no way back
        registry._BACKENDS.pop(name, None)


def trained(model: Stack | Alike, backend: str | None, news: News | None = None, **options: Any) -> list[Tensor]:
    """Return the gradients of a model whose blocks are compiled, or None: are not."""
    models = models_of(model.eval(), list(model.blocks))
    if backend is not None:
        Compiler(backend, news or News()).take(models.blocks["unet"])
    spare_activations(models, memory_config(**options))
    return gradients(adapt(models.blocks["unet"]), model.answer)


def close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Compiled code rounds in another order: float32 has 7 digits, of which a few are lost in sums."""
    assert_close(list(found), list(expected), rtol=1e-4, atol=1e-6)


def test_compiled_blocks_give_the_gradients_of_plain_ones() -> None:
    """`torch_compile` with `dynamo_backend` aot_eager: forward and backward graphs of torch's own, without kernels."""
    close(trained(Stack(3), "aot_eager"), trained(Stack(3), None))


def test_compiled_blocks_are_computed_again_by_a_checkpoint() -> None:
    found = trained(Alike(2), "aot_eager", gradient_checkpointing=True)
    close(found, trained(Alike(2), None))


def test_compiled_twice_is_bitwise_the_same() -> None:
    assert equal(trained(Alike(1), "aot_eager"), trained(Alike(1), "aot_eager"))


def test_blocks_that_are_built_alike_share_a_graph() -> None:
    before = counters["stats"]["unique_graphs"]
    trained(Alike(), "eager")
    # The first block's inputs want no gradients, those of the others do.
    assert counters["stats"]["unique_graphs"] - before == 2


def test_a_second_shape_is_a_second_graph() -> None:
    news = News()
    model = Alike(2)
    compiler = Compiler("eager", news)
    models = models_of(model.eval(), list(model.blocks))
    compiler.take(models.blocks["unet"])
    network = adapt(models.blocks["unet"])
    gradients(network, model.answer, steps=1)
    (line,) = compiler.summary()
    assert line.startswith("torch_compile: 2 graphs for 2 blocks, made in ")
    model.tokens = 7
    gradients(network, model.answer, steps=1)
    assert len(list(compiler.summary())) == 1
    gradients(network, model.answer, steps=1)
    assert list(compiler.summary()) == []
    assert news.take() == []


def test_nothing_is_compiled_without_gradients() -> None:
    before = counters["stats"]["unique_graphs"]
    model = Alike(2)
    Compiler("eager", News()).take(list(model.blocks))
    with torch.no_grad():
        model.answer()
    assert counters["stats"]["unique_graphs"] == before


def test_a_backend_that_fails_is_done_without(broken: Callable[[Callable[..., Any]], str]) -> None:
    def no_compiler(*_: object) -> Callable[..., Any]:
        message = "no C++ compiler is here\nand more for developers"
        raise OSError(message)

    news = News()
    name = broken(no_compiler)
    assert equal(trained(Alike(), name, news), trained(Alike(), None))
    assert news.take() == ["torch_compile: the run goes on without it: OSError: no C++ compiler is here"]


def test_a_backward_graph_that_cannot_be_made_is_known_in_the_forward_pass(
    broken: Callable[[Callable[..., Any]], str],
) -> None:
    from torch._dynamo.backends.common import aot_autograd

    def fails(*_: object) -> Callable[..., Any]:
        message = "no backward"
        raise OSError(message)

    news = News()
    name = broken(aot_autograd(fw_compiler=lambda graph, _: graph, bw_compiler=fails))
    assert equal(trained(Alike(), name, news), trained(Alike(), None))
    (line,) = news.take()
    assert line.startswith("torch_compile: the run goes on without it: ")


class Scaled(nn.Module):
    """A block with a number that torch takes for a constant, as a network's multiplier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.factor = 1.0

    def forward(self, hidden: Tensor) -> Tensor:
        """Return B,WIDTH."""
        found: Tensor = self.inner(hidden) * self.factor
        return found


def scaled(compiler: Compiler, *factors: float) -> Tensor:
    """Return the sum of gradients of a block that is multiplied by each factor in turn."""
    block, inputs = Scaled(), torch.ones(2, WIDTH)
    compiler.take([block])
    for factor in factors:
        block.factor = factor
        block(inputs).sum().backward()
    assert block.inner.bias.grad is not None
    return block.inner.bias.grad


def test_a_number_that_changes_is_a_graph_that_is_counted() -> None:
    compiler = Compiler("eager", News())
    scaled(compiler, 1.0, 2.0)
    (line,) = compiler.summary()
    assert line.startswith("torch_compile: 2 graphs for 2 blocks, made in ")


def test_a_backward_graph_of_known_shapes_is_known_in_the_forward_pass_too(
    broken: Callable[[Callable[..., Any]], str],
) -> None:
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch._aot_autograd.utils import make_boxed_func

    made: list[object] = []

    def fails_later(graph: Callable[..., Any], _: object) -> Callable[..., Any]:
        made.append(graph)
        if len(made) > 1:
            message = "no backward"
            raise OSError(message)
        return make_boxed_func(graph)

    news = News()
    name = broken(aot_autograd(fw_compiler=lambda graph, _: make_boxed_func(graph), bw_compiler=fails_later))
    assert_close(scaled(Compiler(name, news), 1.0, 2.0), torch.full((WIDTH,), 6.0))
    assert len(made) == 2
    (line,) = news.take()
    assert line.startswith("torch_compile: the run goes on without it: ")


def test_all_shapes_are_compiled_where_torch_has_one_limit_for_all_code() -> None:
    news = News()
    compiler = Compiler("eager", news)
    compiler.bounded = False  # as in torch before it took a limit for each code
    scaled(compiler, *range(1, SHAPES + 1))
    assert news.take() == []


class Reading(nn.Module):
    """A block that reads a number on the host: no graph can hold that."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return B,WIDTH."""
        found: Tensor = self.inner(hidden) * len(str(hidden.sum().tolist()))
        return found


def test_a_block_that_makes_no_graph_is_computed_as_it_was() -> None:
    def run(*, compiled: bool) -> list[Tensor]:
        torch.manual_seed(0)
        block, inputs = Reading().requires_grad_(requires_grad=False), torch.randn(2, WIDTH)
        if compiled:
            Compiler("eager", news).take([block])
        return gradients(adapt([block]), lambda: block(inputs))

    news = News()
    assert equal(run(compiled=True), run(compiled=False))
    (line,) = news.take()
    assert line.startswith("torch_compile: blocks of class Reading are computed without it: ")


def test_shapes_are_bounded_and_it_is_said() -> None:
    news = News()
    compiler = Compiler("eager", news)
    block = Block(8, last=True)
    assert compiler.accepts(block, SHAPES - 1)
    assert not compiler.accepts(block, SHAPES)
    assert not compiler.accepts(block, SHAPES)
    assert news.take() == ["torch_compile: blocks are compiled for 16 shapes at most; further ones are not"]
    assert KINDS > 1


def test_a_decision_is_kept_for_a_shape() -> None:
    block = Block(8, last=True).requires_grad_(requires_grad=False)
    compiler = Compiler("eager", News())
    compiler.take([block])
    (own,) = [block.forward]
    assert isinstance(own, CompiledBlock)
    inputs = torch.randn(1, 3, WIDTH)
    shapes = (inputs.shape, torch.Size([1, WIDTH]))
    own.shapes[shapes] = False  # as after a failure
    before = counters["stats"]["unique_graphs"]
    block(inputs, told=torch.randn(1, WIDTH), extras={"level": torch.zeros(())})
    assert counters["stats"]["unique_graphs"] == before


def test_blocks_that_swap_are_left_alone_and_counted() -> None:
    news, model = News(), Alike(3)
    swapped = model.blocks[1]
    swapped.forward = kept = swapped.forward
    Compiler("eager", news).take(list(model.blocks))
    assert swapped.forward is kept
    assert news.take() == ["torch_compile: 1 of 3 blocks swap and are not compiled"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_inductor_gives_the_gradients_of_plain_blocks() -> None:
    news = News()
    close(trained(Alike(2), "inductor", news), trained(Alike(2), None))
    assert news.take() == []
