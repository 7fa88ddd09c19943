"""The worked examples as people read them: licences, findings, billing and cards of each, byte for byte, in
tests/golden/reconcile. `BILLINGSYNC_GOLDEN=write pytest ...` writes the files anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from reconcile_sample import Book, D
from test_reconcile_expiring import EXAMPLE, book_of, look
from worked_books import (
    blocks,
    bundle,
    cost_moved,
    margins,
    nothing_compared,
    right_month,
    several_items,
    three_ways,
    twice,
    two_subscriptions,
    year_ahead,
)

from billingsync.core.reconcile.card_states import CardState, Shown
from billingsync.core.reconcile.snapshot import VendorCount
from billingsync.core.rules import MatchBlock, Rules
from billingsync.report.card_details import card_sentences
from billingsync.report.comparison.output import render_renewals, rendered
from billingsync.report.comparison.renewals import Renewals
from billingsync.report.comparison.view import Filters, view
from billingsync.report.numbers import Figures

GOLDEN = Path(__file__).parent.parent / "golden" / "reconcile"


def vendor_file() -> Book:
    """What the worked file comes to: 1,500 GB in blocks of 100 beside 12 of them."""
    match = MatchBlock(pax8_skus=("Backup",), halo_items=(77,), per_unit=D(100), round="up", vendor="Acronis")
    book = Book(rules=Rules(matches=(match,)))
    count = VendorCount(
        vendor="Acronis",
        account="Contoso",
        service="Backup",
        sku="Backup",
        quantity=D("1500.0"),
        client_id=214,
        items=(77,),
    )
    book.more["counts"] = (count,)
    book.line(9001, 12, 77)
    return book


BOOKS: dict[str, Callable[[], Book]] = {
    "01-two-subscriptions": two_subscriptions,
    "02-right-month": right_month,
    "03-sum": lambda: several_items("sum", (6, 5)),
    "03-each": lambda: several_items("each", (10, 9)),
    "03-blocks": blocks,
    "04-bundle": bundle,
    "05-year-ahead": year_ahead,
    "06-nothing-compared": nothing_compared,
    "07-too-many": lambda: margins(10, 11, "22.00"),
    "07-rate": lambda: margins(12, 10, "23.50"),
    "08-cost-moved": cost_moved,
    "10-under-billed": lambda: three_ways(12, 12, 10),
    "10-changed-since": lambda: three_ways(14, 12, 12),
    "10-pax8-differs": lambda: three_ways(12, 14, 12),
    "10-cancelled": lambda: three_ways(None, 5, 0),
    "10-no-invoice-yet": lambda: three_ways(12, None, 10),
    "10-unclear": lambda: three_ways(14, 12, 10),
    "11-twice": twice,
    "12-file": vendor_file,
    "13-over-the-limit": lambda: margins(17, 10, "22.00"),
}


def told(book: Book) -> str:
    """All that people see of it."""
    shown = view(book.compare(), Filters(), everything=True)
    parts = [
        rendered(what, [shown], "text", "en_US", "default").decode() for what in ("licences", "findings", "billing")
    ]
    for card in book.cards():
        parts.append(
            "\n".join(card_sentences(Shown(card=card, state=CardState.OPEN), Figures("en_US"), money=True)) + "\n"
        )
    return "\n".join(parts)


def expiring() -> str:
    book = book_of(EXAMPLE)
    found = Renewals(whole=book.compare(), expiry=look(book), within=90, money=True)
    return render_renewals(found, "text", "en_US", "default").decode()


CASES = {**{name: lambda make=make: told(make()) for name, make in BOOKS.items()}, "09-expiring": expiring}


@pytest.mark.parametrize("name", CASES)
def test_a_worked_example_reads_as_it_did(name: str) -> None:
    file, text = GOLDEN / f"{name}.txt", CASES[name]()
    if os.environ.get("BILLINGSYNC_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("utf-8"))
    assert text == file.read_bytes().decode("utf-8"), f"{name} differs; look at it, then BILLINGSYNC_GOLDEN=write"
