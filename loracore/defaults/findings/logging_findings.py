"""What is wrong with options of trackers and of the console."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import tomli

from loracore import Finding
from loracore.config.config import Config
from loracore.config.options import LoggingOptions
from loracore.config.tracker_names import IN_FOLDER, TRACKER_PACKAGES, tracker_names
from loracore.errors import did_you_mean


def logging_findings(config: Config) -> Iterator[Finding]:
    """Give what cannot work or does nothing among the options of logging."""
    options = config[LoggingOptions]
    known = {*TRACKER_PACKAGES, "all"}
    if options.log_with is not None and options.log_with not in known:
        guess = did_you_mean(options.log_with, known)
        yield Finding("wrong", "log_with", f"no tracker '{options.log_with}'", guess or f"one of {_listed(known)}")
        return
    names = tracker_names(options.log_with, options.logging_dir)
    yield from _missing(names, config)
    if options.logging_dir is None:
        yield from _without_folder(names, options)
    yield from _tracker_config(options)
    yield from _idle(names, config)
    yield from _console(options)


def _missing(names: tuple[str, ...], config: Config) -> Iterator[Finding]:
    for name in names:
        packages = TRACKER_PACKAGES[name]
        if not any(find_spec(package) for package in packages):
            option = "log_with" if config.given("log_with") else "logging_dir"
            fix = f"pip install {packages[0]}, or leave {option} out: a run writes its events and a report anyway"
            yield Finding("wrong", option, f"the tracker {name} needs the package {packages[0]}", fix)


def _without_folder(names: tuple[str, ...], options: LoggingOptions) -> Iterator[Finding]:
    needing = [name for name in names if name in IN_FOLDER]
    if needing:
        message = f"{' and '.join(needing)} needs a folder to write into"
        yield Finding("wrong", "log_with", message, "give --logging_dir FOLDER")
    elif options.log_prefix is not None:
        yield Finding("without effect", "log_prefix", "without effect: there is no logging_dir")


def _tracker_config(options: LoggingOptions) -> Iterator[Finding]:
    path = options.log_tracker_config
    if path is None:
        return
    try:
        tables = tomli.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        yield Finding("wrong", "log_tracker_config", f"'{path}' cannot be read: {error.strerror or error}")
        return
    except ValueError as error:  # no TOML, or no UTF-8
        yield Finding("wrong", "log_tracker_config", f"'{path}' is no TOML: {error}")
        return
    for name, table in tables.items():
        if name not in TRACKER_PACKAGES or not isinstance(table, dict):
            message = f"'{path}' holds '{name}', which is no table of a tracker"
            yield Finding(
                "wrong", "log_tracker_config", message, f"write tables like [wandb]: {_listed(set(TRACKER_PACKAGES))}"
            )


def _idle(names: tuple[str, ...], config: Config) -> Iterator[Finding]:
    options = config[LoggingOptions]
    if not names:
        for name in ("log_tracker_name", "log_tracker_config", "log_config"):
            if config.given(name):
                yield Finding("without effect", name, "without effect: no tracker is used")
    if "wandb" not in names:
        for name in ("wandb_run_name", "wandb_api_key"):
            if config.given(name):
                yield Finding("without effect", name, "without effect: the tracker wandb is not used")
    elif options.wandb_run_name is not None and options.log_tracker_config is not None:
        message = "without effect: log_tracker_config stands in its place"
        yield Finding("without effect", "wandb_run_name", message, 'write name = "…" in its table [wandb]')


def _console(options: LoggingOptions) -> Iterator[Finding]:
    path = options.console_log_file
    if path is not None and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        message = f"'{path}' cannot be written: it is a folder, or its folder does not exist"
        yield Finding("wrong", "console_log_file", message, "give a file in a folder that exists")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
