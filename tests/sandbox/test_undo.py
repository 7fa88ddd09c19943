"""Undo [R4] [R5], counted in the sandbox's own tables: exactly the run's lines go, everything else stays as it was."""

from __future__ import annotations

import contextlib
import datetime
import json
import signal
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from billingsync.audit import verify
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sandbox.wire import copy_json
from billingsync.store.ledger import open_ledger
from tests.sandbox.cli import CALM, MARK, TEXT_ONLY, Office, billed, cents, due, end_state, foreign, marks

LOOSE = "\n[limits]\nchange_percent_max = 1000000\nmissing_company_percent_max = 100\n"
MONTHS = SandboxOptions(trouble=False, clients=4, history=2)
COMPUTED = ("net_amount", "tax_amount", "tax_rate", "total_price")
ONTO = {214: 201, 216: 204, 217: 205}  # client -> its recurring invoice without anything automatic on it


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
    """On SQLite alone: where the database makes no difference."""
    made = Office(tmp_path, sandbox, sqlite_url)
    made.rules(TEXT_ONLY + LOOSE)
    return made


@pytest.fixture(scope="module")
def kept(server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Any, bytes]]:
    """Months that were posted once, by behavior: the run, the sandbox's state and the ledger, to be put back."""
    found = {}
    for behavior in ("new", "latest"):
        server.reset(CALM)
        folder = tmp_path_factory.mktemp(behavior)
        office = Office(folder, server, f"sqlite:///{folder / 'billingsync.db'}")
        office.rules(TEXT_ONLY + LOOSE + f'[invoice]\nbehavior = "{behavior}"\n')
        if behavior == "latest":
            open_invoices(server, 214, 215, 216, 217)
        run = post(office)
        found[behavior] = (run, server.state(), (folder / "billingsync.db").read_bytes())
    return found


@pytest.fixture
def posted(small: Office, kept: dict[str, tuple[str, Any, bytes]]) -> Callable[[str], str]:
    """Puts a posted month in place and gives its run."""

    def put(behavior: str = "new") -> str:
        run, state, ledger = kept[behavior]
        small.sandbox.restore(state)
        (small.folder / "billingsync.db").write_bytes(ledger)
        small.rules(TEXT_ONLY + LOOSE + f'[invoice]\nbehavior = "{behavior}"\n')
        return run

    return put


Put = Callable[..., str]


@contextlib.contextmanager
def no_waiting(sandbox: Sandbox) -> Iterator[None]:
    """Waits pass at once, and the sandbox's clock moves with them."""
    from billingsync.run import context

    true_context = context.RunContext

    moved = [0.0]

    def wait(seconds: float) -> None:
        moved[0] += seconds
        sandbox.clock.advance(seconds)

    def now() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=moved[0])

    def quick(**given: Any) -> context.RunContext:
        return true_context(**{**given, "wait": wait, "now": now})

    with mock.patch.object(context, "RunContext", quick):
        yield


def post(office: Office, *words: str) -> str:
    return str(office.run("run", "--yes", "--json", *words).must().json["run"])


def rows(state: dict[str, Any], table: str = "invoices") -> dict[int, Any]:
    return {row["id"]: row for row in state["halo"][table]}


def settled_rows(state: dict[str, Any], table: str = "invoices") -> dict[int, Any]:
    """Without what any write to an invoice moves."""
    moving = ("change_seq", "last_modified")
    return {
        id_: {name: value for name, value in row.items() if name not in moving}
        for id_, row in rows(state, table).items()
    }


def ours(sandbox: Sandbox) -> list[Any]:
    return [row for row in sandbox.halo.invoices.values() if "billingsync key=" in row["internal_note"]]


def edit(sandbox: Sandbox, invoice: Any, change: Callable[[Any], None], table: str = "invoices") -> None:
    """What a person does in HaloPSA's screen."""
    row = copy_json(sandbox.halo.table(table)[invoice["id"]])
    change(row)
    row["change_seq"] += 1
    sandbox.halo.put(table, row)


def written(line: Any) -> Any:
    """A line without what HaloPSA computes."""
    return {name: value for name, value in line.items() if name not in COMPUTED}


