"""A run under one setting: its words, its process, its curve."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from benchmarks.loss_curves.apart import Curve, Reference
from benchmarks.loss_curves.settings import EXACT, Setting
from benchmarks.peers.running import TAIL, Place, checked, run_to_end
from benchmarks.peers.work import Work

PLAIN, OURS = "benchmarks.loss_curves.plain", "benchmarks.peers.ours"

#: How a run says that what cannot be compiled or recorded is computed as it was.
_GIVEN_UP = re.compile(r"(torch_compile|cuda_graphs): .* without( it)?: ")

#: Starts a module with arguments, writes what it says to a file, and returns the exit code.
Start = Callable[[str, Sequence[str], Path], int]


class WithoutEffectError(Exception):
    """The run has said that a setting changes nothing here."""


def in_process_of_its_own(place: Place, folder: Path) -> Start:
    """Return what starts a process where it is told; code is compiled anew for each ``folder``."""
    environment = {**place.environment(), "TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}

    def start(module: str, words: Sequence[str], log: Path) -> int:
        return run_to_end([sys.executable, "-m", module, *words], log, environment)

    return start


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of one work, each in a folder of its own."""

    work: Work
    folder: Path
    start: Start

    def reference(self) -> Reference:
        """Compute plainly, twice: with the work's draws, and with those of each step a step later."""
        other = self.folder / "other-draws.safetensors"
        save_file({name: one.roll(1, 0) for name, one in load_file(self.work.draws).items()}, other)
        plain = self._curve(PLAIN, Setting("plain", EXACT), self.work.draws)
        reference = self._curve(PLAIN, Setting("plain, other draws", EXACT), other)
        return Reference(plain, reference, load_file(self.work.adapters))

    def curve(self, setting: Setting) -> Curve:
        """Return what comes of a setting. Raises RuntimeError for what fails, WithoutEffectError where nothing does."""
        return self._curve(OURS, setting, self.work.draws)

    def _curve(self, module: str, setting: Setting, draws: Path) -> Curve:
        out = self.folder / setting.name.replace(" ", "-")
        out.mkdir()
        log, record = out / "log.txt", out / "record.json"
        told = out / "work.json"
        told.write_text(json.dumps({"draws": str(draws), "record": str(record)}), encoding="utf-8")
        code = self.start(module, [str(told), *run_words(self.work, setting, out / "result")], log)
        _check_effect(setting, checked(setting.name, code, log, record))
        losses = json.loads(record.read_text(encoding="utf-8"))["losses"]
        return Curve(tuple(losses), load_file(out / "result" / "lora.safetensors"))


def run_words(work: Work, setting: Setting, out: Path) -> list[str]:
    """Return the words of the run's command line: the work's, in the setting's precision, and the setting's own."""
    words = list(work.words(out))
    words[words.index("--mixed_precision") + 1] = setting.precision  # given twice, an option is an error
    return ["--arch", work.architecture.plugin, *words, *setting.words]


def _check_effect(setting: Setting, said: str) -> None:
    """Raise for a run that has left a setting out: its curve would say nothing."""
    if setting.option is not None and f"{setting.option} is without effect" in said:
        raise WithoutEffectError(setting.name)
    if setting.says not in said or _GIVEN_UP.search(said):
        message = f"{setting.name} has had no effect, or not all that it should have:\n{said[-TAIL:]}"
        raise RuntimeError(message)
