"""True-up [R2] (fault 11): Pax8 credits an invoice that is billed and issues another. Through the CLI, counted in the
sandbox's own tables."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billingsync.http.calls import Calls
from billingsync.sandbox.server import Sandbox
from tests.sandbox.cli import CALM, MARK, TEXT_ONLY, Office, balanced, billed, cents, due, foreign
from tests.sandbox.test_undo import LOOSE, due_sums, edit, net, no_waiting, open_invoices, ours, post, recurring_office

AGAIN = "33333333-3333-4333-8333-333333333333"


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(CALM) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: Sandbox) -> Sandbox:
    server.reset(CALM)
    return server


@pytest.fixture
def office(sandbox: Sandbox, tmp_path: Path, database_url: str) -> Office:
    made = Office(tmp_path, sandbox, database_url)
    made.rules(TEXT_ONLY + LOOSE)
    return made


@pytest.fixture
def small(sandbox: Sandbox, tmp_path: Path, sqlite_url: str) -> Office:
    made = Office(tmp_path, sandbox, sqlite_url)
    made.rules(TEXT_ONLY + LOOSE)
    return made


def counting(sandbox: Sandbox) -> dict[str, Any]:
    """The month's largest invoice that counts."""
    taken = [one for one in sandbox.pax8.invoices if one["status"] not in ("Void", "Credited")]
    taken = [one for one in taken if one["invoiceDate"].startswith("2026-11")]
    return max(taken, key=lambda one: len(sandbox.pax8.items[one["id"]]))


def credit(sandbox: Sandbox) -> dict[str, Any]:
    invoice = counting(sandbox)
    invoice["status"] = "Credited"
    return invoice


def issue_again(sandbox: Sandbox, invoice: dict[str, Any], change: Decimal = Decimal("1.00")) -> None:
    """The same charges under new ids; every subscription's total is `change` higher."""
    again = {**copy.deepcopy(invoice), "id": AGAIN, "status": "Unpaid"}
    rows = []
    for row in copy.deepcopy(sandbox.pax8.items[invoice["id"]]):
        row["id"] = f"4444{row['id'][4:]}"
        if row["type"] == "subscription" and row.get("total") is not None and row["total"] > 0:
            row["total"] += change
            row["subTotal"] = row["total"]
        rows.append(row)
    sandbox.pax8.items[AGAIN] = rows
    sandbox.pax8.invoices.append(again)


def approve_all(office: Office) -> str:
    """Approves every true-up of the plan; gives the digest of the plan that they lead to."""
    shown = office.run("plan", "--json").must(3).json
    for up in shown["true_ups"]:
        office.run(
            "approve",
            shown["digest"],
            "--client",
            up["client_name"],
            "--as",
            up["ways"][0]["command"][6],
            "--reason",
            "ticket 7",
        ).must()
        shown = office.run("plan", "--json").must(0, 3).json
    assert [up["state"] for up in shown["true_ups"]] == ["approved"] * len(shown["true_ups"])
    return str(shown["digest"])


def marked(sandbox: Sandbox) -> dict[int, list[tuple[Decimal, Decimal]]]:
    """Client -> (price, cost) of each of our lines wherever it stands, recurring invoices included."""
    found: dict[int, list[tuple[Decimal, Decimal]]] = {}
    for table in ("invoices", "recurring"):
        for row in sandbox.halo.table(table).values():
            for line in row["lines"]:
                if MARK.search(line["item_longdescription"]) and not line["isinactive"]:
                    quantity = Decimal(line["qty_order"])
                    amounts = (
                        cents(quantity * Decimal(line["unit_price"])),
                        cents(quantity * Decimal(line["unit_cost"])),
                    )
                    found.setdefault(row["client_id"], []).append(amounts)
    return {client: sorted(amounts) for client, amounts in found.items()}


def clients_on(sandbox: Sandbox, invoice: dict[str, Any]) -> set[int]:
    """HaloPSA clients that have a charge on this Pax8 invoice which must be billed."""
    status, invoice["status"] = invoice["status"], "Unpaid"
    others = [one for one in sandbox.pax8.invoices if one["id"] != invoice["id"]]
    kept, sandbox.pax8.invoices[:] = list(sandbox.pax8.invoices), [invoice]
    try:
        return set(due(sandbox))
    finally:
        sandbox.pax8.invoices[:] = kept
        invoice["status"] = status
        assert len(others) == len(kept) - 1


