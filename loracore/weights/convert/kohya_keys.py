"""Other spellings of kohya's names that files have, under the keys that this trainer writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from torch import Tensor

from loracore.networks.rates import is_text
from loracore.networks.spellings import split_name
from loracore.types import LoraTarget

_KEY = "lora_unet_"
_OFT = "oft_unet_"  # how the field's older OFT files begin their keys
_DOTS = "diffusion_model."  # the original layout's own paths, dots left in
#: What stands before a path of diffusers' layout whose dots became underscores.
UNDERSCORED = (_KEY, "lycoris_", "lora_transformer_")


def known_keys(names: Collection[str], targets: Iterable[LoraTarget]) -> dict[str, str]:
    """Return, for every name of a file, the name under the targets' own keys; strangers keep theirs.

    Known are ``oft_unet_…``, the original path with dots (``diffusion_model.…``, also with PEFT's names of factors),
    and diffusers' path with underscores behind ``lora_unet_`` and others. A layer that is a part of a fused one, or
    whose halves the file swaps, is no target by itself: its tensors would have to change, not only their names.
    """
    targets = list(targets)
    keys, others = {target.key for target in targets}, dict(_aliases(targets))
    found = {name: _known(name, keys, others) for name in names}
    taken = set(names)
    return {name: name if known in taken else known for name, known in found.items()}


def under_known_keys(tensors: Mapping[str, Tensor], targets: Iterable[LoraTarget]) -> dict[str, Tensor]:
    """Return a file's tensors under the targets' own keys, strangers under theirs."""
    names = known_keys(tensors, targets)
    return {names[name]: tensor for name, tensor in tensors.items()}


def _aliases(targets: Iterable[LoraTarget]) -> Iterator[tuple[str, str]]:
    for target in targets:
        if is_text(target.part):
            continue
        yield target.key.replace(_KEY, _OFT, 1), target.key
        if len(target.paths) == 1 and not target.swapped_halves:
            path = target.paths[0].replace(".", "_")
            yield from ((f"{head}{path}", target.key) for head in UNDERSCORED)


def _known(name: str, keys: Collection[str], aliases: Mapping[str, str]) -> str:
    key, _, tensor = name.partition(".")
    if key in keys:
        return name
    if key in aliases:
        return f"{aliases[key]}.{tensor}"
    return _without_dots(name, keys) if name.startswith(_DOTS) else name


def _without_dots(name: str, keys: Collection[str]) -> str:
    """Return the name of a tensor below a path with dots; the longest path that is a key counts."""
    words = name.removeprefix(_DOTS).split(".")
    split = split_name(name)
    for cut in range(len(words) - 1, 0, -1):
        key = _KEY + "_".join(words[:cut])
        if key in keys:
            return f"{key}.{'.'.join(words[cut:]) if split is None else split[1]}"
    return name
