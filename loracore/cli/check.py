"""``loracore check``: the options and pictures of a run, looked at without loading a model."""

from __future__ import annotations

import json as json_format
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import click
import pluggy

from loracore.cli.check_json import described
from loracore.cli.check_text import lines
from loracore.cli.findings import Findings
from loracore.cli.request import read_request
from loracore.cli.run_command import run_command
from loracore.cli.sound_config import sound_config
from loracore.cli.train import data_problems
from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.datasets import read_datasets
from loracore.config.options import TrainingOptions
from loracore.config.plugin_findings import dataset_findings
from loracore.config.sound_datasets import sound_datasets
from loracore.config.toml_file import TomlFile
from loracore.data.reading import reading_of
from loracore.data.report import make_report
from loracore.errors import ConfigError, LoracoreError, Problem, printable

_WRONG = 1  # exit code

_SEEDLESS = "a run draws its seed, and other pictures may be held out: set seed or validation_seed"


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """What the words of a command line ask for, as far as they can be understood."""

    config: Config | None  # without what is wrong; None: nothing is known
    document: TomlFile | None
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()  # options without effect
    hook: pluggy.HookRelay | None = None  # None: something is wrong with the options


def _asked(words: Sequence[str], needs: Collection[str]) -> Asked:
    """Read the words; what is wrong with them is part of the answer, not the end of it."""
    try:
        request = read_request(words, needs)
    except LoracoreError as error:
        sound = sound_config(words, error.problems)
        if sound is None:
            return Asked(None, None, error.problems)
        return Asked(*sound, (*error.problems, *data_problems(*sound)))
    return Asked(request.config, request.document, notes=request.notes, hook=request.plugins.hook)


@run_command(switches={"json": "print one JSON object"}, read=_asked)
def check(asked: Asked, *, json: bool) -> None:
    """Look at options and pictures without loading a model, and say everything that is wrong.

    Every picture is decoded, once in its life. With --arch the options of the architecture are checked too. Leaves with
    exit code 1 when something is wrong.
    """
    findings = _findings(asked, show=not json)
    if json:
        click.echo(json_format.dumps(described(findings)))
    else:
        for line in lines(findings):
            click.echo(printable(line))
    if findings.problems:
        click.get_current_context().exit(_WRONG)


def _findings(asked: Asked, *, show: bool) -> Findings:
    """Look at the pictures, as far as it is known where they are."""
    config = asked.config
    if config is None:
        return Findings(asked.problems, warnings=("the pictures were not looked at: mend the options first",))
    training = config[TrainingOptions]
    datasets, told = _datasets(asked, config)
    if not datasets:
        return Findings(told.problems, told.warnings, told.notes)
    report = make_report(datasets, reading_of(config, training.seed or 0), show=show)
    drawn = training.seed is None and any(one.holds_out and one.validation_seed is None for one in datasets)
    return replace(
        told,
        notes=(*told.notes, _SEEDLESS) if drawn else told.notes,
        problems=(*told.problems, *report.problems),
        warnings=(*told.warnings, *report.warnings),
        training=training,
        datasets=datasets,
        report=report,
    )


def _datasets(asked: Asked, config: Config) -> tuple[tuple[DatasetSpec, ...], Findings]:
    """Return the data sets that can be looked at, and what is to say before the first picture is opened."""
    problems = asked.problems
    if not problems:
        try:
            datasets = read_datasets(config, asked.document)
            return datasets, _told(asked, config.with_datasets(datasets))
        except ConfigError as error:
            problems = error.problems
    sound = sound_datasets(config, asked.document)
    left = tuple(f"{place}: the pictures of this data set were not looked at" for place in sound.left)
    return sound.datasets, Findings(problems, left, asked.notes)


def _told(asked: Asked, config: Config) -> Findings:
    """Return what the plugins have to say now that the data sets are known."""
    problems, notes = dataset_findings(asked.hook, config, asked.notes) if asked.hook is not None else ((), ())
    return Findings(problems, notes=(*asked.notes, *notes))
