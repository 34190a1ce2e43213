"""Options of the field that are known and refused: why, and what there is in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an option is refused, and what to do."""

    message: str
    fix: str


_SHARDS = Refusal(
    "there is no DeepSpeed: what it shards is small here, the adapters and their optimizer",
    "leave it out; where the frozen model is too large, use fp8_base or blocks_to_swap",
)
_LINE_ONLY = Refusal("it names or asks for a file, which only the command line does", "leave it out of CONFIG")

#: Option → why it is refused. What an architecture declares is its own and is not looked up here.
_REFUSED: Mapping[str, Refusal] = MappingProxyType(
    {
        "deepspeed": _SHARDS,
        "zero_stage": _SHARDS,
        "offload_optimizer_device": _SHARDS,
        "offload_optimizer_nvme_path": _SHARDS,
        "offload_param_device": _SHARDS,
        "offload_param_nvme_path": _SHARDS,
        "zero3_init_flag": _SHARDS,
        "zero3_save_16bit_model": _SHARDS,
        "fp16_master_weights_and_gradients": _SHARDS,
        "config_file": _LINE_ONLY,
        "output_config": _LINE_ONLY,
        "print_config": _LINE_ONLY,
    }
)


def refusal(name: str) -> Refusal | None:
    """Return why an option of the field is refused; None of one that is not known at all."""
    return _REFUSED.get(name)
