"""A processor's signature is what it always was, and is not read anew."""

from __future__ import annotations

import inspect

import pytest

from loracore.diffusion.attention.joint import GroupedJointAttention
from loracore.diffusion.attention.plain import GroupedAttention
from loracore.diffusion.attention.signatures import signed


@pytest.mark.parametrize("kind", [GroupedAttention, GroupedJointAttention])
def test_processors_say_what_they_take(kind: type) -> None:
    names = list(inspect.signature(kind().__call__).parameters)
    assert names[:3] == ["attn", "hidden_states", "encoder_hidden_states"]
    assert "__signature__" in vars(vars(kind)["__call__"])


def test_a_signature_is_read_once() -> None:
    @signed
    def call(first: int, second: str = "") -> None: ...

    assert inspect.signature(call) is inspect.signature(call)
    assert list(inspect.signature(call).parameters) == ["first", "second"]