def person_adds(sandbox: Sandbox, invoice: Any, text: str = "A visit on site") -> int:
    line_id = sandbox.halo.new_id("lines")

    def change(row: Any) -> None:
        line = copy_json(row["lines"][0]) | {"id": line_id, "item_shortdescription": text, "item_longdescription": text}
        row["lines"].append(line)

    edit(sandbox, invoice, change)
    return line_id


def open_invoices(sandbox: Sandbox, *clients: int) -> None:
    """Each of these clients' latest invoice is an open one, with a line of somebody else's."""
    template = sandbox.halo.invoices[90054]
    for client in clients:
        row = copy_json(template) | {"id": 95000 + client, "client_id": client, "invoice_date": "2026-11-20T12:00:00"}
        whose = sandbox.halo.clients[client]
        row["currency_code"] = whose["default_currency_code"]
        row["currency_code_name"] = whose["default_currency_code_name"]
        for line in row["lines"]:
            line |= {"id": sandbox.halo.new_id("lines"), "ihid": row["id"]}
            sandbox._world.halo.invoices.lines.compute(row, line)
        sandbox._world.halo.invoices.compute(row)
        sandbox.halo.put("invoices", row)


def net(sandbox: Sandbox) -> dict[int, Decimal]:
    """Client -> what all live lines of ours come to, credits included."""
    sums: dict[int, Decimal] = {}
    for client, lines in billed(sandbox).items():
        sums[client] = sum((price for price, _ in lines), Decimal(0))
    return sums


def due_sums(sandbox: Sandbox) -> dict[int, Decimal]:
    return {client: sum((price for price, _ in lines), Decimal(0)) for client, lines in due(sandbox).items()}


# New invoices ---------------------------------------------------------------------------------------------------------


def test_R4_R5_a_whole_month_is_undone_and_posted_again(office: Office, sandbox: Sandbox) -> None:
    before = sandbox.state()
    run = post(office)
    posted, first = sandbox.state(), set(marks(sandbox))
    shown = office.run("undo", run, "--dry-run", "--json").must().json
    assert sandbox.state() == posted and shown["dry_run"]
    would = {row["invoice_id"]: {line["line_id"] for line in row["lines"]} for row in shown["postings"]}
    assert would == {row["id"]: {line["id"] for line in row["lines"]} for row in ours(sandbox)}
    told = office.run("undo", run, "--yes", "--json").must().json
    assert rows(sandbox.state()) == rows(before) and foreign(sandbox.state()) == foreign(before)
    assert [one["outcome"] for one in told["postings"]] == ["undone"] * 4
    plan = office.plan()
    assert {client["client_id"] for client in plan["clients"] if client["lines"]} == due(sandbox).keys()
    post(office)
    assert billed(sandbox) == due(sandbox) and not first & set(marks(sandbox))
    again = sandbox.state()
    office.run("undo", run, "--yes").must()  # the first run has nothing there any more
    assert sandbox.state() == again


@pytest.mark.parametrize("behavior", ["new", "latest"])
def test_R4_a_secret_that_is_a_word_of_the_bill_keeps_no_line_from_being_undone(
    sandbox: Sandbox, tmp_path: Path, sqlite_url: str, behavior: str
) -> None:
    """What we show is masked; what an undo compares with must be HaloPSA's own text."""
    header = {"BILLINGSYNC_HALO__EXTRA_HEADERS": '{"X-Env": "Microsoft"}'}
    office = Office(tmp_path, sandbox, sqlite_url, settings=header)
    office.rules(f'{TEXT_ONLY}{LOOSE}[invoice]\nbehavior = "{behavior}"\n')
    if behavior == "latest":
        open_invoices(sandbox, 214, 215, 216, 217)
    before = settled_rows(sandbox.state())
    run = post(office)
    assert any("Microsoft" in str(line) for row in sandbox.halo.invoices.values() for line in row["lines"])
    told = office.run("undo", run, "--yes", "--json").must(0)
    assert {one["outcome"] for one in told.json["postings"]} == {"undone"}
    assert settled_rows(sandbox.state()) == before


