"""The equation [A2]: charges = posted + dropped + excluded + held, as parts and as a sentence that adds up visibly."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from billingsync.core.bill.plan import Account, CurrencyAccount, SourceSummary
from billingsync.report.numbers import Figures, code


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One part of the equation. `state` is stable, for data; `label` is what people read after the amount."""

    state: str  # already_posted | to_post | dropped | excluded | held
    label: str
    amount: Decimal


def terms(account: Account, *, done: bool = False) -> tuple[Term, ...]:
    """The parts that `account.charges` is the sum of. What earlier runs posted is a part of its own where it is not
    zero; `done` says "posted" of what a plan says "to post" of."""
    earlier = account.already_posted
    parts = [Term(state="already_posted", label="already posted", amount=earlier)] if earlier else []
    return (
        *parts,
        Term(state="to_post", label="posted" if done else "to post", amount=account.posted - earlier),
        Term(state="dropped", label="dropped", amount=account.dropped),
        Term(state="excluded", label="excluded", amount=account.excluded),
        Term(state="held", label="held", amount=account.held),
    )


def both(account: CurrencyAccount) -> tuple[tuple[str, str, Decimal, Decimal], ...]:
    """The parts as (state, label, price, cost), the same states on both sides."""
    price, cost = account.price, account.cost
    earlier = ("already_posted", "already posted", price.already_posted, cost.already_posted)
    parts = [earlier] if price.already_posted or cost.already_posted else []
    now = ("to_post", "to post", price.posted - price.already_posted, cost.posted - cost.already_posted)
    return (
        *parts,
        now,
        ("dropped", "dropped", price.dropped, cost.dropped),
        ("excluded", "excluded", price.excluded, cost.excluded),
        ("held", "held", price.held, cost.held),
    )


def pieces(account: Account, currency: str, figures: Figures, *, subject: str, done: bool = False) -> list[str]:
    """The sentence in pieces that must not be broken: `18,231.07 charged`, `= 17,950.07 to post`,
    `- 4.10 dropped`, ..., `+ 85.10 held USD`. A negative part is written with its sign in front."""
    result = [f"{figures.amount(account.charges, currency)}{subject}"]
    for number, term in enumerate(terms(account, done=done)):
        if number == 0:
            result.append(f"= {figures.amount(term.amount, currency)} {term.label}")
        else:
            sign = "-" if term.amount < 0 else "+"
            result.append(f"{sign} {figures.amount(abs(term.amount), currency)} {term.label}")
    result[-1] += f" {code(currency)}"
    return result


def sentence(
    account: Account, currency: str, figures: Figures, *, subject: str = " charged", done: bool = False
) -> str:
    """`18,231.07 charged = 17,950.07 to post - 4.10 dropped + 200.00 excluded + 85.10 held USD`."""
    return " ".join(pieces(account, currency, figures, subject=subject, done=done))


def header_difference(source: SourceSummary) -> Decimal | None:
    """What a header's total (less carried balance) says beyond its charges' cost and sales tax [S8]; None without one.

    A hint and never a reason to stop: Pax8 does not define precisely what its header adds up.
    """
    if source.header_total is None:
        return None
    return source.header_total - source.cost - source.sales_tax
