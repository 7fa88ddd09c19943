"""Starts commands as real processes in a hundredth of the time: everything is imported once, each command is a fork.

Reads one JSON object a line, {"folder", "environment", "words", "out"}; answers with the child's pid at once, and with
its exit code (negative: the signal that killed it) when asked for it by an empty line.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable


def main() -> None:
    import billingsync.cli.app
    import billingsync.connect
    import billingsync.reconcile.take_back
    import billingsync.reconcile.write_back
    import billingsync.report.card_results
    import billingsync.report.document
    import billingsync.report.outcome
    import billingsync.report.text
    import billingsync.run.card_writes
    import billingsync.run.context
    import billingsync.run.run
    import billingsync.setup.doctor
    import billingsync.store.upgrade
    from billingsync.cli import main as command
    from billingsync.run.context import RunContext

    def context(**given: object) -> RunContext:
        return RunContext(**{**given, "wait": lambda seconds: time.sleep(min(seconds, 0.02))})  # type: ignore[arg-type]

    warm_up(command)
    for line in sys.stdin:
        if not line.strip():
            break
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.chdir(asked["folder"])
                os.environ.update(asked["environment"])
                out = os.open(asked["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(out, 1)
                os.dup2(out, 2)
                billingsync.run.context.RunContext = context  # type: ignore[misc,assignment]
                code = command(asked["words"])
                sys.stdout.flush()
            finally:
                os._exit(code)
        print(json.dumps({"pid": pid}), flush=True)
        if asked.get("wait", True):
            print(json.dumps({"code": _ended(pid)}), flush=True)
        else:
            print(json.dumps({"code": None}), flush=True)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def warm_up(command: Callable[[list[str]], int]) -> None:
    """What a first command computes and the next ones find again; nothing that a fork must not share."""
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            os.environ["BILLINGSYNC_DATABASE_URL"] = f"sqlite:///{folder}/warm.db"
            for words in (["db", "upgrade"], ["runs"], ["show", "nope"]):
                command(words)
    del os.environ["BILLINGSYNC_DATABASE_URL"]


def _ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    main()
