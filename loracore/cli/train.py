"""``loracore train``: train a network and save it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from loracore.cli.launching import leave_to_processes
from loracore.cli.request import Request, read_request
from loracore.cli.resolved import ResolvedConfig
from loracore.cli.resume_command import resume_command
from loracore.cli.run_command import run_command
from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.datasets import read_datasets
from loracore.config.options import DataOptions
from loracore.config.plugin_findings import dataset_findings
from loracore.config.toml_file import TomlFile
from loracore.errors import ConfigError, Problem

if TYPE_CHECKING:
    from loracore.training.control import Interrupted

_INTERRUPTED = 130


def data_problems(config: Config, document: TomlFile | None) -> Sequence[Problem]:
    """Return what is wrong with the data sets, as far as their options are known."""
    try:
        if DataOptions in config:
            read_datasets(config, document)
    except ConfigError as error:
        return error.problems
    return ()


def read_with_data(words: Sequence[str], needs: Collection[str]) -> Request:
    """Read the request; when it is wrong, with the mistakes of the data sets."""
    return read_request(words, needs, also=data_problems)


def with_datasets(request: Request) -> tuple[Request, tuple[DatasetSpec, ...]]:
    """Return the request, with what the plugins note of its data sets, and these.

    The config stays without data sets: training puts in those that it is given. Raises ConfigError for data sets that
    are wrong, or that a plugin cannot take.
    """
    datasets = read_datasets(request.config, request.document)
    known = request.config.with_datasets(datasets)
    problems, notes = dataset_findings(request.plugins.hook, known, request.notes)
    if problems:
        raise ConfigError.of(problems)
    return replace(request, notes=(*request.notes, *notes)), datasets


@run_command(needs=("arch", "pretrained_model_name_or_path", "output_dir"), read=read_with_data)
def train(request: Request) -> None:
    """Train a network and save it; the path of the final file is printed."""
    request, datasets = with_datasets(request)
    leave_to_processes(request.config)

    from loracore.training import train as training  # brings torch: options can no longer be wrong
    from loracore.training.control import Interrupted

    request.plugins.register(ResolvedConfig(request.config, request.document), name="resolved config")
    try:
        path = training.train(request.config, request.plugins, datasets, request.notes)
    except Interrupted as interrupt:
        _say_interrupted(request.config, interrupt)
        raise click.exceptions.Exit(_INTERRUPTED) from interrupt
    if path is not None:
        click.echo(path)


def _say_interrupted(config: Config, interrupt: Interrupted) -> None:
    """Say on stderr what was saved, and how the run goes on."""
    from loracore.training.environment import secrets

    if interrupt.state is None:
        click.echo(f"interrupted behind step {interrupt.step}", err=True)
        return
    words = click.get_current_context().args
    click.echo(f"interrupted behind step {interrupt.step}; state and network are saved, go on with:", err=True)
    click.echo(resume_command(words, interrupt.state, secrets(config)), err=True)
