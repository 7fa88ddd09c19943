"""One client's recurring invoice month after month [B3]: each month it comes to that month's charges, in HaloPSA's own
tables, whatever was added, changed, cancelled or taken again, and whatever went wrong on the way."""

from __future__ import annotations

import dataclasses
import shutil
from decimal import Decimal

import pytest
from cli import TEXT_ONLY, Office, cents, due, quick_time
from scene import (
    AZURE,
    BACKUP,
    DEFENDER,
    M365,
    SETUP,
    SHIELD,
    STAGE,
    STANDARD,
    all_marks,
    ours,
    scene,
    texts,
    theirs,
    total,
)

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

OPEN_LIMITS = "[limits]\nchange_percent_max = 100000\nmissing_company_percent_max = 100\n"
RULES = TEXT_ONLY + '[modifiers]\nazure = "collapse"\n' + OPEN_LIMITS
CONTOSO = (
    '[client]\nhalo_client = 214\nname = "Contoso Ltd"\n[invoice]\nbehavior = "recurring"\nrecurring_invoice = 201\n'
)
MONTHS = ("2026-09", "2026-10", "2026-11", "2026-12")


@pytest.fixture
def stage(server, tmp_path, sqlite_template):
    def make(rules=RULES, **switches):
        settings = {name: switches.pop(name) for name in list(switches) if name.isupper()}
        server.reset(dataclasses.replace(STAGE, **switches))
        shutil.copy(sqlite_template, tmp_path / "ledger.db")
        made = scene(server, tmp_path, **settings)
        made.office.rules(rules)
        made.office.rules(CONTOSO, "clients/contoso.toml")
        return made

    return make


def story(made):
    """Four months. Two subscriptions of one product (s-1, s-2); one grows, one is cancelled and taken again; a product
    comes and goes; prorates and a one-time charge only in their month; three to two Azure services on one line."""
    charge = made.charge
    azure = {"type": "subscription", "term": "Arrears"}
    made.month(
        "2026-09", charge(M365, 9, sub="s-1"), charge(M365, 3, sub="s-2"), charge(BACKUP, 2, sub="s-3"),
        charge(AZURE, 1, "18.2201", **azure), charge(AZURE, 1, "7.3050", **azure), charge(AZURE, 1, "0.4949", **azure),
        charge(SETUP, 1, type="one-time"),
    )  # fmt: skip
    made.month(
        "2026-10", charge(M365, 10, sub="s-1"), charge(M365, 1, "15.40", sub="s-1", type="prorate"),
        charge(BACKUP, 2, sub="s-3"), charge(DEFENDER, 5, sub="s-4"), charge(AZURE, 1, "21.00", **azure),
    )  # fmt: skip
    made.month(
        "2026-11", charge(M365, 10, sub="s-1"), charge(M365, 4, sub="s-2"), charge(SHIELD, 7, sub="s-5"),
        charge(BACKUP, -1, "20.00", sub="s-3", type="prorate"), charge(AZURE, 1, "9.99", **azure),
        charge(AZURE, 1, "9.99", **azure),
    )  # fmt: skip
    made.month("2026-12", charge(M365, 10, sub="s-1"), charge(BACKUP, 2, sub="s-3"))


STORY = {
    "2026-09": ["1 x 250.00 Cornice eSign Onboarding", "1 x 26.02 Microsoft Azure Plan",
                "2 x 48.00 Harborline Backup for Servers", "3 x 22.00 Microsoft 365 Business Premium",
                "9 x 22.00 Microsoft 365 Business Premium"],
    "2026-10": ["1 x 15.40 Microsoft 365 Business Premium", "1 x 21.00 Microsoft Azure Plan",
                "10 x 22.00 Microsoft 365 Business Premium", "2 x 48.00 Harborline Backup for Servers",
                "5 x 3.00 Microsoft Defender for Business"],
    "2026-11": ["-1 x 20.00 Harborline Backup for Servers", "1 x 19.98 Microsoft Azure Plan",
                "10 x 22.00 Microsoft 365 Business Premium", "4 x 22.00 Microsoft 365 Business Premium",
                "7 x 3.25 Lantern Mail Shield Advanced"],
    "2026-12": ["10 x 22.00 Microsoft 365 Business Premium", "2 x 48.00 Harborline Backup for Servers"],
}  # fmt: skip


