"""What an adapter's ``forward`` is: pure, of its inputs' shape and precision, and open to gradients."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from loracore.networks.adapter import Adapter
from loracore.testing.contract.adapter_trial import Trial, same_tensors
from loracore.testing.contract.faults import Fault
from loracore.types import LoraTarget

_DTYPES = (torch.float32, torch.bfloat16)


def forward_faults(trial: Trial) -> Iterator[Fault]:
    """Give the faults of ``forward``, ``draw_masks`` and ``clear_masks``.

    What the first checks find makes the others find more: these are left out then.
    """
    adapter = trial.new(trial.layout.target())
    first = [partial(_of_shapes, trial, trial.layout.target(dtype), dtype) for dtype in _DTYPES]
    first += [partial(check, trial, trial.layout.target()) for check in (_of_writing, _of_generators)]
    for check in first:
        found = list(trial.tried(adapter, "forward", check))
        yield from found
        if found:
            return
    for also in (_of_memory, _of_masks, _of_copies, _of_gradients):
        yield from trial.tried(adapter, "forward", partial(also, trial, trial.layout.target()))
    yield from trial.tried(adapter, "low_rank", partial(_of_factors, trial, trial.layout.target()))


def answers(adapter: Adapter, target: LoraTarget, inputs: Tensor) -> list[Tensor]:
    """Return what the adapter makes of every layer's output."""
    return [adapter(index, inputs, layer(inputs), target.layers) for index, layer in enumerate(target.layers)]


def _of_shapes(trial: Trial, target: LoraTarget, dtype: torch.dtype) -> Iterator[Fault]:
    adapter, inputs = trial.moved(target), trial.layout.inputs(0, dtype)
    for layer, answer in zip(target.layers, answers(adapter, target, inputs), strict=True):
        output = layer(inputs)
        if not isinstance(answer, Tensor):
            yield trial.fault(adapter, "forward", f"returns {answer!r}", "return the adapted output")
        elif answer.shape != output.shape:
            message = f"returns {list(answer.shape)} for an output of {list(output.shape)}"
            yield trial.fault(adapter, "forward", message, "return output + what is added, of the same shape")
        elif answer.dtype != dtype:
            message = f"returns {answer.dtype} for inputs and output in {dtype}"
            yield trial.fault(adapter, "forward", message, "bring the adapter's tensors .to(inputs.dtype)")


def _of_writing(trial: Trial, target: LoraTarget) -> Iterator[Fault]:
    adapter, inputs = trial.moved(target), trial.layout.inputs(0)
    given, weights = inputs.clone(), [layer.weight.clone() for layer in target.layers]
    for index, layer in enumerate(target.layers):
        output = layer(inputs)
        before = output.clone()
        adapter(index, inputs, output, target.layers)
        written = [("inputs", given, inputs), ("output", before, output), ("weight", weights[index], layer.weight)]
        for name, kept, found in written:
            if not torch.equal(kept, found):
                message = f"writes into the {name} that it is given"
                yield trial.fault(adapter, "forward", message, "return a new tensor: output + …, not output += …")


def _of_memory(trial: Trial, target: LoraTarget) -> Iterator[Fault]:
    """Look whether a call depends on the calls before it."""
    first, second = (trial.layout.inputs(number) for number in (0, 1))
    alone = [answers(trial.moved(target), target, inputs) for inputs in (first, second)]
    adapter = trial.moved(target)
    told = [answers(adapter, target, inputs) for inputs in (first, second, first)]
    if not all(same_tensors(one, other) for one, other in zip([*alone, alone[0]], told, strict=True)):
        message = "the answer depends on the calls before: something is kept between two calls"
        yield trial.fault(adapter, "forward", message, "compute it anew in every call: checkpointing calls it twice")


def _of_masks(trial: Trial, target: LoraTarget) -> Iterator[Fault]:
    """Look whether masks stay until they are cleared, and come from their rng alone."""
    first, second = (trial.layout.inputs(number) for number in (0, 1))
    adapter, other = trial.moved(target), trial.moved(target)
    plain = answers(adapter, target, first)
    for each in (adapter, other):
        each.draw_masks(trial.rng())
    told = [answers(adapter, target, inputs) for inputs in (first, second, first)]
    if not same_tensors(told[0], told[2]):
        message = "under the masks of one draw_masks the same inputs have two answers"
        yield trial.fault(adapter, "forward", message, "draw in draw_masks, and keep the masks until the next draw")
    if not same_tensors(answers(other, target, second), told[1]):
        message = "the same rng gives two adapters different masks"
        yield trial.fault(adapter, "draw_masks", message, "draw from rng only")
    adapter.clear_masks()
    if not same_tensors(answers(adapter, target, first), plain):
        message = "masks are left: the answer is not that of before draw_masks"
        yield trial.fault(adapter, "clear_masks", message, "forget everything that draw_masks drew")


