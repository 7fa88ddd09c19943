"""The tenants of the reconciliation's worked examples: their figures have one test, what people read of them another."""

from __future__ import annotations

from reconcile_sample import BP, DEFENDER, Book, D

from billingsync.core.period import Period
from billingsync.core.rules import BundleBlock, Covered, MatchBlock, Rules


def two_subscriptions() -> Book:
    book = Book()
    book.sub("a", 9)
    book.sub("b", 3)
    book.charge(9, sub="a")
    book.charge(3, sub="b")
    book.line(9001, 10)
    return book


def right_month() -> Book:
    book = Book()
    book.sub("a", 12)
    book.charge(12, sub="a")
    book.charge(2, sub="a", type="prorate", amount="24.13", cost_amount="19.74")
    book.line(9001, 12)
    return book


def several_items(count: str, quantities: tuple[int, int]) -> Book:
    book = Book(rules=Rules(matches=(MatchBlock(pax8_skus=(BP,), halo_items=(11, 12), count=count),)))
    book.sub("a", 10)
    for number, quantity in enumerate(quantities):
        book.line(9001 + number, quantity, 11 + number)
    return book


def blocks() -> Book:
    book = Book(rules=Rules(matches=(MatchBlock(pax8_skus=("STORE",), halo_items=(77,), per_unit=D(100), round="up"),)))
    book.product("STORE", "Storage")
    book.sub("a", 1250, "STORE")
    book.line(9001, 12, 77)
    return book


def bundle() -> Book:
    covers = (Covered(pax8_sku=BP), Covered(pax8_sku=DEFENDER))
    book = Book(rules=Rules(bundles=(BundleBlock(halo_item=1700, covers=covers),)))
    book.sub("a", 26)
    book.sub("b", 20, DEFENDER, cost="2.50")
    book.charge(26, sub="a", cost="18.00")
    book.charge(20, DEFENDER, sub="b", cost="2.50", price="3.00")
    book.line(9001, 20, 1700, price="30.00")
    book.line(9002, 5)
    return book


def year_ahead() -> Book:
    book = Book()
    book.sub("a", 12, billing_term="Annual", price="240.00", cost="200.00")
    book.charge(12, sub="a", term="Annual", price="240.00", cost="200.00")
    book.line(9001, 12, price="20.00", cost="16.67")
    return book


def nothing_compared() -> Book:
    book = Book()
    book.product("MST-AZR-PLN", "Microsoft Azure Plan")
    book.sub("a", 5, status="Trial")
    book.sub("b", 3, status="PendingActivation")
    book.sub("c", 1, "MST-AZR-PLN")
    book.sub("d", 2, status="Cancelled")
    return book


def margins(seats: int, psa: int, price: str) -> Book:
    book = Book()
    book.sub("a", seats)
    book.charge(seats, sub="a")
    book.line(9001, psa, price=price)
    return book


def cost_moved() -> Book:
    book = Book()
    book.sub("a", 10, cost="20.10")
    book.charge(10, sub="a", cost="18.00", month=Period(2026, 10))
    book.charge(10, sub="a", cost="20.10")
    book.line(9001, 10, price="20.00", cost="20.10")
    return book


def twice() -> Book:
    book = Book()
    book.sub("a", 10)
    book.post(book.charge(10, sub="a"))
    book.line(9001, 10)
    return book


def three_ways(subscribed: int | None, invoiced: int | None, psa: int) -> Book:
    """One product at Contoso, and another one elsewhere that is right, so that no side is empty."""
    book = Book()
    book.company("c2", 300, "Fabrikam")
    book.sub("right", 1, company="c2")
    book.line(8001, 1, client=300, invoice=-300)
    if invoiced is not None:
        book.charge(1, sub="right", company_id="c2")
    if subscribed is None:
        book.sub("a", invoiced, status="Cancelled")
    else:
        book.sub("a", subscribed)
    if invoiced is not None:
        book.charge(invoiced, sub="a")
    if psa:
        book.line(9001, psa)
    return book
