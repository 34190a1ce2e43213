"""What a process notes while it trains. A peer's process has no loracore: torch and the standard library alone here."""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch

#: Steps between two marks on a CUDA device's own clock.
EVERY = 10


@dataclass(eq=False, slots=True)
class Recording:
    """Moments behind each step, losses, and the order of the pictures; nothing waits for the device."""

    cuda: bool
    moments: list[tuple[float, float]] = field(default_factory=list)  # s: on the clock, of the processor
    losses: list[float] = field(default_factory=list)
    order: list[str] = field(default_factory=list)  # stems of the pictures, batch behind batch
    marks: list[torch.cuda.Event] = field(default_factory=list)
    first: float = 0.0  # s since 1970, behind the first step

    def step_done(self) -> None:
        """Note that a step is over, as far as the host is concerned."""
        self.moments.append((time.perf_counter(), time.process_time()))
        if len(self.moments) == 1:
            self.first = time.time()
            if self.cuda:
                torch.cuda.reset_peak_memory_stats()
        if self.cuda and len(self.moments) % EVERY == 0:
            mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own gap
            mark.record()
            self.marks.append(mark)

    def write(self, path: Path) -> None:
        """Write all of it as JSON, when training is over."""
        found = {
            "moments": self.moments,
            "losses": self.losses,
            "order": self.order,
            "device": self._device_seconds(),
            "first": self.first,
            "peak": peak_bytes(cuda=self.cuda),
            "reserved": torch.cuda.max_memory_reserved() if self.cuda else None,
        }
        path.write_text(json.dumps(found), encoding="utf-8")

    def _device_seconds(self) -> list[float]:
        """Return the seconds of a step on the device's clock, from one mark to the next."""
        if self.cuda:
            torch.cuda.synchronize()
        return [before.elapsed_time(after) / 1e3 / EVERY for before, after in pairwise(self.marks)]


def peak_bytes(*, cuda: bool) -> int:
    """Return the most memory in use: of a CUDA device since the first step, else of the whole process, resident."""
    if cuda:
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss is inherited from whoever started this process
        line = next(one for one in status.read_text(encoding="ascii").splitlines() if one.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
