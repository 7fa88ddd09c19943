"""What is posted to a recurring invoice and invoiced by nobody yet is told apart from what is: by `status`, the metrics
and the audit export too [B5]."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from scene import M365, SETUP, Scene

from billingsync.service import metrics, status
from billingsync.store.ledger import open_ledger

TEMPLATE = -201


def november(made: Scene) -> None:
    made.month("2026-11", made.charge(M365, 10, "22.00", sub="s-1"), made.charge(SETUP, 1, "300.00", type="one-time"))
    made.office.run("run", "2026-11", "--yes").must()


def waiting(made: Scene) -> list[tuple[str, str, str]]:
    told = made.office.run("status", "--json").must().json
    return [(one["period"], one["amount"], one["client_name"]) for one in told["waiting"]]


def scraped(made: Scene) -> list[str]:
    with open_ledger(f"sqlite:///{made.office.folder / 'ledger.db'}", partner="default") as ledger:
        text = metrics.Metrics(lambda: status.take(ledger)).text().decode()
    return [line for line in text.splitlines() if line.startswith("billingsync_waiting_money{")]


def exported(made: Scene, folder: Path) -> tuple[list[str], str]:
    """The `waiting` of each charge that is posted, and the first page."""
    made.office.run("audit", "export", "2026-11", "--out", str(folder)).must()
    rows = csv.DictReader(io.StringIO((folder / "charges.csv").read_text(encoding="utf-8-sig")))
    return sorted(row["waiting"] for row in rows if row["state"] == "posted"), (folder / "index.html").read_text()


@pytest.mark.parametrize(
    "switches", [{}, {"made_line_ids": False, "made_fields_copied": ()}], ids=["marks", "lastcreated"]
)
def test_B5_status_metrics_and_export_tell_what_waits_apart_from_what_is_invoiced(
    contoso, tmp_path: Path, switches: dict
) -> None:
    made = contoso(schedule="off", **switches)
    november(made)
    assert waiting(made) == [("2026-11", "520.00", "Contoso Ltd")]
    assert scraped(made)[-1] == 'billingsync_waiting_money{currency="USD",period="2026-11",side="price"} 520.0'
    said = " ".join(made.office.run("status").must().stdout.split())
    assert "520.00 USD of 2026-11 on recurring invoice 201 of Contoso Ltd" in said
    marked, page = exported(made, tmp_path / "before")
    assert marked == ["yes", "yes"] and "not invoiced by HaloPSA yet" in page
    made.sandbox.advance(5)
    made.sandbox.make(TEMPLATE)
    assert waiting(made) != []  # as it was when HaloPSA was last asked
    made.office.run("plan", "2026-11").must()
    assert (waiting(made), scraped(made)) == ([], [])
    marked, page = exported(made, tmp_path / "after")
    assert marked == ["", ""] and "not invoiced by HaloPSA yet" not in page


def test_B5_what_an_undo_took_off_waits_no_more(contoso) -> None:
    made = contoso(schedule="off")
    november(made)
    run = made.office.run("runs", "--json").must().json["runs"][0]["run"]
    made.office.run("undo", run, "--yes").must()
    assert waiting(made) == []
