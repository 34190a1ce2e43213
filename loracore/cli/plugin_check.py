"""Check one plugin in a process of its own: it imports, without torch, and keeps the hook contract."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import ModuleType

import pluggy

from loracore import hookspecs
from loracore.cli.choice import own_tables
from loracore.config.declared import declare
from loracore.config.options import CORE_OPTIONS
from loracore.config.updates.optimizer_names import named_optimizer
from loracore.errors import LoracoreError
from loracore.package_copies import check_copies, hidden_copies
from loracore.plugin_faults import blamed
from loracore.plugin_notes import plugin_notes
from loracore.plugins import InstalledPlugin, import_plugin, register_watched

#: Seconds that a plugin's import may take; a good one takes a fraction of one.
_PATIENCE = 60
_MARK = "loracore plugin check: "


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of an installed plugin."""

    fault: str  # what is wrong with it; empty: nothing
    notes: tuple[str, ...] = ()  # what goes away of what it uses, other versions of it


def verdict(plugin: InstalledPlugin, installed: Sequence[InstalledPlugin]) -> Verdict:
    """Return what is to be said of an installed plugin; its import happens in another process."""
    rivals = [other for other in installed if (other.kind, other.name) == (plugin.kind, plugin.name)]
    if len(rivals) > 1:
        return Verdict(
            f"the name is claimed by {' and '.join(other.origin for other in rivals)}; uninstall one of them"
        )
    command = [sys.executable, "-m", "loracore.cli.plugin_check", json.dumps(asdict(plugin))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=_PATIENCE, check=False)  # noqa: S603  # our own module, no shell
    except subprocess.TimeoutExpired:
        return Verdict(f"its import takes longer than {_PATIENCE} seconds")
    answers = [line.removeprefix(_MARK) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if not answers:
        said = done.stderr.strip().splitlines()
        return Verdict(
            f"its import ends the program with exit code {done.returncode}" + (f": {said[-1]}" if said else "")
        )
    found = json.loads(answers[-1])
    return Verdict(found["fault"], tuple(found["notes"]))


def contract_fault(plugin: InstalledPlugin) -> str:
    """Import a plugin here and return what is wrong with it, or an empty text.

    A plugin imports without torch, states its API version, implements only hooks that exist, and declares options that
    no table of the core has. An optimizer is a class that `optimizer_type` can choose.
    """
    if plugin.kind == "optimizer":
        return _optimizer_fault(plugin)
    try:
        check_copies(plugin.package)
        module = import_plugin(plugin)
        if "torch" in sys.modules:
            return "its import brings torch; import the implementation inside the hooks"
        manager = _alone(module, plugin)
        tables = [table for several in own_tables(manager, module) for table in several]
        declare([("core", CORE_OPTIONS), (f"{plugin.kind} {plugin.name}", tables)])
        if "torch" in sys.modules:
            return "its options() brings torch; option tables stand in modules without it"
    except (LoracoreError, pluggy.PluginValidationError) as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # of its ``options``: whatever it raises is its fault
        return f"{blamed(error)} {type(error).__name__}: {error}".strip()
    return ""


def contract_notes(plugin: InstalledPlugin) -> Sequence[str]:
    """Import a sound plugin here and return what is to be known of it: what goes away, other versions of it."""
    if plugin.kind == "optimizer":
        note = hidden_copies(plugin.package)
        return [note] if note else []
    return plugin_notes(_alone(import_plugin(plugin), plugin), {plugin.kind: plugin})


def _alone(module: ModuleType, plugin: InstalledPlugin) -> pluggy.PluginManager:
    """Return a manager of this plugin and no other."""
    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(hookspecs)
    register_watched(manager, module, plugin.kind, plugin.title)
    return manager


def _optimizer_fault(plugin: InstalledPlugin) -> str:
    from torch.optim import Optimizer

    from loracore.training.updates.classes import imported_class

    if named_optimizer(plugin.name) is not None:
        return f"the name is that of an optimizer of loracore's own, which optimizer_type = {plugin.name} chooses"
    module, _, kind = plugin.module.partition(":")
    try:
        found = imported_class(module, kind, "optimizer_type")
    except LoracoreError as error:
        return str(error)
    return "" if issubclass(found, Optimizer) else f"{kind} is no optimizer of torch"


if __name__ == "__main__":
    asked = InstalledPlugin(**json.loads(sys.argv[1]))
    wrong = contract_fault(asked)
    answer = {"fault": wrong, "notes": [] if wrong else list(contract_notes(asked))}
    print(f"\n{_MARK}{json.dumps(answer)}")  # noqa: T201  # read by the process that asked
