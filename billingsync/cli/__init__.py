"""The command line: parse, call one function, print, exit code; nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives the exit code. The console script passes it to `sys.exit`."""
    # What other packages would add to pydantic is nothing that we use; to look for it takes 20 ms in every command.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from billingsync.cli.entry import run_command

    return run_command(list(sys.argv[1:] if arguments is None else arguments))
