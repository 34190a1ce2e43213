"""What ordinary extensions make of the answers of others is not blamed on them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loracore.testing import install_metadata, toys_installed
from loracore.testing.contract.extension_answers import answer_faults
from loracore.testing.contract.faults import Fault
from loracore.testing.contract.subject import subject

MODULE = "wrapping_extension"
SOURCE = '''\
"""Stands around the network's adapters."""

from loracore import hookimpl

LORACORE_API = 1


@hookimpl(wrapper=True)
def build_adapter(target):
    from loracore.testing.toy_adapter import ToyAdapter

    class Wrapped(ToyAdapter):
        pass

    adapter = yield
    return ANSWER
'''


@pytest.fixture
def wrapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    install_metadata(tmp_path, "loracore-wrapping", "1.0", {"loracore.extensions": {"wrapping": MODULE}})
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / f"{MODULE}.py"
    sys.modules.pop(MODULE, None)


def found(file: Path, answer: str) -> list[Fault]:
    file.write_text(SOURCE.replace("ANSWER", answer), encoding="utf-8")
    with toys_installed():
        examined = subject("extension", "wrapping", {"console_log_level": "ERROR"}, file.parent)
        return list(answer_faults(examined))


@pytest.mark.parametrize("answer", ["None", "Wrapped(target, 1)"])
def test_a_layer_may_be_left_alone_or_get_another_adapter(wrapping: Path, answer: str) -> None:
    assert found(wrapping, answer) == []


def test_what_is_no_adapter_is_told(wrapping: Path) -> None:
    (fault,) = found(wrapping, "5")
    assert (fault.hook, fault.message) == ("build_adapter", "returns int where Adapter | None is asked for")
