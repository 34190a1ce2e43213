"""One network in front of one tiny place: where its adapters come from, and how faults of theirs are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from traceback import walk_tb
from types import FunctionType

import pluggy
import torch
from torch import Tensor

from loracore.config.config import Config
from loracore.errors import LoracoreError
from loracore.networks.adapter import Adapter
from loracore.noise.rng import SampleRng, derive_seed
from loracore.testing.contract.faults import Fault, place, raised_at
from loracore.testing.contract.subject import Subject
from loracore.testing.contract.tiny_layouts import Layout
from loracore.types import LoraTarget

#: The samples of every input.
_POSITIONS = (0, 1)


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """A network that is looked at in front of one layout; adapters are built anew for every look."""

    subject: Subject
    hook: pluggy.HookRelay
    config: Config
    layout: Layout

    def built(self, target: LoraTarget, seed: int = 1) -> Adapter | None:
        """Return the network's answer for a target, torch's generator being seeded as in a run."""
        torch.manual_seed(derive_seed(seed, "init", target.key))
        adapter: Adapter | None = self.hook.build_adapter(target=target, weights=None, config=self.config)
        return adapter

    def new(self, target: LoraTarget, seed: int = 1) -> Adapter:
        """Return an adapter of a layout that is known to get one."""
        adapter = self.built(target, seed)
        assert adapter is not None
        return adapter

    def moved(self, target: LoraTarget) -> Adapter:
        """Return an adapter whose trained parameters have all been moved off their start, always alike."""
        adapter, generator = self.new(target), torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in adapter.trained_parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        return adapter

    def rng(self) -> SampleRng:
        """Return the randomness of two samples' masks, from its beginning."""
        return SampleRng(1, "adapters", 0, _POSITIONS)

    def fault(self, adapter: Adapter, method: str, message: str, fix: str) -> Fault:
        """Return a fault of a method, with its place, or that of the adapter's class where it is inherited."""
        kind = type(adapter)
        own = vars(kind).get(method, kind)
        code = own.fget if isinstance(own, property) else own
        return Fault(f"{kind.__name__}.{method}", place(code), f"{message} ({self.layout.title})", fix)

    def tried(self, adapter: Adapter, method: str, check: Callable[[], Iterable[Fault]]) -> Iterator[Fault]:
        """Give what a check finds; what is raised in it is a fault of the method, or of another that this one calls."""
        try:
            yield from list(check())
        except Exception as error:  # noqa: BLE001  # a stranger's adapter may raise whatever it likes
            said, fix = _told(error), "make it work for every layer that build_adapter gives an adapter"
            raising = _raising(error, type(adapter)) or method
            fault, where = self.fault(adapter, raising, said, fix), raised_at(error, type(adapter).__module__)
            yield replace(fault, where=where) if ":" in where else fault

    def raised(self, hook: str, error: Exception) -> Fault:
        """Return the fault that a hook raises something, with the plugin's own line."""
        where = raised_at(error, self.subject.plugin.module)
        return Fault(hook, where, f"{_told(error)} ({self.layout.title})", "mend this line, or return None")


def _raising(error: Exception, kind: type) -> str:
    """Return the innermost method of the contract that an exception went through; empty where it went through none."""
    names = {name for name in vars(Adapter) if not name.startswith("_") or name == "__init__"}
    own = {one.fget if isinstance(one, property) else one for name in names for one in _versions(kind, name)}
    codes = {one.__code__: one.__name__ for one in own if isinstance(one, FunctionType)}
    passed = [codes[frame.f_code] for frame, _ in walk_tb(error.__traceback__) if frame.f_code in codes]
    return passed[-1] if passed else ""


def _versions(kind: type, name: str) -> list[object]:
    """Return what a class and those that it inherits from have under a name, up to the contract's own."""
    classes = kind.__mro__[: kind.__mro__.index(Adapter)]
    return [vars(one)[name] for one in classes if name in vars(one)]


def _told(error: Exception) -> str:
    said = error.problems[0].message if isinstance(error, LoracoreError) else str(error)
    return f"raises {type(error).__name__}: {said}"


def same_tensors(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    """Tell whether tensors are equal bit for bit; tensors on the meta device are not looked into."""
    pairs = list(zip(one, other, strict=True))
    return all(a.dtype == b.dtype and a.shape == b.shape and (a.is_meta or torch.equal(a, b)) for a, b in pairs)
