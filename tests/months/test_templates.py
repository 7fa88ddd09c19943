"""A recurring invoice is a template: what waits on it is billed by nobody, and is never overwritten [B5]-[B7]."""

from __future__ import annotations

import shlex
import shutil
from decimal import Decimal

import pytest
from cli import cents
from months_rules import BASE, RECURRING
from scene import BACKUP, DEFENDER, M365, SETUP, Scene, ours, texts, total

TEMPLATE = -201


def november(made: Scene, seats: int = 10, price: str = "22.00") -> None:
    made.month("2026-11", made.charge(M365, seats, price, sub="s-1"), made.charge(SETUP, 1, "300.00", type="one-time"))


def december(made: Scene) -> None:
    made.month("2026-12", made.charge(M365, 12, "22.00", sub="s-1"))


def run(made: Scene, month: str, code: int = 0) -> dict:
    return made.office.run("run", month, "--yes", "--json").must(code).json


def test_B6_what_was_not_invoiced_is_never_overwritten(contoso):
    made = contoso(schedule="off")
    november(made)
    assert run(made, "2026-11")["equation"]["USD"]["price"]["waiting"] == "520.00"
    assert total(made.invoice(TEMPLATE)) == Decimal("520.00")
    before = texts(made.invoice(TEMPLATE))
    december(made)
    told = run(made, "2026-12", 3)
    (hold,) = told["holds"]
    assert (hold["reason"], told["postings"]) == ("recurring_not_invoiced", [])
    assert "520.00 USD of 2026-11 waits on recurring invoice 201" in hold["detail"]
    assert texts(made.invoice(TEMPLATE)) == before


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"made_header_id": False, "made_line_ids": False, "lastcreated": "never"},  # marks alone tell
        {"made_fields_copied": ("internal_note",), "lastcreated": "never"},  # line ids alone tell
        {"made_fields_copied": ("internal_note",), "made_line_ids": False, "made_header_id": False},  # lastcreated
    ],
    ids=["all", "marks", "line ids", "lastcreated"],
)
def test_B5_once_HaloPSA_made_the_invoice_the_next_month_goes_on(contoso, switches):
    made = contoso(schedule="off", **switches)
    november(made)
    run(made, "2026-11")
    assert "520.00 USD of 2026-11 waits on recurring invoice 201" in " ".join(
        made.office.run("plan", "2026-11").text.split()
    )
    made.sandbox.advance(5)
    made.sandbox.make(TEMPLATE)
    assert made.office.run("plan", "2026-11", "--json").must().json["equation"]["USD"]["price"]["waiting"] == "0.00"
    december(made)
    told = run(made, "2026-12")
    assert [one["amount"] for one in told["postings"]] == ["264.00"]
    assert texts(made.invoice(TEMPLATE)) == ["12 x 22.00 Microsoft 365 Business Premium"]


def test_B5_a_void_invoice_bills_nobody(contoso):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    invoice = made.sandbox.make(TEMPLATE)
    made.sandbox.person(do="close", id=invoice["id"], how="voided")
    december(made)
    assert [one["reason"] for one in run(made, "2026-12", 3)["holds"]] == ["recurring_not_invoiced"]


def test_R5_undo_of_what_HaloPSA_has_invoiced_says_on_which_invoice(contoso):
    made = contoso(schedule="off")
    november(made)
    first = run(made, "2026-11")["run"]
    invoice = made.sandbox.make(TEMPLATE)
    made.sandbox.person(do="close", id=invoice["id"], how="posted")
    template = ours(made.invoice(TEMPLATE))
    told = made.office.run("undo", first, "--yes", "--json").must(5).json
    (posting,) = told["postings"]
    assert posting["outcome"] == "closed" and f"on invoice {invoice['id']}" in posting["problem"]
    assert ours(made.invoice(TEMPLATE)) == template
    again = run(made, "2026-11")
    assert [one["amount"] for one in again["postings"]] == ["0.00"]  # the one-time line comes off
    assert again["equation"]["USD"]["price"]["already_posted"] == "520.00"


def test_R5_undo_before_HaloPSA_invoiced_it_takes_it_off(contoso):
    made = contoso(schedule="off")
    november(made)
    first = run(made, "2026-11")["run"]
    made.office.run("undo", first, "--yes").must()
    assert ours(made.invoice(TEMPLATE)) == []


def test_B7_a_one_time_line_comes_off_as_soon_as_it_was_invoiced(contoso):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    run(made, "2026-11")
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]


