from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from loracore import DataError, hookimpl
from loracore.training.run import Run
from loracore.training.steps import ema as module
from loracore.training.steps.ema import Ema
from tests.toy_runs import TrainToy

GOOD, BAD = torch.tensor(0.0), torch.tensor(1.0)


@pytest.fixture
def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2))]


def put(parameters: list[nn.Parameter], number: float) -> None:
    with torch.no_grad():
        for one in parameters:
            one.fill_(number)


def values(ema: Ema) -> set[float]:
    return {number for average in ema.averages.values() for number in average.flatten().tolist()}


def reference(numbers: list[float], decay: float) -> float:
    average = 0.0
    for count, number in enumerate(numbers):
        now = min(decay, (1 + count) / (10 + count))
        average = now * average + (1 - now) * number
    return average


@pytest.mark.parametrize("decay", [0.05, 0.25, 0.999])
def test_an_average_follows_with_the_decay_and_its_warm_up(parameters: list[nn.Parameter], decay: float) -> None:
    ema, numbers = Ema(parameters, decay), [1.0, -2.0, 5.0, 0.5, 3.0]
    for number in numbers:
        put(parameters, number)
        ema.update(GOOD)
    # float32 against float64
    (average,) = values(ema)
    assert average == pytest.approx(reference(numbers, decay), rel=1e-5)


def test_a_step_that_was_not_applied_changes_nothing(parameters: list[nn.Parameter]) -> None:
    ema = Ema(parameters, 0.9)
    put(parameters, 1.0)
    ema.update(GOOD)
    before = {name: one.clone() for name, one in ema.state().items()}
    put(parameters, 7.0)
    ema.update(BAD)
    assert all(torch.equal(one, before[name]) for name, one in ema.state().items())


def test_chunks_change_nothing(parameters: list[nn.Parameter], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Ema(parameters, 0.9)
    put(parameters, 2.0)
    whole.update(GOOD)
    put(parameters, 0.0)
    monkeypatch.setattr(module, "CHUNK", 1)
    pieces = Ema(parameters, 0.9)
    put(parameters, 2.0)
    pieces.update(GOOD)
    assert values(pieces) == values(whole)


def test_averages_stand_in_place_for_a_while(parameters: list[nn.Parameter]) -> None:
    ema = Ema(parameters, 0.9)
    put(parameters, 5.0)
    with ema.in_place():
        assert not any(one.any() for one in parameters)
    assert all((one == 5.0).all() for one in parameters)


def test_half_precision_is_averaged_in_float32() -> None:
    parameter = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    ema = Ema([parameter], 0.999)
    put([parameter], 1.0)
    for _ in range(2):
        ema.update(GOOD)
    (average,) = ema.averages.values()
    assert average.item() == pytest.approx(reference([1.0, 1.0], 0.999), rel=1e-5)
    with ema.in_place():
        assert parameter.dtype == torch.bfloat16


def test_a_state_goes_on_as_if_nothing_had_happened(parameters: list[nn.Parameter]) -> None:
    whole = Ema(parameters, 0.9)
    put(parameters, 1.0)
    whole.update(GOOD)
    resumed = Ema(parameters, 0.9)
    resumed.load({name: one.clone() for name, one in whole.state().items()})
    put(parameters, 2.0)
    whole.update(GOOD)
    resumed.update(GOOD)
    assert values(resumed) == values(whole)


def test_a_state_of_other_parameters_is_refused(parameters: list[nn.Parameter]) -> None:
    with pytest.raises(DataError, match="another network"):
        Ema(parameters, 0.9).load(Ema(parameters[:1], 0.9).state())


class Averaged:
    """Keeps what a run's averages are at its end."""

    @hookimpl(tryfirst=True)
    def run_finished(self, run: Run) -> None:
        with torch.no_grad():
            self.numbers = sorted(number for one in _averages(run) for number in one.flatten().tolist())


def _averages(run: Run) -> list[torch.Tensor]:
    return [] if run.moving.ema is None else list(run.moving.ema.averages.values())


@pytest.mark.parametrize("precision", [(), ("--save_precision", "float")])
def test_averages_of_halves_are_rounded_in_the_file_alone(train_toy: TrainToy, precision: tuple[str, ...]) -> None:
    averaged = Averaged()
    words = ("--mixed_precision", "bf16", "--full_bf16", "--use_ema", "--network_alpha", "4")
    tensors = load_file(train_toy(*words, *precision, plugin=averaged))
    found = [one for name, one in tensors.items() if not name.endswith("alpha")]
    dtype = torch.float32 if precision else torch.bfloat16
    assert {one.dtype for one in found} == {dtype}
    wanted = torch.tensor(averaged.numbers).to(dtype)
    assert torch.equal(torch.cat([one.flatten() for one in found]).sort().values, wanted)
    assert torch.equal(wanted, wanted.bfloat16().to(dtype)) is (not precision)
