"""The configuration of a run, saved beside its results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING

from loracore import LoracoreError, TrainingOptions, hookimpl
from loracore.config.config import Config
from loracore.config.toml_file import TomlFile
from loracore.config.written import config_text
from loracore.weights.whole_file import whole_file

if TYPE_CHECKING:
    from loracore.training.run import Run


@dataclass(frozen=True, eq=False, slots=True)
class ResolvedConfig:
    """A plugin of one run: writes ``{output_name}.resolved.toml``, which makes the same run again."""

    config: Config
    document: TomlFile | None

    @hookimpl
    def run_started(self, run: Run) -> None:
        """Write the file, in the main process; where that fails, the run goes on and says so."""
        if not run.processes.main:
            return
        path = run.results.files.folder / f"{run.results.files.name or 'last'}.resolved.toml"
        try:
            with whole_file(path, "give another --output_dir") as file:
                file.write(self._text(run.seed).encode("utf-8"))
        except LoracoreError as error:
            run.tell("note", 0, text=str(error))

    def _text(self, seed: int) -> str:
        drawn = self.config[TrainingOptions].seed is None
        config = self.config.with_values({"seed": seed}) if drawn else self.config
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        comment = f"loracore {version('loracore')}, {now}: the options of the run that differ from their defaults"
        return config_text(config, self.document, [comment, "the seed was drawn"] if drawn else [comment])