def test_N6_a_one_time_line_that_came_off_before_the_ledger_was_restored_stops_nobody_else(contoso):
    made = contoso(schedule="off")
    november(made)
    made.office.run("plan", "2026-11", "--json").must()
    ledger, kept = made.office.folder / "ledger.db", made.office.folder / "kept.db"
    shutil.copy(ledger, kept)
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    run(made, "2026-11")  # takes the one-time line off
    for file in made.office.folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(kept, ledger)
    (posting,) = run(made, "2026-11", 1)["postings"]
    assert posting["state"] == "failed" and "line 0 (Cornice eSign Onboarding) is missing" in posting["problem"]
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]
    december(made)
    assert [one["amount"] for one in run(made, "2026-12")["postings"]] == ["264.00"]


def test_B6_a_one_time_line_that_was_invoiced_twice_is_an_alarm(contoso):
    made = contoso(schedule="off", one_time="ignored")
    november(made)
    run(made, "2026-11")
    invoices = [made.sandbox.make(TEMPLATE)["id"] for _ in range(2)]
    plan = made.office.run("plan", "2026-11", "--json").must(3).json
    assert all(str(invoice) in " ".join(plan["alarms"]) for invoice in invoices)


def test_R5_a_credit_of_what_was_invoiced_is_an_invoice_of_our_own(contoso):
    made = contoso(schedule="off")
    made.month("2026-11", made.charge(M365, 10, "22.00", sub="s-1"))
    first = run(made, "2026-11")["run"]
    made.sandbox.make(TEMPLATE)
    told = made.office.run("undo", first, "--credit", "--yes", "--json").must().json
    (posting,) = told["postings"]
    assert total(made.invoice(posting["credit_invoice"])) == Decimal("-220.00")
    again = run(made, "2026-11")
    assert [one["amount"] for one in again["postings"]] == ["220.00"]
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]  # and not a second one


def test_R2_a_true_up_of_what_was_invoiced_credits_it_and_puts_the_new_on_the_template(contoso):
    made = contoso(schedule="off", rules=BASE + '[approval]\ntrue_up = "post"\n')
    made.month("2026-11", made.charge(M365, 10, "22.00", sub="s-1"), invoice="A")
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    made.sandbox.pax8.invoices[-1]["status"] = "Credited"
    made.month("2026-11", made.charge(M365, 10, "23.00", sub="s-1"), invoice="B")
    told = made.office.run("run", "2026-11", "--yes", "--json").json
    assert [(one["how"], one["amount"]) for one in told["taken_back"]] == [("credited", "220.00")], told
    assert [one["amount"] for one in told["postings"]] == ["230.00"]
    assert texts(made.invoice(TEMPLATE)) == ["10 x 23.00 Microsoft 365 Business Premium"]


def exclude(made: Scene) -> None:
    made.office.run("map", "companies", "--exclude", "Contoso Ltd").must()
    (made.office.folder / "rules" / "clients" / "contoso.toml").unlink()


def test_B8_a_company_that_is_never_billed_any_more_loses_its_lines(contoso):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    exclude(made)
    december(made)
    told = run(made, "2026-12")
    assert ours(made.invoice(TEMPLATE)) == [] and told["state"] == "complete"


def test_B8_what_waits_of_a_company_that_is_never_billed_stays_and_is_told(contoso):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    exclude(made)
    december(made)
    told = run(made, "2026-12", 3)
    assert total(made.invoice(TEMPLATE)) == Decimal("520.00") and told["state"] == "held"
    plan = made.office.run("plan", "2026-12", "--json").must(3).json
    assert "520.00 USD of 2026-11 waits on recurring invoice 201" in " ".join(plan["left"])
    (hold,) = told["holds"]
    assert hold["reason"] == "recurring_not_invoiced" and "520.00 USD of 2026-11" in hold["detail"]


def test_B8_another_behavior_takes_the_lines_off_and_bills_anew(contoso):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    made.office.rules('[client]\nhalo_client = 214\n[invoice]\nbehavior = "new"\n', "clients/contoso.toml")
    december(made)
    told = run(made, "2026-12")
    assert sorted((one["action"], one["amount"]) for one in told["postings"]) == [
        ("create", "264.00"), ("update", "0.00"),
    ]  # fmt: skip
    assert ours(made.invoice(TEMPLATE)) == []


def test_B7_a_hold_never_leaves_a_one_time_line_to_be_billed_again(contoso):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    made.office.rules(RECURRING + "[limits]\nclient_amount_max = 1\n", "clients/contoso.toml")
    december(made)
    told = run(made, "2026-12", 3)
    assert {hold["reason"] for hold in told["holds"]} == {"limit_amount"}
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]


def others(made: Scene, month: str) -> None:
    """A month in which Pax8 charges another company, and Contoso nothing."""
    made.month(month, made.charge(M365, 1, "22.00", client=216, sub="s-9"))


