from __future__ import annotations

import pytest

from loracore.errors import PluginError
from loracore.testing import ContractError, check_architecture

pytestmark = pytest.mark.timeout(180)  # the first check of a process imports torch and its compiler


def test_the_toy_keeps_the_contract() -> None:
    check_architecture("toy", toy_width=4)


def test_an_architecture_that_is_not_installed_is_no_breach() -> None:
    with pytest.raises(PluginError, match="no architecture named 'moon'"):
        check_architecture("moon")


def test_options_that_do_not_fit_are_told_with_what_is_wrong() -> None:
    with pytest.raises(ContractError, match=r"options of a run.*toy_width.*at least 1.*give the options"):
        check_architecture("toy", toy_width=0)
