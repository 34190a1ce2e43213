from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from loracore import Latents
from loracore.testing.contract.probing import differing, generator_states, global_seed, tensors_in


def test_tensors_are_found_in_stages_mappings_sequences_and_pictures() -> None:
    one = torch.zeros(1)
    value = {"latents": Latents(one, one), "list": [one, "text", 3], "picture": Image.new("L", (2, 3))}
    found = tensors_in(value)
    assert list(found) == ["latents.mean", "latents.log_variance", "list.0", "picture"]
    assert found["picture"].shape == (3, 2)


def test_tensors_differ_by_name_shape_type_and_number_but_not_by_nan() -> None:
    one = {"a": torch.tensor([1.0, torch.nan]), "b": torch.ones(2), "c": torch.ones(2), "d": torch.ones(1)}
    other = {"a": torch.tensor([1.0, torch.nan]), "b": torch.ones(1), "c": torch.ones(2).half(), "e": torch.ones(1)}
    assert differing(one, other) == ["b", "c", "d", "e"]


def drawn() -> tuple[float, float, float]:
    return float(torch.rand(())), random.random(), float(np.random.rand())  # noqa: NPY002, S311  # what plugins must not


def test_a_global_seed_holds_for_every_generator_and_is_put_back() -> None:
    before = torch.get_rng_state()
    with global_seed(5):
        first = drawn()
    with global_seed(5):
        assert drawn() == first
    with global_seed(6):
        assert not set(drawn()) & set(first)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_generator_that_a_draw_moves_is_named() -> None:
    def moved(draw: Callable[[], object]) -> list[str]:
        with global_seed(5):
            before = generator_states()
            draw()
            return [name for name, state in generator_states().items() if state != before[name]]

    assert moved(lambda: torch.rand(1)) == ["torch's"]
    assert moved(np.random.rand) == ["numpy's"]
    assert moved(random.random) == ["Python's"]
    assert moved(lambda: torch.rand(1, generator=torch.Generator())) == []
