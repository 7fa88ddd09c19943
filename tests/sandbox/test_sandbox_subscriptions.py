"""What the emulated Pax8 sells, beside what it charges, and the seats that people keep by hand at HaloPSA."""

from collections import Counter, defaultdict
from decimal import Decimal

import pytest

from billingsync.sandbox.caller import Caller, json
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sandbox.world import World

STATUSES = {
    "Active", "Cancelled", "PendingManual", "PendingAutomated", "PendingCancel", "WaitingForDetails", "Trial",
    "Converted", "PendingActivation", "Activated",
}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return World(SandboxOptions())


@pytest.fixture(scope="module")
def server():
    with Sandbox(SandboxOptions()) as sandbox, Caller(sandbox.environment()) as caller:
        yield sandbox, caller


def seats(rows, product, quantity="quantity"):
    found = defaultdict(Decimal)
    for row in rows:
        found[row["companyId"], row[product]] += Decimal(row[quantity] or 0)
    return found


def test_every_documented_status_and_every_shape_of_a_commitment(world):
    rows = world.pax8.subscriptions
    assert {row["status"] for row in rows} >= STATUSES
    assert {row["status"] for row in World(SandboxOptions(trouble=False)).pax8.subscriptions} == STATUSES
    assert Counter(type(row["commitmentTerm"]) for row in rows).keys() == {dict, str, type(None)}
    assert {row["billingTerm"] for row in rows} >= {"Monthly", "Annual", "2-Year", "Trial", "Activation"}
    assert {"partnerCost" in row for row in rows} == {True, False}
    assert any(row.get("parentSubscriptionId") for row in rows)
    assert any(row["quantity"] is None for row in rows) and any((row["quantity"] or 0) < 0 for row in rows)


def test_live_seats_mostly_agree_with_the_charges(world):
    taken = [row["id"] for row in world.pax8.invoices if row["status"] not in ("Void", "Credited")]
    month = [row["id"] for row in world.pax8.invoices if row["invoiceDate"] == "2026-11-01"]
    rows = [row for invoice in taken if invoice in month for row in world.pax8.items[invoice]]
    charges = [row for row in rows if (row["type"], row["term"]) == ("subscription", "Monthly")]
    charges = [row for row in charges if row["companyId"] and row.get("subscriptionId")]
    live = [row for row in world.pax8.subscriptions if row["status"] in ("Active", "Activated", "PendingCancel")]
    invoiced, subscribed = seats(charges, "subscriptionId"), seats(live, "id")
    both = invoiced.keys() & subscribed.keys()
    differing = [key for key in both if invoiced[key] != subscribed[key]]
    assert len(both) > 50 and 0 < len(differing) < len(both) / 10
    assert {subscription for _, subscription in differing} <= world.pax8.history.keys()


def test_lists_that_hang_on_one_row(server):
    sandbox, caller = server
    changed = next(iter(sandbox.pax8.history))
    past = json(caller.pax8(f"/subscriptions/{changed}/history"))
    assert past.keys() == {"content"} and len(past["content"]) == 2
    azure = next(iter(sandbox.pax8.usage))
    summaries = json(caller.pax8(f"/subscriptions/{azure}/usage-summaries"))
    one = summaries["content"][0]["id"]
    assert summaries["page"]["totalElements"] == 2
    assert caller.pax8(f"/usage-summaries/{one}/usage-lines").status_code == 422
    assert len(json(caller.pax8(f"/usage-summaries/{one}/usage-lines", usageDate="2026-11-01"))["content"]) == 1
    product = sandbox.pax8.products[0]["id"]
    terms = json(caller.pax8(f"/products/{product}/dependencies"))["commitmentDependencies"]
    assert {term["term"] for term in terms} == {"Monthly", "1-Year", "3-Year"}
    assert json(caller.pax8(f"/products/{product}/pricing"))["content"][0]["rates"]
    assert caller.pax8("/products/none/dependencies").status_code == 404
    assert sandbox.ignored == []


def test_drafts_leave_out_arrears(server):
    sandbox, caller = server
    drafts = json(caller.pax8("/invoices/draftItems", size=200))["content"]
    assert drafts and {row["subscriptionId"] for row in drafts}.isdisjoint(sandbox.pax8.usage)
    assert {row["startPeriod"] for row in drafts} == {"2026-12-01"}
    assert caller.pax8("/invoices/draftItems", monthOffset="2").status_code == 422
    assert caller.pax8("/invoices/draftItems", companyId="nobody").status_code == 404


def test_seats_change_while_they_are_read(server):
    sandbox, caller = server
    before = sandbox.pax8.subscriptions[-1] | {}
    sandbox.change(seats_move_at_page=1)
    caller.pax8("/subscriptions", size=100, page=0)
    assert sandbox.pax8.subscriptions[-1] == before
    caller.pax8("/subscriptions", size=100, page=1)
    assert sandbox.pax8.subscriptions[-1]["quantity"] == before["quantity"] + 1
    assert sandbox.pax8.subscriptions[-1]["updatedDate"] > before["updatedDate"]


def test_seats_kept_by_hand(world):
    """Only on request, and then with a difference each."""
    kept = World(SandboxOptions(hand_kept=4)).halo.tables.recurring
    usual = world.halo.tables.recurring
    more = {row_id: len(row["lines"]) - len(usual.get(row_id, {"lines": []})["lines"]) for row_id, row in kept.items()}
    assert sum(count > 0 for count in more.values()) == 4
    lines = [line for row in kept.values() for line in row["lines"]]
    assert any(line["prorata_data"] for line in lines)
