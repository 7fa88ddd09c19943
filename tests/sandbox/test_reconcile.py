"""Licences, billing, findings and renewals at the command line, over a sandbox; nothing of it writes anywhere."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import zipfile
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from cli import CALM, TEXT_ONLY, Office

from billingsync.sandbox import cast
from billingsync.sandbox.server import Sandbox
from billingsync.store.ledger import open_ledger

KEPT = 3
SOLD = dataclasses.replace(CALM, charges=None, clients=8, hand_kept=KEPT)
BY_HAND = cast.members(SOLD.seed, SOLD.clients, trouble=False)[4 : 4 + KEPT]
RULES = f"{TEXT_ONLY}[exclude]\ncompanies = {json.dumps([one.company for one in BY_HAND])}\n"
COMMANDS = (("reconcile", "licences"), ("reconcile", "billing"), ("reconcile", "findings"), ("renewals",))


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SOLD) as running:
        yield running


@pytest.fixture(scope="module")
def billed(sandbox, sqlite_template, tmp_path_factory):
    """An office that has billed the month and taken a snapshot; only to be read."""
    folder = tmp_path_factory.mktemp("billed")
    shutil.copy(sqlite_template, folder / "ledger.db")
    office = Office(folder, sandbox)
    office.rules(RULES)
    office.run("run", "--yes").must(0, 3)
    office.run("snapshot").must(0)
    return office


@pytest.fixture
def office(sandbox, sqlite_template, tmp_path):
    sandbox.reset(SOLD)
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    office = Office(tmp_path, sandbox)
    office.rules(RULES)
    return office


def seats(document):
    return {(row["client_id"], row["product"]): row for row in document["rows"]}


def test_every_subscription_is_in_one_class_and_every_difference_is_one_finding(billed, sandbox):
    told = billed.run("reconcile", "licences", "--json").must(3).json
    assert told["format_version"] == "1.1" and told["snapshot"] == 1 and told["period"] is None
    assert datetime.fromisoformat(told["as_at"]).tzinfo is not None
    assert sum(one["subscriptions"] for one in told["classes"].values()) == len(sandbox.pax8.subscriptions)
    findings = {one["id"]: one for one in told["findings"]}
    for row in told["rows"]:
        assert Decimal(row["count"]) - Decimal(row["psa_quantity"]) == Decimal(row["difference"])
        assert (row["finding"] is not None) is (Decimal(row["difference"]) != 0)
        if row["finding"]:
            assert Decimal(findings[row["finding"]]["seats"]) == Decimal(row["difference"])


def test_what_people_forgot_is_found_with_its_money(billed):
    """The sandbox forgets two seats of the first client's first product, a whole line of the second's, and ends too
    late with the third's."""
    told = billed.run("reconcile", "findings", "--json").must(3).json
    by_client = {}
    for one in told["findings"]:
        by_client.setdefault(one["client_id"], set()).add((one["kind"], one["seats"]))
    first, second, third = (one.client_id for one in BY_HAND)
    assert ("under_billed", "2") in by_client[first]
    assert any(kind == "not_billed" for kind, _ in by_client[second])
    assert ("over_billed", "-3") in by_client[third]
    for one in told["findings"]:
        if one["month"] is not None:
            assert Decimal(one["year"]) == 12 * Decimal(one["month"])
    for currency, sums in told["totals"].items():
        for side in ("missing", "owed"):
            mine = [one for one in told["findings"] if (one["currency"], one["side"]) == (currency, side)]
            assert Decimal(sums[side]) == sum((Decimal(one["month"] or one["once"] or 0) for one in mine), Decimal(0))


def test_what_waits_as_pro_rata_counts(billed, sandbox):
    """Ten on the line and two that HaloPSA will add are twelve."""
    waiting = [
        (row["client_id"], line)
        for row in sandbox.halo.recurring.values()
        for line in row["lines"]
        if any(not entry["isinvoiced"] for entry in line["prorata_data"])
    ]
    assert waiting
    told = billed.run("reconcile", "licences", "--json").must(3).json
    for _, line in waiting:
        (found,) = [one for row in told["rows"] for one in row["lines"] if one["line_id"] == line["id"]]
        assert Decimal(found["quantity"]) == line["qty_order"] + 2 and found["waiting"] == "2"


def test_price_difference_and_both_margins(billed):
    told = billed.run("reconcile", "billing", "--json").must(3).json
    for row in told["rows"]:
        money = {name: Decimal(value) for name, value in row["in_month"].items() if value is not None}
        if "psa_price" not in money:
            continue
        assert money["price_difference"] == money["pax8_price"] - money["psa_price"]
        assert money["margin"] == money["psa_price"] - money["pax8_cost"] == -money["mspbots_product_margin"]
        if row["parts"] is not None:
            assert sum(map(Decimal, row["parts"].values())) == Decimal(row["spread"]["price_difference"])
    assert all(Decimal(one["rest"]) == 0 for one in told["ours"])


