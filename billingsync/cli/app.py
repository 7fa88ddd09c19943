"""The commands by name. Each imports what it needs when it runs, so that --help is quick."""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from functools import cache
from typing import Annotated, Any

import typer

from billingsync import __version__
from billingsync.cli import (
    billing,
    cards,
    decide,
    desk,
    fleet,
    history,
    imports,
    reconcile,
    repair,
    rules,
    service,
    shell,
    snapshots,
)
from billingsync.cli import setup as upkeep

_EPILOG = (
    "Everywhere: --partner NAME (also BILLINGSYNC_PARTNER), --quiet, --verbose, --no-color (also NO_COLOR), "
    "--no-input, --debug. Exit codes: 0 done, 1 failed, "
    "2 wrong usage, settings or rules, 3 done but something is held, 4 the period is not released or not readable yet, "
    "5 refused (stale plan, closed target, locked), 130 and 143 stopped by a signal."
)

app = typer.Typer(
    rich_markup_mode=None,  # plain help in half the time: the rich one imports a reader of Markdown
    name="billingsync",
    help="Bills HaloPSA clients for what Pax8 charged: every charge in exactly one place, to the cent, posted once.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"billingsync {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Bills HaloPSA clients for what Pax8 charged: every charge in exactly one place, to the cent, posted once."""


for _module in (
    billing,
    cards,
    decide,
    desk,
    fleet,
    history,
    imports,
    reconcile,
    repair,
    rules,
    service,
    shell,
    snapshots,
    upkeep,
):
    _module.register(app)


@cache
def app_of(word: str) -> typer.Typer:
    """The app with this command or group alone: to build all of them takes a tenth of a second. The whole app where
    there is none of that name."""
    found = copy(app)
    found.registered_commands = [
        one for one in app.registered_commands if one.callback and word == (one.name or one.callback.__name__)
    ]
    found.registered_groups = [one for one in app.registered_groups if one.name == word]
    return found if found.registered_commands or found.registered_groups else app


@cache
def known_commands() -> frozenset[str]:
    """Every command's words: "plan", "rules", "rules check"."""
    found: set[str] = set()

    def walk(group: Any, words: tuple[str, ...]) -> None:
        for name, command in getattr(group, "commands", {}).items():
            found.add(" ".join((*words, name)))
            walk(command, (*words, name))

    walk(typer.main.get_command(app), ())
    return frozenset(found)


def nearest_command(arguments: Sequence[str], message: str) -> str | None:
    """The message for a misspelt command, with the nearest right one; None where it is about something else."""
    unknown = re.search(r"No such command '(.+?)'", message)
    if not unknown:
        return None
    from rapidfuzz import fuzz, process

    words = list(arguments[: arguments.index(unknown[1])]) if unknown[1] in arguments else []
    words = [word for word in words if not word.startswith("-")]
    candidates = sorted(name for name in known_commands() | {"help", "version"} if name.split()[:-1] == words)
    typed = " ".join([*words, unknown[1]])
    near = process.extractOne(typed, candidates, scorer=fuzz.ratio, score_cutoff=55)
    return f"There is no command {typed!r:.80}." + (f" Did you mean {near[0]!r}?" if near else "")
