"""Whether a network's file is of another architecture than the model that it is given for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from loracore.networks.rates import is_text, part_of
from loracore.networks.spellings import misnamed
from loracore.weights.network_header import other_architecture


@dataclass(frozen=True, eq=False, slots=True)
class Modules:
    """A network's modules beside the places that a model has for them."""

    names: Collection[str]  # of the tensors, as the file has them
    keys: Collection[str]  # of the modules, under the model's own keys where it knows them
    places: Collection[str]  # the model's keys

    @property
    def unknown(self) -> list[str]:
        """Return the keys that have no place, sorted."""
        return sorted(set(self.keys) - set(self.places))


def foreign(modules: Modules, said: Mapping[str, str], own: Callable[[], Mapping[str, str]]) -> str | None:
    """Return the message that a file is of another architecture; None where it may be of this one.

    ``said`` is the file's header, ``own`` gives what this model's files say. The header counts only where modules have
    no place and none of the denoiser's has one: trainers spell a model in more than one way. Of names in another
    layout others say what is to be done.
    """
    shared = set(modules.keys) & set(modules.places)
    if (
        not modules.unknown
        or any(not is_text(part_of(key)) for key in shared)
        or misnamed(modules.names, "") is not None
    ):
        return None
    other = other_architecture(said, own())
    if other is None:
        return None
    return f"the file is of another architecture: its header says '{other[0]}', this run's model is '{other[1]}'"