def charged(made, period):
    """The month's charges at Pax8, from its own tables."""
    ids = [row["id"] for row in made.sandbox.pax8.invoices if row["invoiceDate"].startswith(period)]
    return sum((cents(row["total"]) for id_ in ids for row in made.sandbox.pax8.items[id_]), Decimal(0))


def recurring(sandbox):
    """All recurring invoices but for what is ours: what a run must leave as it was [B4]."""
    return {row["id"]: theirs(row) for row in sandbox.halo.recurring.values()}


def before_the_run(office, period):
    """The recurring invoices once HaloPSA has made the last month's invoices: making one changes the template's dates
    and takes its one-time lines along."""
    office.plan(period)
    return recurring(office.sandbox)


@pytest.mark.parametrize("semantics", ["replace", "merge"])
@pytest.mark.parametrize("write_lines", ["header", "updatelines"])
def test_B3_each_month_the_invoice_comes_to_that_months_charges(stage, semantics, write_lines):
    made = stage(lines_semantics=semantics, HALO__WRITE_LINES=write_lines)
    story(made)
    first_ids = {}
    for period in MONTHS:
        before = before_the_run(made.office, period)
        made.office.run("run", period, "--yes").must()
        assert recurring(made.sandbox) == before, period
        row = made.invoice(-201)
        assert texts(row) == STORY[period], period
        assert total(row) == charged(made, period), period
        assert made.office.run("run", period, "--yes", "--json").must().json["postings"] == []
        for line in ours(row):  # a subscription that stays keeps its line
            if line["unit_price"] == Decimal("22.00") and line["qty_order"] > 5:
                first_ids[period] = line["id"]
    assert len(set(first_ids.values())) == 1
    assert made.sandbox.alarms == [] and len(all_marks(made.sandbox)) == len(set(all_marks(made.sandbox)))


def no_duplicates(holds):
    """The printed commands, one a client with all its charges as the screen shows them, without their reasons, that say
    of held charges that they are no duplicates."""
    found = {}
    for command in (way["command"] for hold in holds for way in hold["ways"] if "no-duplicate" in way["command"]):
        assert command[-2] == "--reason"
        first, last = command.index("--charge"), len(command) - command[::-1].index("--charge") + 1
        charges = found.setdefault((tuple(command[1:first]), tuple(command[last:-1])), set())
        charges |= {charge for charge in command[first:last] if charge != "--charge"}
    assert found
    return [
        (*start, *(word for charge in sorted(charges) for word in ("--charge", charge)), *end)
        for (start, end), charges in found.items()
    ]


def test_B3_the_seeded_months_with_everything_that_a_month_normally_holds(tmp_path, sqlite_template):
    """Four months as the sandbox sows them, for three clients at once; one is billed in euro."""
    options = SandboxOptions(trouble=False, clients=3, charges=60, history=3)
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    with Sandbox(options) as sandbox:
        office = Office(tmp_path, sandbox)
        office.rules(TEXT_ONLY + OPEN_LIMITS)
        for name, client, invoice in (
            ("Contoso Ltd", 214, 201),
            ("Contoso Europe Ltd", 215, 203),
            ("Northwind", 216, 204),
        ):
            said = f'[client]\nhalo_client = {client}\nname = "{name}"\n[invoice]\nbehavior = "recurring"\n'
            office.rules(f"{said}recurring_invoice = {invoice}\n".replace('"Northwind"', '"Northwind Traders Inc."'),
                         f"clients/{client}.toml")  # fmt: skip
        for period in ("2026-08", "2026-09", "2026-10", "2026-11"):
            before = before_the_run(office, period)
            told = office.run("run", period, "--yes", "--json").must(0, 3).json
            if told["holds"]:  # usage in arrears that names no subscription, for days that another month's invoice had
                assert {hold["reason"] for hold in told["holds"]} == {"source_duplicate"}, period
                for command in no_duplicates(told["holds"]):
                    office.run(*command, "other usage").must()
                office.run("run", period, "--yes").must()
            assert recurring(sandbox) == before, period
            wanted = due(sandbox, period)
            for client, invoice in ((214, -201), (215, -203), (216, -204)):
                lines = ours(sandbox.halo.recurring[invoice])
                found = [(cents(line["net_amount"]), cents(line["qty_order"] * line["unit_cost"])) for line in lines]
                assert sorted(found) == wanted[client], (period, client)