def test_R4_an_invoice_with_people_s_lines_keeps_them(office: Office, sandbox: Sandbox) -> None:
    run = post(office)
    invoice = ours(sandbox)[0]
    line_id = person_adds(sandbox, invoice)
    before = copy_json(sandbox.halo.invoices[invoice["id"]]["lines"][-1])
    told = office.run("undo", run, "--yes", "--json").must().json
    assert {one["invoice"] for one in told["postings"]} == {"deleted", "changed"}
    assert [row["id"] for row in ours(sandbox)] == [invoice["id"]]
    assert sandbox.halo.invoices[invoice["id"]]["lines"] == [before] and before["id"] == line_id


@pytest.mark.parametrize(
    ("semantics", "way", "updatelines"),
    [("merge", "header", "upsert"), ("replace", "updatelines", "upsert"), ("merge", "add_lines", "upsert")],
)
def test_R4_lines_that_cannot_be_left_out_are_set_to_nothing(
    small: Office, sandbox: Sandbox, semantics: Any, way: str, updatelines: Any
) -> None:
    sandbox.change(lines_semantics=semantics, updatelines=updatelines)
    small.settings["BILLINGSYNC_HALO__WRITE_LINES"] = way
    run = post(small)
    invoice = ours(sandbox)[0]
    person_adds(sandbox, invoice)
    kept = copy_json(sandbox.halo.invoices[invoice["id"]]["lines"][-1])
    small.run("undo", run, "--yes").must()
    left = sandbox.halo.invoices[invoice["id"]]
    assert [line for line in left["lines"] if not line["isinactive"]] == [kept]
    assert all(line["qty_order"] == 0 for line in left["lines"] if line["isinactive"])
    assert left["revenue"] == kept["net_amount"]
    post(small)
    live = {client: sorted(lines) for client, lines in billed(sandbox).items()}
    extra = (cents(kept["net_amount"]), cents(Decimal(kept["qty_order"]) * Decimal(kept["unit_cost"])))
    wanted = due(sandbox)
    wanted[invoice["client_id"]] = sorted([*wanted[invoice["client_id"]], extra])
    assert live == wanted


EDITS: dict[str, Callable[[Any], None]] = {
    "price": lambda line: line.update(unit_price=line["unit_price"] + 1, baseprice=line["baseprice"] + 1),
    "quantity": lambda line: line.update(qty_order=line["qty_order"] + 1),
    "text": lambda line: line.update(item_shortdescription="as agreed with Anna"),
    "long text": lambda line: line.update(item_longdescription="please note\n" + line["item_longdescription"]),
    "tax": lambda line: line.update(tax_code="12"),
    "mark gone": lambda line: line.update(item_longdescription="nothing of ours"),
}


def test_R4_edited_lines_are_kept_told_and_not_billed_twice(small: Office, sandbox: Sandbox, posted: Put) -> None:
    run = posted()
    invoice = next(row for row in ours(sandbox) if len(row["lines"]) > len(EDITS))
    edit(sandbox, invoice, lambda row: [change(row["lines"][n]) for n, change in enumerate(EDITS.values())])
    kept = [written(line) for line in sandbox.halo.invoices[invoice["id"]]["lines"][: len(EDITS)]]
    told = small.run("undo", run, "--yes", "--json").must(3).json
    (part,) = [one for one in told["postings"] if one["outcome"] == "part"]
    edited = [line for line in part["lines"] if line["fate"] == "edited"]
    assert [line["line_id"] for line in edited] == [line["id"] for line in kept] and all(one["why"] for one in edited)
    assert [written(line) for line in sandbox.halo.invoices[invoice["id"]]["lines"]] == kept
    planned = {charge for client in small.plan()["clients"] for line in client["lines"] for charge in line["charges"]}
    assert planned and not planned & {charge for line in edited for charge in line["charges"]}  # still on kept lines
    post(small)
    count = {client: len(lines) for client, lines in billed(sandbox).items()}
    assert count == {client: len(lines) for client, lines in due(sandbox).items()}
    again = sandbox.state()
    assert small.run("undo", run, "--yes").must(3) and sandbox.state() == again


