"""What stands around a recording, with recordings of the host's own, which read and write fixed memory, too."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from loracore.speed.graphs import SHAPES, GraphedModule, Pass, Recording, Tensors
from loracore.speed.news import News
from tests.loracore.memory.adapted import adapt, models_of
from tests.loracore.memory.stack import WIDTH as STACK_WIDTH
from tests.loracore.memory.stack import Stack

WIDTH = 4


def record_here(run: Pass, inputs: Tensors, parameters: Sequence[nn.Parameter]) -> Recording:
    """Return a recording that computes again in the same memory."""
    own = [one.detach().clone().requires_grad_(one.requires_grad) for one in inputs]
    outputs = [one.detach() for one in run(own)]
    heads = [torch.zeros_like(one) for one in outputs]
    wanted = [one for one in (*own, *parameters) if one.requires_grad]
    found: Sequence[Tensor | None] = torch.autograd.grad(run(own), wanted, heads, allow_unused=True)
    places = {id(one): None if place is None else place.clone() for one, place in zip(wanted, found, strict=True)}
    of_parameters = [places[id(one)] for one in parameters]
    sizes = [one.numel() for one in of_parameters if one is not None]
    flat = torch.zeros(sum(sizes))
    parts = iter(torch.split(flat, sizes))
    places |= {id(one): next(parts).view_as(one) for one in parameters if places[id(one)] is not None}
    made: list[Tensors] = []

    def forward() -> None:
        with torch.enable_grad():
            made[:] = [run(own)]
        for place, one in zip(outputs, made[0], strict=True):
            place.copy_(one.detach())

    def backward() -> None:
        again: Sequence[Tensor | None] = torch.autograd.grad(made.pop(), wanted, heads, allow_unused=True)
        for one, gradient in zip(wanted, again, strict=True):
            place = places[id(one)]
            if place is not None and gradient is not None:
                place.copy_(gradient)

    shapes = [None if one is None else one.shape for one in of_parameters]
    return Recording(own, outputs, heads, [places.get(id(one)) for one in own], flat, shapes, forward, backward)


class Model(nn.Module):
    """Two layers, a third that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.unused = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.calls = 0

    def forward(self, hidden: Tensor, *, told: dict[str, Tensor], factor: float = 1.0) -> tuple[Tensor]:
        """Return (B,WIDTH)."""
        self.calls += 1
        return (self.second(torch.tanh(self.first(hidden) + told["noise"])) * factor,)


def graphed(model: Model, news: News | None = None, state: Any = None) -> Model:
    """Put recordings in front of a model."""
    state = state or (lambda: 1.0)
    parameters = list(model.parameters())
    model.forward = GraphedModule(model.forward, parameters, record_here, news or News(), state, nullcontext)  # type: ignore[method-assign]
    return model


def inputs(seed: int, batch: int = 2) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, WIDTH, generator=generator), {"noise": torch.randn(batch, WIDTH, generator=generator)}


def loss(model: Model, seed: int, batch: int = 2, **options: Any) -> Tensor:
    hidden, told = inputs(seed, batch)
    found: Tensor = model(hidden, told=told, **options)[0].square().sum()
    return found


def grads(model: Model) -> list[Tensor | None]:
    return [one.grad for one in model.parameters()]


def backward(*losses: Tensor) -> None:
    for one in losses:
        one.backward()  # type: ignore[no-untyped-call]  # torch's own


def test_gradients_that_add_up_over_passes_and_shapes_are_those_of_the_plain_model() -> None:
    plain, replayed = Model(), graphed(Model())
    for model in (plain, replayed):
        for seed, batch in ((1, 2), (2, 3), (3, 2), (4, 2), (5, 3)):
            backward(loss(model, seed, batch))
    assert_close(grads(replayed), grads(plain))
    assert replayed.unused.weight.grad is None  # a missing gradient is not a zero one


def test_gradients_are_not_written_over_by_the_next_pass() -> None:
    model = graphed(Model())
    backward(loss(model, 1))
    kept = [one.grad for one in model.first.parameters()]
    before = [one.clone() for one in kept if one is not None]
    model.zero_grad()
    backward(loss(model, 2))
    assert_close(kept, before, rtol=0, atol=0)


def test_outputs_are_not_written_over_by_the_next_pass() -> None:
    model = graphed(Model())
    hidden, told = inputs(1)
    first = model(hidden, told=told)[0]
    backward(first.sum())
    before = first.detach().clone()
    backward(loss(model, 2))
    assert torch.equal(first, before)


def test_inputs_that_want_gradients_get_them() -> None:
    found = []
    for model in (Model(), graphed(Model())):
        hidden, told = inputs(1)
        hidden.requires_grad_()
        for _ in range(2):
            backward(model(hidden, told=told)[0].square().sum())
        found.append(hidden.grad)
    assert_close(found[1], found[0])


def test_a_pass_before_the_backward_pass_of_the_one_before_is_computed_plainly() -> None:
    plain, replayed = Model(), graphed(Model())
    for model in (plain, replayed):
        backward(*[loss(model, seed) for seed in (1, 2)])
    assert_close(grads(replayed), grads(plain))


def test_a_pass_that_is_never_followed_by_its_backward_pass_hinders_nobody() -> None:
    model = graphed(Model())
    backward(loss(model, 1))
    loss(model, 2)  # dropped at once
    before = model.calls
    backward(loss(model, 3))
    assert model.calls == before + 1  # the recording's own


