"""An extension whose option changes what is cached: the caches' keys must tell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loracore.testing import ContractError, check_extension, install_metadata

pytestmark = pytest.mark.timeout(180)

MODULE = "loud_extension"
SOURCE = """\
from dataclasses import dataclass
from typing import Annotated

from loracore import TextConditioning, hookimpl, option

LORACORE_API = 1


@dataclass(frozen=True)
class LoudOptions:
    loudness: Annotated[float, option("factor of every caption", gt=0)] = 1.0


@hookimpl
def options():
    return (LoudOptions,)


@hookimpl(wrapper=True)
def encode_text(config):
    said = yield
    return TextConditioning({name: one * config[LoudOptions].loudness for name, one in said.tensors.items()})
"""


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    install_metadata(tmp_path, "loracore-loud", "0.1", {"loracore.extensions": {"loud": MODULE}})
    monkeypatch.syspath_prepend(str(tmp_path))

    def checked(source: str) -> None:
        (tmp_path / f"{MODULE}.py").write_text(source, encoding="utf-8")
        check_extension("loud")

    yield checked
    sys.modules.pop(MODULE, None)


def test_an_option_that_changes_captions_and_no_cache(check: Callable[[str], None]) -> None:
    with pytest.raises(ContractError, match=rf'option loudness \({MODULE}\.py:\d+\).* encode_text .*affects=."text"'):
        check(SOURCE)


def test_an_option_that_says_which_cache_it_affects(check: Callable[[str], None]) -> None:
    check(SOURCE.replace("gt=0)", 'gt=0, affects={"text"})'))
