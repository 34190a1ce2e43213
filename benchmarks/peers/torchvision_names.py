"""torchvision where it is missing: the few names of it that a peer asks for, and no others."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import MappingProxyType, ModuleType

_PACKAGE, _TRANSFORMS = "torchvision", "torchvision.transforms"
_FUNCTIONAL = "torchvision.transforms.functional"
_NOTHING: Mapping[str, object] = MappingProxyType({})


def stand_in_for_torchvision(transforms: Mapping[str, object], functional: Mapping[str, object] = _NOTHING) -> None:
    """Have these names in ``torchvision.transforms`` and its ``functional``, for whatever imports them later."""
    package, middle, last = (ModuleType(name) for name in (_PACKAGE, _TRANSFORMS, _FUNCTIONAL))
    for module in (package, middle, last):
        module.__spec__ = ModuleSpec(module.__name__, None)  # other libraries ask whether there is one
        sys.modules[module.__name__] = module
    vars(package)["transforms"] = middle
    vars(middle).update(transforms, functional=last)
    vars(last).update(functional)