@pytest.mark.parametrize("step", ["wait", "leave it out"])
def test_B8_what_waits_of_a_company_that_has_left_is_held_with_a_step_that_works(contoso, step):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    others(made, "2026-12")
    told = run(made, "2026-12", 3)
    (hold,) = told["holds"]
    assert (hold["reason"], hold["company_name"], hold["amount"]) == ("recurring_not_invoiced", "Contoso Ltd", "0.00")
    assert "520.00 USD of 2026-11 waits on recurring invoice 201" in hold["detail"]
    assert "next creation is 2026-1" in hold["detail"]
    (listed,) = made.office.run("holds", "2026-12", "--json").must(3).json["holds"]
    assert listed["detail"] == hold["detail"]
    assert sum(Decimal(one["held"]) for one in [told["equation"]["USD"]["price"]]) == Decimal("0.00")
    if step == "wait":
        assert "create the invoice from recurring invoice 201" in hold["next_step"]
        made.sandbox.make(TEMPLATE)
    else:
        for line in ours(made.invoice(TEMPLATE)):
            made.delete_line(TEMPLATE, line["id"])
    told = run(made, "2026-12")
    assert (told["state"], told["holds"], ours(made.invoice(TEMPLATE))) == ("complete", [], [])


def test_B8_a_company_that_changed_its_behavior_while_its_lines_wait_is_held_until_they_are_invoiced(contoso):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    made.office.rules('[client]\nhalo_client = 214\n[invoice]\nbehavior = "new"\n', "clients/contoso.toml")
    december(made)
    told = run(made, "2026-12", 3)
    (hold,) = told["holds"]
    assert (hold["reason"], hold["amount"]) == ("recurring_left_behind", "264.00")
    assert "create the invoice from recurring invoice 201" in hold["next_step"]
    assert total(made.invoice(TEMPLATE)) == Decimal("520.00") and told["postings"] == []
    made.sandbox.make(TEMPLATE)
    run(made, "2026-12")
    assert ours(made.invoice(TEMPLATE)) == []


@pytest.mark.parametrize("dated", ["2026-11-20", "2026-12-01"], ids=["same month", "next month"])
def test_R2_what_HaloPSA_invoiced_is_credited_whenever_the_re_issue_comes(contoso, dated):
    made = contoso(schedule="off")
    made.month("2026-11", made.charge(M365, 10, "22.00", sub="s-1"), invoice="A")
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    made.sandbox.pax8.invoices[-1]["status"] = "Credited"
    again = made.charge(M365, 10, "22.00", sub="s-1", startPeriod="2026-11-01", endPeriod="2026-11-28")
    made.month(dated[:7], again, invoice="B")
    told = made.office.run("run", dated[:7], "--yes", "--json").must(3).json
    (up,) = told["true_ups"]
    approve = up["next_step"].replace("--reason TEXT", '--reason "seen"')
    made.office.run(*shlex.split(approve)[1:]).must()
    told = run(made, dated[:7])
    assert [(one["how"], one["amount"]) for one in told["taken_back"]] == [("credited", "220.00")], told
    credit = made.invoice(told["taken_back"][0]["credit_invoice"])
    assert total(credit) == Decimal("-220.00")
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]
    after = run(made, dated[:7])
    assert after["postings"] == after["taken_back"] == []


def once_each(made: Scene, month: str) -> None:
    """A month with a charge for each reason to be billed once, and one that comes every month."""
    made.month(
        month,
        made.charge(M365, 10, "22.00", sub="s-1"),
        made.charge(SETUP, 1, "300.00", type="one-time"),
        made.charge(M365, 2, "11.00", sub="s-1", type="prorate"),
        made.charge(BACKUP, 1, "388.80", sub="s-2", term="Annual"),
    )


@pytest.mark.parametrize("kept", ["kept", "dropped", "unsettable"])
def test_B7_with_the_flag_HaloPSA_itself_charges_once_what_is_to_be_billed_once(contoso, kept):
    made = contoso(schedule="off", one_time=kept, HALO__ONE_TIME="flag")
    once_each(made, "2026-11")
    run(made, "2026-11")
    flagged = sorted(cents(line["net_amount"]) for line in ours(made.invoice(TEMPLATE)) if line.get("onetimecharge"))
    assert flagged == ([] if kept == "unsettable" else [Decimal("22.00"), Decimal("300.00"), Decimal("388.80")])
    assert total(made.sandbox.make(TEMPLATE)) == Decimal("930.80")
    once_each(made, "2026-12")
    told = run(made, "2026-12")
    assert (told["holds"], total(made.invoice(TEMPLATE))) == ([], Decimal("930.80"))
    assert total(made.sandbox.make(TEMPLATE)) == Decimal("930.80")
    assert run(made, "2026-12")["state"] == "complete"
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]