def test_nothing_is_recorded_without_gradients() -> None:
    news = News()
    model = graphed(Model(), news)
    with torch.no_grad():
        loss(model, 1)
    assert model.calls == 1
    assert news.take() == []


def test_other_values_and_other_states_are_other_recordings() -> None:
    multiplier, news = [1.0], News()
    plain, model = Model(), graphed(Model(), news, lambda: multiplier[0])
    for factor in (1.0, 2.0, 1.0):
        for one in (plain, model):
            backward(loss(one, 1, factor=factor))
    assert_close(grads(model), grads(plain))
    recordings = model.forward
    assert isinstance(recordings, GraphedModule)
    assert len(recordings.recordings) == 2
    multiplier[0] = 0.5
    backward(loss(model, 1))
    assert len(recordings.recordings) == 3


def test_shapes_beyond_the_bound_are_computed_plainly_and_it_is_said() -> None:
    news = News()
    plain, model = Model(), graphed(Model(), news)
    for batch in range(1, SHAPES + 3):
        backward(loss(plain, 1, batch), loss(model, 1, batch))
    assert_close(grads(model), grads(plain))
    lines = news.take()
    assert lines[0].startswith("cuda_graphs: recorded for inputs of 1x4 in ")
    assert lines[-1] == "cuda_graphs: 16 shapes are recorded; further ones are computed one kernel at a time"
    assert len(lines) == SHAPES + 1


def test_a_parameter_that_has_moved_is_read_where_it_is() -> None:
    plain, model = Model(), graphed(Model())
    for one in (plain, model):
        backward(loss(one, 1))
        one.first.weight.data = one.first.weight.data.clone() * 2
        backward(loss(one, 1))
    assert_close(grads(model), grads(plain))


def test_what_cannot_be_recorded_is_computed_plainly_and_said_once() -> None:
    def fails(*_: object) -> Recording:
        message = "operation not permitted when stream is capturing\nmore for developers"
        raise RuntimeError(message)

    plain, model, news = Model(), Model(), News()
    own = GraphedModule(model.forward, list(model.parameters()), fails, news, lambda: 1.0, nullcontext)
    model.forward = own  # type: ignore[method-assign]
    for batch in (1, 2):
        backward(loss(plain, 1, batch), loss(model, 1, batch))
    assert_close(grads(model), grads(plain))
    (line,) = news.take()
    assert line.endswith("the run goes on without: operation not permitted when stream is capturing")


def test_a_pass_that_finds_no_attention_kernel_is_not_a_failed_recording() -> None:
    told = ["No available kernel. Aborting execution."]

    def once(run: Pass, tensors: Tensors, parameters: Sequence[nn.Parameter]) -> Recording:
        if told:
            raise RuntimeError(told.pop())
        return record_here(run, tensors, parameters)

    model, news = Model(), News()
    own = GraphedModule(model.forward, list(model.parameters()), once, news, lambda: 1.0, nullcontext)
    model.forward = own  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="No available kernel"):
        loss(model, 1)
    backward(loss(model, 1))
    (line,) = news.take()
    assert line.startswith("cuda_graphs: recorded for inputs of ")


def test_a_module_that_gives_other_things_than_tensors_is_computed_plainly() -> None:
    model, news = nn.Linear(WIDTH, WIDTH), News()
    plain = model.forward
    record = GraphedModule(lambda one: (plain(one), "text"), [], record_here, news, lambda: 1.0, nullcontext)
    found, text = record(torch.ones(1, WIDTH))
    assert text == "text"
    assert torch.equal(found, plain(torch.ones(1, WIDTH)))
    (line,) = news.take()
    assert line.endswith("the run goes on without: the module gives other things than tensors")


class Unhashed(float):
    __hash__ = None  # type: ignore[assignment]  # as lists and arrays


def test_a_module_that_is_called_with_values_without_a_hash_is_computed_plainly() -> None:
    plain, model, news = Model(), Model(), News()
    graphed(model, news)
    for one in (plain, model):
        backward(loss(one, 1, factor=Unhashed(2.0)))
    assert_close(grads(model), grads(plain))
    (line,) = news.take()
    assert line.endswith("the run goes on without: it is called with values that cannot be hashed")


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_recorded_passes_prepare_the_adapters_themselves(precision: torch.dtype) -> None:
    found = []
    for recorded in (False, True):
        stack = Stack(2).eval().to(precision)
        network = adapt(models_of(stack, list(stack.blocks)).blocks["unet"])
        parameters = list(network.modules.parameters())
        if recorded:
            own = GraphedModule(stack.forward, parameters, record_here, News(), lambda: 1.0, network.prepared)
            stack.forward = own  # type: ignore[method-assign]
        for seed in (1, 2):
            inputs = torch.randn(2, 3, STACK_WIDTH, generator=torch.Generator().manual_seed(seed)).to(precision)
            backward(stack(inputs).float().square().sum())
        found.append([one.grad for one in parameters])
    assert_close(found[1], found[0])


def test_a_second_backward_pass_is_an_error_not_a_wrong_gradient() -> None:
    model = graphed(Model())
    found = loss(model, 1)
    found.backward(retain_graph=True)  # type: ignore[no-untyped-call]  # torch's own
    with pytest.raises(RuntimeError, match="second"):
        backward(found)