@pytest.mark.parametrize("behavior", ["new", "latest", "recurring"])
def test_fault_11_R2_the_true_up_shows_take_back_add_and_net_and_is_made_once_approved(
    office: Office, sandbox: Sandbox, behavior: str
) -> None:
    if behavior == "recurring":
        recurring_office(office)
    if behavior == "latest":
        open_invoices(sandbox, 214, 215, 216, 217)
        office.rules(TEXT_ONLY + LOOSE + '[invoice]\nbehavior = "latest"\n')
    first = due(sandbox)
    post(office)
    assert marked(sandbox) == first
    invoice = credit(sandbox)
    issue_again(sandbox, invoice)

    state = sandbox.state()
    shown = office.run("plan", "--json").must(3).json
    balanced(shown)
    second = due_sums(sandbox)
    for up in shown["true_ups"]:
        told = {name: Decimal(up[name]["amount"]) for name in ("take_back", "add", "net")}
        assert told["take_back"] == sum(amount for amount, _ in first[up["client_id"]])
        assert told["add"] == second[up["client_id"]] and told["net"] == told["add"] - told["take_back"] > 0
        assert up["state"] == "held" and up["credited"] == [invoice["id"]]
    affected = clients_on(sandbox, invoice)
    assert affected and {up["client_id"] for up in shown["true_ups"]} == affected
    assert {hold["reason"] for client in shown["clients"] for hold in client["holds"]} == {"source_replaced"}
    held = office.run("run", "--yes", "--json").must(3).json
    assert held["postings"] == [] and sandbox.state()["halo"] == state["halo"], "nobody has allowed it"

    digest = approve_all(office)
    told = office.run("post", digest, "--json").must(0).json
    balanced(told, returned=True)
    assert marked(sandbox) == due(sandbox)
    assert {one["client_id"] for one in told["taken_back"]} == affected
    if behavior == "new":
        assert foreign(sandbox.state()) == foreign(state)
    settled = sandbox.state()
    again = office.run("run", "--yes", "--json").must(0).json
    assert again["postings"] == [] and sandbox.state()["halo"] == settled["halo"]


def test_R2_what_stands_on_a_closed_invoice_is_credited_by_a_new_one(office: Office, sandbox: Sandbox) -> None:
    post(office)
    closed = next(row for row in ours(sandbox) if row["client_id"] in clients_on(sandbox, counting(sandbox)))
    edit(sandbox, closed, lambda row: row.update(posted=True, dateposted="2026-11-21T09:00:00"))
    kept = copy.deepcopy(sandbox.halo.invoices[closed["id"]])
    issue_again(sandbox, credit(sandbox))
    shown = office.run("plan", "--json").must(3).json
    (up,) = [up for up in shown["true_ups"] if up["client_id"] == closed["client_id"]]
    assert [one["closed"] for one in up["invoices"]] == ["is posted to accounting"]
    told = office.run("post", approve_all(office), "--json").must(0).json
    assert sandbox.halo.invoices[closed["id"]] == kept
    (back,) = [one for one in told["taken_back"] if one["how"] == "credited"]
    assert sandbox.halo.invoices[back["credit_invoice"]]["revenue"] == -kept["revenue"]
    assert net(sandbox) == due_sums(sandbox)


def test_R2_approved_for_one_client_the_others_wait(small: Office, sandbox: Sandbox) -> None:
    post(small)
    issue_again(sandbox, credit(sandbox))
    before = net(sandbox)
    shown = small.run("plan", "--json").must(3).json
    one, *others = shown["true_ups"]
    small.run("approve", shown["digest"], "--client", one["client_name"], "--as", "true-up", "--reason", "seen").must()
    told = small.run("run", "--yes", "--json").must(3).json
    wanted = due_sums(sandbox)
    assert net(sandbox) == before | {one["client_id"]: wanted[one["client_id"]]}
    assert {up["client_id"] for up in told["true_ups"]} == {up["client_id"] for up in others}
    again = small.run("run", "--yes", "--json").must(3).json
    assert again["postings"] == [], "the new invoice is billed in part now, which frees nobody else"


