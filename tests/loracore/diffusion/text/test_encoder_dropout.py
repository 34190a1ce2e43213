from __future__ import annotations

import pytest
import torch

from loracore.diffusion.text.encoder_dropout import dropped
from loracore.noise.rng import SampleRng
from loracore.types import TextConditioning

ROWS = 2000


def said() -> TextConditioning:
    sizes = {"one": (3, 2), "one_pooled": (2,), "two": (3, 4)}
    return TextConditioning({name: torch.ones(ROWS, *size) for name, size in sizes.items()})


def missing(one: float, two: float) -> dict[str, torch.Tensor]:
    """Where each tensor is zero as a whole; it must be whole elsewhere."""
    found = dropped(said(), {"one": one, "two": two}, SampleRng(0, "prepare", 0, range(ROWS)))
    sums = {name: tensor.flatten(1).mean(1) for name, tensor in found.tensors.items()}
    assert all(set(sum_.tolist()) <= {0.0, 1.0} for sum_ in sums.values())
    return {name: sum_ == 0 for name, sum_ in sums.items()}


def test_each_encoder_is_missing_from_its_share_of_the_samples() -> None:
    found = missing(0.2, 0.5)
    assert found["one"].float().mean() == pytest.approx(0.2, abs=0.03)
    assert found["two"].float().mean() == pytest.approx(0.5, abs=0.03)
    assert (found["one"] & found["two"]).float().mean() == pytest.approx(0.1, abs=0.03)


def test_pooled_state_goes_with_its_encoder() -> None:
    found = missing(0.5, 0.0)
    assert torch.equal(found["one"], found["one_pooled"])
    assert not found["two"].any()


def test_draws_of_an_encoder_do_not_depend_on_the_others_rates() -> None:
    assert torch.equal(missing(0.0, 0.5)["two"], missing(0.9, 0.5)["two"])


def test_what_was_never_a_number_is_zero_all_the_same() -> None:
    broken = TextConditioning({"one": torch.full((4, 2), torch.nan)})
    assert torch.equal(dropped(broken, {"one": 1.0}, SampleRng(0, "", 0, range(4)))["one"], torch.zeros(4, 2))
