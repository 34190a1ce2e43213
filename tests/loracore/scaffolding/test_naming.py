from __future__ import annotations

from collections.abc import Callable

import pytest

from loracore.errors import PluginError
from loracore.scaffolding.naming import Names, free_names
from tests.loracore.conftest import PLUGIN

Install = Callable[..., str]


def test_everything_is_called_after_the_name() -> None:
    names = free_names("my-Net_2", "network")
    assert names == Names("my-Net_2", "network")
    assert (names.distribution, names.package) == ("loracore-my-Net_2", "loracore_my_net_2")
    assert (names.identifier, names.brand) == ("my_net_2", "MyNet2")


@pytest.mark.parametrize("name", ["", "2nd", "-net", "net-", "my net", "blöt", "../net", "a.b", "net\n", "a" * 61])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match=r"cannot be a plugin's name.*begin with a letter"):
        free_names(name, "network")


def test_loracore_is_not_said_twice() -> None:
    with pytest.raises(PluginError, match=r"by itself \(give 'blot'\)"):
        free_names("loracore-blot", "architecture")


def test_a_taken_name_is_refused_for_its_own_kind(install: Install) -> None:
    install("others-things", "network", "blot", PLUGIN)
    with pytest.raises(PluginError, match=r"network 'blot' is installed already, by others-things 1\.5.*uninstall"):
        free_names("blot", "network")
    assert free_names("blot", "architecture").package == "loracore_blot"


def test_a_taken_package_is_refused_however_it_is_spelt(install: Install) -> None:
    install("loracore-my-net", "network", "other", PLUGIN)
    with pytest.raises(PluginError, match=r"loracore-My_Net \(1\.5\) is installed already"):
        free_names("My_Net", "extension")


def test_all_that_is_taken_is_said_at_once(install: Install) -> None:
    install("loracore-blot", "network", "blot", PLUGIN)
    with pytest.raises(PluginError) as caught:
        free_names("blot", "network")
    assert len(caught.value.problems) == 2


def test_the_toys_of_the_kit_keep_their_name() -> None:
    with pytest.raises(PluginError, match="the architecture of loracore"):
        free_names("toy", "architecture")
    assert free_names("toy", "extension").name == "toy"


def test_options_are_not_called_like_those_of_the_core() -> None:
    with pytest.raises(PluginError, match="NetworkOptions"):
        free_names("network", "network")
