"""Postings in the ledger: intents, receipts, undo, and the refusal of a second live line [N1]-[N3] [R4] [R5]."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Connection, event, text, update
from sqlalchemy.exc import IntegrityError
from store_sample import (
    CONTENT,
    LATER,
    NOW,
    PERIOD,
    intend,
    plan_line,
    posting,
    read_back,
    receipt,
    running,
    simple,
    written_line,
)

from billingsync.core.states import WriteKind
from billingsync.errors import BillingSyncError, LedgerError, Locked
from billingsync.store import schema
from billingsync.store.book import Fence
from billingsync.store.claims import AlreadyClaimed, add_claims
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.postings import PostedLine, RecordedPosting, Share, lines_text, posted_lines


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url, partner="default") as opened:
        yield opened


@pytest.fixture
def run(ledger: Ledger) -> Iterator[tuple[Fence, str]]:
    with running(ledger) as started:
        yield started


def only(ledger: Ledger, key: str = "k") -> RecordedPosting:
    (found,) = ledger.postings(keys=(key,))
    return found


def live(ledger: Ledger, charge: str) -> list[tuple[str, int, bool]]:
    return [(claim.key, claim.part, claim.live) for claim in ledger.claims_of(charge)]


def test_a_planned_posting_becomes_lines_with_the_share_of_every_charge() -> None:
    wanted = posting(
        "k",
        plan_line("i:1"),
        plan_line("i:2", "i:3", amount="-3.00", cost="1.00"),
        plan_line("i:4", amount="6.00"),
        plan_line("i:4", amount="4.00"),
        plan_line(action="remove"),
    )
    amounts = {"i:2": (Decimal("-5.00"), Decimal("0.50")), "i:3": (Decimal("2.00"), Decimal("0.50"))}
    lines = posted_lines(wanted, amounts)
    assert [line.ordinal for line in lines] == [0, 1, 2, 3, 4]
    assert lines[0].shares == (Share(charge="i:1", price=Decimal("10.00"), cost=Decimal("8.00")),)
    assert [(share.charge, share.price) for share in lines[1].shares] == [
        ("i:2", Decimal("-5.00")),
        ("i:3", Decimal("2.00")),
    ]
    assert [line.shares[0].price for line in lines[2:4]] == [Decimal("6.00"), Decimal("4.00")]
    assert lines[4].shares == ()
    assert isinstance(lines[0], PostedLine) and lines[0].item_id == 17 and lines[0].group == "PO-1"


def test_the_parts_of_several_charges_add_up_by_line_and_by_charge() -> None:
    """A collapsed line whose item has two parts: every line and every charge to the cent [P5] [M1]."""
    wanted = posting(
        "k",
        plan_line("i:1", "i:2", "i:3", amount="7.01", cost="4.00"),
        plan_line("i:1", "i:2", "i:3", amount="2.99", cost="1.00"),
    )
    amounts = {
        "i:1": (Decimal("1.00"), Decimal("1.00")),
        "i:2": (Decimal("12.00"), Decimal("3.50")),
        "i:3": (Decimal("-3.00"), Decimal("0.50")),
    }
    lines = posted_lines(wanted, amounts)
    for line in lines:
        assert sum(share.price for share in line.shares) == line.amount
        assert sum(share.cost for share in line.shares) == line.cost
    for charge, (price, cost) in amounts.items():
        shares = [share for line in lines for share in line.shares if share.charge == charge]
        assert (sum(share.price for share in shares), sum(share.cost for share in shares)) == (price, cost)


def test_lines_that_are_not_their_charges_are_an_error() -> None:
    with pytest.raises(AssertionError, match=r"i:1: 10\.00 on lines, 9\.99 charged"):
        posted_lines(simple("k", "i:1"), {"i:1": (Decimal("9.99"), Decimal("8.00"))})
    with pytest.raises(KeyError):
        posted_lines(posting("k", plan_line("i:1", "i:2")), {})


def test_an_intent_is_kept_byte_for_byte_with_its_lines_and_claims(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = replace(
        posting(
            "k", plan_line("i:1"), plan_line("i:2", "i:3", amount="-3.00", cost="1.00"), generation=2, base_key="b"
        ),
        client_name="Odd \x00 \ud800 name",
        group="PO-1",
        invoice_id=-237,
        action="update",
    )
    amounts = {"i:2": (Decimal("-5.00"), Decimal("0.50")), "i:3": (Decimal("2.00"), Decimal("0.50"))}
    lines = posted_lines(wanted, amounts)
    said = ledger.record_intent(run[0], run[1], wanted, CONTENT, lines, NOW, before='{"id":-237}')
    assert said == lines_text(lines)
    kept = ledger.read_back("k", CONTENT, lines, said)
    assert kept == RecordedPosting(
        key="k",
        base_key="b",
        generation=2,
        run=run[1],
        period="2026-11",
        client_id=214,
        client_name="Odd \x00 \ud800 name",
        action="update",
        group="PO-1",
        target_invoice_id=-237,
        currency="USD",
        amount=Decimal("7.00"),
        cost=Decimal("9.00"),
        content=CONTENT,
        before='{"id":-237}',
        lines=lines,
        state="sending",
        invoice_id=None,
        attempts=1,
        intended_at=NOW,
        sent_at=NOW,
        settled_at=None,
        message="",
        answer=None,
        returned_price=None,
        returned_cost=None,
        returned_lines=(),
        installation=ledger.partner().installation,
    )
    (claim,) = ledger.claims_of("i:2")
    assert (claim.key, claim.part, claim.line, claim.live, claim.currency) == ("k", 0, 1, True, "USD")
    assert (claim.price, claim.cost) == (Decimal("-5.00"), Decimal("0.50"))
    assert ledger.unresolved() == ledger.postings(run=run[1]) == ledger.postings(period=PERIOD) == (kept,)
    assert ledger.postings(run="another") == ledger.postings(period="2026-10") == ()


def test_reading_back_doubts_everything(ledger: Ledger, run: tuple[Fence, str]) -> None:
    with pytest.raises(LedgerError, match=r"did not keep the intent of posting k\. Nothing was sent"):
        read_back(ledger, simple("k", "i:1"))
    intend(ledger, *run, simple("k", "i:1"))
    assert read_back(ledger, simple("k", "i:1")) == only(ledger)
    with pytest.raises(LedgerError, match="did not keep"):
        read_back(ledger, simple("k", "i:1"), CONTENT + " ")
    with pytest.raises(LedgerError, match="did not keep"):
        read_back(ledger, simple("k", "i:2"))
    ledger.record_refused(run[0], "k", "400", NOW)
    with pytest.raises(LedgerError, match="did not keep"):
        read_back(ledger, simple("k", "i:1"))


def test_a_charge_is_claimed_once(ledger: Ledger, run: tuple[Fence, str]) -> None:
    intend(ledger, *run, simple("k1", "i:1", "i:2"))
    before = ledger.journal_entries()
    with pytest.raises(AlreadyClaimed, match="Charge i:2 is on a line of posting k1") as refused:
        intend(ledger, *run, simple("k2", "i:3", "i:2"))
    assert (refused.value.charge, refused.value.key, refused.value.exit_code) == ("i:2", "k1", 5)
    with pytest.raises(AlreadyClaimed, match=r"is on posting k1 \(sending\)"):
        intend(ledger, *run, simple("k1", "i:1", "i:2"))
    assert [each.key for each in ledger.postings()] == ["k1"]
    assert ledger.claims_of("i:3") == ()
    assert ledger.journal_entries() == before
    intend(ledger, *run, simple("k3", "i:3"))  # the refusal left nothing locked


def test_a_charge_in_parts_excludes_the_whole_and_the_other_way_round(ledger: Ledger, run: tuple[Fence, str]) -> None:
    split = posting("k1", plan_line("i:1", amount="6.00"), plan_line("i:1", amount="4.00"))
    intend(ledger, *run, split)
    assert live(ledger, "i:1") == [("k1", 0, True), ("k1", 1, True)]
    with pytest.raises(AlreadyClaimed):
        intend(ledger, *run, simple("k2", "i:1"))
    intend(ledger, *run, simple("k3", "i:2"))
    with pytest.raises(AlreadyClaimed):
        intend(ledger, *run, posting("k4", plan_line("i:2"), plan_line("i:2"), plan_line("i:2")))


def test_the_database_itself_refuses_a_second_live_line(ledger: Ledger, run: tuple[Fence, str]) -> None:
    """Whatever the code above it does: the refusal is the table's own [N3]."""
    intend(ledger, *run, simple("k1", "i:1"))
    intend(ledger, *run, simple("k2", "i:2"))
    row = {
        "key": "k2",
        "charge": "i:1",
        "part": 0,
        "line": 0,
        "price": Decimal(1),
        "cost": Decimal(1),
        "currency": "USD",
    }
    with pytest.raises(LedgerError) as refused, ledger.writing() as connection:
        add_claims(connection, "default", [row])
    assert isinstance(refused.value.__cause__, IntegrityError)
    with ledger.writing() as connection:
        add_claims(connection, "default", [{**row, "live": False}])  # what was undone may stand there many times


