"""What stands in a base model's files about what it learnt to predict, and of what noise; no torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from loracore.diffusion.files.folders import ModelFolder, read_config
from loracore.weights.headers import read_header

V, TERMINAL = "v_parameterization", "zero_terminal_snr"
#: Empty tensors that say how a model was trained (ComfyUI's convention), and the option that each of them means.
_TENSORS: Mapping[str, str] = MappingProxyType({"v_pred": V, "ztsnr": TERMINAL})
#: Those of models trained on the noise of Karras et al. 2022 (arXiv 2206.00364, EDM), whose inputs are scaled too.
_EDM_TENSORS = ("edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min")
MARK_TENSORS = (*_TENSORS, *_EDM_TENSORS)
_SPECIFIED = "modelspec.prediction_type"  # https://github.com/Stability-AI/ModelSpec
_SCHEDULER = "scheduler/scheduler_config.json"
#: Whether v is meant by what the specification and diffusers call predictions.
_PREDICTS_V: Mapping[str, bool] = MappingProxyType({"v": True, "v_prediction": True, "epsilon": False})
#: What they call predictions of other things: of the picture, and of the velocity of flow matching.
_FOREIGN_WORDS = ("sample", "flow_prediction")
#: What the names of diffusers' schedulers begin with that are of other noise than DDPM's.
_FOREIGN_SCHEDULERS = ("EDM", "FlowMatch")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a model says of one option."""

    option: str
    value: bool
    words: str  # in messages: "the checkpoint is marked 'v_pred'"


@dataclass(frozen=True, slots=True)
class Marks:
    """What a model says of itself, each in words for messages."""

    of_options: tuple[Mark, ...] = ()
    foreign: tuple[str, ...] = ()  # it learnt neither noise nor v of DDPM
    unknown: tuple[str, ...] = ()  # nobody here knows what is meant


def tensor_marks(names: Iterable[str]) -> Marks:
    """Return what the names of a checkpoint's tensors say."""
    held = frozenset(names)
    found = (Mark(option, value=True, words=_marked(name)) for name, option in _TENSORS.items() if name in held)
    return Marks(tuple(found), tuple(_marked(name) for name in _EDM_TENSORS if name in held))


def file_marks(path: Path) -> Marks:
    """Return what a .safetensors checkpoint says; a tensor counts more than the header, which merges copy unread."""
    header = read_header(path)
    marks, said = tensor_marks(header.shapes), header.metadata.get(_SPECIFIED, "")
    by_tensor = next((mark for mark in marks.of_options if mark.option == V), None)
    if marks.foreign or not said.strip():
        return marks
    if by_tensor is None:
        told = _prediction(said, f"the checkpoint's {_SPECIFIED} is '{said}'")
        return replace(told, of_options=(*marks.of_options, *told.of_options))
    if _PREDICTS_V.get(_plain(said)):
        return marks
    words = f"{by_tensor.words} (its {_SPECIFIED}, '{said}', is not believed)"
    others = (mark for mark in marks.of_options if mark is not by_tensor)
    return replace(marks, of_options=(replace(by_tensor, words=words), *others))


def folder_marks(folder: ModelFolder) -> Marks:
    """Return what the scheduler of a folder says: its schedule's end only where it is on, as off is any file's default.

    Raises DataError when its configuration is damaged.
    """
    scheduler = read_config(folder, _SCHEDULER) or {}
    kind, said = scheduler.get("_class_name"), scheduler.get("prediction_type")
    if isinstance(kind, str) and kind.startswith(_FOREIGN_SCHEDULERS):
        return Marks(foreign=(f"the model's {_SCHEDULER} is of an {kind}",))
    words = f"the model's {_SCHEDULER} has prediction_type '{said}'"
    marks = _prediction(said, words) if isinstance(said, str) else Marks()
    if scheduler.get("rescale_betas_zero_snr") is not True:
        return marks
    terminal = Mark(TERMINAL, value=True, words=f"the model's {_SCHEDULER} has rescale_betas_zero_snr")
    return replace(marks, of_options=(*marks.of_options, terminal))


def _prediction(said: str, words: str) -> Marks:
    """Return what a word for a prediction says, which ``words`` tell with its place."""
    plain = _plain(said)
    if plain in _PREDICTS_V:
        return Marks((Mark(V, _PREDICTS_V[plain], words),))
    return Marks(foreign=(words,)) if plain in _FOREIGN_WORDS else Marks(unknown=(words,))


def _plain(said: str) -> str:
    return said.strip().lower()


def _marked(name: str) -> str:
    return f"the checkpoint is marked '{name}'"
