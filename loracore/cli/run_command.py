"""Run commands: ``loracore CMD [--arch A] [CONFIG] [--any_option …]``, declared by a function of a request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import click
from click.shell_completion import CompletionItem

from loracore.cli.choice import Tables
from loracore.cli.completion import complete_words
from loracore.cli.config_switches import CONFIG_SWITCHES, OUTPUT, PRINT, show_config, write_config
from loracore.cli.request import read_request
from loracore.cli.run_help import run_help
from loracore.cli.secret_flags import handed_over
from loracore.config.given import underscored

#: How a command's words are read: the words and the needed options → what its body gets.
Read = Callable[[Sequence[str], Collection[str]], object]

_HELP_FLAGS = frozenset({"--help", "-h"})


class RunCommand(click.Command):
    """A click command whose words are read by our own two-pass reader."""

    def __init__(
        self,
        body: Callable[..., None],
        read: Read,
        needs: Collection[str],
        switches: Mapping[str, str],
        tables: Tables = (),
        *,
        configured: bool = True,
    ) -> None:
        super().__init__(body.__name__, callback=body, help=inspect.getdoc(body), add_help_option=False)
        self.read = read
        self.needs = tuple(needs)
        self.own_switches = dict(switches)
        self.switches = {**switches, **(CONFIG_SWITCHES if configured else {})}
        self.tables = tuple(tables)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words as they are; whoever reads them knows the plugins' options."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> Any:
        """Read the words and hand the request to the command's body, its own switches beside it."""
        if _HELP_FLAGS & set(ctx.args):
            click.echo(run_help(f"{ctx.command_path}", self.help or "", self.switches, ctx.args, self.tables))
            return None
        argv, given = without_switches(ctx.args, self.switches)
        if PRINT in given:
            return show_config(argv, self.tables)
        if OUTPUT in given:
            return write_config(argv, self.tables)
        assert self.callback is not None
        own = {name: name in given for name in self.own_switches}
        return ctx.invoke(self.callback, self.read([*argv, *handed_over()], self.needs), **own)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Complete option names, choices and plugin names of the architecture on the line."""
        return complete_words(ctx.args, incomplete, tuple(self.switches), self.tables)


def without_switches(words: Sequence[str], switches: Collection[str]) -> tuple[list[str], set[str]]:
    """Return the words without a command's own switches, and the switches that stood among them.

    Words behind a switch are nobody's value: they come first.
    """
    given: set[str] = set()
    free: list[str] = []
    others: list[str] = []
    ours = False  # whether the words that follow stand behind a switch of the command
    for word in words:
        if word.startswith("--"):
            name = underscored(word.removeprefix("--"))
            ours = name in switches
            given |= {name} if ours else set()
        if not ours:
            others.append(word)
        elif not word.startswith("--"):
            free.append(word)
    return [*free, *others], given


def run_command(
    *,
    needs: Collection[str] = (),
    switches: Mapping[str, str] | None = None,
    read: Read | None = None,
    tables: Tables = (),
    configured: bool = True,
) -> Callable[[Callable[..., None]], RunCommand]:
    """Make a run command of a function that takes a Request.

    ``needs`` names the options that must be given. ``switches`` are the command's own flags with their help; each
    arrives as a boolean keyword argument: ``switches={"json": "…"}`` for ``def targets(request, json)``. The docstring
    is the help. ``tables`` are the command's own option tables. ``read`` reads the words in another way, these tables
    included, and the body gets what it returns. ``configured`` commands print and write their configuration.
    """

    def decorate(body: Callable[..., None]) -> RunCommand:
        reading = read or partial(read_request, tables=tables)
        return RunCommand(body, reading, needs, switches or {}, tables, configured=configured)

    return decorate
