"""One line, one writer: a client whose bill and whose card stand on the same recurring invoice, in every order."""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict

import pytest
from cards_office import SOLD, approve, dealt, invoice, line_of, new_office, one, posts
from cli import MARK, TEXT_ONLY

from billingsync.sandbox.server import Sandbox

DEEDS = ("approve", "edit", "make", "bill")


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SOLD) as running:
        yield running


def shared(office):
    """A card that may be approved, on the recurring invoice that also takes its client's bill; of its own product the
    billing job keeps away."""
    products = defaultdict(set)
    for client in office.plan("2026-11")["clients"]:
        for line in client["lines"]:
            products[client["client_id"]].add(line["sku"])
    card = next(
        card
        for card in dealt(office, "--kind", "changed")
        if not card["lacks"] and not card["limits"] and products[card["client_id"]] - set(card["skus"])
    )
    skus = ", ".join(f'"{sku}"' for sku in card["skus"])
    office.rules(
        f'[client]\nhalo_client = {card["client_id"]}\n[invoice]\nbehavior = "recurring"\n'
        f"recurring_invoice = {card['invoice_id']}\n[exclude]\nproducts = [{skus}]\n",
        "clients/shared.toml",
    )
    return card


@pytest.fixture
def scene(sandbox, sqlite_template, tmp_path):
    office = new_office(sandbox, sqlite_template, tmp_path)
    office.rules(TEXT_ONLY)
    office.invoices_templates = False  # HaloPSA makes an invoice when a test says so
    return office, shared(office)


def ours(sandbox, card):
    return [line for line in invoice(sandbox, card)["lines"] if MARK.search(line["item_longdescription"])]


@pytest.mark.parametrize(("first", "then"), itertools.permutations(DEEDS, 2), ids=lambda deed: deed)
def test_each_pair_of_deeds_leaves_each_line_to_its_writer(sandbox, scene, first, then):
    office, card = scene
    by_hand, billed, ran = card["from"]["quantity"], None, []
    for deed in (first, then):
        before = copy.deepcopy(ours(sandbox, card))
        if deed == "approve":
            wanted = 5 if "edit" in ran else 0
            state = one(approve(office, card["digest"]), wanted)["state"]
            assert state == ("stale" if wanted else "done")
            by_hand = by_hand if wanted else card["to"]["quantity"]
            assert ours(sandbox, card) == before, "a card touches no line of the billing job"
        elif deed == "edit":
            sandbox.person(do="edit", id=card["invoice_id"], line=card["line_id"], set={"qty_order": 99})
            by_hand = "99"
        elif deed == "make":
            made = sandbox.make(card["invoice_id"])
            lines = {line["recurring_invoice_line_id"]: line["qty_order"] for line in made["lines"]}
            assert str(lines[card["line_id"]]) == by_hand
        else:
            told = office.run("run", "2026-11", "--yes", "--json").must(0, 3).json
            states = {each["state"] for each in told["postings"] if each["client_id"] == card["client_id"]}
            assert states == {"posted"}
            billed = ours(sandbox, card)
            assert billed, "the bill stands on the recurring invoice"
        assert str(line_of(sandbox, card)["qty_order"]) == by_hand
        ran.append(deed)
    again = office.run("run", "2026-11", "--yes", "--json").must(0, 3).json
    mine = [each for each in again["postings"] if each["client_id"] == card["client_id"]]
    assert [each["state"] for each in mine] == ([] if "bill" in ran else ["posted"])
    assert billed is None or ours(sandbox, card) == billed, "a line of the bill is there once, as it was written"
    assert str(line_of(sandbox, card)["qty_order"]) == by_hand


def test_a_line_that_the_billing_job_keeps_is_never_written_by_a_card(sandbox, scene):
    office, card = scene
    office.run("run", "2026-11", "--yes", "--json").must(0, 3)
    office.run("snapshot").must(0, 3)
    lines = {line["id"] for line in ours(sandbox, card)}
    mine = [each for each in dealt(office, "--kind", "unchanged", "--client", str(card["client_id"]))
            if each["line_id"] in lines]  # fmt: skip
    assert mine
    written = len(posts(sandbox))
    for each in mine:
        assert "blocked_ours" in each["lacks"]
        blocked = one(approve(office, each["digest"], "--quantity", "77", "--over-limit", "--reason", "test"), 3)
        assert blocked["state"] == "blocked"
    assert len(posts(sandbox)) == written
