"""Tensors in weight files: shapes are known at once, values are read on demand."""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from loracore.diffusion.files.folders import HubFolder, ModelFolder
from loracore.errors import DataError
from loracore.weights.headers import Header, Shape, is_pickle, pickle_refused, read_header
from loracore.weights.plain_reading import read_plainly

#: What headers call the kinds of fp8.
_FP8 = {
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
}

#: So few tensors are read without mapping: the library reads a file's whole header each time it is opened.
_FEW = 4

#: What torch's weights_only reader says of a class or function in a pickle.
_REFUSED = re.compile(r"GLOBAL (\S+)")


@dataclass(frozen=True, eq=False, slots=True)
class Weights:
    """The tensors of one or more files; ``read`` gives (name, tensor) for the names asked for, on a device."""

    origin: Path
    shapes: Mapping[str, Shape]
    read: Callable[[Collection[str], torch.device], Iterator[tuple[str, Tensor]]]
    #: As headers spell them ("F8_E4M3"); of pickles only those in fp8.
    dtypes: Mapping[str, str] = field(default_factory=dict)


def open_weights(path: Path, *, allow_pickle: bool, mapped: bool = True) -> Weights:
    """Return the weights of a file: safetensors, or, if allowed, a pickle; its values are memory-mapped if ``mapped``.

    Raises DataError when the file is missing, damaged, cut off, or a pickle that is not allowed.
    """
    if not is_pickle(path):
        header = read_header(path)
        read = partial(_read_mapped, header) if mapped else partial(read_plainly, header)
        return Weights(path, header.shapes, read, header.dtypes)
    if not allow_pickle:
        raise pickle_refused(path)
    tensors = _unpickled(path, mapped=mapped)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dtypes = {name: _FP8[tensor.dtype] for name, tensor in tensors.items() if tensor.dtype in _FP8}
    return Weights(path, shapes, partial(_read_loaded, tensors), dtypes)


def find_weights(
    folder: ModelFolder, part: str, *, half_first: bool, allow_pickle: bool, mapped: bool = True
) -> Weights | None:
    """Return the weights of a part ("unet", "vae", …), or None when the folder has none.

    Half-precision files (``*.fp16.safetensors``) are looked for first when ``half_first``, else last; pickles only when
    there is nothing else. Raises DataError when there are only pickles and ``allow_pickle`` is off.
    """
    files = _weight_files(half_first=half_first)
    safe = _find_first(folder, part, [file for file in files if not _names_pickles(file)])
    if safe is not None:
        return _open(folder, part, safe, allow_pickle=False, mapped=mapped)
    if not allow_pickle and isinstance(folder, HubFolder):
        return None  # looking for a pickle would download it
    pickled = _find_first(folder, part, [file for file in files if _names_pickles(file)])
    return None if pickled is None else _open(folder, part, pickled, allow_pickle=allow_pickle, mapped=mapped)


def _open(folder: ModelFolder, part: str, file: Path, *, allow_pickle: bool, mapped: bool) -> Weights:
    """Return the weights of a file, or of all files that an index (``weight_map``) names."""
    if file.suffix != ".json":
        return open_weights(file, allow_pickle=allow_pickle, mapped=mapped)
    try:
        names = sorted(set(json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        message = "this index of weight files cannot be read"
        raise DataError(message, where=str(file)) from error
    found = {name: folder.find(f"{part}/{name}") for name in names}
    absent = [name for name, path in found.items() if path is None]
    if absent:
        message = f"files that this index names are missing: {', '.join(absent)}"
        raise DataError(message, where=str(file), fix="download the model again")
    shards = [open_weights(path, allow_pickle=allow_pickle, mapped=mapped) for path in found.values() if path]
    return _joined(file, shards)


def _find_first(folder: ModelFolder, part: str, files: list[str]) -> Path | None:
    for file in files:
        found = folder.find(f"{part}/{file}")
        if found is not None:
            return found
    return None


def _names_pickles(file: str) -> bool:
    return is_pickle(Path(file.removesuffix(".index.json")))


def _weight_files(*, half_first: bool) -> list[str]:
    """Return every name that diffusers and transformers give to a part's weights, the best first."""
    stems = ("diffusion_pytorch_model", "model")
    half = [file for stem in stems for file in (f"{stem}.fp16.safetensors", f"{stem}.safetensors.index.fp16.json")]
    full = [file for stem in stems for file in (f"{stem}.safetensors", f"{stem}.safetensors.index.json")]
    pickles = ["diffusion_pytorch_model.bin", "pytorch_model.bin", "pytorch_model.bin.index.json"]
    return [*half, *full, *pickles] if half_first else [*full, *half, *pickles]


def _joined(origin: Path, shards: Sequence[Weights]) -> Weights:
    """Return the weights of several files as one."""
    shapes = {name: shape for shard in shards for name, shape in shard.shapes.items()}
    dtypes = {name: dtype for shard in shards for name, dtype in shard.dtypes.items()}
    return Weights(origin, shapes, partial(_read_shards, shards), dtypes)


def _read_mapped(header: Header, names: Collection[str], device: torch.device) -> Iterator[tuple[str, Tensor]]:
    if len(names) <= _FEW:
        yield from read_plainly(header, names, device)
        return
    place = "cpu" if device.type == "cpu" else str(device)  # the library knows no "cpu:0"
    with safe_open(header.path, framework="pt", device=place) as file:
        for name in names:
            yield name, file.get_tensor(name)


def _read_loaded(
    tensors: Mapping[str, Tensor], names: Collection[str], device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    return ((name, tensors[name].to(device)) for name in names)


def _read_shards(
    shards: Sequence[Weights], names: Collection[str], device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    for shard in shards:
        yield from shard.read([name for name in names if name in shard.shapes], device)


def _unpickled(path: Path, *, mapped: bool) -> dict[str, Tensor]:
    """Return a pickle's tensors, which stand at the top or under ``state_dict``."""
    try:
        with warnings.catch_warnings():  # of a newer protocol: when that is no obstacle, nobody need know
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except OSError as error:
        message = f"the file cannot be read: {error.strerror or error}"
        raise DataError(message, where=str(path)) from error
    except Exception as error:  # what is no pickle fails anywhere in the reader, with KeyError and the like
        raise _unreadable_pickle(path, error) from error
    state = found.get("state_dict", found) if isinstance(found, dict) else {}
    tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    if not tensors:
        message = "this pickle holds no tensors by name"
        raise DataError(message, where=str(path), fix="give a .safetensors file")
    return tensors


def _unreadable_pickle(path: Path, error: Exception) -> DataError:
    """Return the error of a pickle that weights_only does not read, code in it told by its name."""
    code = _REFUSED.search(str(error))
    if code is None:
        message = "this is no pickle of weights, or it is damaged; code and objects in a pickle are never read"
        return DataError(message, where=str(path), fix="download it again, or give a .safetensors file")
    message = f"this pickle holds more than weights: it asks for {code[1]}, and code in a pickle is never run"
    return DataError(message, where=str(path), fix="give a .safetensors file")
