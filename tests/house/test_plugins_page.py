"""The page for plugin authors is followed as it stands: its package is installed, its commands and its tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.test_docs import Workplace, blocks


@pytest.mark.timeout(600)
def test_the_page_on_plugins_runs_as_it_stands(root: Path, tmp_path: Path) -> None:
    place = Workplace(tmp_path, tmp_path / "site")
    for block in blocks(root / "docs" / "plugins.md"):
        if block.path:
            place.write(block)
        elif block.language == "console":
            place.follow(block)
    plugin = "-p loracore.testing.pytest_plugin"  # by name, for an installation that is older than its entry point
    tested = place.run(f"python -m pytest -q -p no:cacheprovider {plugin} loracore-warm/tests")
    assert "3 passed" in tested, tested
