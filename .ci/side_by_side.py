"""Run an older version and this one side by side against equally seeded sandboxes, and compare what they say and write.

    python .ci/side_by_side.py REVISION [--seeds 1-5]

Each version plans, runs, undoes and exports the same month. Compared are all JSON documents but for texts (messages,
next steps), times and random names, and every row that the emulated HaloPSA has afterwards. Then this version opens the
older version's ledger, upgrades it, plans and runs again. A key that a document has more than before
is listed and is no difference. Exit code 1 where anything differs."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

HERE = Path(__file__).parents[1]
MONTH = "2026-11"
ADDED = "added since: "
INSTALLATION = re.compile(r"(\[bs:[0-9a-f]{20}:|installation=)[0-9a-f]{8}")
# Texts, times, random names, and what stands for all of a plan.
LEFT_OUT = frozenset(
    "message detail problem next_step next_steps created_at digest rules_digest run at who version format_version "
    "warnings title description reason_text".split()
)
ROWS_LEFT_OUT = frozenset("datecreated date_created lastmodifieddate dateadded last_modified change_seq".split())
QUICK = {
    "BILLINGSYNC_HALO__ABSENCE_S": "1",
    "BILLINGSYNC_PAX8__CALLS_PER_MINUTE": "100000",
    "BILLINGSYNC_HALO__CALLS_PER_MINUTE": "100000",
}


class Version:
    """One checkout's command line in a folder of its own, with a sandbox of its own."""

    def __init__(self, code: Path, folder: Path, seed: int, rules: str) -> None:
        self.code, self.folder = code, folder
        self.sandbox = Sandbox(SandboxOptions(seed=seed, clients=8))
        (folder / "rules").mkdir(parents=True)
        (folder / "rules" / "defaults.toml").write_text(rules, encoding="utf-8")

    def call(self, *words: str, code: Path | None = None) -> tuple[int, Any]:
        """The exit code, and the one JSON document of stdout."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BILLINGSYNC_")}
        database = {"BILLINGSYNC_DATABASE_URL": f"sqlite:///{self.folder / 'ledger.db'}"}
        where = {"PYTHONPATH": str(code or self.code), "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, "-m", "billingsync", *words, "--json"],
            cwd=self.folder, env={**kept, **self.sandbox.environment(), **QUICK, **database, **where},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError:
            return done.returncode, {"not_json": done.stdout[-600:], "stderr": done.stderr[-600:]}

    def rows(self) -> dict[str, Any]:
        """What HaloPSA has: every invoice and every item."""
        halo = self.sandbox.halo
        return {"invoices": halo.invoices, "recurring": halo.recurring, "items": halo.items}


def month(version: Version) -> dict[str, Any]:
    """Every document of a month's life, by what it is of."""
    found: dict[str, Any] = {}
    found["plan"] = version.call("plan", MONTH)
    found["run"] = version.call("run", MONTH, "--yes")
    found["rows after the run"] = json.loads(json.dumps(version.rows(), default=str))
    run = found["run"][1].get("run", "")
    found["holds"] = version.call("holds", MONTH)
    found["undo"] = version.call("undo", run, "--yes")
    found["rows after the undo"] = json.loads(json.dumps(version.rows(), default=str))
    found["plan after the undo"] = version.call("plan", MONTH)
    code, _ = version.call("audit", "export", MONTH, "--out", "audit")
    found["audit export"] = [
        code,
        sorted(str(one.relative_to(version.folder)) for one in version.folder.glob("audit/*")),
    ]
    return found


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Each place at which two values differ, with both."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new} - LEFT_OUT - ROWS_LEFT_OUT, key=str):
            if name not in new:
                yield f"{path}.{name}: only in the old one"
            elif name not in old:
                yield f"{ADDED}{path}.{name}"
            else:
                yield from differences(old[name], new[name], f"{path}.{name}")
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if len(old) != len(new):
            yield f"{path}: {len(old)} entries, now {len(new)}"
        for one, other in zip(old, new, strict=False):
            yield from differences(one, other, f"{path}[]")
    elif _same_text(old) != _same_text(new) and not _both_times(old, new):
        yield f"{path}: {old!r:.80}, now {new!r:.80}"


def _same_text(value: Any) -> Any:
    """A text without the random id of the installation that wrote it."""
    return INSTALLATION.sub(r"\1", value) if isinstance(value, str) else value


def _both_times(old: Any, new: Any) -> bool:
    """Two moments of two runs are never the same."""
    return all(isinstance(one, str) and len(one) >= 19 and one[4:5] == "-" and one[10:11] in "T " for one in (old, new))


def compare(old: Path, seed: int, folder: Path) -> Counter[str]:
    """What differs at one seed, counted by place."""
    found: Counter[str] = Counter()
    rules = '[products]\nlifecycle = "automatic"\n'
    # Since then a match by likeness waits for a person by default: here both post it.
    before = Version(old, folder / "old", seed, rules)
    after = Version(HERE, folder / "new", seed, f'{rules}\n[clients]\nguessed = "post"\n')
    with before.sandbox:
        one = month(before)
        upgraded = before.call("db", "upgrade", code=HERE)
        (before.folder / "rules" / "defaults.toml").write_text(
            f'{rules}\n[clients]\nguessed = "post"\n', encoding="utf-8"
        )
        on = {"plan": before.call("plan", MONTH, code=HERE), "run": before.call("run", MONTH, "--yes", code=HERE)}
    with after.sandbox:
        other = month(after)
        goes_on = {"plan": after.call("plan", MONTH), "run": after.call("run", MONTH, "--yes")}
    found.update(differences(one, other))
    if upgraded[0]:
        found[f"the old ledger did not upgrade: {upgraded[1]}"] += 1
    found.update(f"with the old ledger {line}" for line in differences(on, goes_on))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="of the older version")
    parser.add_argument("--seeds", default="1-5")
    asked = parser.parse_args()
    first, _, last = asked.seeds.partition("-")
    total, git = 0, shutil.which("git") or "git"
    with tempfile.TemporaryDirectory() as temporary:
        old = Path(temporary) / "code"
        subprocess.run([git, "worktree", "add", "--quiet", "--detach", old, asked.revision], cwd=HERE, check=True)
        try:
            for seed in range(int(first), int(last or first) + 1):
                found = compare(old, seed, Path(temporary) / f"seed-{seed}")
                differ = sum(times for line, times in found.items() if ADDED not in line)
                total += differ
                print(f"seed {seed}: {differ or 'no'} differences", flush=True)
                for line, times in sorted(found.items()):
                    print(f"  {times} x {line}", flush=True)
        finally:
            subprocess.run([git, "worktree", "remove", "--force", old], cwd=HERE, check=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
