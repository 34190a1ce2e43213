"""Names and hashes of the models that a network is trained on."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from loracore.config.config import Config
from loracore.config.options import ModelOptions
from loracore.training.metadata.background import sought
from loracore.weights.hashing import LEGACY_OFFSET, LEGACY_SIZE


class ModelHashes:
    """A model's name and hashes, computed in the background while the run is assembled.

    ``kind`` is what the field's keys call it: "sd_model" is the base model, "vae" one in the place of its own. In the
    place of hashes a folder has "IsADirectory", a file that cannot be read any more "NOFILE", as the field writes.
    """

    def __init__(self, model: str, kind: str = "sd_model", *, wanted: bool = True) -> None:
        path = Path(model)
        self._kind, self._name = kind, path.name if path.exists() else model
        self._found: Future[tuple[str, str]] | None = None
        if wanted and path.exists():
            self._found = sought(partial(_hashes, path), "hash")

    def metadata(self) -> dict[str, str]:
        """Return the name (ss_sd_model_name) and, of what is on disk, both hashes; waits until they are known."""
        name = {f"ss_{self._kind}_name": self._name}
        if self._found is None:
            return name
        legacy, whole = self._found.result()
        return {**name, f"ss_{self._kind}_hash": legacy, f"ss_new_{self._kind}_hash": whole}


def model_hashes(config: Config, *, wanted: bool) -> list[ModelHashes]:
    """Return the hashes of the base model, and of the files that options put in the place of its parts."""
    base = ModelHashes(config[ModelOptions].pretrained_model_name_or_path or "", wanted=wanted)
    return [base, *(ModelHashes(path, kind, wanted=wanted) for kind, path in config.hashed_files().items())]


def _hashes(path: Path) -> tuple[str, str]:
    """Return the short hash of old tools, and SHA-256."""
    if path.is_dir():
        return "IsADirectory", "IsADirectory"
    whole = hashlib.sha256()
    try:
        with path.open("rb") as file:
            file.seek(LEGACY_OFFSET)
            legacy = hashlib.sha256(file.read(LEGACY_SIZE)).hexdigest()[:8]
            file.seek(0)
            while chunk := file.read(1 << 20):
                whole.update(chunk)
    except OSError:
        return "NOFILE", "NOFILE"
    return legacy, whole.hexdigest()
