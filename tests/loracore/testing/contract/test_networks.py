"""Networks that keep the contract pass; what is said of the others is said once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loracore import PluginError
from loracore.testing import ContractError, check_network, install_metadata

pytestmark = pytest.mark.timeout(180)

NETWORK = '''\
"""A network for plain layers alone."""

from loracore import DataError, Finding, hookimpl

LORACORE_API = 1


@hookimpl
def check_options(config):
    given = [name for name in ("network_dim", "network_alpha") if config.given(name)]
    return [Finding("without effect", name, "it has one size") for name in given]


@hookimpl
def build_adapter(target):
    from loracore.testing.toy_adapter import ToyAdapter

    if len(target.layers) > 1:
        raise DataError("it cannot share a layer")
    return None if target.layers[0].weight.dim() > 2 else ToyAdapter(target, RANK)
'''


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = tmp_path / "site"
    install_metadata(site, "loracore-plain", "1.0", {"loracore.networks": {"plain": "plain_network"}})
    monkeypatch.syspath_prepend(str(site))
    yield site / "plain_network.py"
    sys.modules.pop("plain_network", None)


def test_the_toy_network_keeps_the_contract_and_the_console_stays_still(capfd: pytest.CaptureFixture[str]) -> None:
    check_network("toy", network_dim=1)
    assert "network" not in capfd.readouterr().err


def test_a_network_may_leave_layers_alone_and_refuse_others(plain: Path) -> None:
    plain.write_text(NETWORK.replace("RANK", "2"), encoding="utf-8")
    check_network("plain")


def test_a_fault_of_several_layers_is_said_once(plain: Path) -> None:
    plain.write_text(NETWORK.replace("return None if", "return 5 if").replace("RANK", "2"), encoding="utf-8")
    with pytest.raises(ContractError, match="returns int for a 1×1 convolution") as caught:
        check_network("plain")
    assert len(caught.value.faults) == 1


def test_options_that_a_run_refuses_are_told() -> None:
    with pytest.raises(ContractError, match=r"a run is refused: .*network_dim") as caught:
        check_network("toy", network_dim=0)
    assert "give check_network the options it needs" in str(caught.value)


def test_a_network_may_refuse_to_be_merged(plain: Path) -> None:
    unmerged = """
    class Unmerged(ToyAdapter):
        def weight_change(self, index, weights):
            raise DataError("it cannot be merged")

    adapter = Unmerged(target, RANK)
    return adapter if target.layers[0].weight.dim() == 2 else None
"""
    source = NETWORK.replace("\n    return None if", f"{unmerged}    return None if")
    plain.write_text(source.replace("RANK", "2"), encoding="utf-8")
    check_network("plain")


def test_a_network_that_is_not_installed_is_no_breach_of_contract() -> None:
    with pytest.raises(PluginError, match="no network named 'moonshine'"):
        check_network("moonshine")
