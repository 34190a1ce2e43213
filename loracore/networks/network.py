"""A network: a set of adapters in front of a model's layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from loracore.errors import DataError, did_you_mean
from loracore.networks.adapter import Adapter
from loracore.networks.grouped import Pair, Strength, grouped, grouped_forward, is_plain
from loracore.networks.norms import limiting_factor
from loracore.networks.spellings import misnamed
from loracore.networks.stacks import Copies, copied
from loracore.noise.rng import SampleRng
from loracore.types import LoraTarget

#: What other trainers call the changes of a norm's weight and bias.
_OF_NORMS = frozenset({"w_norm", "b_norm"})


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """One target and the adapter that stands in front of it."""

    target: LoraTarget
    adapter: Adapter


@dataclass(frozen=True, eq=False, slots=True)
class NormLimits:
    """What limiting the norms of all adapters came to: scalars on the device."""

    keys_scaled: Tensor  # adapters that were scaled down
    average: Tensor  # norm of a weight change, afterwards
    largest: Tensor


class Network:
    """The adapters of a run, in the order of their targets."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = tuple(entries)
        self.modules = nn.ModuleList(entry.adapter for entry in self.entries)
        self._shadowed: list[tuple[nn.Module, Callable[..., Tensor] | None]] = []
        self._copies: Sequence[Copies] = ()
        self._strength = Strength()

    def attach(self, together: Iterable[Sequence[nn.Module]] = ()) -> None:
        """Put every adapter in front of its layers; the layers' own tensors are left alone.

        Frozen, plain Linear layers whose adapters are `LowRank` compute in one function with them, and those that the
        model calls ``together`` (`Models.together`) as one. The adapters have their device and precision by now.
        """
        pairs, others = self._plain_pairs()
        groups = list(grouped(pairs, together, self._strength))
        for group in groups:
            for place, layer in enumerate(group.layers):
                self._shadow(layer, grouped_forward(group, place))
        for entry, index in others:
            other = entry.target.layers[index]
            self._shadow(other, partial(_adapted, other.forward, entry, index, self._strength))
        stacks = ((one, group.layers[0].weight.dtype) for group in groups for one in (group.down, group.up))
        self._copies = list(Copies.of(stacks))

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Have the low-rank factors copied in the precision of their layers, all at once, for as long as this lasts.

        Forward and backward pass of a micro-batch belong inside; nobody may move the adapters meanwhile. Outside, each
        call makes copies of its own: the results are the same, numbers and gradients.
        """
        with copied(self._copies):
            yield

    def detach(self) -> None:
        """Give the layers back as they were."""
        while self._shadowed:
            layer, former = self._shadowed.pop()
            if former is None:
                del layer.forward
            else:
                layer.forward = former  # what shadowed it before, as float8 weights do
        self._copies = ()

    def scale_outputs(self, multiplier: float) -> None:
        """Multiply what every adapter adds from here on; 1 is as it is trained."""
        self._strength.multiplier = multiplier

    @property
    def multiplier(self) -> float:
        """By how much the adapters are multiplied now."""
        return self._strength.multiplier

    @property
    def draws(self) -> bool:
        """Tell whether any adapter leaves something out at random."""
        return any(entry.adapter.draws for entry in self.entries)

    def _plain_pairs(self) -> tuple[Mapping[int, Pair], Sequence[tuple[Entry, int]]]:
        """Return the layers, by id, that compute in one function with their adapter, and all others by their index."""
        pairs: dict[int, Pair] = {}
        others = []
        for entry in self.entries:
            for index, layer in enumerate(entry.target.layers):
                alone = isinstance(layer, nn.Linear) and is_plain(layer) and id(layer) not in pairs
                factors = entry.adapter.low_rank(index) if alone else None
                if factors is not None and isinstance(layer, nn.Linear):
                    pairs[id(layer)] = Pair(layer, factors)
                else:
                    others.append((entry, index))
        return pairs, others

    def _shadow(self, layer: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
        self._shadowed.append((layer, vars(layer).get("forward")))
        layer.forward = forward  # shadows the class's forward, until detach

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Leave the layers as they were without adapters, for as long as this lasts."""
        before, self._strength.multiplier = self._strength.multiplier, 0.0
        try:
            yield
        finally:
            self._strength.multiplier = before

    def draw_masks(self, rng: SampleRng) -> None:
        """Draw every adapter's random masks for one micro-batch."""
        for entry in self.entries:
            entry.adapter.draw_masks(rng)

    def clear_masks(self) -> None:
        """Adapt every sample in full, as after training."""
        for entry in self.entries:
            entry.adapter.clear_masks()

    def limit_norms(self, largest: float) -> NormLimits | None:
        """Scale down every adapter whose weight change has a larger norm (Frobenius); the host does not wait.

        Return what that came to for the adapters that tell their norm, or None where none does.
        """
        told = [entry.adapter.limit_norm(largest) for entry in self.entries]
        norms = [norm.float() for norm in told if norm is not None]
        if not norms:
            return None
        before = torch.stack(norms)
        limited = before * limiting_factor(before, largest)
        return NormLimits((before > largest).sum(), limited.mean(), limited.max())

    def file_tensors(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return copies of all tensors on the CPU under their names in the file."""
        return {
            f"{entry.target.key}.{name}": tensor.detach().to("cpu", dtype, copy=True).contiguous()
            for entry in self.entries
            for name, tensor in entry.adapter.file_tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor], source: str, *, own_ranks: bool = True) -> int:
        """Take over a file's tensors and return how many adapters found theirs.

        Raises DataError when the file holds keys of no adapter here, or none at all; adapters that the file does not
        know keep what they have. Without ``own_ranks`` the adapters have been made for the file.
        """
        by_key = split_by_key(tensors)
        unknown = sorted(set(by_key) - {entry.target.key for entry in self.entries})
        if unknown or not by_key:
            wrong = misnamed(tensors, source)
            if wrong is not None:
                raise DataError.of([wrong])
            if unknown and all(_OF_NORMS.issuperset(by_key[key]) for key in unknown):
                message = (
                    f"the file changes {len(unknown)} norms, for example '{unknown[0]}', which adapters here do not"
                )
                raise DataError(message, where=source, fix="leave these tensors out of the file, if they may be lost")
            raise _stranger(unknown, set(by_key) - set(unknown), self, source, own_ranks=own_ranks)
        found = [entry for entry in self.entries if entry.target.key in by_key]
        for entry in found:
            with naming(entry.target.key, source):
                entry.adapter.load_file_tensors(by_key[entry.target.key])
        return len(found)


@contextmanager
def naming(key: str, source: str) -> Iterator[None]:
    """Put a module's key and its file before what is said to be wrong with its tensors."""
    try:
        yield
    except DataError as error:
        problem = error.problems[0]
        raise DataError(f"{key}: {problem.message}", where=source, fix=problem.fix) from error


def split_by_key(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return a file's tensors by target: ``{"lora_unet_…": {"lora_down.weight": …, "alpha": …}}``."""
    by_key: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        key, _, rest = name.partition(".")
        by_key.setdefault(key, {})[rest] = tensor
    return by_key


def build_network(
    targets: Sequence[LoraTarget],
    build_adapter: Callable[[LoraTarget, Mapping[str, Tensor] | None], Adapter | None],
    weights: Mapping[str, Tensor] | None = None,
    source: str = "",
) -> Network:
    """Return the network whose adapters ``build_adapter`` makes; None from it leaves a target alone.

    With ``weights`` (``dim_from_weights``) only the targets that the file knows get an adapter, with the file's ranks;
    ``source`` is what errors call it.
    """
    by_key = None if weights is None else split_by_key(weights)
    entries = []
    for target in targets:
        if by_key is not None and target.key not in by_key:
            continue
        with naming(target.key, source):
            adapter = build_adapter(target, None if by_key is None else by_key[target.key])
        if adapter is not None:
            entries.append(Entry(target, adapter))
    return Network(entries)


def _adapted(base: Callable[[Tensor], Tensor], entry: Entry, index: int, strength: Strength, inputs: Tensor) -> Tensor:
    output = base(inputs)
    if strength.multiplier == 0 and not torch.is_grad_enabled():  # a loss needs its graph even where nothing is added
        return output
    adapted: Tensor = entry.adapter(index, inputs, output, entry.target.layers)
    return adapted if strength.multiplier == 1 else output + (adapted - output) * strength.multiplier


def _stranger(
    unknown: Sequence[str], placed: Collection[str], network: Network, source: str, *, own_ranks: bool
) -> DataError:
    """Return the error that modules of a file have no place; a nearest name helps where others have theirs."""
    if not unknown:
        return DataError("the file holds no tensors", where=source)
    message = f"{len(unknown)} modules of the file have no place in this run's network, for example '{unknown[0]}'"
    keys = [entry.target.key for entry in network.entries]
    hint = did_you_mean(unknown[0], keys) if placed or len(unknown) == 1 else ""
    own = "use the options it was trained with" + (", or --dim_from_weights" if own_ranks else "")
    other = "a file of another architecture cannot be used"
    return DataError(message, where=source, fix=f"{hint} {own}; {other}".strip())
