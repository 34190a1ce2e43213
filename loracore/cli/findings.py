"""What ``loracore check`` has to say, before it is written as text or JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import TrainingOptions
from loracore.data.report import Report
from loracore.errors import Problem
from loracore.training.steps.length import Length, run_length


@dataclass(frozen=True, eq=False, slots=True)
class Findings:
    """Everything that was found, of options and of pictures."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # options without effect
    training: TrainingOptions = field(default_factory=TrainingOptions)
    datasets: tuple[DatasetSpec, ...] = ()
    report: Report | None = None  # None: no picture could be looked at

    @property
    def length(self) -> Length | None:
        """The length of the run on one device; None where there is nothing to train on."""
        if self.report is None or not self.report.batches:
            return None
        return run_length(self.report.batches, self.training)
