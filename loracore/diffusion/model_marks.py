"""What a base model says of itself: what it predicts, and whether its noise ends in noise alone; no torch here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from loracore.config.config import Config, Finding
from loracore.config.options import ModelOptions
from loracore.diffusion.folders import LocalFolder, ModelFolder, given_path, open_folder, read_config
from loracore.diffusion.options import DdpmOptions
from loracore.errors import ConfigError, Problem
from loracore.weights.headers import is_pickle, read_header

_V, _TERMINAL = "v_parameterization", "zero_terminal_snr"
#: Empty tensors that say how a model was trained (ComfyUI's convention), and the option that each of them means.
TENSOR_MARKS: Mapping[str, str] = MappingProxyType({"v_pred": _V, "ztsnr": _TERMINAL})
_SPECIFIED = "modelspec.prediction_type"  # https://github.com/Stability-AI/ModelSpec
_SCHEDULER = "scheduler/scheduler_config.json"
#: Whether v is meant by what the specification and diffusers call predictions; of other words nothing is said.
_PREDICTS_V: Mapping[str, bool] = MappingProxyType({"v": True, "v_prediction": True, "epsilon": False})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    """What a model says of one option."""

    option: str
    value: bool
    words: str  # in messages: "the checkpoint is marked 'v_pred'"


def tensor_marks(names: Iterable[str]) -> list[Mark]:
    """Return what the names of a checkpoint's tensors say."""
    held = frozenset(names)
    return [
        Mark(option, value=True, words=f"the checkpoint is marked '{name}'")
        for name, option in TENSOR_MARKS.items()
        if name in held
    ]


def file_marks(path: Path) -> Sequence[Mark]:
    """Return what a .safetensors checkpoint says; a tensor counts more than the header, which merges copy unread."""
    header = read_header(path)
    marks, said = tensor_marks(header.shapes), header.metadata.get(_SPECIFIED, "")
    if said in _PREDICTS_V and not any(mark.option == _V for mark in marks):
        marks.append(Mark(_V, _PREDICTS_V[said], f"the checkpoint's {_SPECIFIED} is '{said}'"))
    return marks


def folder_marks(folder: ModelFolder) -> Sequence[Mark]:
    """Return what the scheduler of a folder says: its schedule's end only where it is on, as off is any file's default.

    Raises DataError when its configuration is damaged.
    """
    scheduler = read_config(folder, _SCHEDULER) or {}
    said, marks = scheduler.get("prediction_type"), []
    if isinstance(said, str) and said in _PREDICTS_V:
        marks.append(Mark(_V, _PREDICTS_V[said], f"the model's {_SCHEDULER} has prediction_type '{said}'"))
    if scheduler.get("rescale_betas_zero_snr") is True:
        marks.append(Mark(_TERMINAL, value=True, words=f"the model's {_SCHEDULER} has rescale_betas_zero_snr"))
    return marks


def mark_findings(config: Config) -> Iterator[Finding]:
    """Give what a sound model on this disk says and the options lack or contradict; of a pickle nothing.

    Raises DataError for a scheduler whose configuration is damaged.
    """
    path = given_path(config[ModelOptions].pretrained_model_name_or_path or "")
    if config[ModelOptions].pretrained_model_name_or_path is None or not _looked_at(path):
        return
    yield from compared(folder_marks(LocalFolder(path)) if path.is_dir() else file_marks(path), config, str(path))


def compared(marks: Sequence[Mark], config: Config, model: str) -> Iterator[Finding]:
    """Give a finding for each mark of ``model`` that the options do not follow; given options contradict, others yield.

    With ``ignore_model_marks`` the options stand, and each contradiction is a note.
    """
    options, ignored = dict(config), config[DdpmOptions].ignore_model_marks
    impossible = None if ignored else _contradiction(marks)
    if impossible is not None:
        yield impossible
        return
    for mark in marks:
        name, is_on = mark.option, "off" if mark.value else "on"
        if options[name] == mark.value:
            continue
        if ignored:
            message = f"{name} is {is_on}, but {mark.words}: ignore_model_marks lets the option stand"
            yield Finding("without effect", name, message, where=model)
        elif config.given(name):
            fix = f"leave {name} out to follow the model, or add ignore_model_marks to train as the options say"
            yield Finding("wrong", name, f"{name} is {is_on}, but {mark.words}", fix)
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
    words = {mark.option: mark.words for mark in marks}
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
    fix = f"add --{finding.option}, or --ignore_model_marks to train as the options say"
    return Problem(f"{finding.option} is off, but {words[finding.option]}", finding.where, fix)


def _contradiction(marks: Sequence[Mark]) -> Finding | None:
    """Return the error of two marks: noise is predicted, but the schedule ends in noise alone, as is meant for v."""
    noise = next((mark for mark in marks if mark.option == _V and not mark.value), None)
    terminal = next((mark for mark in marks if mark.option == _TERMINAL), None)
    if noise is None or terminal is None:
        return None
    message = f"the base model contradicts itself: {noise.words}, but {terminal.words}, which is for v"
    fix = f"say what it is by {_V} and {_TERMINAL}, on or off, and add ignore_model_marks"
    return Finding("wrong", "pretrained_model_name_or_path", message, fix)
