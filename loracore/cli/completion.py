"""Shell completion of run commands, from the option tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from click import Context, Parameter
from click.shell_completion import CompletionItem

from loracore.cli.choice import Tables, core_options, flags_choice, installed_names, line_choice, plugin_options
from loracore.config.declared import Declared, Option
from loracore.config.given import underscored
from loracore.errors import LoracoreError

_PLUGIN_KINDS = (("arch", "architecture"), ("network_module", "network"), ("extensions", "extension"))


def complete_words(
    words: Sequence[str], incomplete: str, switches: Iterable[str], tables: Tables = ()
) -> list[CompletionItem[str]]:
    """Return what may stand for the incomplete word behind these words of a run command with tables of its own."""
    declared = _known(words, tables)
    if incomplete.startswith("-"):
        helps = {**{name: option.help for name, option in declared.options.items()}, **dict.fromkeys(switches, "")}
        spelt = underscored(incomplete.lstrip("-"))
        return [CompletionItem(f"--{name}", help=text) for name, text in helps.items() if name.startswith(spelt)]
    option = _open_option(words, declared)
    names = [] if option is None else _values(option)
    if names:
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file")]


def complete_architectures(_ctx: Context, _param: Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the installed architectures that begin so."""
    return [CompletionItem(name) for name in installed_names("architecture") if name.startswith(incomplete)]


def complete_networks(_ctx: Context, _param: Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the installed networks that begin so."""
    return [CompletionItem(name) for name in installed_names("network") if name.startswith(incomplete)]


def _known(words: Sequence[str], tables: Tables) -> Declared:
    """Return the options of the plugins on the line and in its CONFIG.

    They are the flags' alone while CONFIG cannot be read, and the core's while a plugin's name is wrong or missing.
    """
    for choice in (line_choice, flags_choice):
        with suppress(LoracoreError):
            return plugin_options(choice(words, tables), tables)
    return core_options(tables)


def _open_option(words: Sequence[str], declared: Declared) -> Option | None:
    """Return the option whose value is being written, if one is."""
    starts = [index for index, word in enumerate(words) if word.startswith("--")]
    if not starts:
        return None
    option = declared.options.get(underscored(words[starts[-1]].removeprefix("--").partition("=")[0]))
    values = len(words) - starts[-1] - 1
    if option is None or option.shape == "switch" or (option.shape == "one" and values):
        return None
    return option


def _values(option: Option) -> list[str]:
    """Return the values that an option is known to take."""
    kind = dict(_PLUGIN_KINDS).get(option.name)
    return installed_names(kind) if kind else [str(choice) for choice in option.choices]