def test_R4_lines_and_invoices_that_people_removed_are_free(small: Office, sandbox: Sandbox, posted: Put) -> None:
    run = posted()
    gone, shorter, void = ours(sandbox)[:3]
    sandbox.halo.delete("invoices", gone["id"])
    edit(sandbox, shorter, lambda row: row["lines"].pop(0))
    edit(sandbox, void, lambda row: row.update(voided=True))
    small.run("undo", run, "--yes").must()
    assert [row["id"] for row in ours(sandbox)] == [void["id"]]  # a void invoice bills nobody, and is not touched
    post(small)
    assert billed(sandbox) == due(sandbox)


# Closed ---------------------------------------------------------------------------------------------------------------


def test_R4_a_closed_invoice_is_not_touched_and_its_credit_is_shown(office: Office, sandbox: Sandbox) -> None:
    run = post(office)
    closed = ours(sandbox)[1]
    edit(sandbox, closed, lambda row: row.update(posted=True, dateposted="2026-11-21T09:00:00"))
    kept = copy_json(sandbox.halo.invoices[closed["id"]])
    told = office.run("undo", run, "--yes", "--json").must(5).json
    assert sandbox.halo.invoices[closed["id"]] == kept and ours(sandbox) == [kept]
    (held,) = [one for one in told["postings"] if one["outcome"] == "closed"]
    assert Decimal(held["credit_needed"]["amount"]) == due_sums(sandbox)[closed["client_id"]]
    post(office)
    assert billed(sandbox) == due(sandbox)  # that client's are still on the closed invoice

    credited = office.run("undo", run, "--yes", "--credit", "--json").must().json
    (one,) = [one for one in credited["postings"] if one["credit_invoice"]]
    credit = sandbox.halo.invoices[one["credit_invoice"]]
    assert sandbox.halo.invoices[closed["id"]] == kept
    assert credit["client_id"] == closed["client_id"] and credit["revenue"] == -kept["revenue"]
    assert [line["tax_code"] for line in credit["lines"]] == [line["tax_code"] for line in kept["lines"]]
    post(office)
    assert net(sandbox) == due_sums(sandbox)
    state = sandbox.state()
    office.run("undo", run, "--yes", "--credit").must()
    assert sandbox.state() == state  # credited once


def test_R4_a_credit_whose_answer_is_lost_is_posted_once(small: Office, sandbox: Sandbox, posted: Put) -> None:
    run = posted()
    for row in ours(sandbox):
        edit(sandbox, row, lambda row: row.update(posted=True))
    count = len(sandbox.halo.invoices)
    sandbox.faults.add("halo:POST:/Invoice:1:reset_after")
    sandbox.faults.add("halo:POST:/Invoice:2:503")
    with no_waiting(sandbox):
        small.run("undo", run, "--yes", "--credit")
        small.run("undo", run, "--yes", "--credit").must()
    assert len(sandbox.halo.invoices) == count + 4
    assert set(net(sandbox).values()) == {Decimal(0)}


# Existing invoices ----------------------------------------------------------------------------------------------------


def test_R4_lines_appended_to_the_latest_invoice_go_and_all_else_is_as_before(office: Office, sandbox: Sandbox) -> None:
    open_invoices(sandbox, 214, 215, 216, 217)
    office.rules(TEXT_ONLY + LOOSE + '[invoice]\nbehavior = "latest"\n')
    before = sandbox.state()
    run = post(office)
    assert settled_rows(sandbox.state()) != settled_rows(before)
    office.run("undo", run, "--yes").must()
    assert settled_rows(sandbox.state()) == settled_rows(before)
    post(office)
    assert {client: count_marked(sandbox, client) for client in due(sandbox)} == {
        client: len(lines) for client, lines in due(sandbox).items()
    }


def count_marked(sandbox: Sandbox, client: int) -> int:
    lines = [line for row in sandbox.halo.invoices.values() if row["client_id"] == client for line in row["lines"]]
    return sum(1 for line in lines if MARK.search(line["item_longdescription"]) and not line["isinactive"])


