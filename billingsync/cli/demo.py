"""The whole job in a minute: a sandbox, a folder, and the very commands that an operator types."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path

from billingsync.cli import main
from billingsync.cli.terminal import out
from billingsync.errors import BillingSyncError
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.setup.scaffold import write_scaffold

_RULES = """\
# For the demo: Azure on one line, no credits for seats given back in mid-month, no lines of zero.
[modifiers]
azure             = "collapse"
favorable_prorata = "drop"
zero_lines        = "drop"
"""


def run_demo(directory: Path | None) -> int:
    """0 where everything went as it must: something was posted, and planning again has nothing more to post."""
    folder = directory or Path(tempfile.mkdtemp(prefix="billingsync-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    before = {name: value for name, value in os.environ.items() if name.startswith("BILLINGSYNC_")}
    here = Path.cwd()
    with Sandbox(SandboxOptions(seed=7, clients=12)) as sandbox:
        for name in before:
            del os.environ[name]
        os.environ.update(sandbox.environment())
        os.chdir(folder)
        try:
            return _show(folder, sandbox)
        finally:
            os.chdir(here)
            for name in [name for name in os.environ if name.startswith("BILLINGSYNC_")]:
                del os.environ[name]
            os.environ.update(before)


def _show(folder: Path, sandbox: Sandbox) -> int:
    out(f"A sandbox Pax8 and HaloPSA on {sandbox.url}, a new ledger and new rules in {folder}.")
    write_scaffold(folder, {})
    rules = folder / "rules" / "integrations" / "pax8.toml"
    rules.write_text(_RULES, encoding="utf-8")
    steps = (
        ("A month has appeared. What became of each?", ["periods"], (0,)),
        ("What would be billed? This writes nothing.", ["plan"], (0, 3)),
        ("The same plan as a page for finance.", ["plan", "--format", "html", "--out", "plan.html"], (0, 3)),
        ("Post what is not held, and read everything back.", ["run", "--yes"], (0, 3)),
        ("Plan again: nothing is posted twice.", ["plan"], (0, 3)),
        ("Who did what, and when?", ["runs"], (0,)),
    )
    for title, words, expected in steps:
        out(f"\n── {title}\n$ billingsync {shlex.join(words)}")
        code = main(words)
        if code not in expected:
            raise BillingSyncError(f"The demo stopped: `billingsync {shlex.join(words)}` ended with exit code {code}.")
    written = sandbox.notes_with("billingsync key=")
    out(f"\nDone. {written} invoices were written to the sandbox HaloPSA, each once.")
    out(f"The HTML report: {folder / 'plan.html'}")
    sys.stdout.flush()
    return 0
