"""Faults that put one line at risk, through the CLI over real HTTP: identities, odd data, rounding (rows 35, 36, 38)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.sandbox.cli import TEXT_ONLY, Office, balanced, billed, due
from tests.sandbox.test_undo import LOOSE


@pytest.fixture
def office(office: Office) -> Office:
    office.rules(TEXT_ONLY + LOOSE)
    return office


def rows(office: Office) -> list[dict[str, Any]]:
    """The month's charges at Pax8 that count, as they are kept there."""
    taken = [one for one in office.sandbox.pax8.invoices if one["status"] not in ("Void", "Credited")]
    return [
        row for one in taken if one["invoiceDate"].startswith("2026-11") for row in office.sandbox.pax8.items[one["id"]]
    ]


def some(office: Office) -> dict[str, Any]:
    return next(row for row in rows(office) if row["type"] == "subscription" and row["total"] > 10)


def test_fault_35_charges_without_ids_are_billed_once_in_whatever_order_they_come(office: Office) -> None:
    twins = some(office)
    for invoice, charges in office.sandbox.pax8.items.items():
        if twins in charges:
            office.sandbox.pax8.items[invoice] = [*charges, dict(twins), dict(twins)]  # true twins: three are sold
    for row in rows(office):
        del row["id"]
    office.run("run", "--yes", "--json").must(0)
    assert billed(office.sandbox) == due(office.sandbox)
    state = office.sandbox.state()["halo"]
    for charges in office.sandbox.pax8.items.values():
        charges.reverse()
    again = office.run("run", "--yes", "--json").must(0).json
    assert again["postings"] == [] and office.sandbox.state()["halo"] == state


def test_fault_35_an_id_that_comes_twice_makes_the_month_not_ready(office: Office) -> None:
    one, other = rows(office)[:2]
    other["id"] = one["id"]
    state = office.sandbox.state()
    told = office.run("run", "--yes", "--json").must(4).json["error"]
    assert told["code"] == "BS-NOT-READY" and "twice" in told["message"]
    assert office.sandbox.state() == state


ODD: dict[str, tuple[dict[str, Any], str | None]] = {
    "unknown type": ({"type": "loyalty-points"}, "unknown_charge_type"),
    "type null": ({"type": None}, "unknown_charge_type"),
    "type of another kind": ({"type": 7}, "unknown_charge_type"),
    "unknown term": ({"term": "Fortnightly"}, None),
    "unknown fields": ({"newThing": {"deep": [1, None]}, "vendorName": 5}, None),
    "total is a text": ({"total": "12.50 USD"}, "bad_amount"),
    "total has a comma": ({"total": "12,50"}, "bad_amount"),
    "no text at all": ({"productName": None, "description": None, "sku": None}, None),
}


@pytest.mark.parametrize("what", ODD)
def test_fault_36_odd_charges_neither_crash_nor_vanish_nor_stop_the_others(office: Office, what: str) -> None:
    changes, reason = ODD[what]
    wanted = due(office.sandbox)
    row = some(office)
    amounts = Decimal(row["total"]), Decimal(row["costTotal"])
    row.update(changes)
    told = office.run("run", "--yes", "--json").must(0 if reason is None else 3).json
    balanced(told, returned=True)
    assert [hold["reason"] for hold in told["holds"]] == ([] if reason is None else [reason])
    if reason is not None:
        client = next(id_ for id_, lines in wanted.items() if amounts in lines)
        wanted[client].remove(amounts)
    assert billed(office.sandbox) == wanted


@pytest.mark.parametrize("status", ["Archived", None, 3])
def test_fault_36_an_invoice_of_unknown_status_is_not_billed_blindly(office: Office, status: Any) -> None:
    """Neither void nor credited, so it counts [S1]; whoever reads the plan sees what Pax8 called it."""
    for one in office.sandbox.pax8.invoices:
        if one["status"] not in ("Void", "Credited") and one["invoiceDate"].startswith("2026-11"):
            one["status"] = status
    state = office.sandbox.state()
    ran = office.run("plan", "--json")
    assert office.sandbox.state() == state
    if ran.code == 0:
        assert {source["status"] for source in ran.json["sources"]} == {str(status or "")}
    else:
        assert ran.code == 4 and "status" in ran.json["error"]["message"]


ROUNDED = {  # quantity, price, Pax8's total, its cost
    "11 x 2.4999": (11, Decimal("2.4999"), Decimal("27.50"), Decimal("20.00")),
    "3 x 33.333": (3, Decimal("33.333"), Decimal("100.00"), Decimal("99.99")),
    "a total of its own": (7, Decimal("1.10"), Decimal("7.69"), Decimal("7.00")),
    "halves": (1, Decimal("10.005"), Decimal("10.005"), Decimal("4.995")),
    "a third of a seat": (Decimal("0.333"), Decimal("10.00"), Decimal("3.33"), Decimal("2.22")),
    "large": (99_999, Decimal("999.99"), Decimal("99998000.01"), Decimal("1.00")),
}


@pytest.mark.parametrize("what", ROUNDED)
def test_fault_38_what_halopsa_adds_up_from_floats_is_pax8s_amount_to_the_cent(office: Office, what: str) -> None:
    quantity, price, total, cost = ROUNDED[what]
    row = some(office)
    row.update(quantity=quantity, price=price, total=total, subTotal=total, costTotal=cost, cost=cost)
    told = office.run("run", "--yes", "--json").must(0).json
    balanced(told, returned=True)
    assert billed(office.sandbox) == due(office.sandbox)
    for account in told["equation"].values():
        assert account["price"]["returned"] == account["price"]["posted"]


def test_fault_08_a_credential_that_could_order_is_only_ever_read_with(office: Office) -> None:
    """Pax8's credentials have no scopes: whoever holds ours could order. All that we send is GET, and the token request."""
    office.run("doctor").must(0, 1, 3)
    office.run("run", "--yes").must(0)
    office.run("plan", "--replan", "--json").must(0, 3)
    sent = {
        (call.method, call.path.rpartition("/")[2] == "token")
        for call in office.sandbox.calls
        if call.service == "pax8"
    }
    assert sent == {("GET", False), ("POST", True)}
