"""``loracore train``: train a network and save it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import click

from loracore.cli.fsdp import wanted_sharding
from loracore.cli.keeping_compiled import keep_compiled
from loracore.cli.launching import leave_to_processes, rank
from loracore.cli.request import Request, read_request
from loracore.cli.resolved import ResolvedConfig
from loracore.cli.resume_command import StandingStates, resume_command
from loracore.cli.run_command import run_command
from loracore.collector import collecting_later
from loracore.config.config import Config
from loracore.config.dataset_spec import DatasetSpec
from loracore.config.datasets import read_datasets
from loracore.config.options import SavingOptions, StateOptions
from loracore.config.plugin_findings import dataset_findings
from loracore.config.secret_values import secret_names
from loracore.config.toml_file import TomlFile
from loracore.errors import ConfigError, Problem
from loracore.training.results.outputs import in_the_way, result_files
from loracore.training.state.names import LATEST

_INTERRUPTED = 130


def data_problems(config: Config, document: TomlFile | None) -> Sequence[Problem]:
    """Return what is wrong with the data sets."""
    try:
        read_datasets(config, document)
    except ConfigError as error:
        return error.problems
    return ()


def result_problems(config: Config, _document: TomlFile | None = None) -> Sequence[Problem]:
    """Return the results that a run must not replace, as far as can be told before its state is looked for.

    To be told with other mistakes: a run alone, which holds its folder, knows for certain.
    """
    saving, resume = config[SavingOptions], config[StateOptions].resume
    if saving.output_dir is None or saving.overwrite:
        return ()
    files = result_files(saving)
    if resume == LATEST or (resume is not None and files.states.holds(Path(resume).expanduser())):
        return ()  # a run that goes on replaces its own
    return in_the_way(files)


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


def _read(words: Sequence[str], needs: Collection[str]) -> Request:
    """Read the request; when it is wrong, with all else that a run would refuse."""
    return read_request(words, needs, also=lambda *known: [*data_problems(*known), *result_problems(*known)])


@run_command(needs=("arch", "pretrained_model_name_or_path", "output_dir"), read=_read)
def train(request: Request) -> None:
    """Train a network and save it; the path of the final file is printed."""
    try:
        request, datasets = with_datasets(request)
    except ConfigError as error:
        raise ConfigError.of([*error.problems, *result_problems(request.config)]) from error
    sharding = wanted_sharding(request.config)
    leave_to_processes(request.config)
    keep_compiled(request.config)

    with collecting_later():
        from loracore.training import train as training  # brings torch: options can no longer be wrong
    from loracore.training.steps.control import Interrupted
    from loracore.training.watchdogs.not_finite import NotFiniteError
    from loracore.training.watchdogs.skipped import SkippedStepsError

    request.plugins.register(ResolvedConfig(request.config, request.document), name="resolved config")
    states = StandingStates()
    request.plugins.register(states, name="standing states")
    try:
        path = training.train(request.config, request.plugins, datasets, request.notes, sharding)
    except Interrupted as interrupt:
        say_how_to_go_on(request.config, states, f"interrupted behind step {interrupt.step}", interrupt.step)
        raise click.exceptions.Exit(_INTERRUPTED) from interrupt
    except (SkippedStepsError, NotFiniteError):
        raise  # what they advise is another way: a resume would come to the same end
    except (Exception, KeyboardInterrupt):
        if states.newest is not None:
            say_how_to_go_on(request.config, states, "the run ended too early")
        raise
    if path is not None:
        click.echo(path)


def say_how_to_go_on(config: Config, states: StandingStates, what: str, step: int | None = None) -> None:
    """Say on stderr what happened, behind which ``step``, and with which command the run goes on, if with any."""
    if rank():
        return
    if states.newest is None:
        click.echo(f"{what}; no state of it is saved", err=True)
        return
    saved, path = states.newest
    stands = "; it is saved" if step == saved else f"; step {saved} is the last that is saved"
    flags = [f"--{name}" for name in secret_names(config) if config.given(name) and config.place(name) == f"--{name}"]
    again = f" (give {' and '.join(flags)} again)" if flags else ""
    click.echo(f"{what}{stands}; go on{again} with:", err=True)
    click.echo(resume_command(click.get_current_context().args, path, secret_names(config)), err=True)
