"""The findings of ``loracore check`` as one JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loracore.cli.findings import Findings
from loracore.data.report import Report
from loracore.data.visits import Draws
from loracore.errors import Problem
from loracore.training.steps.length import Length


def described(findings: Findings) -> dict[str, Any]:
    """Return what was found; sizes are [width, height], captions those of the first visit in the run's first step."""
    return {
        "datasets": _datasets(findings),
        **_length(findings.length),
        **_pictures(findings.report),
        "problems": [_problem(problem) for problem in findings.problems],
        "warnings": list(findings.warnings),
        "notes": list(findings.notes),
    }


def _length(length: Length | None) -> Mapping[str, int]:
    if length is None:
        return {"batches_per_epoch": 0, "steps_per_epoch": 0, "epochs": 0, "steps": 0}
    return {
        "batches_per_epoch": length.batches_per_epoch,
        "steps_per_epoch": length.steps_per_epoch,
        "epochs": length.epochs,
        "steps": length.steps,
    }


def _pictures(report: Report | None) -> Mapping[str, Any]:
    """Return what is told of the pictures of all data sets together."""
    if report is None:
        return {"samples_per_epoch": 0, "validation_images": [], "tag_frequency": {}, "duplicates": []}
    held = report.validation
    return {
        "samples_per_epoch": report.index.samples,
        "validation_images": [str(held.path(row)) for row in range(len(held))],
        "tag_frequency": dict(report.tags),
        "duplicates": report.duplicates,
    }


def _datasets(findings: Findings) -> list[dict[str, Any]]:
    report, length = findings.report, findings.length
    found: list[dict[str, Any]] = [{"buckets": [], "images": []} for _ in findings.datasets]
    if report is None:
        return found
    for row in report.buckets:
        # "images" counts repeats, as the field's lists of buckets do
        counts = {"images": row.samples, "pictures": row.pictures, "batches": row.batches}
        found[row.dataset]["buckets"].append({"size": row.size, **counts})
    draws = Draws(findings.training.seed or 0, findings.training.max_train_steps if length is None else length.steps)
    for number, picture in report.pictures(draws):
        found[number]["images"].append(picture)
    return found


def _problem(problem: Problem) -> Mapping[str, str]:
    return {"message": problem.message, "where": problem.where, "fix": problem.fix}
