from __future__ import annotations

from collections.abc import Sequence

import pytest

from loracore.weights.foreign_network import Modules, foreign

PLACES = ("lora_te1_a", "lora_unet_a")


def told(keys: Sequence[str], said: str, *, tail: str = "diff") -> str | None:
    names = [f"{key}.{tail}" for key in keys]
    header = {"ss_base_model_version": said}
    return foreign(Modules(names, keys, PLACES), header, lambda: {"ss_base_model_version": "own"})


def test_modules_without_a_place_and_another_name_in_the_header_are_foreign() -> None:
    message = told(["lora_unet_b", "lora_te1_a"], "other")
    assert message is not None
    assert "its header says 'other', this run's model is 'own'" in message


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["lora_unet_a"], "other"),  # everything has its place
        (["lora_unet_a", "lora_unet_b"], "other"),  # of this denoiser, whatever another trainer calls it
        (["lora_unet_b"], "own"),
        (["lora_unet_b"], ""),
    ],
)
def test_what_may_be_of_this_architecture_is_not(keys: Sequence[str], said: str) -> None:
    assert told(keys, said) is None


def test_names_in_another_layout_are_left_to_those_who_read_them() -> None:
    assert told(["transformer.a"], "other", tail="lora_A.weight") is None


def test_the_model_is_asked_only_where_its_name_matters() -> None:
    def never() -> dict[str, str]:
        raise AssertionError

    assert foreign(Modules(["lora_unet_a.diff"], ["lora_unet_a"], PLACES), {}, never) is None