def _of_generators(trial: Trial, target: LoraTarget) -> Iterator[Fault]:
    """Look whether generators are used that a resumed run, or a second process, would find elsewhere."""
    adapter, inputs = trial.moved(target), trial.layout.inputs(0)
    calls: dict[str, Callable[[], object]] = {
        "draw_masks": lambda: adapter.draw_masks(trial.rng()),
        "forward": lambda: answers(adapter, target, inputs),
    }
    for method, call in calls.items():
        before = torch.get_rng_state(), random.getstate()
        call()
        if not torch.equal(before[0], torch.get_rng_state()) or before[1] != random.getstate():
            message = "draws from a global generator"
            yield trial.fault(adapter, method, message, "draw in draw_masks, from rng: a SampleRng")


def _of_copies(trial: Trial, target: LoraTarget) -> Iterator[Fault]:
    adapter, inputs = trial.moved(target), trial.layout.inputs(0).requires_grad_()
    adapter.draw_masks(trial.rng())
    answers(adapter, target, inputs)
    try:
        copied = copy.deepcopy(adapter)
    except Exception as error:  # noqa: BLE001  # of whatever it holds
        message = f"the adapter cannot be copied behind a forward: {type(error).__name__}: {error}"
        yield trial.fault(adapter, "forward", message, "keep no result and no open thing in the adapter")
        return
    if not same_tensors(answers(copied, target, inputs), answers(adapter, target, inputs)):
        message = "a copy of the adapter answers differently"
        yield trial.fault(adapter, "forward", message, "hold everything in the adapter's own tensors")


def _of_factors(trial: Trial, target: LoraTarget) -> Iterator[Fault]:
    """Look whether the factors that the adapter tells are all that it adds: plain layers are computed with them."""
    adapter, inputs = trial.moved(target), trial.layout.inputs(0)
    told = [(index, adapter.low_rank(index)) for index in range(len(target.layers))]
    adapter.draw_masks(trial.rng())
    for index, factors in told:
        layer = target.layers[index]
        if factors is None or not isinstance(layer, nn.Linear):
            continue
        up, output = torch.cat([rows.tensor for rows in factors.up]), layer(inputs)
        added = functional.linear(functional.linear(inputs, factors.down.tensor), up) * factors.scale
        answer = _answer(adapter, index, target, inputs, output)
        if not torch.allclose(output + added, answer, rtol=1e-4, atol=1e-5):
            message = "tells factors that add something else than forward does"
            yield trial.fault(adapter, "low_rank", message, "return None: then forward is asked in every call")


def _of_gradients(trial: Trial, target: LoraTarget) -> Iterator[Fault]:
    """Look whether the gradient reaches everything trained, and is the same through a checkpoint."""
    adapter, inputs = trial.moved(target), trial.layout.inputs(0)
    names = {id(parameter): name for name, parameter in adapter.named_parameters()}
    missed = [
        names[id(parameter)]
        for parameter, gradient in zip(adapter.trained_parameters(), _gradients(adapter, target, inputs), strict=True)
        if gradient is None or not gradient.isfinite().all() or not gradient.any()
    ]
    if missed:
        message = f"no gradient reaches {', '.join(missed)}"
        yield trial.fault(adapter, "forward", message, "let the answer depend on it without detach(), .data or no_grad")
    adapter.draw_masks(trial.rng())
    plain, again = (_gradients(adapter, target, inputs, through=through) for through in (False, True))
    if any(_differ(one, other) for one, other in zip(plain, again, strict=True)):
        message = "through torch.utils.checkpoint, which calls forward twice, the gradients are others"
        yield trial.fault(adapter, "forward", message, "draw in draw_masks, and keep nothing between two calls")


def _gradients(
    adapter: Adapter, target: LoraTarget, inputs: Tensor, *, through: bool = False
) -> Sequence[Tensor | None]:
    """Return the gradients of the trained parameters; ``through`` a checkpoint."""
    entering = inputs.clone().requires_grad_()
    total = torch.zeros(())
    for index, layer in enumerate(target.layers):
        call = partial(_answer, adapter, index, target)
        output = layer(entering)
        answer = checkpoint(call, entering, output, use_reentrant=False) if through else call(entering, output)
        assert isinstance(answer, Tensor)
        total = total + answer.square().sum()
    return torch.autograd.grad(total, list(adapter.trained_parameters()), allow_unused=True)


def _answer(adapter: Adapter, index: int, target: LoraTarget, inputs: Tensor, output: Tensor) -> Tensor:
    answer: Tensor = adapter(index, inputs, output, target.layers)
    return answer


def _differ(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is not other
    return not torch.equal(one, other)
