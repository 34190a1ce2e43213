"""Every network of ours comes through the door that strangers' networks come through."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from loracore.testing import check_network

CONV = MappingProxyType({"conv_dim": 2, "conv_alpha": 1.0})
DROPOUTS = MappingProxyType({"network_dropout": 0.3, "rank_dropout": 0.3, "module_dropout": 0.2})
#: The name in a run, and its options.
RUNS: Mapping[str, tuple[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "lora": ("networks.lora", {**CONV, **DROPOUTS, "use_tucker": True}),
        "lora_fa": ("lora_fa", CONV),
        "dylora": ("dylora", {**CONV, "unit": 2}),
        "dora": ("dora", CONV),
        "oft": ("oft", {"enable_conv": True, "network_alpha": 0.02}),
        "loha": ("loha", CONV),
        "lokr": ("lokr", {**CONV, "factor": 2}),
        **{algo: ("lycoris", {"algo": algo}) for algo in ("diag-oft", "boft", "glora", "ia3", "full")},
    }
)
#: Those whose adapters are nearly another's.
ALIKE = frozenset({"lora_fa", "dylora", "diag-oft", "boft", "glora"})


@pytest.mark.timeout(180)
@pytest.mark.parametrize("run", [pytest.param(one, marks=pytest.mark.slow if one in ALIKE else ()) for one in RUNS])
def test_our_networks_keep_the_contract(run: str) -> None:
    name, options = RUNS[run]
    check_network(name, **options)
