"""The run's trackers (TensorBoard, W&B, …) through accelerate; none of them can end a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import tomli

from loracore.config.config import Config
from loracore.config.options import LoggingOptions
from loracore.config.secret_values import secret_values, without_secrets
from loracore.config.tracker_names import tracker_names
from loracore.training.telling.scalars import scalars, tracked_options
from loracore.types import Event

_MOST_FAILURES = 3  # in a row; then a tracker is left alone
_WANDB_HIDDEN = ("epoch", "global_step")  # metrics that are axes, not curves


@dataclass(frozen=True, eq=False, slots=True)
class _Open:
    """A tracker that has started."""

    name: str
    tracker: Any  # accelerate's GeneralTracker, which is untyped
    failures: int = 0  # in a row


class Trackers:
    """The trackers that the options name; they start with the event "started" and end with "finished".

    Whatever a tracker raises is caught here: it is a stranger's program, often on the other side of a network, and the
    run's result must not be lost to it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._secrets = secret_values(config)
        self._open: tuple[_Open, ...] = ()

    def tell(self, event: Event) -> list[str]:
        """Pass an event on; return what is to be said of trackers that failed."""
        if event.kind == "started":
            return self._start()
        said: list[str] = []
        kept: list[_Open] = []
        for one in self._open:
            failure = self._failure(one, lambda opened: self._log(opened, event))
            one = replace(one, failures=one.failures + 1 if failure else 0)  # noqa: PLW2901  # the same one, judged
            if one.failures < _MOST_FAILURES:
                kept.append(one)
            else:
                said.append(f"{one.name} failed {_MOST_FAILURES} times in a row and is told nothing more: {failure}")
        self._open = tuple(kept)
        return [*said, *(self.close() if event.kind == "finished" else ())]

    def close(self) -> list[str]:
        """End every tracker; return what is to be said of those that failed."""
        ending, self._open = self._open, ()
        failures = [(one.name, self._failure(one, lambda opened: opened.tracker.finish())) for one in ending]
        return [f"{name} could not be ended: {failure}" for name, failure in failures if failure]

    def _start(self) -> list[str]:
        options = self._config[LoggingOptions]
        folder = tracker_folder(options, datetime.now().astimezone())
        said: list[str] = []
        for name in tracker_names(options.log_with, options.logging_dir):
            failure = self._failure(_Open(name, None), lambda empty: self._begin(empty.name, folder))
            said += [f"{name} could not be started, the run goes on without it: {failure}"] if failure else []
        return said

    def _begin(self, name: str, folder: Path | None) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS  # a second for those who want a tracker

        options = self._config[LoggingOptions]
        kind, arguments = LOGGER_TYPE_TO_CLASS[name], self._arguments(name, folder)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        if kind.requires_logging_directory:
            arguments["logging_dir"] = str(folder)
        tracker = kind(options.log_tracker_name or "network_train", **arguments)
        tracker.start()
        if name == "wandb":
            for metric in _WANDB_HIDDEN:
                tracker.tracker.define_metric(metric, hidden=True)
        if options.log_config:
            tracker.store_init_configuration(tracked_options(self._config))
        self._open = (*self._open, _Open(name, tracker))

    def _arguments(self, name: str, folder: Path | None) -> dict[str, Any]:
        """Return what a tracker's class gets beside the project's name."""
        options = self._config[LoggingOptions]
        arguments = dict(init_arguments(options).get(name, {}))
        if name != "wandb":
            return arguments
        if folder is not None:
            arguments.setdefault("dir", str(folder))
        settings = dict(arguments.get("settings") or {})
        if options.wandb_api_key is not None:
            settings["api_key"] = options.wandb_api_key  # of this session: wandb.login would write it to ~/.netrc
        if any(secret in word for secret in self._secrets for word in sys.argv):
            settings["x_disable_meta"] = True  # it sends the command line
        return {**arguments, "settings": settings} if settings else arguments

    def _log(self, one: _Open, event: Event) -> None:
        if event.kind == "preview" and one.name == "wandb":
            import wandb

            picture = wandb.Image(str(event.values["path"]), caption=event.values["prompt"])
            one.tracker.tracker.log({f"sample_{event.values['index']}": picture}, commit=False)
            return
        found = scalars(event, self._config)
        if found is None or not found.values:
            return
        if one.name == "wandb":  # counts its own steps; ours are a value among others, and may be its axis
            one.tracker.log({**found.values, "global_step": event.step, "epoch": found.epoch})
        else:
            one.tracker.log(dict(found.values), step=found.x)

    def _failure(self, one: _Open, use: Callable[[_Open], None]) -> str | None:
        """Use a tracker; return what it raised as a line without secrets, None when all went well."""
        try:
            use(one)
        except Exception as error:  # noqa: BLE001  # strangers raise anything; see the class
            return without_secrets(f"{type(error).__name__}: {error}", self._secrets)
        return None


def tracker_folder(options: LoggingOptions, now: datetime) -> Path | None:
    """Return the folder of one run's trackers: the prefix and the time, to the second, in ``logging_dir``."""
    if options.logging_dir is None:
        return None
    return Path(options.logging_dir) / f"{options.log_prefix or ''}{now:%Y%m%d%H%M%S}"


def init_arguments(options: LoggingOptions) -> Mapping[str, Mapping[str, Any]]:
    """Return the arguments of trackers' own inits, by tracker; the file stands in the place of the run's name."""
    if options.log_tracker_config is not None:
        return tomli.loads(Path(options.log_tracker_config).read_text("utf-8-sig"))
    return {"wandb": {"name": options.wandb_run_name}} if options.wandb_run_name is not None else {}
