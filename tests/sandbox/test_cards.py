"""Cards as users meet them: listed, shown, put aside, and never written."""

from __future__ import annotations

import dataclasses
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from cli import CALM, TEXT_ONLY, Office

from billingsync.core.reconcile.card import Lack
from billingsync.core.reconcile.card_change import Limit
from billingsync.report.cards import _LACKS, _LIMITS

SOLD = dataclasses.replace(CALM, charges=None, clients=8, hand_kept=3)


@pytest.fixture
def office(sandbox, sqlite_template, tmp_path):
    sandbox.reset(SOLD)
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    office = Office(tmp_path, sandbox)
    office.rules(TEXT_ONLY)
    return office


def dealt(office, *words):
    return office.run("cards", *words, "--json").must(0, 3).json


def first(office):
    return next(card for card in dealt(office)["cards"] if card["state"] == "open")


def test_listing_and_showing_cards_writes_nothing(office, sandbox):
    before = len(sandbox.halo.journal)
    cards = dealt(office)
    assert cards["cards"], "the tenant has differences"
    digest = cards["cards"][0]["digest"]
    assert office.run("cards", "show", digest, "--json").must(0, 3).json["cards"][0]["digest"] == digest
    assert cards["cards"][0]["client_name"] in office.run("cards").must(0, 3).stdout
    assert digest in office.run("cards", "show", digest[:8]).must(0, 3).stdout
    assert len(sandbox.halo.journal) == before


def test_a_finding_names_the_card_that_would_end_it(office):
    cards = {card["finding"]: card["digest"] for card in dealt(office)["cards"] if card["finding"]}
    found = office.run("reconcile", "findings", "--json").must(3).json["findings"]
    assert cards and {one["id"]: one["card"] for one in found if one["card"]} == cards


def test_the_list_of_cards_writes_amounts_as_people_read_them(office):
    text = office.run("cards").must(0, 3).stdout
    assert re.search(r" as at \d{4}-\d\d-\d\d \d\d:\d\d\n", text)
    dear = [card for card in dealt(office)["cards"] if abs(float(card["change"]["revenue_month"] or 0)) >= 1000]
    assert dear
    for card in dear:
        assert f"{float(card['change']['revenue_month']):+,.2f} {card['change']['currency']}" in text


def test_the_list_says_in_words_what_a_card_lacks(office):
    lacking = [card for card in dealt(office)["cards"] if card["lacks"] or card["limits"]]
    text = office.run("cards").must(0, 3).stdout
    assert lacking and not re.search(r"\b[a-z]+_[a-z]+\b", text)
    assert set(_LACKS) == set(Lack) and set(_LIMITS) == set(Limit)


def test_j5_the_sign_of_a_change_is_that_of_its_difference(office):
    for card in dealt(office)["cards"]:
        moved = float(card["to"]["quantity"]) - float(card["from"]["quantity"])
        if card["kind"] == "changed" and not card["lacks"]:
            assert (moved > 0) == (float(card["difference"]) > 0)
        revenue = card["change"]["revenue_month"]
        if card["kind"] in ("changed", "gone") and revenue is not None and moved:
            assert float(revenue) * moved >= 0


def test_a_dismissed_card_rests_with_its_reason_and_the_log_tells_it(office):
    card = first(office)
    office.run("cards", "dismiss", card["digest"], "--reason", "free until March").must()
    states = {one["id"]: one["state"] for one in dealt(office)["cards"]}
    assert states[card["id"]] == "dismissed"
    assert card["id"] not in {one["id"] for one in dealt(office, "--state", "open")["cards"]}
    entries = office.run("log", "--card", card["digest"], "--json").must().json["entries"]
    (says,) = [one["says"] for one in entries]
    assert says.startswith(f"Card {card['id']}: dismissed, quantity {card['from']['quantity']} -> ")
    assert says.endswith(" (free until March)")
    assert entries[0]["who"]


def test_a_dismissed_card_returns_when_its_numbers_change(office, sandbox):
    card = next(one for one in dealt(office)["cards"] if one["kind"] == "changed" and one["line_id"])
    office.run("cards", "dismiss", card["digest"], "--reason", "agreed").must()
    invoice = sandbox.halo.table("recurring")[card["invoice_id"]]
    line = next(line for line in invoice["lines"] if line["id"] == card["line_id"])
    line["qty_order"] += 1
    office.run("snapshot").must(0, 3)
    again = next(one for one in dealt(office)["cards"] if one["id"] == card["id"])
    assert again["digest"] != card["digest"]
    assert again["state"] == "open"
    refused = office.run("cards", "dismiss", card["digest"], "--reason", "agreed", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (5, "BS-STALE-CARD")


def test_snoozing_needs_a_near_day_and_a_reason(office):
    card = first(office)
    today = datetime.now(UTC).date()
    for day in (today - timedelta(days=1), today + timedelta(days=120)):
        assert office.run("cards", "snooze", card["digest"], "--until", str(day), "--reason", "x").code == 2
    day = str(today + timedelta(days=20))
    assert office.run("cards", "snooze", card["digest"], "--until", day, "--reason", " ").code == 2
    office.run("cards", "snooze", card["digest"], "--until", day, "--reason", "the client asked").must()
    assert {one["id"]: one["state"] for one in dealt(office)["cards"]}[card["id"]] == "snoozed"


def test_the_role_user_sees_no_money_and_decides_nothing(office):
    card = first(office)
    office.settings["BILLINGSYNC_ROLE"] = "user"
    shown = dealt(office)
    assert shown["sums"] == {}
    assert all(one["change"] is None and one["from"]["unit_price"] is None for one in shown["cards"])
    assert office.run("cards", "dismiss", card["digest"], "--reason", "x").code == 5


def test_filters_choose_and_misspelt_ones_are_named(office):
    cards = dealt(office)["cards"]
    client = cards[0]["client_id"]
    assert {one["client_id"] for one in dealt(office, "--client", str(client))["cards"]} == {client}
    assert all(one["kind"] == "unchanged" for one in dealt(office, "--kind", "unchanged")["cards"])
    assert "Did you mean changed?" in office.run("cards", "--kind", "chnged").stderr
    assert office.run("cards", "--client", "Nobody At All").code == 2


def test_cost_and_price_are_proposed_on_request_only(office, sandbox):
    unchanged = next(
        card for card in dealt(office, "--kind", "unchanged")["cards"] if card["invoice_id"] and not card["lacks"]
    )
    line = next(
        line
        for line in sandbox.halo.table("recurring")[unchanged["invoice_id"]]["lines"]
        if line["id"] == unchanged["line_id"]
    )
    line["unit_cost"] += 1
    office.run("snapshot").must(0, 3)
    assert unchanged["id"] not in {card["id"] for card in dealt(office)["cards"]}
    card = next(card for card in dealt(office, "--with-cost")["cards"] if card["id"] == unchanged["id"])
    assert card["from"]["unit_cost"] != card["to"]["unit_cost"]
    assert card["from"]["quantity"] == card["to"]["quantity"]
    shown = office.run("cards", "show", card["digest"], "--with-cost", "--json").must(0, 3).json
    assert shown["cards"][0]["digest"] == card["digest"]
