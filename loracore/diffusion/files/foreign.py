"""Files and folders that are no base model of an architecture, told from names alone; no torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loracore.diffusion.files.folders import HubFolder, ModelFolder, read_config
from loracore.diffusion.files.hub import absent_model
from loracore.errors import DataError
from loracore.weights.headers import is_pickle, pickle_refused, read_header

#: Part of a tensor's name, and what a file with such a tensor is.
Marks = Sequence[tuple[str, str]]

ADAPTERS: Marks = (
    (".lora_down.", "a LoRA, not a base model; give it as network_weights"),
    (".lora_up.", "a LoRA, not a base model; give it as network_weights"),
    (".lora_A.", "a LoRA, not a base model; give it as network_weights"),
    (".hada_w1_a", "a LoHa, not a base model; give it as network_weights"),
    (".lokr_w1", "a LoKr, not a base model; give it as network_weights"),
)


@dataclass(frozen=True, slots=True)
class Family:
    """How an architecture tells its own models from others."""

    name: str  # in messages
    denoiser: str  # the denoiser's folder in the diffusers layout
    pipeline: str  # the beginning of diffusers' names for its pipelines
    others: Marks  # other architectures: in tensors' names, or at the beginning of their pipelines' names
    fix: str

    def other(self, kind: str, where: Path | str) -> DataError:
        """Return the error that this is something else."""
        return DataError(f"this is {kind}", where=str(where), fix=self.fix)

    def check_marks(self, names: Iterable[str], path: Path) -> None:
        """Raise DataError when a file's names are those of a network or of another architecture."""
        listed = list(names)
        for mark, kind in (*ADAPTERS, *self.others):
            if any(mark in name for name in listed):
                raise self.other(kind, path)

    def unknown(self, names: Iterable[str], path: Path) -> DataError:
        """Return the error that nothing of a file is known."""
        shown = ", ".join(sorted(names)[:3]) or "none at all"
        message = f"this is no {self.name} checkpoint: its first tensors are {shown}"
        return DataError(message, where=str(path), fix=self.fix)

    def denoiser_config(self, folder: ModelFolder) -> dict[str, Any]:
        """Return the denoiser's configuration; raises DataError for other pipelines, and when there is none."""
        needed = f"{self.denoiser}/config.json"
        if isinstance(folder, HubFolder) and folder.find(needed) is None:
            raise absent_model(folder.name, needed)
        pipeline = str((read_config(folder, "model_index.json") or {}).get("_class_name", ""))
        if pipeline and not pipeline.startswith(self.pipeline):
            known = (kind for mark, kind in self.others if pipeline.startswith(mark))
            raise self.other(next(known, f"a model for {pipeline}"), folder.name)
        config = read_config(folder, needed)
        if config is None:
            message = f"there is no {needed}, so this is no {self.name} model in the diffusers layout"
            fix = f"give the folder that holds {self.denoiser}, vae, text_encoder, text_encoder_2"
            raise DataError(message, where=folder.name, fix=fix)
        return config


def header_names(path: Path, *, allow_pickle: bool) -> dict[str, tuple[int, ...]] | None:
    """Return a checkpoint's shapes by name; None of a pickle that is allowed. Raises DataError for others."""
    if not is_pickle(path):
        return dict(read_header(path).shapes)
    if not allow_pickle:
        raise pickle_refused(path)
    return None
