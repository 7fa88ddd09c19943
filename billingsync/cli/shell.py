"""What belongs to the shell: completion and the man page, both made from the commands themselves."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from billingsync import __version__
from billingsync.cli.terminal import out
from billingsync.errors import UsageError

SHELLS = ("bash", "zsh", "fish")
COMPLETE = "_BILLINGSYNC_COMPLETE"  # set by the shell's script while it asks us for words


def register(app: typer.Typer) -> None:
    app.command(
        epilog='Example: billingsync completion bash > /etc/bash_completion.d/billingsync; for now only: eval "$('
        'billingsync completion bash)". Exit codes: 0, 2.'
    )(completion)
    app.command(
        epilog="Example: billingsync man > /usr/local/share/man/man1/billingsync.1. Exit codes: 0.",
    )(man)


def completion(shell: Annotated[str, typer.Argument(help=f"One of {', '.join(SHELLS)}.")] = "bash") -> int:
    """Print the script that makes a shell complete commands and options."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell not in SHELLS:
        raise UsageError(
            f"There is no completion for {shell!r:.40}: {', '.join(SHELLS)}.",
            next_steps=[["billingsync", "completion", "bash"]],
        )
    out(get_completion_script(prog_name="billingsync", complete_var=COMPLETE, shell=shell))  # nosec B604 - the name of a shell, nothing is executed
    return 0


def man() -> int:
    """Print the man page."""
    from billingsync.cli.app import app

    out(man_page(typer.main.get_command(app), datetime.datetime.now(datetime.UTC).date()))
    return 0


def man_page(root: Any, day: datetime.date) -> str:
    """The page in roff: each command with its help, arguments, options, example and exit codes."""
    lines = [
        f'.TH BILLINGSYNC 1 "{day}" "billingsync {__version__}" "User Commands"',
        ".SH NAME",
        "billingsync \\- bill HaloPSA clients for what Pax8 charged",
        ".SH SYNOPSIS",
        ".B billingsync",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        _roff(root.help or ""),
        ".PP",
        _roff(root.epilog or ""),
        ".SH COMMANDS",
        *_commands(root, ()),
        ".SH ENVIRONMENT",
        "Settings are variables that begin with BILLINGSYNC_; see",
        ".B billingsync settings show",
    ]
    return "\n".join(lines)


def _commands(group: Any, above: tuple[str, ...]) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        words = (*above, name)
        if hasattr(command, "commands"):
            yield from _commands(command, words)
            continue
        arguments = [_metavar(one) for one in command.params if one.param_type_name == "argument"]
        yield f".SS billingsync {_roff(' '.join((*words, *arguments)))}"
        yield _roff(" ".join((command.help or "").split()))
        for one in command.params:
            if one.param_type_name == "option" and "--help" not in one.opts:
                value = "" if one.is_flag else f" {one.metavar or 'VALUE'}"
                yield ".TP"
                yield f".B {_roff(', '.join(one.opts) + value)}"
                yield _roff(one.help or "")
        if command.epilog:
            yield ".PP"
            yield _roff(command.epilog)


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _roff(text: str) -> str:
    """Text that roff takes as it is: no line of it a request, no hyphen broken."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", plain)
