"""What the tests of reliability have in common: figures that are printed when all have passed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Report = Callable[[str], None]

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Keep a line for the end of the session."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    for line in terminalreporter.config.stash.get(_FIGURES, []):
        terminalreporter.write_line(f"reliability: {line}")
