"""Every optimizer step of a run: which samples make it, and what is read with them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loracore.config.dataset_spec import CaptionRules
from loracore.data.captions.rules import CaptionVisit, depends_on_step, drops_captions, is_random, worded_caption
from loracore.data.index import Index
from loracore.data.sampler import epoch_order
from loracore.data.visits import Draws, Visit
from loracore.training.steps.length import Length, Window, windows


@dataclass(frozen=True, eq=False, slots=True)
class Course:
    """The steps of a run, in an order that (seed, epoch) decide alone."""

    index: Index
    batch_sizes: Sequence[int]  # of each data set, on each device
    seed: int
    processes: int
    accumulation: int
    length: Length

    def windows(self, taken: int = 0) -> Iterator[Window]:
        """Give every optimizer step behind the first ``taken``, epoch by epoch; those are not gone through."""
        first, within = divmod(taken, self.length.steps_per_epoch)
        for epoch in range(first, self.length.epochs):
            order = epoch_order(self.index, self.batch_sizes, self.seed, epoch, self.processes)
            yield from windows(epoch, order, self.accumulation, self.length, within if epoch == first else 0)

    def captions(self, draws: Draws) -> list[str]:
        """Return every text that the run's visits read, sorted, each once.

        Where texts change from visit to visit, every visit is gone through: about 20 µs each.
        """
        changing = [_changes(source.subset.captions) for source in self.index.sources]
        found = {text for number, changes in enumerate(changing) if not changes for text in self._constant(number)}
        if any(changing):
            for window in self.windows():
                visits = (pair for batch in window.batches for pair in zip(batch.rows, batch.turns, strict=True))
                found |= {
                    draws.caption(self.index.picture(row), Visit(window.epoch, turn, window.step - 1))
                    for row, turn in visits
                    if changing[self.index.source_rows[row]]
                }
        return sorted(found)

    def _constant(self, number: int) -> Iterator[str]:
        """Give the texts of a source that are the same in every visit."""
        source, rng = self.index.sources[number], random.Random(0)  # noqa: S311  # nothing is drawn
        rules, moment = source.subset.captions, CaptionVisit(epoch=1, step=0, max_train_steps=self.length.steps)
        rows = self.index.table_rows[self.index.rows_of(number)]
        yield from (worded_caption(source.caption(row), rules, moment, rng) for row in rows.tolist())


def _changes(rules: CaptionRules) -> bool:
    """Tell whether a picture's text differs between visits."""
    return is_random(rules) or drops_captions(rules) or depends_on_step(rules)
