"""Imported rows beside Pax8's seats: summed exactly, mapped by people or equal names, never by a guess."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from files_sample import ACRONIS, NOVEMBER, WORKED_EXAMPLE, checked, file_of, profile

from billingsync.core.inputs import Client, Item
from billingsync.core.period import Period
from billingsync.core.reconcile.compare import Verdict, compare
from billingsync.core.reconcile.snapshot import ReconcileInputs, RecurringInvoice, RecurringLine, Snapshot
from billingsync.core.reconcile.taken import SnapshotState
from billingsync.core.rules import Rulebook
from billingsync.core.tables.profile import SameService, TableKind
from billingsync.errors import ImportRefused, UsageError
from billingsync.reconcile.counts import counts_beside, listed, set_match
from billingsync.reconcile.imports import ImportOptions, check_file, import_usage, remove_import
from billingsync.sources.csvfile.checking import usage_rows
from billingsync.sources.csvfile.profiles import digested
from billingsync.store.imports import MatchKind, NewImport
from billingsync.store.ledger import open_ledger

NOW = datetime(2026, 11, 28, 11, 0, tzinfo=UTC)
SNAPSHOT = Snapshot(
    id=1,
    as_at=NOW,
    state=SnapshotState.WHOLE,
    clients=(Client(id=214, name="Contoso"), Client(id=215, name="Fabrikam Inc"), Client(id=216, name="FABRIKAM")),
    items=(Item(id=17, name="Backup GB"), Item(id=18, name="Backup GB extra")),
)


@pytest.fixture
def ledger(sqlite_ledger_url):
    with open_ledger(sqlite_ledger_url, partner="default") as opened:
        yield opened


def take(ledger, text=WORKED_EXAMPLE, period=NOVEMBER, options=None, **more):
    chosen = options or ImportOptions()
    check = check_file(file_of(text), profile(**more), period, skip_bad=chosen.skip_bad)
    return import_usage(ledger, check, chosen, who="anna", now=NOW)


def counts(ledger, period=None):
    return counts_beside(ledger, SNAPSHOT, Rulebook(), period).counts


def test_worked_example_12_as_counts(ledger):
    take(ledger)
    found = {(one.account, one.service): one for one in counts(ledger)}
    contoso, fabrikam = found["Contoso", "Backup GB"], found["Fabrikam", "Backup GB"]
    assert (contoso.quantity, contoso.client_id, contoso.items, contoso.vendor) == (
        Decimal("1500.0"),
        214,
        (17,),
        "Acronis",
    )
    assert fabrikam.quantity == Decimal(-3)
    assert [row.line for row in ledger.import_rows([1]) if row.account == "Contoso"] == [5, 6]


def test_two_clients_of_one_name_are_never_chosen_between(ledger):
    take(ledger)
    assert {one.account: one.client_id for one in counts(ledger)}["Fabrikam"] is None
    set_match(ledger, "acronis", MatchKind.ACCOUNT, "Fabrikam", [215], who="anna", now=NOW)
    assert {one.account: one.client_id for one in counts(ledger)}["Fabrikam"] == 215


def test_a_guess_counts_only_once_a_person_confirmed_it(ledger):
    take(ledger, "Customer,Product,Usage\nContosso,Backup GB,5\n")
    rows = listed(ledger, "acronis", MatchKind.ACCOUNT, SNAPSHOT.clients, SNAPSHOT.items, Rulebook())
    assert (rows[0].is_guess, rows[0].targets) == (True, (214,))
    assert counts(ledger)[0].client_id is None
    set_match(ledger, "acronis", MatchKind.ACCOUNT, "Contosso", [214], who="anna", now=NOW)
    assert counts(ledger)[0].client_id == 214


def test_a_service_may_be_several_items_and_an_account_is_one_client(ledger):
    take(ledger)
    set_match(ledger, "acronis", MatchKind.SERVICE, "Backup GB", [17, 18], who="anna", now=NOW)
    assert counts(ledger)[0].items == (17, 18)
    with pytest.raises(UsageError):
        set_match(ledger, "acronis", MatchKind.ACCOUNT, "Contoso", [214, 215], who="anna", now=NOW)


def test_separate_rows_stay_separate(ledger):
    take(ledger, same_service=SameService.SEPARATE)
    assert [one.quantity for one in counts(ledger) if one.account == "Contoso"] == [Decimal("1250.5"), Decimal("249.5")]


def test_prices_that_differ_are_the_price_of_none(ledger):
    text = "Customer,Product,Usage,Price\nContoso,Backup GB,1,2.50\nContoso,Backup GB,1,2.75\n"
    take(ledger, text, columns={"unit_price": "Price"}, currency="USD")
    assert (counts(ledger)[0].quantity, counts(ledger)[0].unit_price) == (Decimal(2), None)


def test_now_takes_this_month_else_the_last_and_a_period_only_its_own(ledger):
    take(ledger, "Customer,Product,Usage\nContoso,Backup GB,7\n", Period(2026, 10))
    assert [one.quantity for one in counts(ledger)] == [Decimal(7)]
    assert counts(ledger, NOVEMBER) == ()
    take(ledger, "Customer,Product,Usage\nContoso,Backup GB,8\n")
    assert [one.quantity for one in counts(ledger)] == [Decimal(8)]
    assert [one.quantity for one in counts(ledger, Period(2026, 10))] == [Decimal(7)]
    remove_import(ledger, 2, who="anna", now=NOW)
    assert [one.quantity for one in counts(ledger)] == [Decimal(7)]


def test_rows_that_were_left_out_are_remembered(ledger):
    text = "Customer,Product,Usage\nContoso,Backup GB,7\nContoso,Backup GB,x\n"
    with pytest.raises(ImportRefused):
        take(ledger, text)
    take(ledger, text, options=ImportOptions(skip_bad=True))
    beside = counts_beside(ledger, SNAPSHOT, Rulebook(), None)
    assert beside.rows_left_out == 1
    line = RecurringLine(id=9001, item_id=17, text="Backup GB", quantity=Decimal(7), unit_price=Decimal(2))
    invoice = RecurringInvoice(id=-237, client_id=214, currency="USD", period_name="Monthly", lines=(line,))
    inputs = ReconcileInputs(snapshot=replace(SNAPSHOT, recurring=(invoice,)), counts=beside.counts)
    assert compare(inputs).verdict is Verdict.CLEAN
    assert compare(replace(inputs, rows_left_out=beside.rows_left_out)).verdict is Verdict.INCOMPLETE
    assert [(row.line, row.state, bool(row.problem)) for row in ledger.import_rows([1])] == [
        (2, "counted", False), (3, "bad", True),
    ]  # fmt: skip


def test_a_mended_profile_reads_the_same_file_anew(ledger):
    text = 'Customer,Product,Usage\nContoso,Backup GB,"1,234"\n'
    first = take(ledger, text, decimal=".")
    second = take(ledger, text, decimal=",")
    assert (first.state, second.state, second.replaced) == ("imported", "replaced", (1,))
    assert counts(ledger)[0].quantity == Decimal("1.234")


def test_sums_keep_every_digit(ledger):
    tiny = "0." + "0" * 30 + "1"
    take(ledger, f"Customer,Product,Usage\nContoso,Backup GB,99999999999\nContoso,Backup GB,{tiny}\n")
    assert counts(ledger)[0].quantity == Decimal("99999999999." + "0" * 30 + "1")


def test_a_profile_for_charges_is_not_imported():
    with pytest.raises(UsageError, match="not imported"):
        check_file(file_of("x\n"), digested(replace(ACRONIS, kind=TableKind.CHARGES)), NOVEMBER)
    assert checked("x\n").refused


def test_an_import_that_dies_midway_leaves_the_one_before(ledger):
    take(ledger, "Customer,Product,Usage\nContoso,Backup GB,7\n")
    check = check_file(file_of("Customer,Product,Usage\nContoso,Backup GB,8\n"), profile(), NOVEMBER)
    new = NewImport(
        profile="acronis", profile_digest="", vendor="Acronis", period=NOVEMBER, file_name="x.csv", sha256="x", size=1,
        packed=check.file.packed, rows={}, accounts=frozenset(), same_service="sum", skip_bad=False, who="anna",
    )  # fmt: skip

    def dying():
        yield from usage_rows(check)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.add_import(new, dying(), NOW)
    assert [(one.id, one.state) for one in ledger.imports()] == [(1, "current")]
    assert [one.quantity for one in counts(ledger)] == [Decimal(7)]
