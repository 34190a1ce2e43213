"""Empty modules → filled ones: names and shapes are checked against the file before any weight is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from loracore.config.config import Config
from loracore.diffusion.files.weights import Weights
from loracore.diffusion.options import VaeOptions
from loracore.diffusion.quiet import quiet_libraries
from loracore.errors import ConfigError, DataError, Problem
from loracore.weights.layout import Names

#: Tensors that old files carry beside the weights; nothing reads them.
_LEFTOVERS = ("position_ids", "logit_scale")
#: What files with a scale beside each fp8 matrix have, whose numbers alone mean nothing.
_SCALED = ("scaled_fp8", ".scale_weight", ".weight_scale")
#: Kinds of fp8 that are no form for weights, as headers name them, and why.
_REFUSED = {
    "F8_E5M2": "float8_e5m2, which keeps two bits of each weight's fraction",
    "F8_E5M2FNUZ": "float8_e5m2fnuz, which keeps two bits of each weight's fraction",
    "F8_E4M3FNUZ": "float8_e4m3fnuz, whose exponents other devices read wrongly",
}
_FP8 = torch.float8_e4m3fn
_SHOWN = 5


@dataclass(frozen=True, eq=False, slots=True)
class EmptyPart:
    """One part of a model, built without weights, and where its weights are."""

    label: str  # for messages: "U-Net"
    module: nn.Module  # every parameter on the meta device
    weights: Weights | None  # None: only its configuration is there
    names: Names
    prefix: str = ""  # of this part's tensors in the file
    unused: tuple[str, ...] = ()  # beginnings of names, behind the prefix, that this module has no use for
    folder: str = ""  # where its weights are looked for, for messages
    supplied: Mapping[str, Tensor] = field(default_factory=dict)  # what the file may leave out, by the module's names
    config: Mapping[str, Any] = field(default_factory=dict)  # what the module was built from

    def problems(self) -> Iterator[Problem]:
        """Give what does not fit between the module and its file; reads no weights."""
        if self.weights is None:
            return
        shapes, where = self.weights.shapes, str(self.weights.origin)
        own = [name for name in shapes if name.startswith(self.prefix)]
        if any(name.endswith(_SCALED) for name in own):
            message = (
                f"{self.label}: its fp8 matrices have scales of their own beside them, which loracore does not read"
            )
            yield Problem(message, where, "give the file without 'scaled' in its name, or one in fp16 or bf16")
            return
        yield from _dtype_problems(self.label, self.weights, own)
        state = self.module.state_dict()
        missing = [place.name for key, place in self.names.items() if key in state and place.name not in shapes]
        if missing:
            yield Problem(f"{self.label}: {_listed(sorted(set(missing)))} missing", where)
        for key, place in self.names.items():
            expected = place.file_shape(tuple(state[key].shape))
            if place.name in shapes and shapes[place.name] != expected:
                message = f"{self.label}: {place.name} has shape {list(shapes[place.name])}, not {list(expected)}"
                yield Problem(message, where)
        unknown = sorted(self._unknown(own))
        if unknown:
            yield Problem(f"{self.label}: {_listed(unknown)} unknown", where)

    def tensors(self, keys: Collection[str], device: torch.device) -> Iterator[tuple[str, Tensor]]:
        """Give (the module's name, tensor) in the file's own dtype; what several tensors share is read once.

        Raises DataError when there are no weights.
        """
        if self.weights is None:
            raise DataError.of([_without_weights(self)])
        yield from ((key, self.supplied[key].to(device)) for key in keys if key in self.supplied)
        shared: dict[str, list[str]] = {}
        for key in keys:
            if key not in self.supplied:
                shared.setdefault(self.names[key].name, []).append(key)
        for name, tensor in self.weights.read(list(shared), device):
            yield from ((key, self.names[key].from_file(tensor)) for key in shared[name])

    def in_fp8(self, key: str) -> bool:
        """Tell whether the file holds this tensor of the module in float8_e4m3fn."""
        place = self.names.get(key)
        return place is not None and self.weights is not None and self.weights.dtypes.get(place.name) == "F8_E4M3"

    def _unknown(self, own: Iterable[str]) -> Iterator[str]:
        taken = {place.name for place in self.names.values()}
        for name in own:
            tail = name.removeprefix(self.prefix)
            if not (name in taken or tail.startswith(self.unused) or tail.endswith(_LEFTOVERS)):
                yield name


@dataclass(frozen=True, slots=True)
class Precision:
    """The dtypes that a part's tensors get: norms, biases, embeddings and convolutions always ``rest``."""

    rest: torch.dtype
    #: Of the matrices of Linear layers; None: ``rest``, but fp8 where the file has fp8. Not for a VAE: nothing lets it
    #: compute with fp8.
    matrices: torch.dtype | None = None
    float32: tuple[str, ...] = ()  # endings of names whose tensors would be float16 but must not

    def of(self, key: str, *, matrix: bool, in_fp8: bool) -> torch.dtype:
        """Return the dtype of one tensor."""
        chosen = self.rest
        if matrix:
            chosen = self.matrices or (_FP8 if in_fp8 else self.rest)
        return torch.float32 if chosen == torch.float16 and key.endswith(self.float32) else chosen


def precisions(parts: Iterable[str], dtype: torch.dtype, config: Config) -> dict[str, Precision]:
    """Return the precision of each of these parts, by name: ``dtype``, but of the VAE float32 with no_half_vae."""
    vae = torch.float32 if config[VaeOptions].no_half_vae else dtype
    return {part: Precision(vae, matrices=vae) if part == "vae" else Precision(dtype) for part in parts}


def check_parts(parts: Iterable[EmptyPart], *, weights_needed: bool) -> None:
    """Raise DataError with everything that does not fit, or lacks weights, before any weight is read."""
    listed = list(parts)
    problems = [_first_few(list(part.problems())) for part in listed]
    found = [problem for several in problems for problem in several]
    if weights_needed:
        found += [_without_weights(part) for part in listed if not part.weights]
    if found:
        raise DataError.of(found)


def check_device(option: str, device: str | None, config: Config) -> None:
    """Raise ConfigError when an option asks for a device ("cpu", "cuda", "cuda:1") that this machine has not."""
    own = torch.accelerator.current_accelerator(check_available=True)
    numbered = [] if own is None else [f"{own.type}:{at}" for at in range(torch.accelerator.device_count())]
    if device is None or (device if ":" in device else f"{device}:0") in {"cpu:0", *numbered}:
        return
    fix = f"give one of {', '.join(['cpu', *numbered])}" if numbered else "give cpu, or leave it out"
    raise ConfigError(f"{option} is {device}, which this machine has not", where=config.place(option), fix=fix)


def fill_part(part: EmptyPart, device: torch.device, precision: Precision) -> nn.Module:
    """Return the part's module with its weights, frozen, in evaluation mode; on "meta" nothing is read."""
    module = part.module
    empty = module.state_dict()
    matrices = {f"{name}.weight" for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    given = part.tensors(empty, device) if device.type != "meta" and part.weights is not None else empty.items()
    state = {}
    for key, tensor in given:
        dtype = precision.of(key, matrix=key in matrices, in_fp8=part.in_fp8(key))
        state[key] = tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
    module.load_state_dict(state, strict=True, assign=True)
    with quiet_libraries():  # diffusers warns of layers to keep in float32, and names none
        return module.to(device=device).requires_grad_(requires_grad=False).eval()


@contextmanager
def building_quietly() -> Iterator[None]:
    """Build modules without weights, and keep what the libraries log about their configurations to themselves."""
    with quiet_libraries(), init_empty_weights(include_buffers=False):
        yield


def _without_weights(part: EmptyPart) -> Problem:
    message = f"{part.label}: no weights found, only its configuration"
    return Problem(message, part.folder, "its .safetensors file belongs there; download the model again")


def _dtype_problems(label: str, weights: Weights, own: Iterable[str]) -> Iterator[Problem]:
    for dtype in sorted({weights.dtypes.get(name, "") for name in own} & set(_REFUSED)):
        message = f"{label}: its tensors are in {_REFUSED[dtype]}"
        yield Problem(message, str(weights.origin), "give a file in float8_e4m3fn, fp16 or bf16")


def _first_few(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= _SHOWN:
        return problems
    rest = Problem(f"and {len(problems) - _SHOWN} more tensors that do not fit", problems[0].where)
    return [*problems[:_SHOWN], rest]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} tensors ({shown}{more}) are" if len(names) > 1 else f"the tensor {shown} is"
