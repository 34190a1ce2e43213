"""Entry-point metadata → the run's plugin manager, holding this run's plugins and no others."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType, ModuleType
from typing import Literal

import pluggy

from loracore import hookspecs
from loracore.errors import PluginError, Problem, did_you_mean
from loracore.package_copies import check_copies
from loracore.plugin_faults import place, unknown_hook, watch

Kind = Literal["architecture", "network", "extension", "optimizer"]

GROUPS: Mapping[Kind, str] = {
    "architecture": "loracore.architectures",
    "network": "loracore.networks",
    "extension": "loracore.extensions",
}
#: Optimizers of third parties: the entry point is the class itself, and no hooks go with it.
OPTIMIZERS = "loracore.optimizers"
_NOBODY: Mapping[str, str] = MappingProxyType({})


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

    @property
    def title(self) -> str:
        """What users are told: kind, name, package and version."""
        return f"{self.kind} '{self.name}' ({self.origin})"


def installed_plugins() -> list[InstalledPlugin]:
    """Return every installed plugin and alias, sorted by kind and name, from metadata alone."""
    points = entry_points()  # once: for each group, every installed package would be asked again
    found = (plugin for kind, group in GROUPS.items() for plugin in _plugins(points.select(group=group), kind))
    return sorted(found, key=lambda plugin: plugin.kind)


def installed_optimizers() -> list[InstalledPlugin]:
    """Return the optimizers that installed packages offer by a name, from metadata alone; ``module`` is the class."""
    return _in_group(OPTIMIZERS, "optimizer")


def find_optimizer(name: str) -> InstalledPlugin | None:
    """Return the one optimizer that packages offer by this name, or None; raises PluginError when two offer it."""
    claims = [one for one in installed_optimizers() if one.name == name]
    _check_claims(claims)
    return claims[0] if claims else None


def find_plugin(kind: Kind, name: str) -> InstalledPlugin:
    """Return the one installed plugin of this kind and name.

    Raises PluginError when there is none (naming the package to install), when two packages claim the name, or when its
    package lies twice in one folder.
    """
    every = _in_group(GROUPS[kind], kind)
    claims = [plugin for plugin in every if plugin.name == name]
    if not claims:
        raise _missing(kind, name, every)
    _check_claims(claims)
    check_copies(claims[0].package)
    return claims[0]


def _check_claims(claims: Sequence[InstalledPlugin]) -> None:
    """Raise PluginError when several packages claim one name."""
    if len(claims) > 1:
        origins = " and ".join(one.origin for one in claims)
        message = f"{claims[0].kind} '{claims[0].name}' is claimed by two packages: {origins}"
        raise PluginError(message, fix="uninstall one of them")


def import_plugin(plugin: InstalledPlugin) -> ModuleType:
    """Return the plugin's module; raises PluginError when its import fails or it speaks another API version."""
    try:
        module = importlib.import_module(plugin.module)
    except (Exception, SystemExit) as error:  # whatever a stranger's import raises, the user must read whose it was
        message = f"{plugin.title} cannot be imported: {type(error).__name__}: {error}"
        raise PluginError(message, fix=_import_fix(plugin, error)) from error
    version = vars(module).get("LORACORE_API")
    if version != hookspecs.API_VERSION:
        said = "states no LORACORE_API" if version is None else f"was written for plugin API {version!r}"
        if not isinstance(version, int | None):
            said += ", which is no whole number"
        newer = isinstance(version, int) and version > hookspecs.API_VERSION
        message = f"{plugin.title} {said}; this loracore speaks {hookspecs.API_VERSION}"
        raise PluginError(message, fix="update loracore" if newer else _version_fix(plugin, version))
    return module


def _version_fix(plugin: InstalledPlugin, version: object) -> str:
    if isinstance(version, int | None):
        return f"update {plugin.package}"
    return f"update {plugin.package}, or write LORACORE_API = {hookspecs.API_VERSION}"


def _import_fix(plugin: InstalledPlugin, error: BaseException) -> str:
    """Return what helps against a failing import: where a name of ours is missing, the plugin is of another time."""
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "loracore":
        return f"it wants another loracore: update loracore, or {plugin.package}"
    if ":" in plugin.module:
        return f"name the module alone in the entry point, without ':': {plugin.module.partition(':')[0].strip()}"
    return f"repair or update {plugin.package}"


