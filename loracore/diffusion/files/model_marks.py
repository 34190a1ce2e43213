"""A base model's marks against the options of a run: which of them follow, contradict or ignore it; no torch here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from loracore.config.config import Config, Finding
from loracore.config.options import ModelOptions
from loracore.diffusion.files.folders import LocalFolder, given_path, open_folder
from loracore.diffusion.files.written_marks import TERMINAL, Mark, Marks, V, file_marks, folder_marks, tensor_marks
from loracore.diffusion.options import DdpmOptions
from loracore.errors import ConfigError, Problem
from loracore.weights.headers import is_pickle
from loracore.weights.options import ConvertOptions, ExtractOptions, MergeOptions

_MODEL, _IGNORE = "pretrained_model_name_or_path", "ignore_model_marks"

_log = logging.getLogger(__name__)


def mark_findings(config: Config) -> Iterator[Finding]:
    """Give what a sound model on this disk says and the options lack or contradict; of a pickle nothing.

    Raises DataError for a scheduler whose configuration is damaged.
    """
    path = given_path(config[ModelOptions].pretrained_model_name_or_path or "")
    if config[ModelOptions].pretrained_model_name_or_path is None or not _looked_at(path):
        return
    yield from compared(folder_marks(LocalFolder(path)) if path.is_dir() else file_marks(path), config, str(path))


def compared(marks: Marks, config: Config, model: str) -> Iterator[Finding]:
    """Give a finding for each mark of ``model`` that the options do not follow; given options contradict, others yield.

    With ``ignore_model_marks`` the options stand, and each contradiction is a note. Commands for weight files train
    nothing: there only what a mark implies counts, for the header of what they write.
    """
    found = _compared(marks, config, model)
    trains = not any(table in config for table in (MergeOptions, ConvertOptions, ExtractOptions))
    yield from (finding for finding in found if trains or finding.fate == "implied")


def _compared(marks: Marks, config: Config, model: str) -> Iterator[Finding]:
    if config[DdpmOptions].ignore_model_marks:
        yield from _ignored(marks, config, model)
    elif marks.foreign:
        message = (
            f"the base model learnt neither noise nor v of DDPM, which is all that is trained here: {_told(marks)}"
        )
        fix = f"give a model that did, or add {_IGNORE} to train as the options say"
        yield Finding("unsupported", _MODEL, message, fix)
    else:
        impossible = _contradiction(marks)
        yield from _followed(marks, config, model) if impossible is None else (impossible,)


def _told(marks: Marks) -> str:
    return ", ".join((*marks.foreign, *marks.unknown))


def _ignored(marks: Marks, config: Config, model: str) -> Iterator[Finding]:
    """Give a note for each mark that does not count; one of its own when there is none."""
    options = dict(config)
    against = [mark for mark in marks.of_options if options[mark.option] != mark.value]
    for mark in against:
        message = f"{_state(config, mark.option)}, but {mark.words}: {_IGNORE} lets the option stand"
        yield Finding("without effect", mark.option, message, where=model)
    if told := _told(marks):
        message = f"{told}: {_IGNORE} lets the options stand, and {_objective(config)} is trained"
        yield Finding("without effect", _MODEL, message, where=model)
    elif not against:
        message = f"{_IGNORE} has no effect: the base model says nothing that the options contradict"
        yield Finding("without effect", _IGNORE, message, "leave it out")


def _followed(marks: Marks, config: Config, model: str) -> Iterator[Finding]:
    options = dict(config)
    for words in marks.unknown:
        message = f"{words}, of which nothing is known here: {_objective(config)} is trained"
        yield Finding("without effect", _MODEL, message, f"give or leave out {V}, as the model needs it", where=model)
    predicts_v = options[V] or any(mark.option == V and mark.value for mark in marks.of_options)
    for mark in marks.of_options:
        name = mark.option
        if options[name] == mark.value:
            continue
        if name == TERMINAL and not predicts_v:
            message = f"{name} is off: {mark.words}, which is not believed of a model that predicts noise"
            yield Finding("without effect", name, message, f"add {V} if it predicts v", where=model)
        elif config.given(name):
            fix = f"leave {name} out to follow the model, or add {_IGNORE} to train as the options say"
            yield Finding("wrong", name, f"{_state(config, name)}, but {mark.words}", fix)
        else:
            yield Finding("implied", name, f"{name} is on: {mark.words}", where=model, value=mark.value)


def check_marks(config: Config, names: Iterable[str]) -> None:
    """Compare with a model that ``mark_findings`` cannot look at, on the hub or a pickle; log what is ignored.

    ``names`` are those of its tensors. Raises ConfigError when the options are not what the model says: it is too late
    for them to follow.
    """
    model = config[ModelOptions].pretrained_model_name_or_path or ""
    path = given_path(model)
    if _looked_at(path):
        return
    marks = tensor_marks(names) if path.is_file() else folder_marks(open_folder(model))
    findings = list(compared(marks, config, model))
    for finding in findings:
        if finding.fate == "without effect":
            _log.warning("%s", finding.problem(config))
    words = {mark.option: mark.words for mark in marks.of_options}
    problems = [_too_late(finding, words, config) for finding in findings if finding.fate != "without effect"]
    if problems:
        raise ConfigError.of(problems)


def _looked_at(path: Path) -> bool:
    """Tell whether a model can be looked at without torch and the hub."""
    return path.is_dir() or (path.is_file() and not is_pickle(path))


def _too_late(finding: Finding, words: Mapping[str, str], config: Config) -> Problem:
    """Return a finding as a problem: what a model implies must be given once its files are open."""
    if finding.fate != "implied":
        return finding.problem(config)
    fix = f"add --{finding.option}, or --{_IGNORE} to train as the options say"
    return Problem(f"{finding.option} is off, but {words[finding.option]}", finding.where, fix)


def _contradiction(marks: Marks) -> Finding | None:
    """Return the error of two marks: noise is predicted, but the schedule ends in noise alone, as is meant for v."""
    noise = _first(marks, V)
    terminal = _first(marks, TERMINAL)
    if noise is None or noise.value or terminal is None:
        return None
    message = f"the base model contradicts itself: {noise.words}, but {terminal.words}, which is for v"
    fix = f"say what it is by {V} and {TERMINAL}, on or off, and add {_IGNORE}"
    return Finding("wrong", _MODEL, message, fix)


def _first(marks: Marks, option: str) -> Mark | None:
    return next((mark for mark in marks.of_options if mark.option == option), None)


def _state(config: Config, option: str) -> str:
    return f"{option} is {'on' if dict(config)[option] else 'off'}"


def _objective(config: Config) -> str:
    return "v" if config[DdpmOptions].v_parameterization else "noise"
