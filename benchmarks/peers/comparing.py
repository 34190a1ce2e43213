"""Two trainers in turn: the gate first, then pairs of blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_file

from benchmarks.peers.blocks import Block, Ratio, ratio, read_block
from benchmarks.peers.gate import Gate, Moved, furthest, gate, moved
from benchmarks.peers.machine import busyness
from benchmarks.peers.running import Place, Trainer, train
from benchmarks.peers.work import Work


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of one peer."""

    peer: str
    gate: Gate  # of all pairs the one furthest apart
    ours: tuple[Block, ...]
    theirs: tuple[Block, ...]
    busyness: tuple[str, ...]  # before each pair, and behind the last

    @property
    def clock(self) -> Ratio:
        return ratio([one.clock for one in self.ours], [one.clock for one in self.theirs])

    @property
    def processor(self) -> Ratio:
        return ratio([one.processor for one in self.ours], [one.processor for one in self.theirs])


@dataclass(frozen=True, slots=True)
class Duel:
    """What is compared, where, and how often."""

    ours: Trainer
    theirs: Trainer
    work: Work
    place: Place
    pairs: int
    warm_up: int

    def compare(self, folder: Path, say: Callable[[str], None]) -> Comparison:
        """Run everything below ``folder`` and return what was measured. Raises RuntimeError for what fails."""
        gradient = self._gradient(folder)
        say(f"gradients of the first step: cosine {gradient.cosine:.6f}, length {gradient.length:.6f} of ours")
        ours, theirs, busy = [], [], list[str]()
        for pair in range(self.pairs):
            busy.append(busyness(self.place.device))
            ours.append(self._block(self.ours, folder / f"ours-{pair}"))
            theirs.append(self._block(self.theirs, folder / f"theirs-{pair}", ours[-1].order))
            found = ratio([ours[-1].clock], [theirs[-1].clock])
            say(f"pair {pair + 1} of {self.pairs}: {found.middle:.2f} times {self.theirs.side.name}'s steps a second")
        busy.append(busyness(self.place.device))
        gates = [gate(a.losses, b.losses, gradient) for a, b in zip(ours, theirs, strict=True)]
        return Comparison(self.theirs.side.name, furthest(gates), tuple(ours), tuple(theirs), tuple(busy))

    def _block(self, trainer: Trainer, out: Path, order: tuple[str, ...] = ()) -> Block:
        done = train(trainer, self.work, out, self.place, order)
        return read_block(done.record, done.started, self.warm_up)

    def _gradient(self, folder: Path) -> Moved:
        work = replace(self.work, steps=1, gradient=True)
        ours = train(self.ours, work, folder / "gradient-ours", self.place)
        order = read_block(ours.record, ours.started, 1).order
        theirs = train(self.theirs, work, folder / "gradient-theirs", self.place, order)
        return moved(*(load_file(path) for path in (work.adapters, ours.adapters, theirs.adapters)))
