"""Where lines go: a new invoice [B1] or the latest one [B2]. The recurring one [B3] is in test_core_recurring."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from halo_rows import invoice_of
from test_core_notation import (
    azure,
    carried_out,
    charge,
    client_of,
    fate_of,
    fates_of,
    lines,
    month,
    next_month,
    rules,
)

from billingsync.core.bill.plan_run import plan_run
from billingsync.core.inputs import Memory
from billingsync.core.invoice import Invoice

# --- [B1] --------------------------------------------------------------------------------------------------------

MIXED = [
    charge("1", "1.00", invoice="inv-1", po="PO-1"),
    charge("2", "2.00", invoice="inv-1", po="PO-2"),
    charge("3", "4.00", invoice="inv-2", po="PO-1"),
    charge("4", "8.00", invoice="inv-2", po="N/A"),
    charge("5", "16.00", invoice="inv-2", po=""),
    charge("6", "32.00", invoice="inv-1", po="PO-1", company="Fabrikam GmbH"),
]


@pytest.mark.parametrize(
    ("group_by", "invoices"),
    [
        ("client", {(1, ""): "31.00", (2, ""): "32.00"}),
        ("distributor_invoice", {(1, "inv-1"): "3.00", (1, "inv-2"): "28.00", (2, "inv-1"): "32.00"}),
        ("purchase_order", {(1, "PO-1"): "5.00", (1, "PO-2"): "2.00", (1, ""): "24.00", (2, "PO-1"): "32.00"}),
    ],
)
def test_B1_groups(group_by: str, invoices: dict[tuple[int, str], str]) -> None:
    plan = plan_run(month(*MIXED, base=rules(invoice={"group_by": group_by})))
    assert {(p.client_id, p.group): str(p.amount) for p in plan.postings} == invoices
    assert {p.action for p in plan.postings} == {"create"}
    assert {line.group == posting.group for posting in plan.postings for line in posting.lines} == {True}


@pytest.mark.parametrize("order", ["N/A", "n/a", " N/A ", "NA", "na", "", "None", "-"])
def test_B1_no_purchase_order_is_one_group_however_it_is_written(order: str) -> None:
    plan = plan_run(
        month(charge("1", po=order), charge("2", po=""), base=rules(invoice={"group_by": "purchase_order"}))
    )
    assert [posting.group for posting in plan.postings] == [""]


def test_B1_a_collapsed_line_stands_on_one_invoice() -> None:
    """Azure of two distributor invoices that become two invoices is one line on each."""
    base = rules(invoice={"group_by": "distributor_invoice"}, modifiers={"azure": "collapse"})
    charges = [azure("1", "1.00", invoice="a"), azure("2", "2.00", invoice="b"), azure("3", "4.00", invoice="a")]
    plan = plan_run(month(*charges, base=base))
    assert {p.group: (len(p.lines), str(p.amount)) for p in plan.postings} == {"a": (1, "5.00"), "b": (1, "2.00")}


@pytest.mark.parametrize("behavior", ["latest", "recurring"])
def test_B1_group_by_is_for_new_invoices_only(behavior: str) -> None:
    said = {"behavior": behavior, "group_by": "distributor_invoice", "recurring_invoice": -8841}
    there = (open_invoice(100), invoice_of({"lines": []}, id_=-8841, client_id=1, template=True))
    plan = plan_run(month(*MIXED[:5], base=rules(invoice=said), existing=there))
    assert [(posting.group, str(posting.amount)) for posting in plan.postings] == [("", "31.00")]


def test_B1_the_order_of_lines_does_not_hang_on_the_order_of_pages() -> None:
    charges = [charge(str(n), f"{n}.00", product=name) for n, name in enumerate("CBABCA", start=1)]
    shown = [line.description for line in lines(plan_run(month(*charges)))]
    for seed in range(5):
        other = Random(seed).sample(charges, len(charges))
        assert [line.description for line in lines(plan_run(month(*other)))] == shown
    assert shown == ["A", "A", "B", "B", "C", "C"]


# --- [B2] --------------------------------------------------------------------------------------------------------

LATEST = rules(invoice={"behavior": "latest"})
OR_NEW = rules(invoice={"behavior": "latest", "when_latest_closed": "new"})


def open_invoice(id_: int, day: str | None = "2026-11-05T00:00:00", client_id: int = 1, **raw: Any) -> Invoice:
    usual = {
        "id": id_,
        "posted": False,
        "voided": False,
        "datesent": "1899-12-30T00:00:00",
        "datepaid": None,
        "amountpaid": 0,
        "paymentstatus": 0,
        "xeroid": "",
        "qboid": None,
        "invoicetype": 0,
        "approval_status": 0,
        "lines": [],
    }
    return invoice_of({**usual, "invoice_date": day, **raw}, id_=id_, client_id=client_id, template=False)


def target(*existing: Invoice, base: Any = LATEST) -> int | str | None:
    """The id of the invoice appended to, "new", or the reason of the hold."""
    plan = plan_run(month(charge(), base=base, existing=existing))
    if not plan.postings:
        return client_of(plan).held
    (posting,) = plan.postings
    assert posting.action == ("create" if posting.invoice_id is None else "append")
    return posting.invoice_id or "new"


@pytest.mark.parametrize(
    ("invoices", "found"),
    [
        ([(7, "2026-11-05")], 7),
        ([(7, "2026-11-05"), (9, "2026-11-04")], 7),  # the date comes first
        ([(9, "2026-11-04"), (7, "2026-11-05")], 7),
        ([(7, "2026-11-05"), (9, "2026-11-05")], 9),  # then the id
        ([(9, "2026-11-05"), (10, "2026-11-05")], 10),  # as a number
        ([(9, "2025-12-31"), (7, "2026-01-01")], 7),
        ([(9, None), (7, "2020-01-01")], 7),  # a date that is not there is older than any
        ([(7, "2026-11-05T00:00:00"), (9, "2026-11-05")], 9),  # however it is written
        ([(7, "2026-11-05T12:00:00"), (9, "2026-11-05T00:00:00")], 9),  # a date is a day; ours are sent as of noon
    ],
)
def test_B2_the_most_recent_by_date_then_id(invoices: list[tuple[int, str | None]], found: int) -> None:
    assert target(*[open_invoice(id_, day) for id_, day in invoices]) == found


def test_B2_only_the_clients_own_and_never_a_recurring_one() -> None:
    recurring = invoice_of({"invoice_date": "2027-01-01", "lines": []}, id_=-5, client_id=1, template=True)
    assert target(open_invoice(7), open_invoice(9, "2026-12-01", client_id=2), recurring) == 7
    assert target(open_invoice(9, client_id=2), recurring) == "latest_missing"


CLOSED: list[dict[str, Any]] = [
    {"posted": True},
    {"dateposted": "2026-11-06T00:00:00"},
    {"last_synced": "2026-11-06T00:00:00"},
    {"xeroid": "b1c7"},
    {"qboid": "17"},
    {"intacct_recordno": "R-1"},
    {"sage_business_cloud_id": "x"},
    {"exact_id": "x"},
    {"dbc_id": "x"},
    {"kashflowid": 12},
    {"kashflowid": 1},
    {"xeroid": True},
    {"snelstart_id": "x"},
    {"datesent": "2026-11-06T09:00:00"},
    {"amountpaid": Decimal("0.01")},
    {"amountpaid": Decimal(-5)},
    {"paymentstatus": 2},
    {"paymentstatus": 1},
    {"datepaid": "2026-11-06T00:00:00"},
    {"voided": True},
    {"creditlinkedtoinvoiceid": 12},
    {"creditlinkedtoinvoiceid": 1},
    {"invoicetype": 1},
    {"approval_status": 1},
    {"requires_approval": True},
    {"requires_approval": "true"},
    {"quickbooks_period_closed": True},
]


@pytest.mark.parametrize("raw", CLOSED, ids=repr)
def test_B2_a_closed_invoice_takes_nothing(raw: dict[str, Any]) -> None:
    assert target(open_invoice(7, **raw)) == "latest_closed"
    assert target(open_invoice(7, **raw), base=OR_NEW) == "new"


@pytest.mark.parametrize("raw", CLOSED[:3], ids=repr)
def test_B2_an_older_open_invoice_is_not_taken_instead(raw: dict[str, Any]) -> None:
    assert target(open_invoice(7, "2026-11-05", **raw), open_invoice(6, "2026-10-05")) == "latest_closed"
    assert target(open_invoice(7, "2026-11-05"), open_invoice(6, "2026-10-05", **raw)) == 7


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"datesent": None, "dateposted": "1900-01-01T00:00:00", "last_synced": "0001-01-01T00:00:00"},
        {"xeroid": None, "qboid": "", "exact_id": "0", "kashflowid": 0},
        {"amountpaid": Decimal("0.0"), "paymentstatus": None},
        {"voided": None, "posted": None, "creditlinkedtoinvoiceid": 0},
        {"emailstatus": 0},
        {"datesent": "", "dateposted": "", "datepaid": ""},
        {"posted": "", "voided": "0", "requires_approval": "false", "quickbooks_period_closed": "False"},
    ],
    ids=repr,
)
def test_B2_what_says_nothing_closes_nothing(raw: dict[str, Any]) -> None:
    assert target(open_invoice(7, **raw)) == 7


@pytest.mark.parametrize(
    ("raw", "named"), [({"invoicenumber": "INV-0042"}, "INV-0042"), ({}, "7"), ({"invoicenumber": None}, "7")]
)
def test_B2_a_closed_invoice_is_named_with_why_and_what_to_do(raw: dict[str, Any], named: str) -> None:
    (hold,) = client_of(plan_run(month(charge(), base=LATEST, existing=(open_invoice(7, voided=True, **raw),)))).holds
    assert hold.detail == f"the client's latest invoice {named} is void"
    assert 'when_latest_closed = "new"' in hold.next_step


def test_B2_no_invoice_at_all() -> None:
    assert target() == "latest_missing"
    assert target(base=OR_NEW) == "new"


def test_B2_a_closed_target_holds_every_charge_with_a_reason_and_no_other_client() -> None:
    own = [charge("1"), charge("2", type="rebate"), charge("3", problem="bad")]
    found = fates_of(
        *own,
        charge("4", company="Fabrikam GmbH"),
        base=LATEST,
        existing=(open_invoice(7, posted=True), open_invoice(8, client_id=2)),
    )
    assert found == {"1": "held latest_closed", "2": "excluded charge_type", "3": "held bad_amount", "4": "posted"}


@pytest.mark.parametrize(
    ("invoice", "said"),
    [
        ({"behavior": "latest"}, {}),
        ({"behavior": "recurring"}, {}),
        ({"behavior": "recurring", "recurring_invoice": -9}, {}),
    ],
)
def test_B2_B3_a_client_with_nothing_to_bill_needs_no_invoice_to_bill_it_on(
    invoice: dict[str, Any], said: dict[str, Any]
) -> None:
    """All its charges are Azure and dropped: nothing waits for an invoice."""
    base = rules(invoice=invoice, modifiers={"azure": "drop"})
    assert fate_of(azure(), base=base, **said) == "dropped azure"


# --- [N1] the key ------------------------------------------------------------------------------------------------


def key_of(*parts: Any) -> str:
    """As the ledgers of all installations have it: another way to write it would post everything once more."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:20]