def test_lines_that_do_not_add_up_are_never_recorded(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = simple("k", "i:1")
    (line,) = posted_lines(wanted, {})
    for wrong in (
        replace(line, amount=Decimal("10.01")),
        replace(line, cost=Decimal("8.01")),
        replace(line, shares=()),
    ):
        with pytest.raises(AssertionError):
            ledger.record_intent(*run, wanted, CONTENT, [wrong], NOW)
    assert ledger.postings() == ()


def test_a_posting_that_only_removes_lines_has_no_charges(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = posting("k", plan_line(action="remove", amount="0", cost="0"))
    intend(ledger, *run, wanted)
    ledger.record_done(run[0], "k", receipt(wanted, -237, gone=[(-237, 9001)]), NOW)
    assert only(ledger).state == "posted"
    with pytest.raises(AlreadyClaimed):
        intend(ledger, *run, wanted)


@pytest.mark.parametrize("state", ["posted", "adopted"])
def test_done(state: str, ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = simple("k", "i:1", "i:2")
    intend(ledger, *run, wanted)
    told = receipt(wanted, written=[written_line(9001), written_line(9002)])
    ledger.record_done(run[0], "k", told, LATER, state=state)
    kept = only(ledger)
    assert (kept.state, kept.invoice_id, kept.answer, kept.settled_at) == (state, 90211, told.answer, LATER)
    assert (kept.returned_price, kept.returned_cost, kept.returned_lines) == (told.price, told.cost, told.lines)
    assert ledger.unresolved() == ()
    assert ledger.memory(PERIOD).written_lines == (written_line(9001, key="k"), written_line(9002, key="k"))
    ledger.record_done(run[0], "k", told, LATER, state=state)  # read back again: nothing changes
    assert only(ledger) == kept


def test_recurring_lines_are_replaced_and_forgotten(ledger: Ledger, run: tuple[Fence, str]) -> None:
    first, second = simple("k1", "i:1"), simple("k2", "i:2")
    intend(ledger, *run, first)
    ledger.record_done(run[0], "k1", receipt(first, written=[written_line(1), written_line(2)]), NOW)
    intend(ledger, *run, second)
    changed = written_line(2, quantity="11")
    ledger.record_done(run[0], "k2", receipt(second, written=[changed], gone=[(-237, 1), (-237, 99)]), NOW)
    assert ledger.memory(PERIOD).written_lines == (replace(changed, key="k2"),)


def test_refused_frees_the_charges_and_the_key_may_be_intended_again(ledger: Ledger, run: tuple[Fence, str]) -> None:
    intend(ledger, *run, simple("k", "i:1", "i:2"))
    ledger.record_refused(run[0], "k", "400: no such client", LATER, answer="<html>\udcff")
    kept = only(ledger)
    assert (kept.state, kept.message, kept.answer) == ("refused", "400: no such client", "<html>\udcff")
    assert live(ledger, "i:1") == [("k", 0, False)]
    intend(ledger, *run, simple("other", "i:2"))
    again = simple("k", "i:1")
    intend(ledger, *run, again, content="[]", now=LATER)
    kept = read_back(ledger, again, "[]")
    assert (kept.state, kept.attempts, kept.message, kept.answer, kept.intended_at) == ("sending", 2, "", None, LATER)
    assert live(ledger, "i:1") == [("k", 0, True)]
    assert live(ledger, "i:2") == [("other", 0, True)]


def test_unknown_keeps_the_charges_until_it_is_found(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = simple("k", "i:1")
    intend(ledger, *run, wanted)
    ledger.record_unknown(run[0], "k", "no answer within 60 s", NOW)
    assert live(ledger, "i:1") == [("k", 0, True)]
    assert (only(ledger).state, only(ledger).settled_at) == ("unknown", None)
    ledger.record_unknown(run[0], "k", "500", LATER, answer="")
    assert only(ledger).answer == ""
    ledger.record_done(run[0], "k", receipt(wanted), LATER, state="adopted")
    assert (only(ledger).state, only(ledger).message) == ("adopted", "")


def test_abandoned_frees_the_charges(ledger: Ledger, run: tuple[Fence, str]) -> None:
    intend(ledger, *run, simple("k", "i:1"))
    ledger.record_abandoned(run[0], "k", "absent after the horizon, and the rules changed", NOW)
    assert ledger.unresolved() == () and live(ledger, "i:1") == [("k", 0, False)]
    intend(ledger, *run, simple("k2", "i:1"))


def test_differs_keeps_both_sides_and_the_charges(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = simple("k", "i:1")
    intend(ledger, *run, wanted)
    there = replace(receipt(wanted), price=Decimal("9.99"))
    ledger.record_differs(run[0], "k", there, "HaloPSA says 9.99, planned was 10.00", NOW)
    kept = only(ledger)
    assert (kept.state, kept.amount, kept.returned_price) == ("differs", Decimal("10.00"), Decimal("9.99"))
    assert live(ledger, "i:1") == [("k", 0, True)]
    ledger.record_done(run[0], "k", receipt(wanted), LATER)
    assert only(ledger).state == "posted"


def test_a_late_landing_of_a_refused_posting_is_adopted(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = simple("k", "i:1")
    intend(ledger, *run, wanted)
    ledger.record_refused(run[0], "k", "429", NOW)
    ledger.record_done(run[0], "k", receipt(wanted), LATER, state="adopted")
    assert live(ledger, "i:1") == [("k", 0, True)]


def test_a_late_landing_beside_another_posting_is_named(ledger: Ledger, run: tuple[Fence, str]) -> None:
    intend(ledger, *run, simple("k", "i:0", "i:1"))
    ledger.record_refused(run[0], "k", "429", NOW)
    intend(ledger, *run, simple("other", "i:1"))
    with pytest.raises(AlreadyClaimed, match="i:1 landed late as posting k, and is on posting other too") as refused:
        ledger.record_done(run[0], "k", receipt(simple("k", "i:0", "i:1")), LATER, state="adopted")
    assert (refused.value.charge, refused.value.key) == ("i:1", "other")
    assert only(ledger).state == "refused" and live(ledger, "i:0") == [("k", 0, False)]


def test_undone_frees_the_charges_and_raises_the_generation(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = simple("k", "i:1", base_key="base")
    intend(ledger, *run, wanted)
    ledger.record_done(run[0], "k", receipt(wanted, written=[written_line()]), NOW)
    ledger.record_undone(run[0], "k", "undone by anna", LATER)
    memory = ledger.memory(PERIOD)
    assert (only(ledger).state, live(ledger, "i:1")) == ("undone", [("k", 0, False)])
    assert (memory.generations, memory.settled, memory.written_lines) == ({"base": 1}, {}, ())
    with pytest.raises(AlreadyClaimed, match=r"is on posting k \(undone\)"):
        intend(ledger, *run, wanted)
    again = simple("k-1", "i:1", base_key="base", generation=1)
    intend(ledger, *run, again)
    ledger.record_done(run[0], "k-1", receipt(again), LATER)
    ledger.record_undone(run[0], "k-1", "", LATER)
    assert ledger.memory(PERIOD).generations == {"base": 2}


def test_a_posting_undone_line_by_line(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = simple("k", "i:1", "i:2", "i:3")
    intend(ledger, *run, wanted)
    ledger.record_done(run[0], "k", receipt(wanted, written=[written_line(1), written_line(2)]), NOW)
    ledger.record_undone(run[0], "k", "a person edited line 2", LATER, lines=[0], gone=[(-237, 1)])
    assert (only(ledger).state, only(ledger).message) == ("posted", "a person edited line 2")
    assert [live(ledger, charge)[0][2] for charge in ("i:1", "i:2", "i:3")] == [False, True, True]
    assert ledger.memory(PERIOD).written_lines == (written_line(2, key="k"),)
    ledger.record_done(run[0], "k", receipt(wanted), LATER)  # what was undone stays undone
    assert live(ledger, "i:1") == [("k", 0, False)]
    earlier = written_line(2, quantity="9")
    ledger.record_undone(run[0], "k", "", LATER, lines=[1, 2], written=[earlier])
    assert only(ledger).state == "undone"
    assert ledger.memory(PERIOD).written_lines == (replace(earlier, key="k"),)


Step = Callable[[Ledger, Fence], object]
DONE = receipt(simple("k", "i:1"))
STEPS: dict[str, Step] = {
    "posted": lambda ledger, fence: ledger.record_done(fence, "k", DONE, NOW),
    "adopted": lambda ledger, fence: ledger.record_done(fence, "k", DONE, NOW, state="adopted"),
    "differs": lambda ledger, fence: ledger.record_differs(fence, "k", DONE, "why", NOW),
    "unknown": lambda ledger, fence: ledger.record_unknown(fence, "k", "why", NOW),
    "refused": lambda ledger, fence: ledger.record_refused(fence, "k", "why", NOW),
    "abandoned": lambda ledger, fence: ledger.record_abandoned(fence, "k", "why", NOW),
    "undone": lambda ledger, fence: ledger.record_undone(fence, "k", "why", NOW),
}
BILLED = {"posted", "adopted", "differs"}
FORBIDDEN = [
    (before, after)
    for before in STEPS
    for after in STEPS
    if (before in BILLED and after in ("sending", "unknown", "refused", "abandoned"))
    or (before in ("sending", "unknown") and after == "undone")
    or (before in ("refused", "abandoned") and after not in BILLED)
    or (before == "undone" and after != "differs")  # but what was undone may land late
]


def test_every_step_that_is_not_forbidden_is_possible(sqlite_ledger_url: str) -> None:
    with open_ledger(sqlite_ledger_url, partner="default") as ledger, running(ledger) as (fence, run):
        intend(ledger, fence, run, simple("k", "i:1"))
        for before in STEPS:
            for after in STEPS:
                with ledger.writing() as connection:
                    set_state(connection, before)
                kept = (only(ledger), live(ledger, "i:1"), ledger.journal_entries())
                if (before, after) not in FORBIDDEN:
                    STEPS[after](ledger, fence)
                    assert only(ledger).state == after
                    continue
                with pytest.raises(LedgerError, match=r"Nothing was changed|not sent again"):
                    STEPS[after](ledger, fence)
                assert (only(ledger), live(ledger, "i:1"), ledger.journal_entries()) == kept


def set_state(connection: Connection, state: str) -> None:
    connection.execute(update(schema.posting).values(state=state))
    connection.execute(update(schema.claim).values(live=state in BILLED | {"sending", "unknown"}))


def test_a_posting_that_is_not_there(ledger: Ledger, run: tuple[Fence, str]) -> None:
    for step in STEPS.values():
        with pytest.raises(LedgerError, match=r"[pP]osting k"):
            step(ledger, run[0])


def test_fault_09_a_frozen_run_that_wakes_changes_nothing(ledger: Ledger, run: tuple[Fence, str]) -> None:
    intend(ledger, *run, simple("k", "i:1"))
    kept = (only(ledger), ledger.journal_entries())
    with ledger.writing() as connection:
        connection.execute(update(schema.partner).values(epoch=schema.partner.c.epoch + 1, holder="run of host b"))
    for step in (*STEPS.values(), lambda ledger, fence: intend(ledger, fence, run[1], simple("k2", "i:2"))):
        with pytest.raises(Locked, match="taken over by run of host b"):
            step(ledger, run[0])
    assert (only(ledger), ledger.journal_entries()) == kept


def test_fault_26_a_connection_lost_in_the_commit_is_found_out_by_reading_back(
    postgres_ledger_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with open_ledger(postgres_ledger_url, partner="default") as ledger, running(ledger) as (fence, run):
        losing = True

        def lose(connection: Connection) -> None:
            nonlocal losing
            if losing:
                losing = False
                pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
                with ledger.database.outside_transaction() as other:
                    other.execute(text(f"SELECT pg_terminate_backend({pid}, 5000)"))

        event.listen(ledger.database._engine, "commit", lose)
        with pytest.raises(LedgerError, match="cannot be reached"):
            intend(ledger, fence, run, simple("k", "i:1"))
        with pytest.raises(LedgerError, match="did not keep the intent"):
            read_back(ledger, simple("k", "i:1"))
        assert ledger.claims_of("i:1") == ()
        intend(ledger, fence, run, simple("k", "i:1"))  # the pool noticed the dead connection
        read_back(ledger, simple("k", "i:1"))
        assert caplog.records == []  # no library prints a traceback past us


def test_a_server_that_drops_every_session_leaves_the_lease_and_its_end_stops_the_old_run(
    postgres_ledger_url: str,
) -> None:
    with (
        open_ledger(postgres_ledger_url, partner="default") as old,
        open_ledger(postgres_ledger_url, partner="default") as new,
    ):
        with running(old) as (fence, run):
            with new.database.outside_transaction() as other:
                others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                mine = "WHERE datname = current_database() AND pid != pg_backend_pid()"
                other.execute(text(f"{others} {mine}"))
            assert old.fence_holds(fence)  # nobody took it yet
            intend(old, fence, run, simple("k", "i:1"))
            with pytest.raises(Locked), running(new):
                raise AssertionError("two runs at once")
            with new.writing() as connection:
                connection.execute(update(schema.partner).values(until=NOW - timedelta(days=365)))
            with running(new) as (their_fence, _):
                assert not old.fence_holds(fence)
                with pytest.raises(Locked, match="taken over by test on this host"):
                    old.record_done(fence, "k", DONE, NOW)
                assert [each.key for each in new.unresolved()] == ["k"]
                new.record_done(their_fence, "k", DONE, NOW, state="adopted")
        assert only(new).state == "adopted"


def test_money_comes_back_exactly(ledger: Ledger, run: tuple[Fence, str]) -> None:
    amounts = ["0.00", "-0.01", "999999999999.99", "5", "1.10"]
    wanted = posting("k", *(plan_line(f"i:{n}", amount=amount, cost=amount) for n, amount in enumerate(amounts)))
    intend(ledger, *run, wanted)
    assert [str(line.amount) for line in only(ledger).lines] == amounts
    assert [str(ledger.claims_of(f"i:{n}")[0].price) for n in range(len(amounts))] == amounts


def test_a_large_posting(ledger: Ledger, run: tuple[Fence, str]) -> None:
    wanted = simple("k", *(f"i:{number}" for number in range(1_200)))
    content = os.urandom(1_000_000).hex()
    intend(ledger, *run, wanted, content=content)
    assert len(read_back(ledger, wanted, content).lines) == 1_200
    with pytest.raises(AlreadyClaimed, match="i:1199"):
        intend(ledger, *run, simple("k2", *(f"i:{number}" for number in range(1_199, 2_400))))


def test_what_goes_wrong_is_always_told_as_one_of_ours(sqlite_ledger_url: str) -> None:
    with open_ledger(sqlite_ledger_url, partner="default") as ledger, running(ledger) as (fence, run):
        with ledger.writing() as connection:
            connection.execute(text("DROP TABLE claim"))
        with pytest.raises(BillingSyncError, match="no such table: claim"):
            intend(ledger, fence, run, simple("k", "i:1"))


def test_a_write_stays_open_until_its_own_end_is_known(ledger: Ledger, run: tuple[Fence, str]) -> None:
    fence, _ = run
    at = [NOW + timedelta(minutes=minute) for minute in range(9)]
    assert ledger.last_open_write() is None
    ledger.record_write_intended(fence, WriteKind.ITEM, "the item 'A'", at[0])
    ledger.record_zeroed(fence, "our lines on invoice 7", at[1])
    assert ledger.last_open_write() == at[0]
    ledger.record_write_intended(fence, WriteKind.ITEM, "the item 'B'", at[2])
    ledger.record_write_settled(fence, WriteKind.ITEM, "the item 'B'", "created, id 1", at[3])
    assert ledger.last_open_write() == at[0]
    ledger.record_write_settled(fence, WriteKind.ITEM, "the item 'A'", "created, id 2", at[4])
    assert ledger.last_open_write() is None
    ledger.record_write_intended(fence, WriteKind.ITEM, "the item 'A'", at[5])  # sent once more
    assert ledger.last_open_write() == at[5]
