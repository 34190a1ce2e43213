from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

import pytest
from torch import Tensor

from loracore import LoraTarget, Models, hookimpl
from loracore.testing.contract.annotations import accepts, wrong_annotations


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (Any, int),
        (Sequence[LoraTarget], list[LoraTarget]),
        (Sequence[str], tuple[str, ...]),
        (Iterable[str], Sequence[str]),
        (int | None, NoneType),
        (int | str, int),
        (Mapping[str, Any], dict[str, int]),
        (Sequence, list[str]),
        (float, int),
    ],
)
def test_a_wider_type_accepts_a_narrower_one(wide: Any, narrow: Any) -> None:
    assert accepts(wide, narrow)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [(str, Sequence[str]), (Sequence[LoraTarget], list[str]), (int, int | None), (Tensor, Models), (int, float)],
)
def test_a_narrower_type_accepts_no_wider_one(wide: Any, narrow: Any) -> None:
    assert not accepts(wide, narrow)


def test_a_hook_without_annotations_says_nothing_wrong() -> None:
    @hookimpl
    def lora_targets(models):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  # as in the tutorial
        return models

    assert list(wrong_annotations(lora_targets, "lora_targets", wrapper=False)) == []


def test_what_differs_is_named_with_the_type_of_the_specification() -> None:
    @hookimpl
    def lora_targets(models: Tensor) -> list[LoraTarget]:
        return []

    assert list(wrong_annotations(lora_targets, "lora_targets", wrapper=False)) == [("models", "Models")]