def recurring_office(office: Office) -> None:
    for client, invoice in ONTO.items():
        text = f'[client]\nhalo_client = {client}\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = {invoice}\n'
        office.rules(text, f"clients/{client}.toml")


def lines_by_content(state: dict[str, Any]) -> dict[int, list[Any]]:
    """Recurring invoices' lines without what HaloPSA gives anew to a line that is added again."""
    found = {}
    for row in state["halo"]["recurring"]:
        lines = [
            {name: value for name, value in line.items() if name not in ("id", "sequenceid")} for line in row["lines"]
        ]
        found[row["id"]] = sorted(lines, key=str)
    return found


@pytest.mark.parametrize("semantics", ["replace", "merge"])
def test_R4_a_recurring_invoice_is_again_what_it_was_before_the_month(
    office: Office, sandbox: Sandbox, semantics: Any
) -> None:
    sandbox.reset(MONTHS)
    sandbox.change(lines_semantics=semantics)
    recurring_office(office)
    untouched = sandbox.state()
    post(office, "2026-10")
    october = sandbox.state()
    run = post(office, "2026-11")
    november = sandbox.state()
    would = office.run("undo", run, "--dry-run", "--json").must().json["postings"]
    actions = {line["action"] for one in would if one["action"] == "update" for line in one["lines"]}
    assert actions == {"add", "update", "remove"}, "the month must have all three, or this test proves nothing"

    office.run("undo", run, "--yes").must()
    assert live_lines(sandbox.state()) == live_lines(october)
    made = {id_: row for id_, row in rows(november).items() if row.get("recurring_invoice_id")}  # by HaloPSA, meanwhile
    assert rows(sandbox.state()) == rows(october) | made
    assert foreign_lines(sandbox.state()) == foreign_lines(untouched)
    post(office, "2026-11")
    assert bill(sandbox.state()) == bill(november)
    assert foreign_lines(sandbox.state()) == foreign_lines(untouched)
    post(office, "2026-11")
    assert bill(sandbox.state()) == bill(november)


def test_R4_an_earlier_month_under_a_later_one_is_not_torn_out(small: Office, sandbox: Sandbox) -> None:
    sandbox.reset(MONTHS)
    recurring_office(small)
    october = post(small, "2026-10")
    post(small, "2026-11")
    before = sandbox.state()
    told = small.run("undo", october, "--dry-run", "--json").must(5).json
    closed = [line for one in told["postings"] for line in one["lines"] if line["fate"] == "closed"]
    assert closed and all("HaloPSA has billed it on invoice" in line["why"] for line in closed)
    small.run("undo", october, "--yes").must(5)
    assert bill(sandbox.state()) == bill(before)  # what november removed is gone, what it updated is november's


def test_R4_an_edited_recurring_line_is_kept(small: Office, sandbox: Sandbox) -> None:
    sandbox.reset(MONTHS)
    recurring_office(small)
    run = post(small, "2026-11")
    invoice = sandbox.halo.recurring[-201]
    mine = next(line for line in invoice["lines"] if MARK.search(line["item_longdescription"]))

    def change(row: Any) -> None:
        next(line for line in row["lines"] if line["id"] == mine["id"])["qty_order"] += 2

    edit(sandbox, invoice, change, "recurring")
    small.run("undo", run, "--yes").must(3)
    left = [line for line in sandbox.halo.recurring[-201]["lines"] if MARK.search(line["item_longdescription"])]
    assert [line["id"] for line in left] == [mine["id"]] and left[0]["qty_order"] == mine["qty_order"] + 2


def live_lines(state: dict[str, Any]) -> dict[int, list[Any]]:
    """Recurring invoices' live lines, without what HaloPSA gives anew to a line that is added again."""
    return {
        row["id"]: sorted(
            (
                {name: value for name, value in line.items() if name not in ("id", "sequenceid")}
                for line in row["lines"]
                if not line["isinactive"]
            ),
            key=lambda line: [str(line[name]) for name in sorted(line)],
        )
        for row in state["halo"]["recurring"]
    }


