"""A command line → the checked request of a run, before torch is imported."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pluggy

from loracore.cli.choice import (
    Tables,
    assembled,
    chosen_plugins,
    core_options,
    installed_names,
    run_options,
    wants_trace,
)
from loracore.cli.launching import rank
from loracore.config.checking import check
from loracore.config.config import Config
from loracore.config.dataset_sources import idle_sources
from loracore.config.declared import Declared
from loracore.config.flags import Flags, read_flags
from loracore.config.given import Given
from loracore.config.needs import missing
from loracore.config.options import PluginOptions
from loracore.config.plugin_findings import certain, plugin_findings
from loracore.config.sections import Sections, holds_data_set, read_sections
from loracore.config.toml_file import TomlFile, read_toml
from loracore.errors import ConfigError, Problem
from loracore.plugin_notes import plugin_notes
from loracore.plugins import run_plugins
from loracore.tracing import say_on_stderr, trace

_NOTHING = Sections((), ())

#: Looks for more mistakes once something is wrong: the options without those whose values do not fit, and the document
#: → problems.
Also = Callable[[Config, TomlFile | None], Sequence[Problem]]


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """What a user asks of a run: every option checked, every plugin registered."""

    config: Config
    plugins: pluggy.PluginManager
    document: TomlFile | None  # CONFIG, or the one beneath where that alone has a data set
    notes: tuple[str, ...]  # options without effect and implied values, for the header


@dataclass(frozen=True, eq=False, slots=True)
class _Line:
    """A command line that is still unread."""

    argv: Sequence[str]
    beneath: TomlFile | None
    opens_config: bool


@dataclass(frozen=True, eq=False, slots=True)
class _Words:
    """What flags, CONFIG and the document beneath it say."""

    flags: Flags
    document: TomlFile | None  # CONFIG, or the one beneath where that alone has a data set
    sections: Sections
    beneath: Sections

    @property
    def layers(self) -> tuple[Sequence[Given], ...]:
        return self.beneath.given, self.sections.given, self.flags.given

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.beneath.problems + self.sections.problems + self.flags.problems


def read_request(
    argv: Sequence[str],
    needs: Collection[str] = (),
    *,
    tables: Tables = (),
    beneath: TomlFile | None = None,
    also: Also | None = None,
    opens_config: bool = True,
) -> Request:
    """Return the request that a run command's words make: ``[CONFIG] [--option value …]``.

    ``needs`` names the options that the command cannot do without, ``tables`` declares its own. ``beneath`` is a
    document under CONFIG: its options count where neither CONFIG nor a flag says otherwise. Without ``opens_config``,
    CONFIG is a mere name. Raises ConfigError with every problem at once, those that ``also`` finds among them, and
    PluginError for plugins that are missing or broken.
    """
    words, plugins, declared = _settled(_Line(argv, beneath, opens_config), needs, tables)
    checked = check(words.layers, declared)
    lacking = missing(checked.given, needs)
    problems, told = [*words.problems, *checked.problems, *lacking], {one.where for one in lacking if one.where}
    judged = plugin_findings(plugins.hook, checked.config)
    problems += [problem for problem in certain(judged.problems, checked.doubtful) if problem.where not in told]
    if problems:
        more = also(judged.config, words.document) if also else ()
        raise ConfigError.of([*problems, *certain(more, checked.doubtful)])
    written = (*words.beneath.notes, *words.sections.notes)
    chosen = judged.config[PluginOptions]
    own = plugin_notes(plugins, run_plugins(chosen.arch, chosen.network_module, chosen.extensions))
    notes = (*own, *written, *judged.notes, *idle_sources(judged.config, words.document))
    return Request(judged.config, plugins, words.document, notes)


def _settled(line: _Line, needs: Collection[str], tables: Tables) -> tuple[_Words, pluggy.PluginManager, Declared]:
    """Read twice: with the core's options to find the plugins, with theirs to know every name and type.

    A plugin's options may show that the word taken for CONFIG was another option's value, or the other way round; then
    both passes are done again, from there.
    """
    core = known = core_options(tables)
    for _ in range(2):
        words = _words(line, known)
        choice = chosen_plugins(words.layers, core)
        if choice.arch is None and "arch" in needs:
            raise _no_architecture()
        plugins = assembled(choice)
        if wants_trace(words.layers, core) and not rank():  # of several processes, one is enough
            trace(plugins, say_on_stderr)
        known = run_options(plugins, choice, tables)
        settled = _words(line, known)
        if settled.flags.config == words.flags.config:
            return settled, plugins, known
    raise ConfigError("it is unclear which word is CONFIG", fix="write CONFIG first, before all options")


def _words(line: _Line, known: Declared) -> _Words:
    flags, beneath = read_flags(line.argv, known.options), line.beneath
    document = None if flags.config is None or not line.opens_config else read_toml(Path(flags.config))
    return _Words(
        flags,
        beneath if document is None or (beneath is not None and not holds_data_set(document)) else document,
        _NOTHING if document is None else read_sections(document),
        _NOTHING if beneath is None else read_sections(beneath),
    )


def _no_architecture() -> ConfigError:
    names = installed_names("architecture")
    if not names:
        fix = "no architecture is installed: pip install loracore-NAME"
    else:
        fix = f'give --arch NAME, or write arch = "NAME" in CONFIG; installed: {", ".join(names)}'
    return ConfigError("the architecture of the base model is missing", fix=fix)
