from __future__ import annotations

import gc
import sys
from types import ModuleType

import pytest

from loracore.collector import collecting_later


def test_the_collector_waits_meanwhile() -> None:
    before = gc.get_freeze_count()
    with collecting_later():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() <= before  # what is frozen may be freed, and nothing was added


def test_the_collector_goes_on_when_an_import_fails() -> None:
    with pytest.raises(ModuleNotFoundError), collecting_later():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_who_has_switched_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with collecting_later():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_many_modules_bring_is_looked_through_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    before = gc.get_freeze_count()
    with collecting_later():
        for number in range(400):
            monkeypatch.setitem(sys.modules, f"never_imported_{number}", ModuleType("never"))
    assert gc.get_freeze_count() > before + 400
