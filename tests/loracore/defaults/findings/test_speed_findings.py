from __future__ import annotations

from typing import Any

import pytest

from loracore import Config, ConfigError
from loracore.cli.request import read_request
from loracore.config.options import CORE_OPTIONS, MemoryOptions, ModelOptions, SpeedOptions, TrainingOptions
from loracore.defaults.findings.speed_findings import speed_findings

TABLES = (SpeedOptions, ModelOptions, TrainingOptions, MemoryOptions)


def fates(**options: Any) -> list[tuple[str, str, str]]:
    """Return what is said of options: the fate, the option, the message."""
    own = [table(**{name: value for name, value in options.items() if name in table.__slots__}) for table in TABLES]
    others = [table() for table in CORE_OPTIONS if table not in TABLES]
    found = speed_findings(Config([*own, *others], {name: f"--{name}" for name in options}))
    return [(finding.fate, finding.option, finding.message) for finding in found]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"torch_compile": True, "gradient_checkpointing": True, "blocks_to_swap": 2, "dynamo_backend": "aot_eager"},
        {"cuda_graphs": True, "torch_compile": True, "opt_channels_last": True, "attention_backend": "flash"},
    ],
)
def test_what_goes_together_is_not_spoken_of(options: dict[str, Any]) -> None:
    assert fates(**options) == []


@pytest.mark.parametrize(
    ("option", "other"),
    [
        ("cuda_graphs", {"gradient_checkpointing": True}),
        ("cuda_graphs", {"checkpointed_blocks": (1,)}),
        ("cuda_graphs", {"memory": "auto"}),
        ("cuda_graphs", {"fused_backward_pass": True}),
        ("cuda_graphs", {"dynamo_backend": "cudagraphs", "torch_compile": True}),
        ("cuda_graphs", {"blocks_to_swap": 2}),
        ("opt_channels_last", {"blocks_to_swap": 2}),
        ("opt_channels_last", {"memory": "auto"}),
    ],
)
def test_what_contradicts_each_other_is_an_error(option: str, other: dict[str, Any]) -> None:
    ((fate, named, message),) = fates(**{option: True}, **other)
    assert (fate, named) == ("wrong", option)
    assert message.startswith(f"{option} with {next(iter(other))}")


def test_a_backend_without_compiling_has_no_effect() -> None:
    assert fates(dynamo_backend="eager") == [
        ("without effect", "dynamo_backend", "without effect: torch_compile is off")
    ]


def test_a_misspelt_backend_is_taken_as_meant_and_said() -> None:
    ((fate, _, message),) = fates(dynamo_backend="tensort", torch_compile=True)
    assert fate == "without effect"
    assert message == "tensort is a misspelling: taken as tensorrt"


@pytest.mark.parametrize("backend", ["aot_ts_nvfuser", "nvprims_nvfuser", "ofi", "fx2trt"])
def test_a_backend_that_torch_has_no_longer_is_refused(backend: str) -> None:
    with pytest.raises(ConfigError, match=f"dynamo_backend {backend} is not supported: torch has it no longer"):
        read_request(["--arch", "sdxl", "--torch_compile", "--dynamo_backend", backend])
