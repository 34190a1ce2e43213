"""A file with kohya's names, module by module, as it is written with the names of diffusers or under known keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from loracore.errors import DataError, LoracoreError
from loracore.networks.spellings import MAGNITUDE
from loracore.types import LoraTarget
from loracore.weights.casting import cast
from loracore.weights.convert.diffusers_to_kohya import kohya_piece
from loracore.weights.convert.kohya_to_diffusers import check_modules, layer_piece
from loracore.weights.convert.lora_modules import Factors, Kind, kind_of, read_factors
from loracore.weights.convert.lora_names import Format, other_network
from loracore.weights.convert.nearest import Nearest
from loracore.weights.network_file import NetworkFile, by_key
from loracore.weights.writing import Piece

#: The kinds of modules that files of each format hold as they are; others become the nearest LoRA.
_TAKEN: Mapping[Format, tuple[Kind, ...]] = MappingProxyType({"diffusers": ("lora", "dora"), "kohya": ("lora",)})


@dataclass(frozen=True, eq=False, slots=True)
class KohyaFile:
    """A file's modules under their targets' keys, in the order of the targets."""

    file: NetworkFile
    modules: Mapping[str, Mapping[str, str]]  # by key: what each tensor is, and its name in the file
    targets: Mapping[str, LoraTarget]
    renamed: bool  # whether the file spells any key in another way

    @staticmethod
    def of(file: NetworkFile, names: Mapping[str, str], targets: Mapping[str, LoraTarget]) -> KohyaFile:
        """Return the modules; raises DataError for those that have no place in the model or do not fit theirs."""
        modules = by_key(names)
        check_modules(file, modules, targets)
        ordered = {key: modules[key] for key in targets if key in modules}
        return KohyaFile(file, ordered, targets, any(name != known for name, known in names.items()))

    def others(self, written: Format) -> list[str]:
        """Return the keys of modules that files with these names do not hold as they are."""
        return [key for key in self.modules if self._kind(key) not in _TAKEN[written]]

    def diffusers_pieces(self, nearest: Nearest, folder: str, dtype: torch.dtype | None) -> list[Piece]:
        """Return a pair for each layer. Raises LoracoreError for other networks without a rank for the nearest LoRA."""
        self._need_rank(self.others("diffusers"), nearest)
        dora = [key for key in self.modules if self._kind(key) == "dora"]
        if dora and len(dora) < len(self.modules):
            message = f"{len(dora)} of {len(self.modules)} modules are DoRA, of which PEFT knows all or none"
            fix = "make LoRA of them first: --to kohya --new_rank N"
            raise LoracoreError(message, where=str(self.file.path), fix=fix)
        return [
            layer_piece(self.targets[key], self._factors(key, "diffusers", nearest), folder, dtype, dora=bool(dora))
            for key in self.modules
        ]

    def kohya_pieces(self, nearest: Nearest, dtype: torch.dtype | None) -> list[Piece]:
        """Return the modules under known keys; with a rank, those of other networks as the nearest LoRA."""
        return [
            kohya_piece(self.targets[key], self._factors(key, "kohya", nearest), dtype)
            if nearest.rank and self._kind(key) not in _TAKEN["kohya"]
            else self._copied(key, dtype)
            for key in self.modules
        ]

    def _kind(self, key: str) -> Kind:
        shapes = {kind: self.file.shapes[name] for kind, name in self.modules[key].items()}
        return kind_of(shapes, self.targets[key])

    def _factors(self, key: str, written: Format, nearest: Nearest) -> Callable[[], Factors]:
        if self._kind(key) in _TAKEN[written]:
            return partial(read_factors, self.file, self.modules[key])
        return partial(nearest.factors, self.targets[key], self.modules[key], each=written == "diffusers")

    def _need_rank(self, others: Sequence[str], nearest: Nearest) -> None:
        if not others or nearest.rank:
            return
        names = [name for key in others for name in self.modules[key].values()]
        message = f"this is {self._said(others[0], names)}, which cannot be converted to names of diffusers as it is"
        fix = "give --new_rank N for the nearest LoRA of that rank; how much of the change it keeps is told"
        raise DataError(message, where=str(self.file.path), fix=fix)

    def _said(self, key: str, names: Sequence[str]) -> str:
        found = self.modules[key].get(MAGNITUDE)
        if found is not None and {"lora_up.weight", "lora_down.weight"} <= set(self.modules[key]):
            return f"a DoRA with a magnitude for each column, not row, of the weight ('{found}')"
        return other_network(names) or f"another network ('{names[0]}')"

    def _copied(self, key: str, dtype: torch.dtype | None) -> Piece:
        names = {f"{key}.{kind}": name for kind, name in self.modules[key].items()}
        return Piece(tuple(names), partial(_copy, self.file, names, dtype))


def _copy(file: NetworkFile, names: Mapping[str, str], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Return a module's tensors under new names; alpha stays as exact as it is."""
    found = file.read(list(names.values()))
    tensors = {new: found[name] for new, name in names.items()}
    if dtype is None:
        return tensors
    return {
        new: one if not one.dim() else cast(one, dtype, new, "leave out --save_precision")
        for new, one in tensors.items()
    }
