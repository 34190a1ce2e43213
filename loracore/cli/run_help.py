"""The help of run commands, from the option tables of the plugins that the line names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loracore.cli.choice import Tables, core_options, installed_names, line_choice, plugin_options
from loracore.config.declared import Declared
from loracore.config.options import PluginOptions
from loracore.config.printing import options_text


def run_help(command: str, summary: str, switches: Mapping[str, str], argv: Sequence[str], tables: Tables = ()) -> str:
    """Return usage and every option of a run command; an architecture's own when ``--arch`` or CONFIG names one."""
    lines = [f"Usage: {command} [--arch NAME] [CONFIG] [--option value ...]", "", summary, ""]
    lines += [
        "CONFIG is a TOML file with the same options; flags win over it. Lists take values up to the next '--';",
        "switches take none and are turned off by --no_NAME.",
        "",
    ]
    own = {**switches, "help": "show this help; with --arch NAME or CONFIG, the architecture's options too"}
    lines += ["Of this command:", *(f"  --{name}\n      {text}" for name, text in own.items()), ""]
    choice = line_choice([word for word in argv if word not in {"--help", "-h"}], tables)
    lines.append(options_text(shown_options(choice, tables)))
    if choice.arch is None:
        lines.append(f"Architectures: {', '.join(installed_names('architecture')) or 'none is installed'}")
        lines.append(f"Their options: {command} --arch NAME --help")
    return "\n".join(lines)


def shown_options(choice: PluginOptions, tables: Tables = ()) -> Declared:
    """Return the options that a line's help shows: the core's, and with an architecture those of every plugin."""
    return core_options(tables) if choice.arch is None else plugin_options(choice, tables)