def test_both_rows_of_what_expires(billed):
    told = billed.run("renewals", "--json", "--within", "365").must(0, 3).json
    for counts in (told["counts"], told["committed_monthly"]):
        assert counts["15"] <= counts["30"] <= counts["90"]
    rows = {one["row"] for one in told["subscriptions"]}
    assert {"term", "committed_monthly"} <= rows
    terms = {one["term"] for one in told["subscriptions"] if one["row"] == "term"}
    assert terms and not terms & {"Monthly", "Trial"}
    assert any(one["renews"] == "renews by default" for one in told["subscriptions"])


def test_what_ends_as_a_calendar(billed):
    target = billed.folder / "ends.ics"
    billed.run("renewals", "--out", str(target)).must(0, 3)
    dated = [one for one in billed.run("renewals", "--json").must(0, 3).json["subscriptions"] if one["end"]]
    assert target.read_text("utf-8").count("BEGIN:VEVENT") == len(dated) > 0
    assert "Known endings" in billed.run("reconcile", "licences", "--out", str(target)).must(2).stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_format(billed, command):
    for format in ("text", "json", "csv", "html", "markdown"):
        ran = billed.run(*command, "--format", format).must(0, 3)
        assert ran.stdout.strip() and "\x1b" not in ran.stdout, format
    html = billed.run(*command, "--format", "html").must(0, 3).stdout
    assert html.startswith("<!DOCTYPE html>") and "<script" not in html and "src=" not in html
    rows = list(csv.reader(io.StringIO(billed.run(*command, "--format", "csv").stdout.removeprefix("\ufeff"))))
    assert len(rows) > 1 and len({len(row) for row in rows}) == 1
    target = billed.folder / "out.xlsx"
    billed.run(*command, "--out", str(target)).must(0, 3)
    assert zipfile.is_zipfile(target)
    assert "name a file" in billed.run(*command, "--format", "xlsx").must(2).stderr


