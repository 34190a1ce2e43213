"""What is told of a run while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from loracore.config.options.declaring import option


@dataclass(frozen=True, slots=True)
class LoggingOptions:
    """Trackers, and what the console says."""

    logging_dir: Annotated[str | None, option("folder of the trackers' files", place=True)] = None
    log_with: Annotated[
        str | None, option("tensorboard, wandb, all, or another tracker of accelerate (unset: tensorboard)")
    ] = None
    log_prefix: Annotated[str | None, option("text before the date, in the name of this run's folder")] = None
    log_tracker_name: Annotated[str | None, option("name of the project in trackers (unset: network_train)")] = None
    log_tracker_config: Annotated[str | None, option("TOML file of arguments to trackers' init")] = None
    wandb_run_name: Annotated[str | None, option("name of the run in wandb")] = None
    wandb_api_key: Annotated[
        str | None, option("key of wandb; better in its own environment variable or login", secret=True)
    ] = None
    log_config: Annotated[bool, option("tell trackers the options, but for paths and secrets")] = False
    console_log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] | None,
        option("how much is said on the console (unset: INFO, of other libraries WARNING)"),
    ] = None
    console_log_file: Annotated[str | None, option("file for what the console says, in its place")] = None
    console_log_simple: Annotated[bool, option("lines without colours and progress bars")] = False
    trace: Annotated[
        bool, option("print every hook call to stderr: time, kinds and shapes of arguments and answer, who answered")
    ] = False

    @property
    def shows_bars(self) -> bool:
        """Whether there is a terminal to draw progress bars on, and lines like these are wanted.

        A trace's lines would tear them.
        """
        quiet = self.console_log_level not in {None, "DEBUG", "INFO"}
        return not (quiet or self.trace or self.console_log_simple or self.console_log_file)
