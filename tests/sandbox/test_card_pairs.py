"""One line, one writer: a client whose bill and whose card stand on the same recurring invoice, in every order."""

from __future__ import annotations

import copy
import itertools
from collections import defaultdict

import pytest
from cards_office import SOLD, approve, dealt, invoice, line_of, new_office, one, posts
from cli import MARK, TEXT_ONLY

from billingsync.sandbox import cast

DEEDS = ("approve", "edit", "make", "bill")


def shared(office, sandbox):
    """A card that may be approved, on the recurring invoice that also takes its client's bill; of its own product the
    billing job keeps away."""
    products = defaultdict(set)
    owners = {one.company_id: one.client_id for one in cast.members(SOLD.seed, SOLD.clients, trouble=False)}
    for rows in sandbox.pax8.items.values():
        for row in rows:
            products[owners.get(row["companyId"])].add(row["sku"])
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
    return office, shared(office, sandbox)


def ours(sandbox, card):
    return [line for line in invoice(sandbox, card)["lines"] if MARK.search(line["item_longdescription"])]


@pytest.mark.parametrize(("first", "then"), list(itertools.permutations(DEEDS, 2)), ids=lambda deed: deed)
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
    mine = [each["state"] for each in again["postings"] if each["client_id"] == card["client_id"]]
    if ran == ["bill", "make"]:  # what is billed once is taken off again, now that an invoice bills it
        assert mine == ["posted"]
        assert {line["id"] for line in ours(sandbox, card)} < {line["id"] for line in billed}
    else:
        assert mine == ([] if billed else ["posted"])
        assert billed is None or ours(sandbox, card) == billed, "a line of the bill is there once, as it was written"
    assert str(line_of(sandbox, card)["qty_order"]) == by_hand


def test_a_line_that_the_billing_job_keeps_is_never_written_by_a_card(sandbox, scene):
    office, card = scene
    office.run("run", "2026-11", "--yes", "--json").must(0, 3)
    office.run("snapshot").must(0, 3)
    bill = copy.deepcopy(ours(sandbox, card))
    twice = next(
        each for each in dealt(office, "--kind", "gone") if each["client_id"] == card["client_id"] and not each["lacks"]
    )
    words = ["--over-limit", "--reason", "billed twice"]
    refused = approve(office, twice["digest"], "--line", str(bill[0]["id"]), *words)
    assert refused.code in (2, 3)
    assert one(approve(office, twice["digest"], *words))["state"] == "done", "the line by hand ends"
    assert ours(sandbox, card) == bill
    office.run("snapshot").must(0, 3)
    left = next(
        each
        for each in dealt(office, "--kind", "unchanged")
        if (each["client_id"], each["product"]) == (card["client_id"], twice["product"])
    )
    assert left["lacks"] == ["blocked_ours"]
    written = len(posts(sandbox))
    blocked = one(approve(office, left["digest"], "--quantity", "77", *words), 3)
    assert (blocked["state"], len(posts(sandbox)), ours(sandbox, card)) == ("blocked", written, bill)
