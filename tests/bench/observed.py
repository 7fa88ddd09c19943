"""`python -m tests.bench.observed OUT.json WORDS...`: the `billingsync` command, and what its process used in the end.

Nothing is measured while it runs but the ledger's commits, by an event of SQLAlchemy's."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Of one process that ran one command."""

    code: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    commits: int


def observe(folder: Path, environment: Mapping[str, str], *words: str) -> Usage:
    """`billingsync WORDS` in a process of its own, in `folder`."""
    out = folder / "usage.json"
    out.unlink(missing_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BILLINGSYNC_")}
    root = str(Path(__file__).resolve().parents[2])
    settings = {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
    settings["BILLINGSYNC_DATABASE_URL"] = f"sqlite:///{folder / 'ledger.db'}"
    command = [sys.executable, "-m", "tests.bench.observed", str(out), *words]
    done = subprocess.run(
        command, cwd=folder, env={**kept, **settings, **environment}, capture_output=True, text=True, check=False
    )
    if not out.exists() or done.returncode not in (0, 3):
        raise RuntimeError(f"billingsync {' '.join(words)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return Usage(**json.loads(out.read_text()))


def _peak_mb() -> float:
    # Not ru_maxrss alone: on Linux that begins with what the parent had when it forked.
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _main() -> int:
    out, *words = sys.argv[1:]
    began = time.monotonic()
    from billingsync.cli import main as billingsync

    commits = [0]
    from sqlalchemy import Engine, event

    event.listen(Engine, "commit", lambda _: commits.__setitem__(0, commits[0] + 1))
    code = billingsync(words)
    used = resource.getrusage(resource.RUSAGE_SELF)
    usage = Usage(
        code=code,
        wall_s=time.monotonic() - began,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_mb=_peak_mb(),
        commits=commits[0],
    )
    Path(out).write_text(json.dumps(vars(usage)))
    return code


if __name__ == "__main__":
    sys.exit(_main())