def test_B3_who_has_nothing_any_more_has_no_lines(stage):
    made = stage()
    story(made)
    made.office.run("run", "2026-11", "--yes").must()
    made.month("2027-01", made.charge(STANDARD, 1, client=221))
    plan = made.office.plan("2027-01")
    (contoso,) = [client for client in plan["clients"] if client["client_id"] == 214]
    assert {line["action"] for line in contoso["lines"]} == {"remove"} and contoso["amount"] == "0.00"
    made.office.run("run", "2027-01", "--yes").must()
    assert ours(made.invoice(-201)) == []
    made.month("2027-02", made.charge(M365, 2, sub="s-1"))  # and comes back
    made.office.run("run", "2027-02", "--yes").must()
    assert texts(made.invoice(-201)) == ["2 x 22.00 Microsoft 365 Business Premium"]


def test_B3_who_pax8_does_not_even_list_any_more_has_no_lines(stage):
    made = stage()
    story(made)
    made.office.run("run", "2026-11", "--yes").must()
    made.month("2027-01", made.charge(STANDARD, 1, client=221))
    made.sandbox.pax8.companies[:] = [row for row in made.sandbox.pax8.companies if row["name"] != "Contoso Ltd"]
    made.office.run("run", "2027-01", "--yes").must()
    assert ours(made.invoice(-201)) == []


def test_B3_lines_that_cannot_be_removed_are_told(stage):
    made = stage()
    story(made)
    made.office.run("run", "2026-11", "--yes").must()
    made.month("2027-01", made.charge(STANDARD, 1, client=221))
    made.sandbox.halo.clients[214]["inactive"] = True
    plan = made.office.plan("2027-01")
    assert any("Contoso Ltd is not billed now, but its recurring lines stay" in text for text in plan["warnings"])


def test_B3_an_older_month_after_a_newer_one_is_held(stage):
    made = stage()
    story(made)
    made.office.run("run", "2026-11", "--yes").must()
    told = made.office.run("run", "2026-10", "--yes", "--json").must(3).json
    assert {hold["reason"] for hold in told["holds"]} == {"recurring_later_period"} and told["postings"] == []
    assert texts(made.invoice(-201)) == STORY["2026-11"]
    # The way out that it names: bill the old month on an invoice of its own, then go on as before.
    made.office.rules(CONTOSO.replace('"recurring"', '"new"'), "clients/contoso.toml")
    made.office.run("run", "2026-10", "--yes").must()
    made.office.rules(CONTOSO, "clients/contoso.toml")
    made.office.run("run", "2026-12", "--yes").must()
    assert texts(made.invoice(-201)) == STORY["2026-12"]


def test_B3_charges_that_come_late_are_added_and_gone_next_month(stage):
    made = stage()
    story(made)
    made.office.run("run", "2026-10", "--yes").must()
    for number in range(3):  # one after the other, of one subscription
        made.month("2026-10", made.charge(DEFENDER, number + 1, sub="s-9", type="prorate"))
        made.office.run("run", "2026-10", "--yes").must()
        assert total(made.invoice(-201)) == charged(made, "2026-10")
    made.office.run("run", "2026-11", "--yes").must()
    assert texts(made.invoice(-201)) == STORY["2026-11"]


