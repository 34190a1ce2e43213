"""Whoever uses what goes away is told by one line; arguments that come new disturb nobody."""

from __future__ import annotations

import sys
from pathlib import Path

import pluggy
import pytest

from loracore import hookspecs
from loracore.cli.plugin_check import contract_notes
from loracore.cli.request import read_request
from loracore.hookspecs import hookspec
from loracore.plugin_notes import deprecations, plugin_notes
from loracore.plugins import assemble, find_plugin, run_plugins
from loracore.testing import install_metadata
from tests.loracore.conftest import PLUGIN, Install

USES_BATCH = PLUGIN + "@hookimpl\ndef prepare_batch(batch): return batch\n"
USES_NOTHING = PLUGIN + "@hookimpl\ndef prepare_batch(): return 'mine'\n"


def notes(*names: str) -> list[str]:
    plugins = run_plugins(None, None, names)
    return list(deprecations(assemble(None, None, names, ()), plugins))


@pytest.fixture
def going_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hook's argument ``batch`` go away."""
    going = {"batch": DeprecationWarning("'batch' goes away in loracore 9.9: take 'examples'")}

    def prepare_batch(batch: object, rng: object, training: object, config: object) -> object:
        """Return the batch."""

    monkeypatch.setattr(hookspecs, "prepare_batch", hookspec(firstresult=True, warn_on_impl_args=going)(prepare_batch))


@pytest.fixture
def going_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hook go away."""
    going = DeprecationWarning("goes away in loracore 9.9: wrap draw_noise")

    def prepare_batch(batch: object, rng: object, training: object, config: object) -> object:
        """Return the batch."""

    monkeypatch.setattr(hookspecs, "prepare_batch", hookspec(firstresult=True, warn_on_impl=going)(prepare_batch))


@pytest.mark.usefixtures("going_argument")
def test_a_plugin_that_uses_a_deprecated_argument_is_named_with_place_and_way_out(install: Install) -> None:
    install("old", "extension", "old", USES_BATCH)
    (note,) = notes("old")
    assert note.startswith("extension 'old' (old 1.5), hook 'prepare_batch': 'batch' goes away in loracore 9.9")
    assert "old_old_module.py:6" in note


@pytest.mark.usefixtures("going_argument")
def test_a_plugin_that_does_not_take_the_argument_hears_nothing(install: Install) -> None:
    install("new", "extension", "new", USES_NOTHING)
    assert notes("new") == []


@pytest.mark.usefixtures("going_hook")
def test_a_deprecated_hook_is_told_to_whoever_implements_it(install: Install) -> None:
    install("old", "extension", "old", USES_NOTHING)
    install("other", "extension", "other", PLUGIN)
    assert notes("other") == []
    assert [note.partition(": ")[2].partition(" (")[0] for note in notes("old")] == [
        "goes away in loracore 9.9: wrap draw_noise"
    ]


@pytest.mark.usefixtures("going_argument")
def test_check_notes_what_goes_away_of_a_plugin_that_is_sound(install: Install) -> None:
    install("old", "extension", "old", USES_BATCH)
    plugin = find_plugin("extension", "old")
    assert "goes away in loracore 9.9" in contract_notes(plugin)[0]


@pytest.mark.usefixtures("toys", "going_argument")
def test_a_run_with_such_a_plugin_has_one_note(install: Install) -> None:
    install("old", "extension", "old", USES_BATCH)
    request = read_request(["--arch", "toy", "--network_module", "toynet", "--extensions", "old"])
    assert ["goes away in loracore 9.9" in note for note in request.notes] == [True]


@pytest.mark.usefixtures("toys")
def test_a_run_says_which_version_of_a_package_that_is_installed_twice_counts(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("ext", "extension", "ext", PLUGIN)
    install_metadata(tmp_path / "other", "ext", "0.9", {"loracore.extensions": {"ext": "elsewhere"}})
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "other")])
    plugins = run_plugins("toy", None, ["ext"])
    (note,) = plugin_notes(assemble("toy", None, ["ext"], ()), plugins)
    assert note.startswith("ext is installed twice: 1.5 in ")
    assert note.endswith(f"counts, 0.9 in {tmp_path / 'other'} does not")


def test_nothing_of_todays_hooks_is_deprecated(install: Install) -> None:
    install("old", "extension", "old", USES_BATCH)
    assert notes("old") == []


def test_a_hook_gets_a_new_argument_and_older_implementations_go_on() -> None:
    class Newer:
        @hookspec(firstresult=True)
        def prepare_batch(self, batch: object, weather: str) -> object: ...

    class Older:
        @hookspecs.hookimpl
        def prepare_batch(self, batch: str) -> str:
            return batch.upper()

    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(Newer)
    manager.register(Older())
    assert manager.hook.prepare_batch(batch="a batch", weather="rain") == "A BATCH"
