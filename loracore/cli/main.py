"""The program ``loracore``: its commands, imported when they are called, and how errors are shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from types import MappingProxyType

import click

from loracore.collector import collecting_later
from loracore.errors import LoracoreError, did_you_mean
from loracore.plugin_faults import blamed
from loracore.plugins import imported_titles

_INTERRUPTED = 130

#: Each command's line of help; its function has its name and stands in the module of this name in ``loracore.cli``,
#: both with _ where the command has -.
COMMANDS = MappingProxyType(
    {
        "train": "Train a network and save it.",
        "check": "Look at options and pictures without loading a model.",
        "cache": "Encode pictures and captions for later runs, and stop.",
        "plan": "Show what a run takes of its card's memory, and what makes it fit.",
        "targets": "Show every module that a run would train.",
        "merge": "Write base model and trained networks as one checkpoint.",
        "convert": "Give a LoRA file the names of another format.",
        "inspect": "Show what a LoRA file, or one of another network, holds.",
        "resize": "Give a LoRA file smaller ranks.",
        "report": "Make the report of a run from its events.",
        "extract": "Make a LoRA of the difference between two checkpoints.",
        "demo": "Train on an embedded tiny model and show before and after.",
        "options": "Show every option with type, default, owner and help.",
        "plugins": "Show the installed plugins.",
        "new-plugin": "Write the package of a new plugin.",
    }
)


class Commands(click.Group):
    """The commands by name; the module of one is imported only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        _ = ctx  # click's own signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; raises click's usage error with the nearest name for an unknown one."""
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing or cmd_name.startswith("-"):
                return None
            guess = did_you_mean(cmd_name, COMMANDS)
            raise click.UsageError(f"no command '{cmd_name}'; {guess or 'see loracore --help'}")
        own_name = cmd_name.replace("-", "_")
        with collecting_later():
            module = import_module(f"loracore.cli.{own_name}")
        found: click.Command = vars(module)[own_name]
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' lines without importing them."""
        _ = ctx  # click's own signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem[str]]:
        """Complete the commands' names without importing them, and the program's own flags."""
        names = [(name, text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        items = [click.shell_completion.CompletionItem(name, help=text) for name, text in names]
        return items + click.Command.shell_complete(self, ctx, incomplete)


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loracore", message="%(prog)s %(version)s")
@click.pass_context
def program(ctx: click.Context) -> None:
    """Train LoRA and other adapters for diffusion models."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the program with this process's arguments and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Errors that a user can mend are lines on stderr and exit code 2; an interrupt is 130; anything else keeps its
    traceback, with a line above it where it is a plugin's.
    """
    _tolerate_code_pages()
    try:
        code = program.main(list(argv), prog_name="loracore", standalone_mode=False)
    except LoracoreError as error:
        return _report([str(problem) for problem in error.problems], error.exit_code)
    except click.ClickException as error:
        return _report([error.format_message()], LoracoreError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except (Exception, SystemExit) as error:
        whose = blamed(error, imported_titles())
        if whose:
            click.echo(f"error: {whose}", err=True)
        raise
    return code if isinstance(code, int) else 0


def _report(problems: Sequence[str], code: int) -> int:
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    return code


def _tolerate_code_pages() -> None:
    """Let letters that a console's code page lacks be replaced instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
