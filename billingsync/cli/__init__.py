"""The command line: parse, call one function, print, exit code; nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code. The console script passes it to `sys.exit`."""
    from billingsync.cli.entry import run_command

    return run_command(list(sys.argv[1:] if arguments is None else arguments))
