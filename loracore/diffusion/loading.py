"""Empty modules → filled ones: names and shapes are checked against the file before any weight is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn

from loracore.diffusion.quiet import quiet_libraries
from loracore.diffusion.weight_names import Names
from loracore.diffusion.weights import Weights
from loracore.errors import DataError, Problem

#: Tensors that old files carry beside the weights; nothing reads them.
_LEFTOVERS = ("position_ids", "logit_scale")
_SHOWN = 5


@dataclass(frozen=True, eq=False, slots=True)
class EmptyPart:
    """One part of a model, built without weights, and where its weights are."""

    label: str  # for messages: "U-Net"
    module: nn.Module  # every parameter on the meta device
    weights: Weights | None  # None: only its configuration is there
    names: Names
    prefix: str = ""  # of this part's tensors in the file
    unused: frozenset[str] = frozenset()  # names in the file, behind the prefix, that this module has no use for
    folder: str = ""  # where its weights are looked for, for messages

    def problems(self) -> Iterator[Problem]:
        """Give what does not fit between the module and its file; reads no weights."""
        if self.weights is None:
            return
        shapes, where = self.weights.shapes, str(self.weights.origin)
        state = self.module.state_dict()
        missing = [place.name for key, place in self.names.items() if key in state and place.name not in shapes]
        if missing:
            yield Problem(f"{self.label}: {_listed(missing)} missing", where)
        for key, place in self.names.items():
            expected = place.file_shape(tuple(state[key].shape))
            if place.name in shapes and shapes[place.name] != expected:
                message = f"{self.label}: {place.name} has shape {list(shapes[place.name])}, not {list(expected)}"
                yield Problem(message, where)
        unknown = sorted(self._unknown())
        if unknown:
            yield Problem(f"{self.label}: {_listed(unknown)} unknown", where)

    def _unknown(self) -> Iterator[str]:
        taken = {place.name for place in self.names.values()}
        for name in self.weights.shapes if self.weights else ():
            tail = name.removeprefix(self.prefix)
            known = name in taken or tail in self.unused or tail.endswith(_LEFTOVERS)
            if name.startswith(self.prefix) and not known:
                yield name


def check_parts(parts: Iterable[EmptyPart], *, weights_needed: bool) -> None:
    """Raise DataError with everything that does not fit, or lacks weights, before any weight is read."""
    listed = list(parts)
    problems = [_first_few(list(part.problems())) for part in listed]
    found = [problem for several in problems for problem in several]
    if weights_needed:
        found += [_without_weights(part) for part in listed if not part.weights]
    if found:
        raise DataError.of(found)


def _without_weights(part: EmptyPart) -> Problem:
    message = f"{part.label}: no weights found, only its configuration"
    return Problem(message, part.folder, "its .safetensors file belongs there; download the model again")


def fill_part(part: EmptyPart, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Return the part's module with its weights, frozen, in evaluation mode; on "meta" nothing is read."""
    if device.type != "meta" and part.weights is not None:
        state = _read_state(part, part.weights, device, dtype)
        part.module.load_state_dict(state, strict=True, assign=True)
    with quiet_libraries():  # diffusers warns of layers to keep in float32, and names none
        return part.module.to(device=device, dtype=dtype).requires_grad_(requires_grad=False).eval()


@contextmanager
def building_quietly() -> Iterator[None]:
    """Build modules without weights, and keep what the libraries log about their configurations to themselves."""
    with quiet_libraries(), init_empty_weights(include_buffers=False):
        yield


def _read_state(part: EmptyPart, weights: Weights, device: torch.device, dtype: torch.dtype) -> Mapping[str, Tensor]:
    """Return the module's state; a file tensor that several of its tensors share is read once."""
    keys: dict[str, list[str]] = {}
    for key, place in part.names.items():
        keys.setdefault(place.name, []).append(key)
    state: dict[str, Tensor] = {}
    for name, tensor in weights.read(list(keys), device):
        for key in keys[name]:
            state[key] = part.names[key].from_file(tensor).to(dtype)
    return state


def _first_few(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= _SHOWN:
        return problems
    rest = Problem(f"and {len(problems) - _SHOWN} more tensors that do not fit", problems[0].where)
    return [*problems[:_SHOWN], rest]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} tensors ({shown}{more}) are" if len(names) > 1 else f"the tensor {shown} is"
