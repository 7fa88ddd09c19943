"""Every list as a spreadsheet: the rows of the page, the same role, and no cell that a spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from office import Office, office

from billingsync.core.desk import Role

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
LISTS = ("/ready/2026-11", "/holds/2026-11", "/clients", "/months", "/runs", "/activity")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("sheets")) as opened:
        for company in opened.sandbox.pax8.companies[:3]:
            company["name"] = f'=HYPERLINK("https://evil.example") {company["name"]}'
        opened.plan()
        yield opened


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.mark.parametrize("path", LISTS)
def test_every_list_is_saved_as_csv_and_excel_without_formulas(desk: Office, path: str) -> None:
    client = desk.browser(Role.FINANCIAL)
    assert f'href="{path}.xlsx"' in client.get(path).text and f'href="{path}.csv"' in client.get(path).text
    answer = client.get(f"{path}.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    name = path.strip("/").replace("/", "-")
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.csv"'
    cells = [cell for row in csv.reader(io.StringIO(answer.text)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
    book = zipfile.ZipFile(io.BytesIO(client.get(f"{path}.xlsx").content))
    assert not [name for name in book.namelist() if b"<f>" in book.read(name) or b"hyperlink" in book.read(name)]


def test_sheets_have_the_sums_of_the_page(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    head = desk.ledger.newest_plan("2026-11")
    assert head
    listed = rows(client.get("/ready/2026-11.csv").text)
    known = desk.ledger.client_rows(head.digest)
    assert len(listed) == len(known)
    usd = sum((Decimal(row["amount"]) for row in listed if row["currency"] == "USD"), Decimal(0))
    assert usd == sum((row.amount for row in known if row.currency == "USD"), Decimal(0))
    held = rows(client.get("/ready/2026-11.csv?view=held").text)
    assert 0 < len(held) < len(listed)
    waits = sum((Decimal(row["amount"]) for row in rows(client.get("/holds/2026-11.csv").text)), Decimal(0))
    assert waits


def test_who_may_not_see_the_page_gets_no_sheet_of_it(desk: Office) -> None:
    user = desk.browser(Role.USER)
    for path in LISTS:
        for ending in ("csv", "xlsx"):
            assert user.get(f"{path}.{ending}").status_code == (200 if path == "/clients" else 403), path
    assert "USD" not in user.get("/clients.csv").text and "money" not in user.get("/clients.csv").text
    nobody = desk.browser(Role.USER)
    nobody.cookies.clear()
    assert nobody.get("/clients.csv").status_code == 303


def test_reading_money_as_a_sheet_is_in_the_journal(desk: Office) -> None:
    desk.browser(Role.FINANCIAL).get("/months.csv")
    last = desk.ledger.journal_entries()[-1]
    assert last.kind == "desk.read" and "/months.csv" in last.body and "financial@msp.example" in last.body


def test_nothing_to_save_is_said(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        client = desk.browser(Role.FINANCIAL)
        assert client.get("/ready/2026-11.csv").status_code == 409
        assert rows(client.get("/months.csv").text) == []
