"""The plan's page on paper: every line of it, and no more than one sheet for five clients that are billed or wait."""

from __future__ import annotations

import math
import os
import re
import subprocess
from pathlib import Path

import pytest
from cli import Office

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

CHROMIUM = Path("/usr/bin/chromium")


def sheets(page: Path) -> int:
    """Prints a page to PDF and counts its sheets."""
    paper = page.with_suffix(".pdf")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={page}.profile"]
    command = [str(CHROMIUM), *quiet, f"--print-to-pdf={paper}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    return len(re.findall(rb"/Type\s*/Page[^s]", paper.read_bytes()))


def test_a_plan_prints_on_at_most_one_sheet_for_five_clients(tmp_path):
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail("CI is set and there is no /usr/bin/chromium: apt-get install chromium")
        pytest.skip("*** NO CHROMIUM: the plan was not printed ***")
    with Sandbox(SandboxOptions()) as sandbox:
        office = Office(tmp_path, sandbox)
        office.rules("")
        office.run("plan", "--out", "plan.html").must(3)
        plan = office.plan()
    billed = sum(bool(client["lines"]) for client in plan["clients"])
    waiting = sum(bool(client["holds"]) for client in [*plan["clients"], plan["unassigned"]])
    assert (billed, waiting) == (14, 14)
    assert sheets(tmp_path / "plan.html") <= math.ceil((billed + waiting) / 5)
