"""Entry-point metadata → the run's plugin manager, holding this run's plugins and no others."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Literal

import pluggy

from loracore import hookspecs
from loracore.errors import PluginError, did_you_mean

Kind = Literal["architecture", "network", "extension", "optimizer"]

GROUPS: Mapping[Kind, str] = {
    "architecture": "loracore.architectures",
    "network": "loracore.networks",
    "extension": "loracore.extensions",
}
#: Optimizers of third parties: the entry point is the class itself, and no hooks go with it.
OPTIMIZERS = "loracore.optimizers"


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """One entry point, known from metadata alone: nothing of the plugin is imported."""

    name: str
    kind: Kind
    module: str
    package: str
    version: str

    @property
    def origin(self) -> str:
        return f"{self.package} {self.version}"


def installed_plugins() -> list[InstalledPlugin]:
    """Return every installed plugin and alias, sorted by kind and name, from metadata alone."""
    found = [_described(point, kind) for kind, group in GROUPS.items() for point in entry_points(group=group)]
    return sorted(set(found), key=lambda plugin: (plugin.kind, plugin.name, plugin.package))


def installed_optimizers() -> list[InstalledPlugin]:
    """Return the optimizers that installed packages offer by a name, from metadata alone; ``module`` is the class."""
    found = {_described(point, "optimizer") for point in entry_points(group=OPTIMIZERS)}
    return sorted(found, key=lambda one: (one.name, one.package))


def find_optimizer(name: str) -> InstalledPlugin | None:
    """Return the one optimizer that packages offer by this name, or None; raises PluginError when two offer it."""
    claims = [one for one in installed_optimizers() if one.name == name]
    if len(claims) > 1:
        origins = " and ".join(one.origin for one in claims)
        message = f"optimizer '{name}' is claimed by two packages: {origins}"
        raise PluginError(message, fix="uninstall one of them")
    return claims[0] if claims else None


def find_plugin(kind: Kind, name: str) -> InstalledPlugin:
    """Return the one installed plugin of this kind and name.

    Raises PluginError when there is none (naming the package to install), or when two packages claim the name.
    """
    every = [plugin for plugin in installed_plugins() if plugin.kind == kind]
    claims = [plugin for plugin in every if plugin.name == name]
    if not claims:
        raise _missing(kind, name, every)
    if len(claims) > 1:
        origins = " and ".join(plugin.origin for plugin in claims)
        message = f"{kind} '{name}' is claimed by two packages: {origins}"
        raise PluginError(message, fix="uninstall one of them")
    return claims[0]


def import_plugin(plugin: InstalledPlugin) -> ModuleType:
    """Return the plugin's module; raises PluginError when its import fails or it speaks another API version."""
    try:
        module = importlib.import_module(plugin.module)
    except (Exception, SystemExit) as error:  # whatever a stranger's import raises, the user must read whose it was
        message = f"{plugin.kind} '{plugin.name}' ({plugin.origin}) cannot be imported: {type(error).__name__}: {error}"
        raise PluginError(message, fix=f"repair or update {plugin.package}") from error
    version = vars(module).get("LORACORE_API")
    if version != hookspecs.API_VERSION:
        said = "states no LORACORE_API" if version is None else f"was written for plugin API {version}"
        spoken = f"this loracore speaks {hookspecs.API_VERSION}"
        message = f"{plugin.kind} '{plugin.name}' ({plugin.origin}) {said}; {spoken}"
        raise PluginError(message, fix=f"install a version of {plugin.package} that fits")
    return module


def assemble(
    arch: str | None, network: str | None, extensions: Iterable[str], defaults: Sequence[ModuleType]
) -> pluggy.PluginManager:
    """Turn a run's choice of plugins into a plugin manager, and check that it is sound.

    The defaults are registered first, so that everybody else is asked before them; extensions last, so that they are
    asked first. Without ``arch`` or ``network`` the manager can answer for options only.
    """
    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(hookspecs)
    for module in defaults:
        manager.register(module, name=f"default {module.__name__}")
    if arch is not None:
        _register(manager, find_plugin("architecture", arch), role="architecture")
    if network is not None:
        _register(manager, find_plugin("network", network), role="network")
    for name in dict.fromkeys(extensions):
        _register(manager, find_plugin("extension", name), role=f"extension {name}")
    _check_sound(manager, complete=arch is not None and network is not None)
    return manager


def _register(manager: pluggy.PluginManager, plugin: InstalledPlugin, *, role: str) -> None:
    module = import_plugin(plugin)
    taken = manager.get_name(module)
    if taken is not None:
        message = f"module '{plugin.module}' is both {taken} and {role} of this run"
        raise PluginError(message, fix="name it once")
    try:
        manager.register(module, name=role)
    except pluggy.PluginValidationError as error:
        message = f"{plugin.kind} '{plugin.name}' ({plugin.origin}) breaks the hook contract: {error}"
        raise PluginError(message, fix=f"repair or update {plugin.package}") from error


def _described(point: EntryPoint, kind: Kind) -> InstalledPlugin:
    package, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "?")
    return InstalledPlugin(point.name, kind, point.value, package, version)


def _missing(kind: Kind, name: str, every: Sequence[InstalledPlugin]) -> PluginError:
    names = [plugin.name for plugin in every]
    installed = f"installed: {', '.join(names)}" if names else "none is installed"
    message = f"no {kind} named '{name}'; {installed}"
    if kind == "architecture" and not did_you_mean(name, names):
        return PluginError(message, fix=f"pip install loracore-{name}")
    if kind == "network" and not names:
        return PluginError(message, fix="pip install loracore-networks")
    return PluginError(message, fix=did_you_mean(name, names) or "install the package that brings it")


def _check_sound(manager: pluggy.PluginManager, *, complete: bool) -> None:
    """Check, from the hook specifications alone, that every hook has its answer and no two plugins fight over one."""
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        message = f"a plugin implements a hook that does not exist: {error}"
        raise PluginError(message) from error
    for name, caller in vars(manager.hook).items():
        if not isinstance(caller, pluggy.HookCaller) or not caller.spec or not caller.spec.opts.get("firstresult"):
            continue
        answers = [answer.plugin_name for answer in caller.get_hookimpls() if not answer.wrapper]
        _check_answers(name, answers, complete=complete)


def _check_answers(hook: str, answers: Sequence[str], *, complete: bool) -> None:
    by_default = any(answer.startswith("default ") for answer in answers)
    owners = [answer for answer in answers if answer in {"architecture", "network"}]
    extensions = [answer for answer in answers if answer.startswith("extension ")]
    if complete and not answers:
        message = f"no plugin of this run answers the hook '{hook}'"
        raise PluginError(message, fix="the architecture or the network lacks it")
    if len(owners) > 1 or len(extensions) > 1 or (extensions and owners and not by_default):
        message = f"the hook '{hook}' has several answers: {', '.join(owners + extensions)}"
        raise PluginError(message, fix="all but one must be hookimpl(wrapper=True), or be left out of the run")