def test_B3_a_held_charge_keeps_its_line_until_a_person_decides(stage):
    made = stage()
    story(made)
    made.office.run("run", "2026-09", "--yes").must()
    for row in made.sandbox.pax8.items["inv-2026-10-0"]:
        if row["sku"] == AZURE or row["sku"] == BACKUP:
            row["total"] = "not a number"
    told = made.office.run("run", "2026-10", "--yes", "--json").must(3).json
    assert {hold["reason"] for hold in told["holds"]} == {"bad_amount"}
    assert "1 x 26.02 Microsoft Azure Plan" in texts(made.invoice(-201))
    assert "2 x 48.00 Harborline Backup for Servers" in texts(made.invoice(-201))
    for row in made.sandbox.pax8.items["inv-2026-10-0"]:
        row["total"] = row["subTotal"]
    made.office.run("run", "2026-10", "--yes").must()
    assert texts(made.invoice(-201)) == STORY["2026-10"]


FAULTS = [
    "reset", "reset_after", "500_after", "504_after", "cut", "not_json_after", "400", "429", "409",
    "timeout_after:seconds=9", "late:seconds=30", "late:calls=2:answer=reset",
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "semantics"),
    [
        *((fault, "replace") for fault in FAULTS[:5] + FAULTS[-2:]),
        *((fault, "merge") for fault in FAULTS[1:2] + FAULTS[-1:]),
        *(pytest.param(fault, "replace", marks=pytest.mark.long) for fault in FAULTS[5:-2]),
        *(pytest.param(fault, "merge", marks=pytest.mark.long) for fault in FAULTS[2:-1]),
    ],
)
def test_fault_05_a_lost_reply_in_any_month_ends_as_an_undisturbed_month(stage, fault, semantics):
    """One fault in each of three months: at the first write of the month, whichever it is."""
    made = stage(lines_semantics=semantics, HALO__TIMEOUT_S="1", HALO__ABSENCE_S="60")
    story(made)
    kind, _, more = fault.partition(":")
    with quick_time(made.sandbox):
        for period in MONTHS[:3]:
            made.sandbox.faults.clear()
            before = before_the_run(made.office, period)
            made.sandbox.faults.add(f"halo:POST:/RecurringInvoice:1:{kind}{':' + more if more else ''}")
            made.office.run("run", period, "--yes").must()
            made.sandbox.land()
            assert texts(made.invoice(-201)) == STORY[period], period
            assert recurring(made.sandbox) == before, period
    assert len(all_marks(made.sandbox)) == len(set(all_marks(made.sandbox)))


@pytest.mark.parametrize("fault", ["reset", "reset_after", "500_after", "400"])
def test_fault_05_the_second_write_that_sets_lines_to_nothing_may_fail_too(stage, fault):
    made = stage(lines_semantics="merge")
    story(made)
    made.office.run("run", "2026-09", "--yes").must()
    made.sandbox.faults.add(f"halo:POST:/RecurringInvoice:2:{fault}")
    with quick_time(made.sandbox):
        made.office.run("run", "2026-10", "--yes").must()
    assert texts(made.invoice(-201)) == STORY["2026-10"]


@pytest.mark.parametrize("fault", ["reset", "reset_after", "504_after", "late:seconds=30", "409"])
@pytest.mark.parametrize("semantics", ["replace", "merge"])
def test_fault_05_a_month_that_only_removes(stage, fault, semantics):
    made = stage(lines_semantics=semantics, HALO__ABSENCE_S="60")
    story(made)
    made.office.run("run", "2026-11", "--yes").must()
    made.month("2027-01", made.charge(STANDARD, 1, client=221))
    before = before_the_run(made.office, "2027-01")
    kind, _, more = fault.partition(":")
    made.sandbox.faults.add(f"halo:POST:/RecurringInvoice:1:{kind}{':' + more if more else ''}")
    with quick_time(made.sandbox):
        made.office.run("run", "2027-01", "--yes").must()
    made.sandbox.land()
    assert ours(made.invoice(-201)) == [] and theirs(made.invoice(-201))[0] == before[-201][0]
    assert made.office.run("run", "2027-01", "--yes", "--json").must().json["postings"] == []
