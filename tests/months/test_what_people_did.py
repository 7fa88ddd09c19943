"""What HaloPSA has now, and not what was once written: other currencies, people's changes, restored ledgers."""

from __future__ import annotations

import shutil

import pytest
from scene import M365, Scene

NEW = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "new"\n'
LATEST = '[client]\nhalo_client = 214\n[invoice]\nbehavior = "latest"\n'


def november(made: Scene, quantity: int = 9) -> None:
    made.month("2026-11", made.charge(M365, quantity, "22.00", sub="s-1"))


def run(made: Scene, month: str = "2026-11", code: int = 0) -> dict:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def test_C3_a_charge_is_not_put_on_an_invoice_in_another_currency(contoso):
    made = contoso(LATEST)
    target = made.latest(214)
    made.edit(target["id"], currency_code_name="EUR")
    lines = len(target["lines"])
    november(made)
    told = run(made, code=3)
    assert [hold["reason"] for hold in told["holds"]] == ["currency_mismatch"] and "EUR" in told["holds"][0]["detail"]
    assert len(made.invoice(target["id"])["lines"]) == lines


@pytest.mark.parametrize("what", ["deleted", "voided", "repriced"])
def test_N5_a_month_that_is_run_again_says_what_a_person_did(contoso, what):
    made = contoso(NEW)
    november(made)
    (posting,) = run(made)["postings"]
    invoice = posting["invoice_id"]
    if what == "deleted":
        made.sandbox.person(do="delete", id=invoice)
    elif what == "voided":
        made.sandbox.person(do="close", id=invoice, how="voided")
    else:
        made.edit(invoice, made.invoice(invoice)["lines"][0]["id"], unit_price=18)
    told = run(made, code=3)
    assert str(invoice) in told["message"] and told["postings"] == []
    assert told["equation"]["USD"]["price"]["returned"] == "0.00"
    run(made, code=3)


def restore(made: Scene) -> None:
    shutil.copy(made.office.folder / "backup.db", made.office.folder / "ledger.db")
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (made.office.folder / name).unlink(missing_ok=True)


def backup(made: Scene) -> None:
    shutil.copy(made.office.folder / "ledger.db", made.office.folder / "backup.db")


def test_N6_what_was_billed_to_another_client_before_the_backup_is_adopted(contoso):
    made = contoso("", rules=RULES)
    november(made)
    made.office.run("plan", "2026-11")
    backup(made)
    made.office.run("map", "companies", "--set", "Contoso Ltd=216").must()
    (posting,) = run(made)["postings"]
    assert (posting["client_id"], posting["amount"]) == (216, "198.00")
    count = len(made.sandbox.halo.invoices)
    restore(made)
    (again,) = run(made)["postings"]
    assert (again["state"], again["key"], again["client_id"]) == ("adopted", posting["key"], 216)
    assert len(made.sandbox.halo.invoices) == count
    made.month("2026-12", made.charge(M365, 9, "22.00", sub="s-1"))
    told = made.office.run("run", "2026-12", "--yes", "--json").must(3).json
    assert {hold["reason"] for hold in told["holds"]} == {"client_changed"}  # the mapping was forgotten too [C1b]


RULES = '[products]\nlifecycle = "off"\n[limits]\nchange_percent_max = 100000\n[clients]\nguessed = "post"\n'


def test_N6_a_credit_that_the_ledger_forgot_is_adopted(contoso):
    made = contoso(NEW, rules=RULES + '[approval]\ntrue_up = "post"\n')
    made.month("2026-11", made.charge(M365, 9, "22.00", sub="s-1"), invoice="A")
    (posting,) = run(made)["postings"]
    made.sandbox.person(do="close", id=posting["invoice_id"], how="sent")
    made.sandbox.pax8.invoices[-1]["status"] = "Credited"
    made.month("2026-11", made.charge(M365, 9, "23.00", sub="s-1"), invoice="B")
    backup(made)
    told = run(made)
    assert [(one["how"], one["amount"]) for one in told["taken_back"]] == [("credited", "198.00")]
    count = len(made.sandbox.halo.invoices)
    restore(made)
    again = run(made)
    assert [(one["how"], one["amount"]) for one in again["taken_back"]] == [("credited", "198.00")]
    assert [(one["state"], one["amount"]) for one in again["postings"]] == [("adopted", "207.00")]
    assert len(made.sandbox.halo.invoices) == count