def bill(state: dict[str, Any]) -> dict[int, list[Any]]:
    """What each recurring invoice bills, without marks."""
    return {
        row["id"]: sorted(
            (line["item_shortdescription"], str(line["qty_order"]), str(line["unit_price"]), str(line["unit_cost"]))
            for line in row["lines"]
            if not line["isinactive"]
        )
        for row in state["halo"]["recurring"]
    }


def foreign_lines(state: dict[str, Any]) -> dict[int, list[Any]]:
    return {
        row["id"]: [line for line in row["lines"] if not MARK.search(line["item_longdescription"])]
        for row in state["halo"]["recurring"]
    }


# Unknown outcomes, crashes, late landings -----------------------------------------------------------------------------

DONE = ("reset_after", "503_after", "timeout_after:seconds=0.1", "not_json_after")
NOT_DONE = ("504", "reset", "400", "401")
LATE = ("late:seconds=0.5:answer=reset", "late:calls=3", "late:calls=1", "500")


@pytest.mark.parametrize("faults", [DONE, NOT_DONE, LATE], ids=["done", "not done", "late"])
def test_fault_25_whatever_happens_to_a_delete_it_is_found_out(
    small: Office, sandbox: Sandbox, posted: Put, faults: tuple[str, ...]
) -> None:
    run = posted()
    for row, fault in zip(ours(sandbox), faults, strict=True):
        sandbox.faults.add(f"halo:DELETE:/Invoice/{row['id']}:1:{fault}")
    with no_waiting(sandbox):
        small.run("undo", run, "--yes").must()
    assert len(sandbox.faults.fired) == 4 and ours(sandbox) == []
    post(small)
    assert billed(sandbox) == due(sandbox)


@pytest.mark.parametrize("faults", [DONE, NOT_DONE, LATE, ("200",)], ids=["done", "not done", "late", "no answer"])
def test_fault_25_whatever_happens_to_a_change_it_is_found_out(
    small: Office, sandbox: Sandbox, posted: Put, faults: tuple[str, ...]
) -> None:
    run = posted("latest")
    for number, fault in enumerate(faults):
        sandbox.faults.add(f"halo:POST:/Invoice:{1 + 2 * number}:{fault}")
    with no_waiting(sandbox):
        small.run("undo", run, "--yes").must()
    assert sandbox.faults.fired and all(count_marked(sandbox, client) == 0 for client in due(sandbox))
    post(small)
    assert {client: count_marked(sandbox, client) for client in due(sandbox)} == {
        client: len(lines) for client, lines in due(sandbox).items()
    }


def test_fault_24_what_halo_loses_beside_our_lines_is_an_alarm(small: Office, sandbox: Sandbox, posted: Put) -> None:
    run = posted("latest")
    sandbox.faults.add("halo:POST:/Invoice:2:fewer_lines")
    told = small.run("undo", run, "--yes", "--json").must(1).json
    (alarm,) = [one for one in told["postings"] if one["problem"]]
    assert "is gone" in alarm["problem"] and alarm["outcome"] == "failed"


class Killed(BaseException):
    """The process is gone."""


@contextlib.contextmanager
def killed_at(number: int) -> Iterator[list[str]]:
    """Dies before or after the n-th effect: a commit of the ledger, or a request that writes."""
    from billingsync.http import Service
    from billingsync.store.database import Database

    effects: list[str] = []
    send, writing = Service.send, Database.writing

    def effect(name: str) -> None:
        effects.append(name)
        if len(effects) == number:
            raise Killed(name)

    def sending(self: Any, method: str, *given: Any, **more: Any) -> Any:
        effect(f"before {method}")
        sent = send(self, method, *given, **more)
        effect(f"after {method}")
        return sent

    @contextlib.contextmanager
    def committing(self: Any, **more: Any) -> Iterator[Any]:
        effect("before commit")
        with writing(self, **more) as connection:
            yield connection
        effect("after commit")

    with mock.patch.object(Service, "send", sending), mock.patch.object(Database, "writing", committing):
        yield effects