def assemble(
    arch: str | None, network: str | None, extensions: Iterable[str], defaults: Sequence[ModuleType]
) -> pluggy.PluginManager:
    """Turn a run's choice of plugins into a plugin manager, and check that it is sound.

    The defaults are registered first, so that everybody else is asked before them; extensions last, so that they are
    asked first. Without ``arch`` or ``network`` the manager can answer for options only.
    """
    chosen = run_plugins(arch, network, extensions)
    titles = {plugin.module: plugin.title for plugin in chosen.values()}
    manager = pluggy.PluginManager("loracore")
    manager.add_hookspecs(hookspecs)
    for module in defaults:
        register_watched(manager, module, f"default {module.__name__}", run=titles)
    for role, plugin in chosen.items():
        _register(manager, plugin, titles, role=role)
    _check_sound(manager, complete=arch is not None and network is not None)
    return manager


def run_plugins(arch: str | None, network: str | None, extensions: Iterable[str]) -> Mapping[str, InstalledPlugin]:
    """Return a run's plugins by the names under which its manager knows them: "architecture", "extension NAME", ….

    Raises PluginError as `find_plugin` does.
    """
    found = {} if arch is None else {"architecture": find_plugin("architecture", arch)}
    if network is not None:
        found["network"] = find_plugin("network", network)
    return {**found, **{f"extension {name}": find_plugin("extension", name) for name in extensions}}


def imported_titles() -> Mapping[str, str]:
    """Return what users are told of every plugin that this process has imported, by its module; an alias counts not."""
    plugins = sorted(installed_plugins(), key=lambda plugin: plugin.name, reverse=True)
    return {plugin.module: plugin.title for plugin in plugins if plugin.module in sys.modules}


def register_watched(
    manager: pluggy.PluginManager,
    module: ModuleType,
    name: str,
    title: str = "",
    run: Mapping[str, str] = _NOBODY,
) -> None:
    """Register a plugin's module, with every answer of it watched; the core has no ``title``.

    ``run`` are the titles of all plugins of the run, by their modules. Raises PluginError for hooks that do not exist,
    pluggy.PluginValidationError for those that are not as their specifications. That some of it goes away is said by
    `plugin_notes`, and not here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        manager.register(module, name=name)
    _check_names(manager, module, title)
    watch(manager, module, title, run)


def _check_names(manager: pluggy.PluginManager, module: ModuleType, title: str) -> None:
    """Raise PluginError for the hooks of a plugin that no specification has."""
    callers = manager.get_hookcallers(module) or []
    known = [name for name, one in vars(manager.hook).items() if isinstance(one, pluggy.HookCaller) and one.spec]
    used = [caller.name for caller in callers]
    problems = []
    for caller in (caller for caller in callers if caller.spec is None):
        for answer in (one for one in caller.get_hookimpls() if one.plugin is module and not one.optionalhook):
            said = unknown_hook(caller.name, known, used)
            message = f"{title or module.__name__}, hook '{caller.name}': {said.message}"
            problems.append(Problem(message, place(answer.function), said.fix))
    if problems:
        raise PluginError.of(problems)


def _register(manager: pluggy.PluginManager, plugin: InstalledPlugin, run: Mapping[str, str], *, role: str) -> None:
    module = import_plugin(plugin)
    taken = manager.get_name(module)
    if taken is not None:
        message = f"module '{plugin.module}' is both {taken} and {role} of this run"
        raise PluginError(message, fix="name it once")
    try:
        register_watched(manager, module, role, plugin.title, run)
    except pluggy.PluginValidationError as error:
        message = f"{plugin.title} breaks the hook contract: {error}"
        raise PluginError(message, fix=f"repair or update {plugin.package}") from error


def _in_group(group: str, kind: Kind) -> list[InstalledPlugin]:
    return _plugins(entry_points(group=group), kind)


def _plugins(points: Iterable[EntryPoint], kind: Kind) -> list[InstalledPlugin]:
    found = {_described(point, kind) for point in points}
    return sorted(found, key=lambda plugin: (plugin.name, plugin.package))


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
