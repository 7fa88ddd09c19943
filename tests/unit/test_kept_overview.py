"""`plan --digest` and `holds`: what is read of a kept plan says the same as the whole plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
import sample_plan as sample
from rich.console import Console

from billingsync.core.bill.plan import TrueUp
from billingsync.core.inputs import RunInputs
from billingsync.core.period import Period
from billingsync.core.rules import Rulebook
from billingsync.core.states import TrueUpState
from billingsync.errors import UsageError
from billingsync.report.document import client_document, kept_plan
from billingsync.report.layout import UNLIMITED
from billingsync.report.overview import MOST_CLIENTS
from billingsync.report.summary import print_summary
from billingsync.report.waiting import plan_holds
from billingsync.rulebook import load_rulebook
from billingsync.run.kept_overview import kept_overview
from billingsync.run.kept_plan import held_plan_of
from billingsync.run.plan_rows import plan_rows
from billingsync.run.waiting import open_holds, waiting_of
from billingsync.store.ledger import Ledger, open_ledger
from billingsync.store.packing import pack

NOW = datetime(2026, 11, 28, 11, 0, tzinfo=UTC)


@pytest.fixture
def ledger(sqlite_ledger_url):
    with open_ledger(sqlite_ledger_url, partner="default") as opened:
        yield opened


def keep(ledger, plan, now=NOW):
    at = now.isoformat(timespec="seconds")
    ledger.save_plan(
        digest=plan.digest,
        period=Period.parse(plan.period),
        rules_digest=plan.rules_digest,
        asked=plan.clients_asked,
        document=kept_plan(plan, at, map(client_document, plan.clients)),
        now=now,
        rows=plan_rows(plan, Rulebook(), at, map(client_document, plan.clients)),
        inputs=pack(
            RunInputs(partner="default", period=Period.parse(plan.period), sources=(), companies=(), clients=()),
            plan=plan,
        ),
    )


def shown(plan, width):
    file = StringIO()
    print_summary(plan, Console(file=file, width=width, force_terminal=False, no_color=True))
    return file.getvalue()


def split_over_companies():
    """Two companies of one client: three new invoices by purchase order, of which they share one."""
    lines = [
        sample.line("add", "Suite", "1", "10.00", "8", "10.00", "8.00", f"i:{n}", group=f"PO-{n // 2}")
        for n in range(1, 5)
    ]
    one, two = sample.client("Contoso", 214, lines=tuple(lines[:3])), sample.client("Contoso B", 214, lines=(lines[3],))
    shared = replace(two, lines=(replace(lines[3], group="PO-1"), lines[0]))
    made = sample.plan([one, shared])
    postings = {posting.group: posting for posting in made.postings}  # companies of one client share them [B1]
    return replace(made, postings=tuple(postings.values()))


def many_clients():
    """More than are shown, of which the last ones by name moved most, and one of them is split."""
    split = tuple(
        sample.line("add", "Suite", "1", "9", "1", "9.00", "1.00", f"i:{n}", group=f"PO-{n}") for n in range(2)
    )
    clients = [
        sample.client(
            f"Client {n:03}", n, last=("2026-10", str(n)), lines=split if n % 7 == 0 else split[:1], currency="USD"
        )
        for n in range(1, 3 * MOST_CLIENTS)
    ]
    return sample.plan(clients, warnings=tuple(f"Client {n}: {n} lines" for n in range(5)))


def waiting_for_several_reasons():
    holds = tuple(
        sample.hold(f"a:{n}", reason, amount, "1", "Suite", "why", "do it", currency=currency)
        for n, (reason, amount, currency) in enumerate(
            [
                ("client_unmapped", "8.00", "USD"),
                ("limit_margin", "-90.00", "EUR"),
                ("client_unmapped", "70.00", "EUR"),
                ("client_guessed", "0.00", "USD"),
            ]
        )
    )
    nobody = replace(sample.client("", None, holds=holds[:2]), company_id=None, company_name="")
    return sample.plan(
        [sample.client("Fabrikam", 7, holds=holds[2:]), nobody, sample.client("Contoso", 8, holds=holds[:1])],
        unassigned_holds=holds[1:3],
        asked=("company-1",),
    )


@pytest.mark.parametrize("width", [80, 120, UNLIMITED])
@pytest.mark.parametrize(
    "make",
    [
        sample.full_plan,
        sample.small_plan,
        sample.held_plan,
        sample.empty_plan,
        split_over_companies,
        many_clients,
        waiting_for_several_reasons,
    ],
)
def test_rows_and_plan_say_the_same(ledger, make, width):
    plan = make()
    keep(ledger, plan)
    overview = kept_overview(ledger, plan.digest[:8])
    assert overview is not None
    assert shown(overview, width) == shown(plan, width)
    assert (overview.held, overview.writes) == (plan.held, plan.writes)


def test_an_alarm_holds_a_plan_although_no_charge_waits(ledger):
    keep(ledger, replace(sample.small_plan(), alarms=("Invoice 90211 has a line twice",)))
    assert kept_overview(ledger, sample.DIGEST).held


def test_only_the_whole_plan_tells_true_ups(ledger):
    money = {name: Decimal(1) for name in ("take_back", "take_back_cost", "add", "add_cost")}
    up = TrueUp(
        client_id=214, client_name="Contoso", companies=(), currency="USD", credited=(), postings=(),
        state=TrueUpState.HELD, **money,
    )  # fmt: skip
    keep(ledger, replace(sample.small_plan(), true_ups=(up,)))
    assert kept_overview(ledger, sample.DIGEST) is None


def test_a_plan_without_rows_is_not_told_from_them(ledger):
    plan = sample.small_plan()
    ledger.save_plan(
        digest=plan.digest, period=Period.parse(plan.period), rules_digest="r", asked=(), document=("{}",), now=NOW
    )
    assert kept_overview(ledger, plan.digest) is None
    with pytest.raises(UsageError):
        kept_overview(ledger, "00000000")


@pytest.mark.parametrize("make", [sample.full_plan, sample.held_plan, waiting_for_several_reasons])
def test_what_waits_is_read_without_the_rest(ledger, make):
    keep(ledger, make())
    assert plan_holds(held_plan_of(ledger, sample.DIGEST[:8])) == plan_holds(make())


def test_a_charge_waits_since_the_first_plan_that_held_it(ledger):
    plan = waiting_for_several_reasons()
    first, last = plan.clients[0].holds
    earlier = replace(plan, digest="a" * 64, clients=(replace(plan.clients[0], holds=(last,)),), unassigned_holds=())
    keep(ledger, earlier, NOW - timedelta(days=3))
    keep(ledger, plan)
    found = {one.hold.charge: (one.since, one.age_days) for one in open_holds(ledger, plan, NOW)}
    assert found[last.charge] == ("2026-11-25", 3)
    assert found[first.charge] == ("2026-11-28", 0)


def test_a_plan_in_which_nothing_waits_is_not_read_at_all(ledger, tmp_path, monkeypatch):
    (tmp_path / "rules").mkdir()
    rules = load_rulebook(tmp_path / "rules").digest
    keep(ledger, replace(sample.small_plan(), rules_digest=rules, clients_asked=()))
    monkeypatch.setattr(Ledger, "kept_inputs", lambda *_: pytest.fail("the plan was read"))
    found = waiting_of(ledger, tmp_path / "rules", None)
    assert found is not None and found.holds == ()