def test_N1_the_key_is_written_in_one_way_for_ever() -> None:
    (posting,) = plan_run(month(charge("2"), charge("1"))).postings
    assert posting.key == "441dd6da1e322dee3aa2"
    assert posting.key == key_of("northwind", 1, "create::2026-11", ["inv:1", "inv:2"], [])
    undone = Memory(generations={posting.key: 2})
    (again,) = plan_run(month(charge("2"), charge("1"), memory=undone)).postings
    assert (again.base_key, again.generation, again.key) == (posting.key, 2, key_of(posting.key, 2))


def test_N1_the_key_names_the_invoice_and_what_is_removed_from_it() -> None:
    (posting,) = plan_run(month(charge(), base=LATEST, existing=(open_invoice(7),))).postings
    assert posting.key == key_of("northwind", 1, "append:7:2026-11", ["inv:1"], [])
    base = rules(invoice={"behavior": "recurring", "recurring_invoice": -8841})
    there = invoice_of({"lines": []}, id_=-8841, client_id=1, template=True)
    november = month(charge("1", sku="A"), charge("2", sku="B"), base=base, existing=(there,))
    (posting,) = plan_run(next_month(carried_out(november), charge("3", sku="B"))).postings
    assert sorted(line.action for line in posting.lines) == ["remove", "update"]
    assert posting.key == key_of("northwind", 1, "update:-8841:2026-12", ["inv:3"], ["-9001"])


def test_B1_a_posting_says_whom_it_bills_and_what_it_comes_to() -> None:
    (posting,) = plan_run(month(charge("1", "10.00", "8.00"), charge("2", "5.00", "-1.00"))).postings
    assert (posting.client_id, posting.client_name, posting.currency) == (1, "Contoso Ltd", "USD")
    assert (posting.amount, posting.cost, posting.group) == (Decimal("15.00"), Decimal("7.00"), "")