def test_R2_credited_and_not_issued_again_yet_waits_and_says_so(small: Office, sandbox: Sandbox) -> None:
    post(small)
    state = sandbox.state()["halo"]
    for one in sandbox.pax8.invoices:
        if one["invoiceDate"].startswith("2026-11"):
            one["status"] = "Credited"
    told = small.run("run", "2026-11", "--yes", "--json").must(3).json
    assert [(up["state"], up["kind"], up["replaced"]) for up in told["true_ups"]] == [("held", "credited", False)] * 4
    assert all("take back" in up["detail"] and "credit-only" in up["next_step"] for up in told["true_ups"])
    assert sandbox.state()["halo"] == state


def test_R2_a_vanished_invoice_counts_as_credited_and_waits_for_a_person(small: Office, sandbox: Sandbox) -> None:
    post(small)
    state = sandbox.state()["halo"]
    invoice = counting(sandbox)
    sandbox.pax8.invoices.remove(invoice)
    issue_again(sandbox, invoice)
    shown = small.run("plan", "--json").must(3).json
    assert {up["state"] for up in shown["true_ups"]} == {"held"}
    small.run("run", "--yes", "--json").must(3)
    assert sandbox.state()["halo"] == state
    small.run("post", approve_all(small), "--json").must(0)
    assert billed(sandbox) == due(sandbox)


@pytest.mark.parametrize(
    "fault", ["halo:DELETE:/Invoice/*:1:reset_after", "halo:DELETE:/Invoice/*:2:503", "halo:POST:/Invoice:1:500_after"]
)
def test_R2_a_true_up_that_was_interrupted_ends_as_an_undisturbed_one(
    small: Office, sandbox: Sandbox, fault: str
) -> None:
    post(small)
    issue_again(sandbox, credit(sandbox))
    digest = approve_all(small)
    sandbox.faults.add(fault)
    with no_waiting(sandbox):
        small.run("post", digest, "--json")
        small.run("run", "--yes", "--json")
    assert net(sandbox) == due_sums(sandbox)
    assert billed(sandbox) == due(sandbox)


def test_R2_lines_that_a_person_edited_stay_and_nobody_pays_twice(small: Office, sandbox: Sandbox) -> None:
    post(small)
    edited = next(row for row in ours(sandbox) if row["client_id"] in clients_on(sandbox, counting(sandbox)))
    issue_again(sandbox, credit(sandbox))
    edit(sandbox, edited, lambda row: row["lines"][0].update(unit_price=1.5))
    digest = approve_all(small)
    told = small.run("post", digest, "--json").must(3, 1).json
    (back,) = [one for one in told["taken_back"] if one["client_id"] == edited["client_id"]]
    assert back["problem"]
    assert [cents(line["unit_price"]) for line in sandbox.halo.invoices[edited["id"]]["lines"]] == [Decimal("1.50")]
    mine = [row for row in ours(sandbox) if row["client_id"] == edited["client_id"]]
    assert [row["id"] for row in mine] == [edited["id"]], "what comes instead waits for a person"


def test_n4_R2_killed_before_and_after_every_write_the_end_is_the_undisturbed_one(
    small: Office, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    post(small)
    issue_again(sandbox, credit(sandbox))
    digest = approve_all(small)
    state, ledger = sandbox.state(), (small.folder / "billingsync.db").read_bytes()
    timed = Calls.timed

    def again(nth: int, after: bool) -> int:
        """Runs it killed at the n-th write; gives how many writes there were."""
        sandbox.restore(state)
        (small.folder / "billingsync.db").write_bytes(ledger)
        for left in small.folder.glob("billingsync.db-*"):
            left.unlink()
        count = 0

        def killed(self: Calls, send: Any, asked: Any, attempt: int) -> Any:
            nonlocal count
            if asked.method == "GET" or "token" in asked.path:
                return timed(self, send, asked, attempt)
            count += 1
            if count == nth and not after:
                raise KeyboardInterrupt
            answer = timed(self, send, asked, attempt)
            if count == nth:
                raise KeyboardInterrupt
            return answer

        with monkeypatch.context() as patch, no_waiting(sandbox):
            patch.setattr(Calls, "timed", killed)
            with contextlib.suppress(KeyboardInterrupt):
                small.run("post", digest, "--json")
        with no_waiting(sandbox):
            small.run("run", "--yes", "--json").must(0)
        assert marked(sandbox) == due(sandbox), (nth, after)
        return count

    writes = again(0, False)
    assert writes >= 4
    for nth in range(1, writes + 1):
        for after in (False, True):
            again(nth, after)
