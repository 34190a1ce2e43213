"""A plugin under examination, in the middle of a run of a few steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import tomli_w
import torch

from loracore.cli.request import Request, read_request
from loracore.errors import PluginError
from loracore.hookspecs import API_VERSION
from loracore.plugins import InstalledPlugin, Kind, find_plugin, import_plugin
from loracore.testing.contract.faults import ContractError, Fault, place, raised_at
from loracore.testing.installing import toys_installed
from loracore.testing.tiny_data import write_pictures
from loracore.testing.tiny_run import tiny_options, train_here

#: What names a plugin of each kind in a run.
_NAMED_BY: Mapping[str, str] = {"architecture": "arch", "network": "network_module", "extension": "extensions"}


@dataclass(frozen=True, eq=False, slots=True)
class Subject:
    """A plugin, its module, and the run that it is examined in; the folder is its own."""

    plugin: InstalledPlugin
    module: ModuleType
    options: Mapping[str, Any]  # of the run, as a configuration file has them
    folder: Path

    @property
    def title(self) -> str:
        return _title(self.plugin)

    def request(self, **options: Any) -> Request:  # whatever a configuration file may hold
        """Return a run of it, with more or other options, read and checked as from a configuration file."""
        return read_request([str(self._written(options))])

    def train(self, name: str, *watchers: object, **options: Any) -> Path:  # as above
        """Train in this process and return the final file; ``watchers`` are registered as plugins, asked first."""
        return train_here([str(self._written({"output_name": name, **options}))], watchers)

    def answers(self, hook: str, manager: pluggy.PluginManager) -> bool:
        """Tell whether the plugin itself implements a hook."""
        return any(one.plugin is self.module for one in getattr(manager.hook, hook).get_hookimpls())

    def fault(self, hook: str, message: str, fix: str) -> Fault:
        """Return a fault of one of its hooks, with the place of its implementation."""
        return Fault(hook, place(vars(self.module).get(hook, self.module)), message, fix)

    def raised(self, hook: str, fix: str, error: Exception) -> Fault:
        """Return the fault that a hook raises something, with the plugin's own line."""
        return Fault(hook, raised_at(error, self.plugin.module), f"raises {type(error).__name__}: {error}", fix)

    def _written(self, options: Mapping[str, Any]) -> Path:
        path = self.folder / "run.toml"
        path.write_text(tomli_w.dumps({**self.options, **options}), encoding="utf-8")
        return path


def examine(kind: Kind, name: str, options: Mapping[str, Any], faults: Callable[[Subject], Sequence[Fault]]) -> None:
    """Look at an installed plugin as `subject` gives it, and raise ContractError with the faults that are found.

    Its folder is gone afterwards, the toys stand beside it, and torch's generator is put back to where it stood.
    """
    with toys_installed(), tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        examined = subject(kind, name, options, Path(folder))
        found = faults(examined)
    if found:
        raise ContractError(examined.title, found)


def subject(kind: Kind, name: str, options: Mapping[str, Any], folder: Path) -> Subject:
    """Return an installed plugin, to be examined by training on tiny pictures in ``folder``.

    ``options`` are what its runs need beside pictures, as in a configuration file; the other two sides of a run are
    the toys of ``loracore.testing``. Raises PluginError when it is not installed, ContractError when it cannot be
    imported or speaks another version of the plugin API.
    """
    plugin = find_plugin(kind, name)
    run = tiny_options(write_pictures(folder / "pictures"), folder / "out")
    del run["network_train_unet_only"]  # text encoders train wherever there are places in them
    run |= {"max_train_steps": 2, "console_log_level": "WARNING"}
    run |= {_NAMED_BY[kind]: [name] if kind == "extension" else name, **options}
    return Subject(plugin, _imported(plugin), run, folder)


def _imported(plugin: InstalledPlugin) -> ModuleType:
    try:
        return import_plugin(plugin)
    except PluginError as error:
        said, cause = error.problems[0], error.__cause__
        where = raised_at(cause or error, plugin.module)
        if cause is None:
            fix = f"write LORACORE_API = {API_VERSION} when its hooks are those of docs/hooks.md"
            fault = Fault("LORACORE_API", where, said.message, fix)
        else:
            message = f"raises {type(cause).__name__}: {cause}"
            fault = Fault("import", where, message, "the module must import wherever its package is installed")
        raise ContractError(_title(plugin), [fault]) from error


def _title(plugin: InstalledPlugin) -> str:
    return f"{plugin.kind} '{plugin.name}' ({plugin.origin})"