def test_B7_what_HaloPSA_charged_once_and_took_off_is_no_persons_deletion(contoso):
    made = contoso(schedule="off", one_time="dropped", HALO__ONE_TIME="flag")
    once_each(made, "2026-11")
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    told = run(made, "2026-11")
    assert (told["state"], told["message"]) == ("complete", "")


def test_B7_an_annual_line_comes_off_once_it_was_invoiced(contoso):
    made = contoso(schedule="off")
    once_each(made, "2026-11")
    run(made, "2026-11")
    made.sandbox.make(TEMPLATE)
    made.office.rules(RECURRING + "[limits]\nclient_amount_max = 1\n", "clients/contoso.toml")
    once_each(made, "2026-12")
    assert {hold["reason"] for hold in run(made, "2026-12", 3)["holds"]} == {"limit_amount"}
    assert texts(made.invoice(TEMPLATE)) == ["10 x 22.00 Microsoft 365 Business Premium"]


def test_B5_that_it_was_invoiced_is_remembered_when_HaloPSA_shows_it_no_more(contoso):
    made = contoso(schedule="off", lastcreated="never")
    november(made)
    run(made, "2026-11")
    invoice = made.sandbox.make(TEMPLATE)
    assert run(made, "2026-11")["equation"]["USD"]["price"]["waiting"] == "0.00"
    del made.sandbox.halo.invoices[invoice["id"]]  # as one that is older than any search goes back
    december(made)
    assert [one["amount"] for one in run(made, "2026-12")["postings"]] == ["264.00"]


def test_N5_an_invoice_made_from_a_template_that_a_person_deletes_is_told_until_it_is_there_again(contoso):
    made = contoso(schedule="off")
    november(made)
    run(made, "2026-11")
    invoice = made.sandbox.make(TEMPLATE)
    assert run(made, "2026-11")["equation"]["USD"]["price"]["waiting"] == "0.00"
    made.sandbox.person(do="delete", id=invoice["id"])
    told = run(made, "2026-11", 3)
    assert f"invoice {invoice['id']}, which HaloPSA made from recurring invoice {abs(TEMPLATE)}" in told["message"]
    assert told["postings"] == []
    run(made, "2026-11", 3)
    made.sandbox.make(TEMPLATE)  # without what was billed once, and came off when it had been
    told = run(made, "2026-11", 3)
    assert "nobody pays the 300.00 USD" in told["message"]
    made.office.run(*shlex.split(told["message"].partition("type billingsync ")[2].partition(" and then ")[0]), "--yes")
    assert [one["amount"] for one in run(made, "2026-11")["postings"]] == ["300.00"]


def test_B5_an_invoice_that_is_voided_later_bills_nobody_either(contoso):
    made = contoso(schedule="off", lastcreated="never")
    november(made)
    run(made, "2026-11")
    invoice = made.sandbox.make(TEMPLATE)
    made.office.rules(RECURRING + "[limits]\nclient_amount_max = 1000\n", "clients/contoso.toml")
    made.month("2026-11", made.charge(DEFENDER, 1, "5.00", sub="s-7"))
    run(made, "2026-11")
    made.sandbox.person(do="close", id=invoice["id"], how="voided")
    december(made)
    (hold,) = {one["detail"] for one in run(made, "2026-12", 3)["holds"]}
    assert "225.00 USD of 2026-11 waits" in hold  # all but the one-time line, which has come off


@pytest.mark.parametrize(("sent", "code"), [("ignored", 0), ("kept", 0), ("doubled", 1)])
@pytest.mark.parametrize("whose", ["theirs", "ours"])
def test_B4_pro_rata_that_HaloPSA_doubles_is_seen(contoso, sent, code, whose):
    made = contoso(schedule="off", prorata_sent=sent)
    november(made)
    run(made, "2026-11")
    mine = {line["id"] for line in ours(made.invoice(TEMPLATE))}
    made.sandbox.make(TEMPLATE)
    stays = next(line for line in ours(made.invoice(TEMPLATE)) if "Microsoft 365" in line["item_longdescription"])
    line = stays if whose == "ours" else next(one for one in made.invoice(TEMPLATE)["lines"] if one["id"] not in mine)
    made.edit(
        TEMPLATE, line["id"], prorata_data=[{"id": 1, "line_id": line["id"], "quantity": 1, "date": "2026-11-20"}]
    )
    december(made)
    told = run(made, "2026-12", code)
    assert [bool(one["problem"]) for one in told["postings"]] == [bool(code)]
    if code:
        assert "pro" in told["postings"][0]["problem"].lower()
