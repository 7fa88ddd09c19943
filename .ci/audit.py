"""Asks the advisory service about every pinned package. A known vulnerability fails; where the service cannot be asked,
that is said loudly and does not fail, as it says nothing about the code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def main(program: str) -> int:
    words = [program, "--requirement", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip"]
    words += ["--progress-spinner", "off", "--format", "json"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return loud("the advisory service did not answer within 300 s")
    return judge(done.stdout, done.stderr)


def judge(out: str, err: str) -> int:
    """The exit code for what pip-audit said: its own is 0 where it could look at nothing at all."""
    try:
        found: list[dict[str, Any]] = json.loads(out)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return loud(err.strip().rpartition("\n")[2] or "pip-audit said nothing")
    bad = [one for one in found if one.get("vulns")]
    for one in bad:
        for each in one["vulns"]:
            fixed = ", ".join(each.get("fix_versions", [])) or "no version yet"
            print(f"VULNERABLE: {one['name']} {one['version']}: {each['id']}, fixed in {fixed}")
    skipped = [one for one in found if "skip_reason" in one]
    if bad:
        return 1
    if skipped or not found:
        return loud(f"{len(skipped)} of {len(found)} packages could not be looked up")
    print(f"{len(found)} packages audited, no known vulnerability")
    return 0


def loud(why: str) -> int:
    print(f"*** NOT AUDITED: {why} ***")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
