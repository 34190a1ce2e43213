"""A package that is installed twice: an error where nobody knows which counts, a note where Python's path tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from loracore.errors import PluginError
from loracore.package_copies import copies, hidden_copies
from loracore.plugins import find_plugin
from loracore.testing import install_metadata
from tests.loracore.conftest import PLUGIN, Install

GROUPS = {"loracore.extensions": {"ext": "ext_ext_module"}}


def test_two_versions_in_one_folder_are_an_error_for_whoever_names_the_plugin(install: Install, site: Path) -> None:
    install("ext", "extension", "ext", PLUGIN)
    install("other", "extension", "other", PLUGIN)
    install_metadata(site, "ext", "2.0", GROUPS)
    assert find_plugin("extension", "other").package == "other"
    with pytest.raises(
        PluginError, match=r"ext is installed twice in .*: (1\.5 and 2\.0|2\.0 and 1\.5) \(pip uninstall"
    ):
        find_plugin("extension", "ext")


def test_another_version_further_back_on_the_path_is_hidden(
    install: Install, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("ext", "extension", "ext", PLUGIN)
    install_metadata(tmp_path / "user", "ext", "2.0", GROUPS)
    monkeypatch.syspath_prepend(str(tmp_path / "user"))
    monkeypatch.syspath_prepend(str(site))
    assert [one.version for one in copies("ext")] == ["1.5", "2.0"]
    assert find_plugin("extension", "ext").version == "1.5"
    assert hidden_copies("ext") == (
        f"ext is installed twice: 1.5 in {site} counts, 2.0 in {tmp_path / 'user'} does not"
    )


def test_the_same_version_twice_is_nothing_to_talk_of(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("ext", "extension", "ext", PLUGIN)
    install_metadata(tmp_path / "sources", "ext", "1.5", GROUPS)  # as the sources of an editable installation
    monkeypatch.syspath_prepend(str(tmp_path / "sources"))
    assert hidden_copies("ext") == ""


def test_a_package_that_is_not_installed_has_no_copies() -> None:
    assert hidden_copies("no-such-package-anywhere") == ""
