"""An extension with one thing wrong: the contract check names the hook, the file, and what to do."""

from __future__ import annotations

from functools import partial

import pytest

from loracore.testing import check_extension
from tests.planting import Plant, Planted, assert_told_at

MODULE = "planted_extension"
SOURCE = '''\
"""A loss weighting by the noise level."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from loracore import Config, Finding, NoisyBatch, Prediction, hookimpl, option

if TYPE_CHECKING:
    from torch import Tensor

LORACORE_API = 1


@dataclass(frozen=True, slots=True)
class LeanOptions:
    """What leans on the noise."""

    lean_power: Annotated[float, option("power of the noise level", ge=0, le=4)] = 1.0


@hookimpl
def options() -> tuple[type, ...]:
    """Return the options."""
    return (LeanOptions,)


@hookimpl(wrapper=True)
def loss_weighting(batch: NoisyBatch, prediction: Prediction, config: Config) -> Generator[None, Tensor, Tensor]:
    """Return the weights times the noise level."""
    weights = yield
    return weights * batch.sigma ** config[LeanOptions].lean_power
'''
ANSWER = "    return weights * batch.sigma ** config[LeanOptions].lean_power\n"
COUNTED = ANSWER.replace("weights *", "weights * len(COUNT) *")
COUNTING = """

COUNT = [0]


@hookimpl
def step_done(step: int) -> None:
    COUNT.append(step)
"""
FORGETTING = """

@hookimpl
def run_started() -> None:
    COUNT[:] = [0]
"""
OWNED = """

@hookimpl
def predict_noise(batch: NoisyBatch) -> Prediction:
    return Prediction(batch.noise, batch.noise)
"""
DETACHED = """

@hookimpl(wrapper=True)
def predict_noise() -> Generator[None, Prediction, Prediction]:
    prediction = yield
    return replace(prediction, output=prediction.output.detach())
"""

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]
assert_told = partial(assert_told_at, rf"{MODULE}\.py(:\d+)?")


@pytest.fixture
def planted(plant: Plant) -> Planted:
    return plant("extension", {MODULE: SOURCE}, check_extension)


def test_an_extension_without_faults_passes(planted: Planted) -> None:
    planted.passes()


def test_a_wrapper_that_yields_but_returns_none(planted: Planted) -> None:
    error = planted((ANSWER, "    weights * batch.sigma\n"))
    assert_told(error, "loss_weighting", "yields but returns None", "return the answer: `answer = yield`")


def test_a_prediction_that_is_written_into(planted: Planted) -> None:
    error = planted((ANSWER, "    prediction.output.mul_(0.5)\n" + ANSWER))
    assert_told(error, "loss_weighting", "writes into", "prediction.output", "dataclasses.replace")


def test_weights_that_are_written_into(planted: Planted) -> None:
    error = planted((ANSWER, "    return weights.mul_(batch.sigma)\n"))
    assert_told(error, "loss_weighting", "writes into what it is given: the answer below", "make a new tensor")


def test_weights_of_another_shape(planted: Planted) -> None:
    error = planted((ANSWER, ANSWER.rstrip() + " * prediction.output.mean((1, 2))[:, :1]\n"))
    assert_told(error, "loss_weighting", "has shape [2, 2]", "where [2] is asked for", "return tensors of the shapes")


def test_weights_below_zero(planted: Planted) -> None:
    error = planted((ANSWER, ANSWER.replace("return weights", "return -weights")))
    assert_told(error, "loss_weighting", "below 0", "return factors of 0 and above")


def test_an_answer_of_another_kind(planted: Planted) -> None:
    error = planted((ANSWER, "    return 0.5\n"))
    assert_told(error, "loss_weighting", "returns float where Tensor is asked for", "return Tensor")


def test_torch_at_import(planted: Planted) -> None:
    error = planted(("LORACORE_API = 1", "import torch\n\nLORACORE_API = 1"))
    assert_told(error, "import", "brings torch", "import it inside the hooks")


def test_a_hook_that_the_architecture_owns(planted: Planted) -> None:
    error = planted(more=OWNED)
    assert_told(error, "predict_noise", "that the architecture answers", "@hookimpl(wrapper=True)")


def test_a_hook_that_raises(planted: Planted) -> None:
    error = planted((ANSWER, "    return weights / config[LeanOptions].missing\n"))
    assert_told(error, "loss_weighting", "raises AttributeError", "mend this line")


def test_numbers_from_the_global_generator(planted: Planted) -> None:
    error = planted((ANSWER, "    return weights * weights.new_empty(len(weights)).uniform_()\n"))
    assert_told(error, "loss_weighting", "draws from a global generator", "draw from rng")


def test_numbers_from_a_global_generator_that_count_once_in_a_while(planted: Planted) -> None:
    rare = "    import random\n\n    return weights * (2 if random.random() > 1 else 1)\n"
    error = planted((ANSWER, rare))
    assert_told(error, "loss_weighting", "draws from a global generator", "draw from rng")


def test_a_gradient_that_is_cut_off(planted: Planted) -> None:
    assert_told(planted(more=DETACHED), "predict_noise", "output has lost its gradient", "without detach()")


def test_a_run_that_depends_on_the_run_before(planted: Planted) -> None:
    error = planted((ANSWER, COUNTED), more=COUNTING)
    assert_told(error, "a run", "two runs with the same seed end differently", "keep nothing between two runs")


def test_a_run_that_cannot_be_resumed_exactly(planted: Planted) -> None:
    error = planted((ANSWER, COUNTED), more=COUNTING + FORGETTING)
    assert_told(error, "a resumed run", "ends otherwise than one that never was", "keep nothing between two steps")


def test_an_event_hook_that_raises_in_a_run(planted: Planted) -> None:
    error = planted(more="\n\n@hookimpl\ndef step_done(step: int) -> None:\n    assert step > 5\n")
    assert_told(error, "step_done", "raises AssertionError", "mend it")


def test_an_option_without_effect(planted: Planted) -> None:
    error = planted((ANSWER, "    return weights * batch.sigma\n"))
    assert_told(error, "option lean_power", "changes neither the trained file", 'Finding("without effect", …)')


def test_no_hook_at_all(planted: Planted) -> None:
    error = planted(("@hookimpl(wrapper=True)\ndef loss_weighting", "def weighting"))
    assert_told(error, "hooks", "answers no hook of a run", "@hookimpl(wrapper=True)")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return Finding('wrong', 'seed', 'odd')", "one Finding"),
        ("yield 1 / 0", "ZeroDivisionError"),
        ("return [Finding('implied', 'sead', 'odd', value=1)]", "did you mean 'seed'?"),
    ],
)
def test_an_answer_to_check_options_that_is_no_list_of_findings(planted: Planted, body: str, said: str) -> None:
    error = planted(more=f"\n\n@hookimpl\ndef check_options():\n    {body}\n")
    assert_told(error, "check_options", said)
