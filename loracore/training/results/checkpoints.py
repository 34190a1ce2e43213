"""Writing a network's file: whole or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from loracore.errors import LoracoreError
from loracore.training.metadata.file_form import LENGTH, body_bytes, file_hashes, header_bytes
from loracore.weights.whole_file import whole_file

Format = Literal["safetensors", "ckpt", "pt"]
_ELSEWHERE = "give another --output_dir"


class WorthlessError(LoracoreError):
    """Tensors that are not finite: wherever they were written, nobody could use them."""


def save_dtype(precision: str | None, trained: torch.dtype = torch.float32) -> torch.dtype:
    """Return the dtype of a ``save_precision``; unset means as trained."""
    return {None: trained, "float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def write_network(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], kind: Format = "safetensors"
) -> None:
    """Write a network's file: safetensors with its hashes, or the plain dict as torch saves it, without metadata.

    It takes ``path``'s name after it has been opened again and found whole. Raises LoracoreError when a tensor is not
    finite (WorthlessError), the disk is full, or what is read back is not what was written; the file that may be there
    stays.
    """
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        message = f"{len(bad)} tensors are not finite, for example {bad[0]}: the file is not written"
        raise WorthlessError(message, where=str(path), fix="lower learning_rate")
    with whole_file(path, _ELSEWHERE) as file:
        if kind == "safetensors":
            _write_safetensors(file, tensors, metadata)
        else:
            _write_archive(file, tensors)
        file.flush()
        _check(Path(file.name), path, sorted(tensors), kind)


def _write_safetensors(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the bytes that safetensors would, one tensor after the other: no second copy, and no long hold of the GIL.

    While others hold it, training waits.
    """
    header = header_bytes(tensors, {**metadata, **file_hashes(tensors, metadata)})
    file.write(len(header).to_bytes(LENGTH, "little") + header)
    file.writelines(content for _, content in body_bytes(tensors))


def _write_archive(file: BinaryIO, tensors: Mapping[str, Tensor]) -> None:
    """Write the dict as torch saves it; raises OSError for a full disk, which torch hides behind its own error."""
    try:
        torch.save(dict(tensors), file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def _check(written: Path, path: Path, names: Sequence[str], kind: Format) -> None:
    """Open a file again; raises LoracoreError when it does not hold these tensors."""
    try:
        found = _names(written) if kind == "safetensors" else names if _is_sound_zip(written) else []
    except (SafetensorError, zipfile.BadZipFile) as error:
        raise LoracoreError(f"was written, but cannot be read: {error}", where=str(path), fix=_ELSEWHERE) from error
    if list(found) != list(names):
        raise LoracoreError("was written, but holds something else", where=str(path), fix=_ELSEWHERE)


def _names(path: Path) -> Sequence[str]:
    with safe_open(path, "pt") as file:
        return sorted(file.keys())


def _is_sound_zip(path: Path) -> bool:
    """Tell whether the archive that torch saves is whole: every part has its checksum."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None