def three_kinds(office: Office, sandbox: Sandbox) -> str:
    """A month on new invoices (one with a person's line), an open latest one and a recurring one."""
    open_invoices(sandbox, 214)
    office.rules('[client]\nhalo_client = 214\n[invoice]\nbehavior = "latest"\n', "clients/a.toml")
    office.rules(
        '[client]\nhalo_client = 216\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = 204\n', "clients/b.toml"
    )
    run = post(office)
    person_adds(sandbox, next(row for row in ours(sandbox) if row["client_id"] == 215))
    return run


def undone_state(sandbox: Sandbox) -> Any:
    """All invoices as they must be in the end, however often one of them was written to."""
    state = sandbox.state()
    return settled_rows(state), settled_rows(state, "recurring")


def test_fault_25_killed_anywhere_each_line_is_undone_once(small: Office, sandbox: Sandbox) -> None:
    run = three_kinds(small, sandbox)
    start, ledger = sandbox.state(), (small.folder / "billingsync.db").read_bytes()
    with killed_at(0) as effects:
        small.run("undo", run, "--yes").must()
    after = undone_state(sandbox)
    assert {name for name in effects if "commit" not in name} == {
        "before POST", "after POST", "before DELETE", "after DELETE"
    }  # fmt: skip
    for number in range(1, len(effects) + 1):
        sandbox.restore(start)
        for old in small.folder.glob("billingsync.db*"):
            old.unlink()
        (small.folder / "billingsync.db").write_bytes(ledger)
        with no_waiting(sandbox):
            with killed_at(number), pytest.raises(Killed):
                small.run("undo", run, "--yes")
            small.run("undo", run, "--yes").must()
        assert undone_state(sandbox) == after, f"killed at effect {number}: {effects[number - 1]}"
        with open_ledger(small.database_url, partner="default") as found:
            assert {row.state for row in found.postings()} == {"undone"}
            assert not any(found.live_lines(row.key) for row in found.postings())
            assert verify(found).problems == (), f"killed at effect {number}: {effects[number - 1]}"


@pytest.mark.parametrize(("fault", "done"), [("black_hole", False), ("timeout_after:seconds=30", True)])
def test_fault_25_a_real_process_is_killed_while_it_waits_for_the_answer(
    office: Office, sandbox: Sandbox, fault: str, done: bool
) -> None:
    office.settings["BILLINGSYNC_LEASE_S"] = "2"  # on PostgreSQL nothing tells that the holder is dead
    before = sandbox.state()
    run = post(office)
    sandbox.faults.add(f"halo:DELETE:/Invoice/*:2:{fault}")
    seen = len(sandbox.calls)
    process = office.start("undo", run, "--yes")
    deadline = time.monotonic() + 30
    while sum(call.method == "DELETE" for call in sandbox.calls[seen:]) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(ours(sandbox)) == (2 if done else 3)
    plan = office.plan()
    waiting = [hold for client in plan["clients"] for hold in client["holds"]]
    assert waiting and {hold["reason"] for hold in waiting} == {"write_unknown"}  # what nobody knows yet is not billed
    time.sleep(2.5)
    with no_waiting(sandbox):
        office.run("undo", run, "--yes").must()
    assert rows(sandbox.state()) == rows(before)
    post(office)
    assert billed(sandbox) == due(sandbox)


@pytest.mark.parametrize("kind", ["before DELETE", "after DELETE"])
def test_an_interrupted_undo_is_found_out_by_the_next_run(
    small: Office, sandbox: Sandbox, posted: Put, kind: str
) -> None:
    run = posted()
    with mock.patch("billingsync.psa.halo.client.Halo.delete_invoice", dying(kind)), pytest.raises(Killed):
        small.run("undo", run, "--yes")
    with no_waiting(sandbox):
        small.run("run", "--yes").must()
    assert billed(sandbox) == due(sandbox)
    small.run("audit", "verify").must()


def dying(kind: str) -> Any:
    from billingsync.psa.halo.client import Halo

    delete = Halo.delete_invoice

    def deleting(self: Any, invoice_id: int, **more: Any) -> Any:
        if kind == "after DELETE":
            delete(self, invoice_id, **more)
        raise Killed(kind)

    return deleting


