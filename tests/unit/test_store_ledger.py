"""What the ledger remembers beside postings: sources, plans, approvals, mappings, runs, decisions, the journal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import StatementError
from store_sample import LATER, NOW, PERIOD, intend, plan_line, posting, receipt, running, simple, written_line

from billingsync.audit import verify
from billingsync.core.decisions import Approval, SetAside
from billingsync.core.inputs import Memory
from billingsync.core.period import Period
from billingsync.core.reasons import ApproveAs
from billingsync.core.remembered import Billed, RememberedMatch, Settled
from billingsync.errors import Locked, OtherTenant, UsageError
from billingsync.store import schema
from billingsync.store.claims import AlreadyClaimed
from billingsync.store.journal import first_altered
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.lookback import Question
from billingsync.store.mappings import CompanyMatch
from billingsync.store.plans import PlanEntry
from billingsync.store.runs import Decision
from billingsync.store.sources import Document, SeenInvoice

OCTOBER = Period(2026, 10)
DECEMBER = Period(2026, 12)
ODD = "Ünïcode \x00 NUL, \ud800 lone, 𝄞, <b>, \n line, \ufdd0 mark"  # what Pax8's JSON may hold


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with open_ledger(ledger_url, partner="default") as opened:
        yield opened


def kinds(ledger: Ledger) -> list[str]:
    return [entry.kind for entry in ledger.journal_entries()]


# The tenant


def test_the_first_run_ties_the_ledger_to_its_tenant(ledger: Ledger) -> None:
    ledger.bind_tenant("https://Acme.halopsa.com/", "t-1", NOW)
    ledger.bind_tenant("https://acme.halopsa.com", "t-1", LATER)
    known = ledger.partner()
    assert (known.halo_base_url, known.halo_tenant, known.bound_at) == ("https://acme.halopsa.com", "t-1", NOW)
    assert kinds(ledger) == ["tenant"]


@pytest.mark.parametrize(
    ("first", "then", "same"),
    [
        (("https://a", "t-1"), ("https://a", "t-2"), False),
        (("https://a", "t-1"), ("https://moved", "t-1"), True),
        (("https://a", "t-1"), ("https://a", None), True),
        (("https://a", "t-1"), ("https://b", None), False),
        (("https://a", None), ("https://a", "t-1"), True),
        (("https://a", None), ("https://b", "t-1"), False),
        (("https://a", ""), ("https://b", ""), False),
        (("https://a", ""), ("https://A/", ""), True),
    ],
)
def test_fault_14_another_tenant(
    sqlite_ledger_url: str, first: tuple[str, str | None], then: tuple[str, str | None], same: bool
) -> None:
    with open_ledger(sqlite_ledger_url, partner="default") as ledger:
        ledger.bind_tenant(*first, NOW)
        with running(ledger) as (fence, run):
            intend(ledger, fence, run, simple("k", "i:1"))
        if same:
            ledger.bind_tenant(*then, LATER)
            assert ledger.partner().halo_tenant == (then[1] or first[1] or None)
            assert ledger.partner().bound_at == NOW
        else:
            before = ledger.partner()
            with pytest.raises(OtherTenant, match="database of its own") as refused:
                ledger.bind_tenant(*then, LATER)
            assert refused.value.exit_code == 5
            assert ledger.partner() == before


def test_a_ledger_that_posted_nothing_is_tied_to_another_tenant_freely(ledger: Ledger) -> None:
    ledger.bind_tenant("https://acmee.halopsa.com", "t-1", NOW)
    assert not ledger.check_tenant("https://acme.halopsa.com", "t-2")
    ledger.bind_tenant("https://acme.halopsa.com", "t-2", LATER)
    known = ledger.partner()
    assert (known.halo_base_url, known.halo_tenant, known.bound_at) == ("https://acme.halopsa.com", "t-2", LATER)
    assert ledger.check_tenant("https://acme.halopsa.com", "t-2")


def test_installations_that_are_ours(ledger: Ledger) -> None:
    own = ledger.partner().installation
    assert ledger.installations() == {own}
    ledger.adopt_installation("00c0ffee", "me", NOW)
    ledger.adopt_installation("00c0ffee", "me", LATER)
    assert ledger.installations() == {own, "00c0ffee"}


# Sources


def document(body: bytes, page: int = 0) -> Document:
    return Document(kind="items", invoice_id="inv-1", page=page, body=body)


def seen(status: str, total: str | None = "1.10", charges: int | None = 2) -> SeenInvoice:
    return SeenInvoice(
        invoice_id="inv-1",
        status=status,
        currency="USD",
        total=None if total is None else Decimal(total),
        charges=charges,
    )


def test_sources_are_kept_unaltered_and_once(ledger: Ledger) -> None:
    odd = b'{"total": 1.10, "x": "\xff\x00"}'
    pages = [document(odd), document(b"{}", page=1)]
    ledger.save_sources(PERIOD, pages, [seen("Unpaid")], NOW)
    ledger.save_sources(PERIOD, [*pages, *pages, document(b"{ }", page=1)], [seen("Unpaid")], LATER)
    kept = ledger.source_documents(PERIOD)
    assert [(each.page, each.body) for each in kept] == [(0, odd), (1, b"{}"), (1, b"{ }")]
    assert kept[0].sha256 == pages[0].sha256 and len(kept[0].sha256) == 64
    assert ledger.source_documents(OCTOBER) == ()
    assert kinds(ledger) == ["source", "source"]


def test_a_changed_status_of_a_distributor_invoice_is_seen(ledger: Ledger) -> None:
    ledger.save_sources(PERIOD, [], [seen("Unpaid")], NOW)
    ledger.save_sources(PERIOD, [], [seen("Credited", charges=None)], LATER)
    ledger.save_sources(PERIOD, [], [seen("Credited", charges=None)], LATER + timedelta(days=1))
    (invoice,) = ledger.source_invoices(PERIOD)
    assert (invoice.status, invoice.previous_status, invoice.status_changed_at) == ("Credited", "Unpaid", LATER)
    assert (invoice.total, invoice.charges, invoice.currency) == (Decimal("1.10"), 2, "USD")
    assert (invoice.first_seen, invoice.last_seen) == (NOW, LATER + timedelta(days=1))
    assert ledger.source_invoices() == (invoice,)
    assert ledger.source_invoices(OCTOBER) == ()


# Plans and approvals


def save_plan(ledger: Ledger, digest: str, period: Period = PERIOD, now: datetime = NOW) -> None:
    ledger.save_plan(digest=digest, period=period, rules_digest="r", asked=("c-1",), document='{"é":1}', now=now)


def test_plans_are_found_by_the_beginning_of_their_digest(ledger: Ledger) -> None:
    save_plan(ledger, "4f9c21aa")
    save_plan(ledger, "4f9c21bb", OCTOBER, LATER)
    save_plan(ledger, "4f9c21aa", PERIOD, LATER)  # shown again: kept as it was first shown
    found = ledger.find_plan(" 4F9C21A ")
    assert (found.digest, found.document, found.asked, found.created_at) == ("4f9c21aa", '{"é":1}', ("c-1",), NOW)
    assert (found.period, found.rules_digest) == ("2026-11", "r")
    assert [plan.digest for plan in ledger.plans()] == ["4f9c21aa", "4f9c21bb"]
    (entry,) = ledger.plans(OCTOBER)
    assert isinstance(entry, PlanEntry) and entry.digest == "4f9c21bb" and entry.asked == ("c-1",)
    assert kinds(ledger) == ["plan", "plan"]


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("4f9c2", "give 6 or more"),
        ("", "give 6 or more"),
        ("%%%%%%%", "not the digest of a plan"),
        ("______", "not the digest of a plan"),
        ("123456", "No plan's digest begins with 123456"),
        ("4f9c21", "2 plans begin with 4f9c21: 4f9c21aa, 4f9c21bb"),
    ],
)
def test_a_plan_that_is_not_found(sqlite_ledger_url: str, prefix: str, message: str) -> None:
    with open_ledger(sqlite_ledger_url, partner="default") as ledger:
        save_plan(ledger, "4f9c21aa")
        save_plan(ledger, "4f9c21bb")
        with pytest.raises(UsageError, match=message):
            ledger.find_plan(prefix)


def decided(client: str = "214", **said: object) -> Approval:
    facts: dict[str, object] = {
        "kind": ApproveAs.LIMITS,
        "digest": "d1",
        "client": client,
        "currency": "USD",
        "amount": Decimal("440.00"),
        "limits": {"limit_amount": ("440.00",)},
        "charges": {"i:1": Decimal("440.00")},
        "taken": frozenset({"k"}),
        "who": "anna",
        "reason": ODD,
    }
    return Approval(**{**facts, **said})  # type: ignore[arg-type]


def test_V1_approvals_are_kept_with_what_was_shown(ledger: Ledger) -> None:
    for one in (decided(), decided("0f3c-uuid"), decided(reason="agreed in ticket 48213")):
        ledger.add_decision("2026-11", one, NOW)
    kept = ledger.decisions("2026-11")
    assert kept == ledger.memory(PERIOD).approvals
    assert [(each.client, each.reason, each.who) for each in kept] == [
        ("0f3c-uuid", ODD, "anna"),
        ("214", "agreed in ticket 48213", "anna"),
    ]
    assert (kept[0].limits, kept[0].charges, kept[0].taken) == (
        {"limit_amount": ("440.00",)},
        {"i:1": Decimal("440.00")},
        frozenset({"k"}),
    )
    assert ledger.decisions("2026-10") == ()
    ledger.end_decisions("2026-11", {"214"}, NOW)
    assert [each.client for each in ledger.decisions("2026-11")] == ["0f3c-uuid"]


def test_charges_that_are_approved_one_after_the_other_stay_approved(ledger: Ledger) -> None:
    for charge in ("i:1", "i:2"):
        one = decided(kind=ApproveAs.NO_DUPLICATE, charges={charge: Decimal("22.00")})
        ledger.add_decision("2026-11", one, NOW)
    (kept,) = ledger.decisions("2026-11")
    assert kept.charges == {"i:1": Decimal("22.00"), "i:2": Decimal("22.00")}
    ledger.end_decisions("2026-11", {"214"}, NOW)
    ledger.add_decision("2026-11", decided(kind=ApproveAs.NO_DUPLICATE, charges={"i:3": Decimal("1.00")}), NOW)
    assert [set(one.charges) for one in ledger.decisions("2026-11")] == [{"i:3"}]


def test_RI2_charges_are_set_aside_and_put_back(ledger: Ledger) -> None:
    ledger.set_charges_aside("2026-11", ["i:1", "i:2"], who="anna", reason=ODD, now=NOW)
    assert ledger.charges_set_aside("2026-11")["i:1"] == SetAside(who="anna", at=NOW, reason=ODD)
    assert ledger.charges_set_aside("2026-10") == {}
    assert ledger.put_charges_back(["i:1", "i:9"], who="anna", now=NOW) == {"i:1"}
    assert set(ledger.charges_set_aside("2026-11")) == {"i:2"}


# Mappings


def remembered(client_id: int | None, how: str, name: str = "Contoso") -> RememberedMatch:
    return RememberedMatch(client_id=client_id, how=how, company_name=name)


def test_matches_are_remembered_and_read_by_planning(ledger: Ledger) -> None:
    found = {"c-1": remembered(214, "similarity"), ODD: remembered(215, "external_id", ODD)}
    ledger.remember_matches(found, NOW)
    ledger.remember_matches(found, LATER)
    ledger.set_company_match("c-3", None, company_name="Never Inc", who="anna", now=NOW)
    assert ledger.memory(PERIOD).matches == {
        **found,
        "c-3": RememberedMatch(client_id=None, how="person", company_name="Never Inc", confirmed=True),
    }
    assert ledger.company_matches()["c-1"] == CompanyMatch(
        company_id="c-1", client_id=214, how="similarity", company_name="Contoso", confirmed=False, who="", at=NOW
    )
    assert kinds(ledger) == ["match.company"] * 3


@pytest.mark.parametrize(
    ("before", "then", "replaced"),
    [
        (remembered(1, "similarity"), remembered(2, "name"), True),
        (remembered(1, "similarity"), remembered(2, "similarity", "Renamed"), False),
        (remembered(1, "name"), remembered(1, "name", "Renamed"), False),
        (remembered(1, "name"), remembered(1, "external_id", "Renamed"), True),
        (remembered(1, "external_id"), remembered(1, "name", "Renamed"), True),
        (remembered(1, "rules"), remembered(2, "rules", "Renamed"), True),
    ],
)
def test_a_renamed_company_does_not_pass_unseen(
    sqlite_ledger_url: str, before: RememberedMatch, then: RememberedMatch, replaced: bool
) -> None:
    with open_ledger(sqlite_ledger_url, partner="default") as ledger:
        ledger.remember_matches({"c": before}, NOW)
        ledger.remember_matches({"c": then}, LATER)
        assert ledger.memory(PERIOD).matches["c"] == (then if replaced else before)


def test_what_a_person_said_is_not_replaced_by_matching(ledger: Ledger) -> None:
    ledger.set_company_match("c-1", 214, company_name="Contoso", who="anna", now=NOW)
    ledger.remember_matches({"c-1": remembered(999, "rules")}, LATER)
    assert ledger.company_matches()["c-1"].client_id == 214
    ledger.set_company_match("c-1", 215, company_name="Contoso", who="bert", now=LATER)
    assert (ledger.company_matches()["c-1"].client_id, ledger.company_matches()["c-1"].who) == (215, "bert")


def test_B8_whose_invoices_billed_a_company_is_remembered(ledger: Ledger) -> None:
    parent = Billed(client_id=214, client_name="Contoso", period="2026-10", partner_names=("Ä Child", "Parent"))
    unknown = Billed(client_id=215, client_name="Fabrikam", period="2026-10")
    with running(ledger) as (fence, _):
        ledger.note_said(fence, [], {"c-1": parent, "c-2": unknown})
        asked = Question(companies=["c-2"], left=["c-1", "c-3"])
        assert (ledger.look_back(asked).billed, ledger.look_back(asked).left) == ({"c-2": unknown}, {"c-1": parent})
        later = replace(parent, period="2026-11", partner_names=("Parent",))
        ledger.note_said(fence, [], {"c-1": later})
        ledger.note_said(fence, [], {"c-1": parent})  # an older month, run late
        assert ledger.look_back(asked).left == {"c-1": later}


def test_products_are_mapped_by_people(ledger: Ledger) -> None:
    ledger.set_item_match("SKU-1", 17, who="anna", now=NOW)
    ledger.set_item_match("SKU-1", 18, who="bert", now=LATER)
    ledger.set_item_match("SKU-0", 19, who="bert", now=LATER)
    assert ledger.memory(PERIOD).items_by_sku == {"SKU-0": 19, "SKU-1": 18}
    assert list(ledger.item_matches()) == ["SKU-0", "SKU-1"]
    assert ledger.item_matches()["SKU-1"].who == "bert"


# Runs and decisions


def test_a_run_has_a_short_sortable_id_and_a_history(ledger: Ledger) -> None:
    with ledger.run_lock("me") as fence:
        elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
        first = ledger.start_run(fence, period=PERIOD, digest=None, who=ODD, now=elsewhere)
        ledger.finish_run(fence, first, "failed", {"postings": 2, "amount": "1.10"}, LATER)
        second = ledger.start_run(fence, period=OCTOBER, digest="d", who="me", now=NOW)
    assert first.startswith("2026-11-22T0153-") and len(first) == len("2026-11-22T0153-7f3a")
    assert second != first
    shown = ledger.show_run(first)
    assert (shown.period, shown.digest, shown.state, shown.who) == ("2026-11", None, "failed", ODD)
    assert (shown.started_at, shown.ended_at) == (NOW, LATER)
    assert shown.summary == {"postings": 2, "amount": "1.10"}
    assert [each.id for each in ledger.runs(PERIOD)] == [first]
    assert {each.id for each in ledger.runs()} == {first, second}
    assert ledger.show_run(second).state == "running"
    with pytest.raises(UsageError, match="There is no run 'nope'"):
        ledger.show_run("nope")


def test_a_run_that_died_is_interrupted(ledger: Ledger) -> None:
    with running(ledger) as (_, died):
        pass
    with running(ledger, now=LATER) as (_, next_one):
        assert ledger.show_run(died).state == "interrupted"
        assert ledger.show_run(died).ended_at == LATER
        assert ledger.show_run(next_one).state == "running"


def decision(charge: str, state: str = "dropped", by: str = "azure", price: str = "-4.10") -> Decision:
    return Decision(charge=charge, state=state, by=by, price=Decimal(price), cost=Decimal("0.00"), currency="USD")


def test_what_was_dropped_or_excluded_stays_so(ledger: Ledger) -> None:
    with running(ledger) as (fence, run):
        ledger.settle(fence, run, [decision("i:1"), decision(ODD, "excluded", "no_company")], NOW)
        ledger.settle(fence, run, [decision("i:1", "excluded", "company", "7.00")], LATER)
        ledger.settle(fence, run, [], LATER)
        assert ledger.memory(PERIOD).settled == {
            "i:1": Settled(state="dropped", by="azure", price=Decimal("-4.10"), cost=Decimal("0.00"), currency="USD"),
            ODD: Settled(
                state="excluded", by="no_company", price=Decimal("-4.10"), cost=Decimal("0.00"), currency="USD"
            ),
        }
        assert ledger.memory(OCTOBER).settled == {}
        with pytest.raises(AlreadyClaimed, match="i:1 was dropped by azure earlier"):
            intend(ledger, fence, run, simple("k", "i:0", "i:1"))
        assert ledger.postings() == ()
        ledger.unsettle(fence, run, ["i:1"], LATER)
        intend(ledger, fence, run, simple("k", "i:0", "i:1"))


def test_a_charge_on_a_line_is_not_dropped_too(ledger: Ledger) -> None:
    with running(ledger) as (fence, run):
        intend(ledger, fence, run, simple("k", "i:1"))
        with pytest.raises(AlreadyClaimed, match="i:1 is on a line of posting k"):
            ledger.settle(fence, run, [decision("i:0"), decision("i:1")], NOW)
        assert "i:0" not in ledger.memory(PERIOD).settled


def test_more_decisions_than_a_statement_has_room_for(ledger: Ledger) -> None:
    many = [decision(f"i:{number}") for number in range(1_200)]
    with running(ledger) as (fence, run):
        ledger.settle(fence, run, many, NOW)
        ledger.settle(fence, run, many, NOW)
    assert len(ledger.memory(PERIOD).settled) == 1_200


# Memory


def test_an_empty_ledger_remembers_nothing(ledger: Ledger) -> None:
    assert ledger.memory(PERIOD) == Memory()


def test_memory_of_postings(ledger: Ledger) -> None:
    split = posting("k5", plan_line("i:6", amount="6.00", cost="1.00"), plan_line("i:6", amount="4.00", cost="0.50"))
    with running(ledger) as (fence, run):
        for key, charge in (("k1", "i:1"), ("k2", "i:2"), ("k3", "i:3"), ("k4", "i:4")):
            intend(ledger, fence, run, simple(key, charge))
        intend(ledger, fence, run, split)
        ledger.record_done(fence, "k1", receipt(simple("k1", "i:1")), NOW)
        ledger.record_unknown(fence, "k2", "timeout", NOW)
        ledger.record_refused(fence, "k3", "400", NOW)
        ledger.record_differs(fence, "k5", receipt(split), "an amount was rounded", NOW)
    memory = ledger.memory(PERIOD)
    ten, eight = Decimal("10.00"), Decimal("8.00")
    assert memory.settled == {
        "i:1": Settled(state="posted", by="k1", price=ten, cost=eight, currency="USD", run=run),
        "i:2": Settled(state="unresolved", by="k2", price=ten, cost=eight, currency="USD", detail="timeout", run=run),
        "i:4": Settled(state="unresolved", by="k4", price=ten, cost=eight, currency="USD", run=run),
        "i:6": Settled(
            state="differs",
            by="k5",
            price=ten,
            cost=Decimal("1.50"),
            currency="USD",
            detail="an amount was rounded",
            run=run,
        ),
    }
    assert memory.known_clients == {214}
    assert memory.generations == {}
    assert memory.last_amounts == {}
    assert ledger.memory(DECEMBER).last_amounts == {(214, "USD"): ("2026-11", Decimal("20.00"))}


def test_memory_of_earlier_periods(ledger: Ledger) -> None:
    def bill(
        period: Period, key: str, *charges: str, done: bool = True, client_id: int = 1, currency: str = "USD"
    ) -> None:
        wanted = simple(key, *charges, client_id=client_id, currency=currency)
        with running(ledger, period) as (fence, run):
            intend(ledger, fence, run, wanted)
            if done:
                ledger.record_done(fence, key, receipt(wanted), NOW)

    bill(Period(2026, 9), "k1", "a:1")
    bill(OCTOBER, "k2", "b:1", "b:2")
    bill(OCTOBER, "k3", "b:3")
    bill(Period(2026, 9), "k4", "a:2", client_id=2)
    bill(OCTOBER, "k5", "b:4", client_id=2, done=False)
    bill(OCTOBER, "k6", "b:5", client_id=1, currency="EUR")
    bill(PERIOD, "k7", "c:1")
    assert ledger.memory(PERIOD).last_amounts == {
        (1, "USD"): ("2026-10", Decimal("30.00")),
        (1, "EUR"): ("2026-10", Decimal("10.00")),
        (2, "USD"): ("2026-09", Decimal("10.00")),
    }
    assert ledger.memory(PERIOD).known_clients == {1, 2}
    assert set(ledger.memory(PERIOD).settled) == {"c:1"}


def test_companies_and_products_seen(ledger: Ledger) -> None:
    ledger.note_seen(Period(2026, 9), ["c-0"], ["SKU-0"])
    ledger.note_seen(OCTOBER, ["c-1", ODD], ["SKU-1", ODD])
    ledger.note_seen(OCTOBER, ["c-1", "c-2", "c-2"], ["SKU-1"])
    ledger.note_seen(PERIOD, ["c-9"], [])
    ledger.note_seen(PERIOD, [], [])
    memory = ledger.memory(PERIOD)
    assert memory.last_companies == {"c-1", "c-2", ODD}
    assert memory.known_products == {"SKU-0", "SKU-1", ODD}
    assert ledger.memory(Period(2026, 9)).last_companies == frozenset()
    assert ledger.memory(DECEMBER).last_companies == {"c-9"}


def test_partners_share_a_database_and_nothing_else(ledger_url: str) -> None:
    with (
        open_ledger(ledger_url, partner="default") as ours,
        open_ledger(ledger_url, partner="ödd/../partner") as theirs,
    ):
        with running(ours) as (fence, run), running(theirs) as (their_fence, their_run):
            wanted = simple("k", "i:1")
            intend(ours, fence, run, wanted)
            intend(theirs, their_fence, their_run, wanted)
            ours.record_done(fence, "k", receipt(wanted, written=[written_line()]), NOW)
            ours.settle(fence, run, [decision("i:2")], NOW)
        ours.save_sources(PERIOD, [document(b"{}")], [seen("Unpaid")], NOW)
        ours.set_company_match("c", 1, company_name="C", who="me", now=NOW)
        ours.set_item_match("s", 1, who="me", now=NOW)
        ours.add_decision(str(PERIOD), decided(), NOW)
        ours.note_seen(OCTOBER, ["c"], ["p"])
        save_plan(ours, "4f9c21aa")
        memory = theirs.memory(PERIOD)
        assert memory == Memory(settled={"i:1": memory.settled["i:1"]})
        assert memory.settled["i:1"].state == "unresolved"
        assert theirs.source_documents(PERIOD) == theirs.source_invoices() == theirs.plans() == ()
        assert ours.memory(PERIOD).written_lines == (written_line(key="k"),)
        assert (
            first_altered(ours.journal_entries(), ours.name)
            is first_altered(theirs.journal_entries(), theirs.name)
            is None
        )


def test_a_taken_over_run_changes_nothing(ledger: Ledger) -> None:
    with running(ledger) as (fence, run):
        with ledger.writing() as connection:
            connection.execute(update(schema.partner).values(epoch=schema.partner.c.epoch + 1, holder="run of host b"))
        assert not ledger.fence_holds(fence)
        for act in (
            lambda: ledger.start_run(fence, period=PERIOD, digest=None, who="me", now=NOW),
            lambda: ledger.finish_run(fence, run, "complete", {}, NOW),
            lambda: ledger.settle(fence, run, [decision("i:1")], NOW),
            lambda: ledger.unsettle(fence, run, ["i:1"], NOW),
            lambda: intend(ledger, fence, run, simple("k", "i:1")),
        ):
            with pytest.raises(Locked, match="taken over by run of host b"):
                act()
    assert kinds(ledger) == ["run.started"]
    assert ledger.memory(PERIOD) == Memory()


def test_the_same_epoch_of_another_history_is_not_ours(ledger: Ledger) -> None:
    """A failover to a server that lost the last commits may give an epoch a second time."""
    with ledger.run_lock("me") as fence:
        with ledger.writing() as connection:
            connection.execute(update(schema.partner).values(token="another"))
        assert not ledger.fence_holds(fence)


# The journal


def fill_journal(ledger: Ledger) -> None:
    with running(ledger) as (fence, run):
        wanted = simple("k", "i:1")
        intend(ledger, fence, run, wanted)
        ledger.record_unknown(fence, "k", ODD, NOW, answer="<html>")
        ledger.record_done(fence, "k", receipt(wanted), LATER, state="adopted")
        ledger.finish_run(fence, run, "complete", {"n": 1}, LATER)


def test_the_journal_tells_every_step_in_order(ledger: Ledger) -> None:
    fill_journal(ledger)
    entries = ledger.journal_entries()
    assert [entry.kind for entry in entries] == [
        "run.started",
        "posting.intent",
        "posting.unknown",
        "posting.adopted",
        "run.ended",
    ]
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert entries[0].at == "2026-11-22T01:53:00.000000Z"
    assert '"charges":["i:1"]' in entries[1].body and '"amount":"10.00"' in entries[1].body
    assert '"answer_sha256"' in entries[3].body
    assert first_altered(ledger.journal_entries(), ledger.name) is None


@pytest.mark.parametrize(
    "change",
    [{"body": '{"x":1}'}, {"at": "2026-11-22T01:53:00.000001Z"}, {"kind": "other"}, {"hash": "0" * 64}, {"seq": 99}],
)
def test_a_changed_entry_is_found(sqlite_ledger_url: str, change: dict[str, object]) -> None:
    with open_ledger(sqlite_ledger_url, partner="default") as ledger:
        fill_journal(ledger)
        with ledger.writing() as connection:
            connection.execute(update(schema.journal).where(schema.journal.c.seq == 3).values(**change))
        found = first_altered(ledger.journal_entries(), ledger.name)
        assert found is not None and found.seq == (4 if "seq" in change else 3)


def test_a_removed_entry_is_found(ledger: Ledger) -> None:
    fill_journal(ledger)
    with ledger.writing() as connection:
        connection.execute(delete(schema.journal).where(schema.journal.c.seq == 1))
    found = first_altered(ledger.journal_entries(), ledger.name)
    assert found is not None and found.seq == 2


def test_a_naive_time_and_a_float_never_reach_the_database(sqlite_ledger_url: str) -> None:
    with open_ledger(sqlite_ledger_url, partner="default") as ledger:
        with pytest.raises(StatementError, match="without a time zone"):
            ledger.set_item_match("s", 1, who="me", now=datetime(2026, 11, 22))  # noqa: DTZ001
        floating = replace(decision("i:1"), price=1.1)  # type: ignore[arg-type]
        with running(ledger) as (fence, run), pytest.raises(StatementError, match="not an amount"):
            ledger.settle(fence, run, [floating], NOW)
        assert ledger.memory(PERIOD) == Memory()


def test_retention_lets_old_sources_go_and_the_audit_knows_it(ledger: Ledger) -> None:
    old, kept = Period(2024, 10), Period(2024, 11)
    for period in (old, kept):
        body = f'{{"of": "{period}"}}'.encode()
        ledger.save_sources(period, [Document(kind="items", invoice_id="i", page=0, body=body)], [], NOW)
    assert ledger.forget_sources(kept, LATER) == 1
    assert ledger.source_documents(old) == () and len(ledger.source_documents(kept)) == 1
    assert ledger.forget_sources(kept, LATER) == 0
    assert verify(ledger).problems == ()
    with ledger.database.writing() as connection:
        connection.execute(delete(schema.source_document))
    (gone,) = verify(ledger).problems  # what nobody let go is missed
    assert "is gone" in gone.says
