"""Who answers a hook in this run: what they make may change with their version."""

from __future__ import annotations

import pluggy

from loracore.plugins import installed_plugins


def answering(caller: pluggy.HookCaller) -> list[str]:
    """Return the packages and versions of all that answer or wrap a hook, the core's own defaults left out.

    What was registered without being installed, as tests do, is known by its module and class.
    """
    origins = {plugin.module: plugin.origin for plugin in installed_plugins()}
    found = []
    for answer in caller.get_hookimpls():
        kind = type(answer.plugin)
        module: str = vars(answer.plugin).get("__name__", f"{kind.__module__}.{kind.__qualname__}")
        if not answer.plugin_name.startswith("default "):
            found.append(origins.get(module, module))
    return found
