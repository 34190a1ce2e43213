"""What the plugins of a run say of its options, once before the data sets are known and once after."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from loracore.config.config import Config
from loracore.errors import Problem

if TYPE_CHECKING:
    import pluggy


def plugin_findings(hook: pluggy.HookRelay, config: Config) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Return the problems that ``check_options`` finds, and notes on options without effect."""
    findings = [finding for several in hook.check_options(config=config) for finding in several]
    problems = tuple(finding.problem(config) for finding in findings if finding.fate != "without effect")
    notes = tuple(str(finding.problem(config)) for finding in findings if finding.fate == "without effect")
    return problems, notes


def dataset_findings(
    hook: pluggy.HookRelay, config: Config, said: Collection[str] = ()
) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Return the problems and notes that ``check_options`` has of a config whose data sets are known.

    ``said`` are the notes of the first call, which are not said again. Problems of the first call are said again; but
    whoever had any does not come here.
    """
    problems, notes = plugin_findings(hook, config)
    return problems, tuple(note for note in notes if note not in said)
