"""The pages of the rules: who may set what, the effect before it is saved, and two people on one rule."""

from __future__ import annotations

import re

import pytest
from office import Office

from billingsync.core.desk import Role
from billingsync.store.plan_rows import ClientRow

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def billed(desk: Office) -> ClientRow:
    head = desk.ledger.newest_plan("2026-11")
    assert head
    return next(row for row in desk.ledger.client_rows(head.digest) if row.lines and row.company_id)


def base_of(page: str) -> str:
    found = re.search(r'name="base" value="([0-9a-f]{64})"', page)
    assert found
    return found[1]


def test_the_effect_is_shown_before_it_is_saved_and_saving_plans_anew(desk: Office) -> None:
    client, row = desk.browser(Role.FINANCIAL), billed(desk)
    opened = client.get(f"/ready/2026-11?open={row.nth}").text
    assert f'href="/rules/{row.company_id}"' in opened
    page = client.get(f"/rules/{row.company_id}").text
    desk.sandbox.__exit__(None, None, None)  # no vendor is asked
    form = {"company": row.company_id, "base": base_of(page), "client.exclude": "true", "reason": "left us"}
    looked = client.post("/rules/look", data=form)
    assert looked.status_code == 200 and "What it would change" in looked.text and "<b>0.00</b>" in looked.text
    assert not desk.ledger.desk_rules() and 'value="left us"' in looked.text
    before = desk.ledger.newest_plan("2026-11")
    assert client.post("/rules", data=form).headers["location"] == f"/rules/{row.company_id}"
    after = desk.ledger.newest_plan("2026-11")
    assert before and after and after.digest != before.digest
    page = client.get(f"/rules/{row.company_id}").text
    assert "left us" in page and "financial@msp.example" in page
    stale = client.post("/rules", data={**form, "client.exclude": ""})  # the base is of the old text
    assert stale.status_code == 409 and "exclude = true" in stale.text
    assert not desk.written()


def test_mistakes_stand_on_the_page_and_what_was_typed_stays(desk: Office) -> None:
    client, row = desk.browser(Role.FINANCIAL), billed(desk)
    base = base_of(client.get(f"/rules/{row.company_id}").text)
    form = {"company": row.company_id, "base": base, "invoice.recurring_invoice": "the blue one"}
    looked = client.post("/rules/look", data=form)
    assert looked.status_code == 422 and "recurring_invoice" in looked.text and 'value="the blue one"' in looked.text
    assert client.post("/rules", data=form).status_code == 422
    assert client.post("/rules", data={**form, "invoice.recurring_invoice": ""}).status_code == 422  # nothing is other
    assert not desk.ledger.desk_rules()


def test_limits_and_the_rules_of_all_are_for_admins(desk: Office) -> None:
    financial, admin, row = desk.browser(Role.FINANCIAL), desk.browser(Role.ADMIN), billed(desk)
    page = financial.get(f"/rules/{row.company_id}").text
    assert 'name="limits.client_amount_max"' not in page and "only an admin may set this" in page
    form = {"company": row.company_id, "base": base_of(page), "limits.client_amount_max": "5000", "reason": "agreed"}
    assert financial.post("/rules", data=form).status_code == 422
    everybody = {"company": "", "modifiers.azure": "drop"}
    assert financial.post("/rules", data=everybody).status_code == 422
    assert 'action="/rules/look"' not in financial.get("/rules").text
    assert not desk.ledger.desk_rules()
    assert admin.post("/rules", data=form).status_code == 303
    assert admin.post("/rules", data={**everybody, "base": base_of(admin.get("/rules").text)}).status_code == 303
    assert [one.company_id for one in desk.ledger.desk_rules()] == ["", row.company_id]
    assert "over " in admin.get("/rules").text  # the file that it beats is named
    assert desk.browser(Role.USER).get("/rules").status_code == 403


def test_a_key_of_the_clients_file_is_locked_and_says_where(desk: Office) -> None:
    row = billed(desk)
    path = desk.folder / "rules" / "clients" / "mine.toml"
    path.write_text(f'[client]\npax8_company = "{row.company_id}"\n[modifiers]\nazure = "keep"\n', encoding="utf-8")
    page = desk.browser(Role.FINANCIAL).get(f"/rules/{row.company_id}").text
    assert "mine.toml:4: change it there" in page and 'name="modifiers.azure"' not in page
    path.write_text("[client]\n", encoding="utf-8")
    page = desk.browser(Role.FINANCIAL).get("/rules").text
    assert "The rules are wrong" in page and "mine.toml" in page


def test_the_twins_are_what_rules_show_says(desk: Office) -> None:
    client, row = desk.browser(Role.FINANCIAL), billed(desk)
    keys = {one["key"] for one in client.get("/rules.json").json()["rules"]}
    assert "modifiers.azure" in keys
    assert {one["key"] for one in client.get(f"/rules/{row.company_id}.json").json()["rules"]} >= keys - {
        "clients.guessed"
    }
