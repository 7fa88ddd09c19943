"""What people and spreadsheets get, byte for byte. `BILLINGSYNC_GOLDEN=write pytest ...` writes the files anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import sample_plan as sample
import sample_run

from billingsync.report.csv_file import plan_csv
from billingsync.report.document import dump, plan_document, run_document
from billingsync.report.html import plan_html
from billingsync.report.markdown import plan_markdown
from billingsync.report.text import plan_text

GOLDEN = Path(__file__).parent.parent / "golden" / "report"

CASES: dict[str, Callable[[], str]] = {
    "full.80.txt": lambda: plan_text(sample.full_plan(), 80),
    "full.120.txt": lambda: plan_text(sample.full_plan(), 120),
    "full.german.txt": lambda: plan_text(sample.full_plan(), 100, locale="de_DE"),
    "small.txt": lambda: plan_text(sample.small_plan(), 100),
    "empty.txt": lambda: plan_text(sample.empty_plan(), 100),
    "held.txt": lambda: plan_text(sample.held_plan(), 100),
    "bare.txt": lambda: plan_text(sample.bare_plan(), 100),
    "full.json": lambda: dump(plan_document(sample.full_plan(), sample.CREATED_AT)),
    "full.csv": lambda: plan_csv(sample.full_plan()),
    "full.md": lambda: plan_markdown(sample.full_plan(), sample.CREATED_AT),
    "held.md": lambda: plan_markdown(sample.held_plan(), sample.CREATED_AT),
    "full.html": lambda: plan_html(sample.full_plan(), sample.CREATED_AT, version="0"),
    "empty.html": lambda: plan_html(sample.empty_plan(), sample.CREATED_AT, version="0"),
    "run-complete.txt": lambda: sample_run.run_text(sample_run.complete_run(), 100),
    "run-troubled.txt": lambda: sample_run.run_text(sample_run.troubled_run(), 80),
    "run-troubled.json": lambda: dump(run_document(sample_run.troubled_run())),
    "holds.txt": lambda: sample_run.holds_text("2026-11", sample_run.open_holds(), 100),
}


@pytest.mark.parametrize("name", CASES)
def test_the_report_is_what_it_was(name: str) -> None:
    file, text = GOLDEN / name, CASES[name]()
    if os.environ.get("BILLINGSYNC_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8"))
    assert text == file.read_bytes().decode("utf-8"), f"{name} differs; look at it, then BILLINGSYNC_GOLDEN=write"
