"""The whole job in a minute: a sandbox, a folder, and the very commands that an operator types."""

from __future__ import annotations

import io
import os
import shlex
import sys
import tempfile
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from billingsync.cli import main
from billingsync.cli.terminal import FLAGS, out, wrapped
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

# People keep these clients' seats on recurring invoices by hand. The reconciliation checks them all the same.
[exclude]
companies = ["Tailspin Toys", "Wide World Importers", "Miller's Cross Bakery", "Proseware, Inc."]
"""


def run_demo(directory: Path | None, *, desk: bool = False) -> int:
    """0 where everything went as it must: something was posted, and planning again has nothing more to post. With
    `desk` the month is planned and shown there until it is stopped."""
    folder = directory or Path(tempfile.mkdtemp(prefix="billingsync-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    before = {name: value for name, value in os.environ.items() if name.startswith("BILLINGSYNC_")}
    here = Path.cwd()
    with Sandbox(SandboxOptions(seed=7, clients=12, hand_kept=4)) as sandbox:
        for name in before:
            del os.environ[name]
        os.environ.update(sandbox.environment())
        os.chdir(folder)
        try:
            return _show_desk(folder) if desk else _show(folder, sandbox)
        finally:
            os.chdir(here)
            for name in [name for name in os.environ if name.startswith("BILLINGSYNC_")]:
                del os.environ[name]
            os.environ.update(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One command of the demo. `shown` are beginnings or parts of the lines of its output that the one screen shows."""

    title: str
    words: tuple[str, ...]
    shown: tuple[str, ...] = ()
    expected: tuple[int, ...] = (0, 3)


_STEPS = (
    _Step(title="A month has appeared at Pax8", words=("periods",), expected=(0,)),
    _Step(
        title="What would be billed? This writes nothing",
        words=("plan",),
        shown=("Needs your decision",),
    ),
    _Step(title="The same plan as a page for finance", words=("plan", "--out", "plan.html")),
    _Step(
        title="Post what is not held, and read everything back",
        words=("run", "--yes"),
        shown=("HaloPSA returned", " charged = "),
    ),
    _Step(title="Plan again: nothing is posted twice", words=("plan",), shown=("Nothing written",)),
    _Step(title="Who did what, and when?", words=("runs",), shown=("Run  ", "2026-11"), expected=(0,)),
    _Step(
        title="Does HaloPSA bill what Pax8 sells? One client",
        words=("reconcile", "licences", "--client", "Proseware"),
        shown=("-> recurring", "(2 subscriptions)", "(3 subscriptions)", "missing", "more products"),
    ),
    _Step(
        title="What is wrong with all of them? Three sums, never netted",
        words=("reconcile", "findings"),
        shown=("Billed twice", "Changed since", "Differences:", "not mapped."),
    ),
    _Step(
        title="What would mend it? A new line, other seats, an end",
        words=("cards",),
        shown=("Card ", "Graphic", "TT Hold", "Consolid"),
    ),
    _Step(
        title="What ends soon?", words=("renewals",), shown=("15 days", "of more than a month  ", "billed monthly  ")
    ),
    _Step(title="The same with pictures", words=("reconcile", "licences", "--out", "licences.html")),
)


def _show_desk(folder: Path) -> int:
    """The demo's month on the desk: reading, posting and undoing there work on the emulated services."""
    out(f"An emulated Pax8 and HaloPSA on this machine, a new ledger and new rules in {folder}.")
    write_scaffold(folder, {})
    (folder / "rules" / "integrations" / "pax8.toml").write_text(_RULES, encoding="utf-8")
    with redirect_stdout(io.StringIO()):
        code = main(["plan", "--quiet"])
    if code not in (0, 3):
        raise BillingSyncError(f"The demo stopped: `billingsync plan` ended with exit code {code}.")
    return main(["desk", "--port", "0", "--open"])


def _show(folder: Path, sandbox: Sandbox) -> int:
    verbose = FLAGS.verbose
    out(f"An emulated Pax8 and HaloPSA on this machine, a new ledger and new rules in {folder}.")
    write_scaffold(folder, {})
    rules = folder / "rules" / "integrations" / "pax8.toml"
    rules.write_text(_RULES, encoding="utf-8")
    for step in _STEPS:
        command = f"billingsync {shlex.join(step.words)}"
        out(f"\n{wrapped(f'{step.title}:  {command}', sys.stdout)}")
        printed = io.StringIO()
        with nullcontext() if verbose else redirect_stdout(printed):
            code = main(step.words if verbose else [*step.words, "--quiet"])
        if code not in step.expected:
            raise BillingSyncError(f"The demo stopped: `{command}` ended with exit code {code}.")
        for line in printed.getvalue().splitlines():
            if any(part in line for part in step.shown):
                out(wrapped(f"  {line.strip()}", sys.stdout))
    written = sandbox.notes_with("billingsync key=")
    out(f"\n{written} invoices were written to the emulated HaloPSA, each once.")
    out("--verbose shows every line of every command.")
    out(f"The picture of the month: {folder / 'plan.html'}")
    out(f"The picture of both sides: {folder / 'licences.html'}")
    out("Next:  billingsync init    billingsync doctor    billingsync plan")
    sys.stdout.flush()
    return 0
