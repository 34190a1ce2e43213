"""The names of a new plugin: of its entry point, distribution, package and options; and whether they are free."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import loracore
from loracore.errors import PluginError, Problem
from loracore.plugins import Kind, installed_plugins

#: What distributions, packages and keys of TOML may all be called. Longer names break the lines of what is written.
_FORM = re.compile(r"[A-Za-z]([A-Za-z0-9_-]{0,38}[A-Za-z0-9])?")
_PREFIX = "loracore-"
#: What the kit for tests calls its architecture and its network, beside which a new plugin is tested.
_TOY = "toy"


@dataclass(frozen=True, slots=True)
class Names:
    """Everything that is called after a plugin's name."""

    name: str  # of the entry point: what people write behind --arch, --network_module or --extensions
    kind: Kind

    @property
    def distribution(self) -> str:
        return f"{_PREFIX}{self.name}"

    @property
    def identifier(self) -> str:
        """What its options begin with."""
        return self.name.lower().replace("-", "_")

    @property
    def package(self) -> str:
        return f"loracore_{self.identifier}"

    @property
    def brand(self) -> str:
        """What its classes begin with: "my-net" gives "MyNet"."""
        return "".join(word[:1].upper() + word[1:] for word in re.split("[-_]+", self.name))


def free_names(name: str, kind: Kind) -> Names:
    """Return the names of a new plugin; raises PluginError with all that speaks against them."""
    names = Names(name, kind)
    problems = list(_misshapen(name)) or list(_taken(names))
    if problems:
        raise PluginError.of(problems)
    return names


def _misshapen(name: str) -> Iterator[Problem]:
    if not _FORM.fullmatch(name):
        message = f"'{name}' cannot be a plugin's name"
        yield Problem(
            message, fix="begin with a letter, end with a letter or digit, between them also - and _: 40 at most"
        )
    elif re.match(r"loracore[-_]", name, re.IGNORECASE):
        message = f"'{name}': the package is called loracore-NAME by itself"
        yield Problem(message, fix=f"give '{name[len(_PREFIX) :]}'")


def _taken(names: Names) -> Iterator[Problem]:
    """Give what already has one of these names."""
    for plugin in installed_plugins():
        if (plugin.kind, plugin.name) == (names.kind, names.name):
            message = f"{names.kind} '{names.name}' is installed already, by {plugin.origin}"
            yield Problem(message, fix=f"choose another name, or uninstall {plugin.package}")
    installed = _version(names.distribution)
    if installed:
        message = f"a package {names.distribution} ({installed}) is installed already"
        yield Problem(message, fix="choose another name, or uninstall it")
    if names.name == _TOY and names.kind != "extension":
        message = f"'{_TOY}' is the {names.kind} of loracore.testing, beside which plugins are tested"
        yield Problem(message, fix="choose another name")
    if f"{names.brand}Options" in loracore.__all__:
        message = f"its options would be called {names.brand}Options, as some of loracore's own"
        yield Problem(message, fix="choose another name")


def _version(distribution: str) -> str:
    """Return the version of an installed distribution, or an empty text."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
