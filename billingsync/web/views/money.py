"""Amounts as the desk shows them: minor units of their currency, a true minus sign, never cut."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from billingsync.core.money import minor_unit
from billingsync.report.numbers import Figures, code

View = dict[str, Any]
STATES = (
    ("to_post", "to post"),
    ("posted", "on invoices"),
    ("held", "held"),
    ("dropped", "dropped"),
    ("excluded", "excluded"),
)


def minus(text: str) -> str:
    """With U+2212 for the sign."""
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def amount(figures: Figures, number: Decimal, currency: str) -> str:
    return minus(figures.amount(number, currency))


def money(figures: Figures, number: Decimal, currency: str) -> str:
    """With the currency's code."""
    return f"{amount(figures, number, currency)} {code(currency)}"


def exponent(currency: str) -> int:
    """How many digits the currency's minor unit has."""
    known = minor_unit(currency)
    return 2 if known is None else known


def minor(number: Decimal, currency: str) -> int:
    """In the currency's minor unit, for browsers, which have no decimals [RI1]."""
    return int(number.scaleb(exponent(currency)).to_integral_value())


def sums(figures: Figures, by_currency: Mapping[str, Decimal]) -> str:
    """`4,809,132.55 USD and 19,815.75 EUR`: never added across currencies, none left out."""
    return " and ".join(money(figures, number, currency) for currency, number in by_currency.items())


def parts(price: Mapping[str, Any]) -> dict[str, Decimal]:
    """One side of a currency's equation, as a plan's document has it, with what is on invoices already apart."""
    whole = {name: Decimal(str(price.get(name, "0"))) for name in ("charges", "posted", "dropped", "excluded", "held")}
    already = Decimal(str(price.get("already_posted", "0")))
    return {**whole, "to_post": whole["posted"] - already, "posted": already}


def equation(figures: Figures, document: Mapping[str, Any], *, to_post: str = "to post") -> list[View]:
    """The equation of each currency, the one with most money first: charged = the parts that are not nothing.
    `to_post` is what the money is called that this plan sends, or has sent."""
    found: list[View] = []
    for currency, sides in document.items():
        price, cost = parts(sides["price"]), parts(sides["cost"])
        shown = [
            {
                "key": "posted" if name == "to_post" else "earlier" if name == "posted" else name,
                "words": to_post if name == "to_post" else words,
                "amount": amount(figures, price[name], currency),
                "number": price[name],
            }
            for name, words in STATES
            if price[name] or name in ("to_post", "held", "dropped", "excluded")
        ]
        found.append(
            {
                "code": code(currency),
                "currency": currency,
                "charged": amount(figures, price["charges"], currency),
                "parts": shown,
                "price": price,
                "cost": cost,
            }
        )
    return sorted(found, key=_charged, reverse=True)


def _charged(view: View) -> Decimal:
    return abs(Decimal(view["price"]["charges"]))


def strip(view: View) -> list[View]:
    """The bar of the first currency: x and width of each part, of 1000."""
    positive = [(part["key"], max(part["number"], Decimal(0))) for part in view["parts"]]
    whole = sum((number for _, number in positive), Decimal(0))
    at, found = Decimal(0), []
    for key, number in positive:
        if number:
            width = number * 1000 / whole
            found.append({"key": key, "x": f"{at:.1f}", "width": f"{width:.1f}"})
            at += width
    return found
