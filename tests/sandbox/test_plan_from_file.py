"""A month planned from Pax8's portal invoice CSV: as from the API, without Pax8's credentials, and never posted [IM11]."""

from __future__ import annotations

import csv
import dataclasses
import io
from decimal import Decimal

import pytest
from cli import CALM, TEXT_ONLY, Office
from scene import DEFENDER, M365, SETUP, STAGE
from scene import scene as set_stage

from billingsync.sandbox.server import Sandbox

COLUMNS = {
    "company_name": "companyName", "company_id": "companyId", "type": "type", "invoice_date": "", "start_period": "startPeriod",
    "end_period": "endPeriod", "term": "term", "sku": "sku", "description": "description", "details": "details",
    "quantity": "quantity", "price": "price", "subtotal": "subTotal", "cost": "cost", "cost_total": "costTotal",
    "partner_subtotal": "costTotal", "total": "total", "sales_tax": "salesTax", "amount_due": "total",
}  # fmt: skip
SOLD = dataclasses.replace(CALM, charges=None, clients=8, hand_kept=3)
NO_PAX8 = {"BILLINGSYNC_PAX8__CLIENT_ID": "unset", "BILLINGSYNC_PAX8__CLIENT_SECRET": "unset"}
PLAN = ("plan", "2026-11", "--source", "invoice.csv", "--currency", "USD")


def portal_csv(rows, period="2026-11"):
    """The rows of Pax8's invoice as its portal exports them."""
    text = io.StringIO()
    out = csv.writer(text)
    out.writerow(COLUMNS)
    for row in rows:
        cells = {name: row.get(key) for name, key in COLUMNS.items()} | {"invoice_date": f"{period}-01"}
        out.writerow(["" if value is None else value for value in cells.values()])
    return text.getvalue()


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(STAGE) as running:
        yield running


@pytest.fixture
def scene(sandbox, tmp_path):
    stage = set_stage(sandbox, tmp_path)
    stage.office.rules(TEXT_ONLY)
    stage.month("2026-11", stage.charge(M365, 10), stage.charge(DEFENDER, 2, "3.50"), stage.charge(SETUP, 1, "99.99"))
    (tmp_path / "invoice.csv").write_text(portal_csv(next(iter(sandbox.pax8.items.values()))))
    return stage


def test_the_plan_from_the_file_bills_what_the_plan_from_the_api_bills(scene):
    api = scene.office.run("plan", "2026-11", "--json").must(0, 3).json
    scene.office.settings |= NO_PAX8
    file = scene.office.run(*PLAN, "--json").must(0, 3).json
    assert file["equation"] == api["equation"]
    assert [client["amount"] for client in file["clients"]] == [client["amount"] for client in api["clients"]]
    names = [name for client in file["clients"] for line in client["lines"] for name in line["charges"]]
    assert names
    assert all(name.startswith("pax8-portal/2026-11:~") for name in names)
    assert file["next_steps"] == []


def test_the_file_itself_says_of_which_month_it_is(scene):
    scene.office.settings |= NO_PAX8
    words = [word for word in PLAN if word != "2026-11"]
    assert scene.office.run(*words, "--json").must(0, 3).json["period"] == "2026-11"


def test_planning_from_a_file_writes_nothing_and_asks_pax8_nothing(scene, sandbox):
    before = len(sandbox.halo.journal)
    scene.office.settings |= NO_PAX8 | {"BILLINGSYNC_PAX8__BASE_URL": "http://127.0.0.1:9/"}
    said = scene.office.run(*PLAN).must(0, 3)
    assert "made from a file" in said.stdout
    assert "billingsync post" not in said.stdout
    assert len(sandbox.halo.journal) == before


def test_a_plan_from_a_file_is_never_posted(scene):
    scene.office.settings |= NO_PAX8
    digest = scene.office.run(*PLAN, "--json").must(0, 3).json["digest"]
    refused = scene.office.run("post", digest, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (5, "BS-REFUSED")


def test_the_order_of_rows_changes_no_identity_and_equal_rows_are_two_charges(scene, tmp_path):
    head, *rows = (tmp_path / "invoice.csv").read_text().splitlines()
    scene.office.settings |= NO_PAX8
    twice = [*rows, rows[0]]
    (tmp_path / "invoice.csv").write_text("\n".join([head, *twice]))
    first = scene.office.run(*PLAN, "--json").must(0, 3).json
    (tmp_path / "invoice.csv").write_text("\r\n".join([head, *reversed(twice)]))
    second = scene.office.run(*PLAN, "--json").must(0, 3).json
    assert first["digest"] == second["digest"]
    assert first["sources"][0]["charges"] == 4


def test_without_a_currency_nothing_is_planned(scene):
    ran = scene.office.run("plan", "2026-11", "--source", "invoice.csv", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "BS-IMPORT")
    assert "--currency" in ran.json["error"]["message"]


def test_fault_52_another_months_file_and_a_month_that_is_billed_are_refused(scene, tmp_path):
    other = scene.office.run("plan", "2026-10", "--source", "invoice.csv", "--currency", "USD", "--json")
    assert (other.code, other.json["error"]["code"]) == (2, "BS-IMPORT")
    scene.office.run("run", "2026-11", "--yes").must(0, 3)
    billed = scene.office.run(*PLAN, "--json")
    assert billed.code == 5
    assert "beside" in billed.json["error"]["message"]


def test_a_broken_amount_refuses_the_whole_file(scene, tmp_path):
    text = (tmp_path / "invoice.csv").read_text().replace("99.99", "99.99x")
    (tmp_path / "invoice.csv").write_text(text)
    ran = scene.office.run(*PLAN, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "BS-IMPORT")


def test_billing_is_compared_with_the_file_as_with_the_invoice(tmp_path, sqlite_ledger_url):
    """Of the companies that are billed in the file's one currency; without Pax8's credentials."""
    with Sandbox(SOLD) as sandbox:
        office = Office(tmp_path, sandbox, sqlite_ledger_url)
        office.rules(TEXT_ONLY)
        office.run("snapshot").must(0, 3)
        api = office.run("reconcile", "billing", "2026-11", "--all", "--json").must(0, 3).json
        taken = [
            one["id"]
            for one in sandbox.pax8.invoices
            if one["invoiceDate"].startswith("2026-11") and one["status"] not in ("Void", "Credited")
        ]
        items = [row for id_ in taken for row in sandbox.pax8.items[id_] if row["currencyCode"] == "USD"]
        (tmp_path / "invoice.csv").write_text(portal_csv(items))
        office.settings |= NO_PAX8
        words = ("reconcile", "billing", "--source", "invoice.csv", "--currency", "USD", "--all", "--json")
        before = len(sandbox.halo.journal)
        file = office.run(*words).must(0, 3).json
        assert len(sandbox.halo.journal) == before
    assert charged(file) == charged(api), "to the cent, as rows or named apart: a file has no products' names"
    assert charged(file)


def charged(document):
    """What Pax8 charged in the file's currency: in rows of clients, and apart."""
    rows = [Decimal(row["in_month"]["pax8_price"] or 0) for row in document["rows"] if row["currency"] == "USD"]
    apart = [Decimal(one["price"]) for one in document["apart"] if one["currency"] == "USD"]
    return sum(rows) + sum(apart)
