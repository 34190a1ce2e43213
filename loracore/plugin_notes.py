"""What whoever runs a plugin should know of it, although it works: what it uses goes away, it is installed twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pluggy

from loracore.package_copies import hidden_copies
from loracore.plugin_faults import place
from loracore.plugins import InstalledPlugin


def plugin_notes(manager: pluggy.PluginManager, plugins: Mapping[str, InstalledPlugin]) -> Sequence[str]:
    """Return a line for everything that is to be known of a run's plugins, which ``manager`` has under these names."""
    packages = dict.fromkeys(plugin.package for plugin in plugins.values())
    twice = (hidden_copies(package) for package in packages)
    return [*deprecations(manager, plugins), *(note for note in twice if note)]


def deprecations(manager: pluggy.PluginManager, plugins: Mapping[str, InstalledPlugin]) -> Iterator[str]:
    """Give a line for each hook and argument that a plugin uses and that its specification calls deprecated."""
    callers = [caller for caller in vars(manager.hook).values() if isinstance(caller, pluggy.HookCaller)]
    answers = [(caller, answer) for caller in callers for answer in caller.get_hookimpls()]
    for caller, answer in answers:
        if answer.plugin_name in plugins:
            title = plugins[answer.plugin_name].title
            for warning in _deprecated(caller, answer):
                yield f"{title}, hook '{caller.name}': {warning} ({place(answer.function)})"


def _deprecated(caller: pluggy.HookCaller, answer: pluggy.HookImpl) -> Sequence[Warning]:
    """Return what a hook's specification says against implementing it, and against arguments that are taken here."""
    if caller.spec is None:
        return ()
    going = caller.spec.warn_on_impl_args or {}
    arguments = [going[name] for name in (*answer.argnames, *answer.kwargnames) if name in going]
    return arguments if caller.spec.warn_on_impl is None else [caller.spec.warn_on_impl, *arguments]
