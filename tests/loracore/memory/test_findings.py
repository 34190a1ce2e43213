from __future__ import annotations

from typing import Any

import pytest

from loracore import Config
from loracore.config.options import CORE_OPTIONS, ModelOptions
from loracore.defaults.findings.checks import check_options


def fates(**options: Any) -> list[tuple[str, str, str]]:
    """Return what is said of memory options: the fate, the option, what to do."""
    tables = [table() for table in CORE_OPTIONS if table is not ModelOptions]
    places = {name: f"--{name}" for name in options}
    found = check_options(Config([ModelOptions(**options), *tables], places))
    return [(finding.fate, finding.option, finding.fix) for finding in found]


@pytest.mark.parametrize(
    "options",
    [
        {"sdpa": True},
        {"blocks_to_swap": 32, "gradient_checkpointing": True, "fp8_base": True},
        {"blocks_to_swap": 0, "gradient_checkpointing": True, "cpu_offload_checkpointing": True},
    ],
)
def test_what_goes_together_is_not_spoken_of(options: dict[str, Any]) -> None:
    assert fates(**options) == []


def test_swapping_and_offloading_do_not_go_together() -> None:
    (found,) = fates(blocks_to_swap=4, gradient_checkpointing=True, cpu_offload_checkpointing=True)
    assert found[:2] == ("wrong", "cpu_offload_checkpointing")
    assert found[2].startswith("drop cpu_offload_checkpointing")


def test_swapping_is_no_reason_to_add_checkpointing_for_offloading() -> None:
    (found,) = fates(blocks_to_swap=4, cpu_offload_checkpointing=True)
    assert found[2].startswith("drop cpu_offload_checkpointing")


def test_offloading_needs_checkpointing() -> None:
    assert fates(cpu_offload_checkpointing=True) == [
        ("wrong", "cpu_offload_checkpointing", "add --gradient_checkpointing")
    ]


def test_the_wider_float8_includes_the_narrower() -> None:
    assert fates(fp8_base=True, fp8_base_unet=True) == [("without effect", "fp8_base_unet", "")]


def test_no_other_attention_is_there() -> None:
    assert fates(sdpa=False) == [("unsupported", "sdpa", "leave --no_sdpa out")]