def test_fault_25_an_original_that_lands_after_the_undo_is_found_and_taken_out(small: Office, sandbox: Sandbox) -> None:
    sandbox.faults.add("halo:POST:/Invoice:2:late:seconds=100000:answer=504")
    with no_waiting(sandbox):
        run = post(small)  # sent again after the horizon, so that it will be there twice
    before_landing = len(ours(sandbox))
    small.run("undo", run, "--yes").must()
    assert ours(sandbox) == []
    post(small)
    sandbox.land()
    assert len(ours(sandbox)) == before_landing + 1
    shown = small.run("undo", run, "--dry-run").must()
    late = max(row["id"] for row in ours(sandbox))
    assert f"invoice {late}" in shown.stdout and "landed late" in shown.stdout
    told = small.run("undo", run, "--yes", "--json").must().json
    assert [one["invoice_id"] for one in told["postings"] if one["lines"]] == [late]
    assert billed(sandbox) == due(sandbox)


def test_fault_25_what_a_run_found_to_have_landed_late_is_taken_out_by_another_undo(
    small: Office, sandbox: Sandbox
) -> None:
    sandbox.faults.add("halo:POST:/Invoice:2:late:seconds=100000:answer=504")
    with no_waiting(sandbox):
        run = post(small)
    small.run("undo", run, "--yes").must()
    post(small)
    sandbox.land()
    assert billed(sandbox) != due(sandbox)
    with no_waiting(sandbox):
        small.run("run", "--yes")  # an alarm, and nothing is taken out by itself
    assert billed(sandbox) != due(sandbox)
    small.run("undo", run, "--yes").must()
    assert billed(sandbox) == due(sandbox)
    small.run("audit", "verify").must()


def test_a_person_edits_between_our_reading_and_our_writing(small: Office, sandbox: Sandbox, posted: Put) -> None:
    run = posted("latest")
    from billingsync.psa.halo.client import Halo

    change, edited = Halo.change_invoice, []

    def changing(self: Any, suffix: str, body: Any, **more: Any) -> Any:
        if not edited:
            invoice = sandbox.halo.invoices[json.loads(body)[0]["id"]]
            edited.append((invoice["id"], person_adds(sandbox, invoice)))
        return change(self, suffix, body, **more)

    with mock.patch.object(Halo, "change_invoice", changing):
        small.run("undo", run, "--yes").must()
    invoice_id, line_id = edited[0]
    assert line_id in {line["id"] for line in sandbox.halo.invoices[invoice_id]["lines"]}
    assert all(count_marked(sandbox, client) == 0 for client in (215, 216, 217))


# What else ------------------------------------------------------------------------------------------------------------


def test_P2_items_created_by_the_run_and_used_by_nobody_are_listed_and_stay(small: Office, sandbox: Sandbox) -> None:
    small.rules('[products]\nlifecycle = "automatic"\n' + LOOSE)
    known = set(sandbox.halo.items)
    run = post(small)
    created = set(sandbox.halo.items) - known
    assert created
    told = small.run("undo", run, "--yes", "--json").must().json
    assert {item["id"] for item in told["unused_items"]} == created
    assert created <= set(sandbox.halo.items)


def test_R5_what_the_run_dropped_is_decided_anew(small: Office, sandbox: Sandbox) -> None:
    small.rules(TEXT_ONLY + LOOSE + '[modifiers]\nzero_lines = "drop"\n')
    first = small.plan()["equation"]
    run = post(small)
    small.run("undo", run, "--yes").must()
    assert small.plan()["equation"] == first
    small.rules(TEXT_ONLY + LOOSE)
    post(small)
    assert billed(sandbox) == due(sandbox)


def test_undo_asks_refuses_and_waits_its_turn(small: Office, sandbox: Sandbox, posted: Put) -> None:
    run = posted()
    before = sandbox.state()
    small.run("undo", run).must(2)  # nobody to ask
    small.run("undo", "2026-11-01T0000-0000", "--yes").must(2)
    with open_ledger(small.database_url, partner="default") as ledger, ledger.run_lock("somebody else"):
        assert "BS-LOCKED" in small.run("undo", run, "--yes").must(5).stderr
        small.run("undo", run, "--dry-run").must()
    assert sandbox.state() == before
    assert end_state(sandbox)
