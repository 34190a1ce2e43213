"""The findings of ``loracore check`` as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loracore.cli.findings import Findings
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.options import TrainingOptions
from loracore.data.bucket_table import bucket_lines
from loracore.data.report import Report
from loracore.data.scan_messages import counted
from loracore.training.steps.length import Length

_MOST_TAGS = 20
_MOST_ROWS = 40
_LONGEST_TAG = 40  # letters: captions in sentences have no tags


def lines(findings: Findings) -> Iterator[str]:
    """Give what was found: the data sets, an epoch, the run, tags; then what is worth knowing, and what is wrong."""
    report, length = findings.report, findings.length
    if report is not None:
        for number, dataset in enumerate(findings.datasets):
            yield from _dataset_lines(report, number, dataset)
        if len(report.validation):
            yield f"held out     {counted(len(report.validation), 'picture')} for validation, never trained on"
        if length is not None:
            yield from _length_lines(report.index.samples, length, findings.training)
        yield from _tag_lines(report.tags)
    yield from (f"note: {note}" for note in findings.notes)
    yield from (f"warning: {warning}" for warning in findings.warnings)
    yield from (f"wrong: {problem}" for problem in findings.problems)
    yield _verdict(findings)


def _dataset_lines(report: Report, number: int, dataset: DatasetSpec) -> Iterator[str]:
    width, height = dataset.resolution
    yield f"data set {number + 1}   {width}x{height}, {_buckets(dataset)}, batches of up to {dataset.batch_size}"
    read = {source.number: place for place, source in enumerate(report.index.sources) if source.dataset == number}
    for column, subset in enumerate(dataset.subsets):
        said = _in_words(report, read[column]) if column in read else "no picture can be used, see below"
        yield f"  {subset.metadata_file or subset.source}: {said}"
    rows = [row for row in report.buckets if row.dataset == number]
    if rows:
        yield from (f"  {line}" for line in bucket_lines(rows, _MOST_ROWS))


def _buckets(dataset: DatasetSpec) -> str:
    """Return in words which sizes there are."""
    if not dataset.enable_bucket:
        return "no buckets: every picture is cut to this shape"
    if dataset.bucket_no_upscale:
        return f"buckets in steps of {dataset.bucket_reso_steps}, nothing is enlarged"
    smallest, largest = dataset.bucket_bounds
    return f"buckets with sides of {smallest} to {largest} in steps of {dataset.bucket_reso_steps}"


def _in_words(report: Report, place: int) -> str:
    """Return the pictures of a subset with their repeats: ``47 pictures × 10 = 470 per epoch``."""
    source, rows = report.index.sources[place], report.index.rows_of(place)
    samples = int(report.index.repeats[rows].sum())
    if source.subset.is_reg:
        return f"{counted(len(rows), 'regularisation picture')}, {samples} per epoch"
    held = int((report.validation.source_rows == place).sum())
    aside = f" ({held} more held out)" if held else ""
    return f"{counted(len(rows), 'picture')} × {source.subset.num_repeats} = {samples} per epoch{aside}"


def _length_lines(samples: int, length: Length, training: TrainingOptions) -> Iterator[str]:
    """Give what an epoch and the run amount to."""
    accumulation = training.gradient_accumulation_steps
    each = f", {accumulation} batches a step" if accumulation > 1 else ""
    batches, steps = counted(length.batches_per_epoch, "batch"), counted(length.steps_per_epoch, "step")
    yield f"an epoch     {counted(samples, 'sample')} in {batches}{each}: {steps} on one device"
    if training.max_train_epochs is not None:
        epochs, steps = counted(length.epochs, "epoch"), counted(length.steps, "step")
        yield f"the run      {epochs} (max_train_epochs): {steps}"
    else:
        steps = f"{counted(length.steps, 'step')} (max_train_steps)"
        yield f"the run      {steps}: {_epochs(length)}"


def _epochs(length: Length) -> str:
    """Return a number of steps in epochs: ``13 epochs and 40 of 120 steps of the next``."""
    whole, more = divmod(length.steps, length.steps_per_epoch)
    if not more:
        return counted(whole, "epoch")
    part = f"{more} of {length.steps_per_epoch} steps"
    return f"{counted(whole, 'epoch')} and {part} of the next" if whole else f"{part} of the first epoch"


def _tag_lines(tags: Mapping[str, int]) -> Iterator[str]:
    """Give the most frequent tags, and the others counted."""
    if tags:
        listed = ", ".join(f"{_short(tag)} {count}" for tag, count in list(tags.items())[:_MOST_TAGS])
        more = f" and {len(tags) - _MOST_TAGS} more" if len(tags) > _MOST_TAGS else ""
        yield f"tags         {listed}{more}"


def _short(tag: str) -> str:
    """Return a tag as a terminal can show it."""
    tag = "".join(letter if letter.isprintable() else " " for letter in tag)
    return tag if len(tag) <= _LONGEST_TAG else f"{tag[: _LONGEST_TAG - 1]}…"


def _verdict(findings: Findings) -> str:
    """Return the last line: whether a run could start."""
    said = [counted(len(findings.problems), "mistake"), counted(len(findings.warnings), "warning")]
    if findings.problems:
        return " and ".join(said[: 1 + bool(findings.warnings)])
    return f"nothing is wrong; {said[1]}" if findings.warnings else "everything is in order"