def test_the_pictures(billed):
    html = billed.run("reconcile", "licences", "--format", "html").must(3).stdout
    for title in ("Money by client", "Seats by product", "What ends in the next 90 days"):
        assert title in html
    assert html.count("<svg") >= 3


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(billed, width, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(
        "billingsync.cli.reconcile.console",
        lambda: Console(width=width, force_terminal=False, no_color=True, highlight=False),
    )
    for command in COMMANDS:
        lines = billed.run(*command).must(0, 3).stdout.splitlines()
        assert lines and max(map(len, lines)) <= width, [line for line in lines if len(line) > width]


def test_filters(billed):
    first = BY_HAND[0]
    one = billed.run("reconcile", "licences", "--client", first.client, "--variances", "--json").must(3).json
    assert {row["client_id"] for row in one["rows"]} == {first.client_id}
    assert all(row["difference"] != "0" for row in one["rows"])
    kinds = billed.run("reconcile", "findings", "--kind", "over_billed", "--json").must(3).json["findings"]
    assert {one["kind"] for one in kinds} == {"over_billed"}
    vendor = billed.run("reconcile", "licences", "--vendor", "Harborline", "--json").must(3).json["rows"]
    assert vendor and {row["vendor"] for row in vendor} == {"Harborline"}
    products = billed.run("reconcile", "licences", "--by", "product", "--format", "csv").must(3).stdout
    whole = billed.run("reconcile", "licences", "--json").must(3).json["rows"]
    table = csv.DictReader(io.StringIO(products.removeprefix("\ufeff")))
    assert sum(Decimal(row["difference"]) for row in table) == sum(Decimal(row["difference"]) for row in whole)
    assert "Did you mean under_billed?" in billed.run("reconcile", "findings", "--kind", "underbilled").must(2).stderr
    near = billed.run("reconcile", "licences", "--client", f"{first.client[:-1]}x").must(2).stderr
    assert first.client in near or first.company in near


def test_a_period_without_a_snapshot_is_refused_and_names_those_that_have_one(billed):
    for what in ("licences", "findings"):
        error = billed.run("reconcile", what, "2024-03", "--json").must(4).json["error"]
        assert error["code"] == "BS-NO-SNAPSHOT" and "2024-03" in error["message"]
        assert f"{datetime.now(UTC):%Y-%m}" in error["message"]
    # what billingsync itself posted for the sandbox's month can still be compared, where no snapshot falls into it
    if f"{datetime.now(UTC):%Y-%m}" != SOLD.month:
        assert billed.run("reconcile", "billing", SOLD.month, "--json").must(3).json["snapshot"] == 0
    assert billed.run("reconcile", "billing", "2024-03", "--json").must(4).json["error"]["code"] == "BS-NO-SNAPSHOT"


def test_several_months_by_their_own_snapshots(billed):
    now = f"{datetime.now(UTC):%Y-%m}"
    ran = billed.run("reconcile", "licences", f"2024-03..{now}", "--json").must(3)
    assert ran.json["period"] == now and "2024-03" in ran.stderr
    assert "ends before it begins" in billed.run("reconcile", "licences", f"{now}..2024-03").must(2).stderr


def test_roles_narrow_what_is_shown(billed):
    billed.settings["BILLINGSYNC_ROLE"] = "user"
    try:
        told = billed.run("reconcile", "licences", "--json").must(3).json
        assert "totals" not in told and all("month" not in one for one in told["findings"])
        assert "USD" not in billed.run("reconcile", "licences").must(3).stdout
        for command in (("reconcile", "billing"), ("reconcile", "findings"), ("snapshot", "--confirm")):
            assert billed.run(*command, "--json").must(5).json["error"]["code"] == "BS-REFUSED"
        assert all("month" not in one for one in billed.run("renewals", "--json").must(0, 3).json["subscriptions"])
    finally:
        del billed.settings["BILLINGSYNC_ROLE"]


def test_nothing_is_written_and_a_fresh_snapshot_is_not_taken_again(billed, sandbox):
    before, calls = sandbox.state(), len(sandbox.calls)
    for command in COMMANDS:
        billed.run(*command, "--json").must(0, 3)
    made = [call for call in sandbox.calls[calls:] if not call.path.endswith("/token")]
    assert {call.method for call in made} <= {"GET"} and sandbox.state() == before
    assert not any(call.path in ("/subscriptions", "/RecurringInvoice") for call in made)
    with open_ledger(billed.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        assert len(ledger.snapshots()) == 1


@pytest.mark.parametrize("fault", ["pax8:GET:/subscriptions:*:no_rows", "halo:GET:/RecurringInvoice:*:no_rows"])
def test_an_empty_side_is_nothing_compared_and_never_clean(office, sandbox, fault):
    """No findings about seats or money are made of a list that came empty; nothing was posted either."""
    sandbox.faults.add(fault)
    told = office.run("reconcile", "findings", "--json").must(4).json
    assert told["verdict"] == "nothing_compared"
    assert {one["kind"] for one in told["findings"]} <= {"unmapped_company", "unmapped_product", "unknown_status"}


@pytest.mark.parametrize(
    "fault", ["pax8:GET:/subscriptions:*:403", "halo:GET:/RecurringInvoice:*:403", "halo:GET:/Client:*:error_inside"]
)
def test_half_a_side_is_compared_with_nothing(office, sandbox, fault):
    sandbox.faults.add(fault)
    error = office.run("reconcile", "licences", "--json").must(4).json["error"]
    assert error["code"] == "BS-NO-SNAPSHOT" and "not whole" in error["message"]


def test_odd_numbers_statuses_and_terms(office, sandbox):
    """Fault 53: an unknown status or term, a commitment that is a text, no quantity, a negative one, a half."""
    sandbox.reset(dataclasses.replace(SOLD, trouble=True, clients=12))
    told = office.run("reconcile", "licences", "--all", "--json").must(3).json
    by_status = {one["status"]: one["class"] for one in told["subscriptions"]}
    assert by_status["Suspended"] == "unknown"
    classes = {(one["quantity"], one["class"]) for one in told["subscriptions"]}
    assert (None, "unknown") in classes and ("2.5", "compared") in classes and ("-3", "compared") in classes
    assert told["verdict"] == "incomplete"


def test_map_lists_and_takes_what_only_subscriptions_have(office, sandbox):
    product = {"id": "00000000-1111-4222-8333-444444444444", "name": "Quarry Log Vault", "vendorName": "Quarry",
               "sku": "QRY-LOG-1"}  # fmt: skip
    sandbox.pax8.products.append(product)
    row = dict(sandbox.pax8.subscriptions[0]) | {"id": "5aa0f9c1-0000-4000-8000-000000000001", "quantity": 6,
                                                 "productId": product["id"], "productName": product["name"]}  # fmt: skip
    sandbox.pax8.subscriptions.append(row)
    listed = office.run("map", "products", "--json").must().json["products"]
    assert [one["halo_id"] for one in listed if one["pax8_id"] == "QRY-LOG-1"] == [None]
    office.run("map", "products", "--set", "QRY-LOG-1=420,421").must()
    with open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        assert ledger.item_matches()["QRY-LOG-1"].item_ids == (420, 421)
        assert ledger.memory(_month()).items_by_sku["QRY-LOG-1"] == 420
    told = office.run("reconcile", "licences", "--product", "Quarry", "--json").must(3).json
    assert [Decimal(one["count"]) for one in told["rows"]] == [Decimal(6)]


def _month():
    from billingsync.core.period import Period

    return Period.parse(SOLD.month)
