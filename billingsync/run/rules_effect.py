"""What other rules would make of the newest month, before they are saved: planned anew, and nothing kept [RI5]."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from billingsync.core.bill.plan import ClientPlan
from billingsync.core.money import ZERO, plain
from billingsync.run.desk_rules import RulesAsked, draft_of
from billingsync.run.plan import kept_inputs, planned_again
from billingsync.run.unread import unread
from billingsync.store.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What would become of one company's charges: lines, what they come to, what waits, what is left out."""

    lines: int
    amount: Decimal
    held: Decimal
    left_out: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One company of which something would be different."""

    name: str
    currency: str
    before: Outcome
    after: Outcome

    def as_dict(self) -> dict[str, object]:
        def told(one: Outcome) -> dict[str, object]:
            return {
                "lines": one.lines,
                "amount": plain(one.amount, self.currency),
                "held": plain(one.held, self.currency),
                "left_out": plain(one.left_out, self.currency),
            }

        return {
            "name": self.name,
            "currency": self.currency,
            "before": told(self.before),
            "after": told(self.after),
        }

    def __str__(self) -> str:
        parts = [
            f"{words} {plain(old, self.currency)} -> {plain(new, self.currency)} {self.currency}"
            for words, old, new in (
                ("to post", self.before.amount, self.after.amount),
                ("held", self.before.held, self.after.held),
                ("left out", self.before.left_out, self.after.left_out),
            )
            if old != new
        ]
        if self.before.lines != self.after.lines:
            parts.append(f"lines {self.before.lines} -> {self.after.lines}")
        return f"{self.name}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """`period` is "" where no month can be planned anew; then nothing is known of the effect."""

    name: str
    period: str
    moved: tuple[Moved, ...]
    unread: str = ""  # where it may be another once HaloPSA is read again

    @property
    def sentences(self) -> tuple[str, ...]:
        if not self.period:
            return ("What it changes is not known: no plan was kept that could be made anew.",)
        unread = (self.unread,) if self.unread else ()
        if not self.moved:
            return (f"In {self.period} it changes no amount.", *unread)
        return (*(f"In {self.period}, {one}" for one in self.moved), *unread)

    def as_dict(self) -> dict[str, object]:
        changes = [one.as_dict() for one in self.moved]
        return {"name": self.name, "period": self.period, "changes": changes, "unread": self.unread}


def effect_of(ledger: Ledger, rules_dir: Path, asked: RulesAsked, *, who: str, now: datetime) -> Effect:
    """The newest plan of the newest month, by the rules as they are and as they would be. Raises what `draft_of` does:
    what could not be saved has no effect."""
    draft = draft_of(ledger, rules_dir, asked, who, now)
    periods = ledger.planned_periods()
    head = ledger.newest_plan(periods[-1]) if periods else None
    if head is None or not ledger.has_inputs(head.digest):
        return Effect(name=draft.name, period="", moved=())
    inputs = kept_inputs(ledger, head.digest)
    before = planned_again(ledger, rules_dir, inputs, draft.companies)
    after = planned_again(ledger, rules_dir, inputs, draft.companies, draft.rules)
    moved = tuple(_moved(before.plan.clients, after.plan.clients))
    says = unread(after.plan, after.inputs, before.plan)
    return Effect(name=draft.name, period=head.period, moved=moved, unread=says)


def _moved(before: Iterable[ClientPlan], after: Iterable[ClientPlan]) -> Iterable[Moved]:
    old = {one.company_id: one for one in before}
    new = {one.company_id: one for one in after}
    for company in dict.fromkeys((*old, *new)):
        one = new.get(company) or old[company]
        for currency in sorted(_currencies(old.get(company)) | _currencies(new.get(company))):
            was, now = _outcome(old.get(company), currency), _outcome(new.get(company), currency)
            if was != now:
                yield Moved(name=one.client_name or one.company_name, currency=currency, before=was, after=now)


def _left_out(one: ClientPlan) -> list[tuple[str, Decimal]]:
    return [(gone.currency, gone.amount) for gone in one.dropped] + [(out.currency, out.amount) for out in one.excluded]


def _currencies(one: ClientPlan | None) -> set[str]:
    if one is None:
        return set()
    rest = {hold.currency for hold in one.holds} | {currency for currency, _ in _left_out(one)}
    return rest | ({one.currency} if one.lines else set())


def _outcome(one: ClientPlan | None, currency: str) -> Outcome:
    if one is None:
        return Outcome(lines=0, amount=ZERO, held=ZERO, left_out=ZERO)
    billed = one.currency == currency
    return Outcome(
        lines=len(one.lines) if billed else 0,
        amount=one.amount if billed else ZERO,
        held=sum((hold.amount for hold in one.holds if hold.currency == currency), ZERO),
        left_out=sum((amount for code, amount in _left_out(one) if code == currency), ZERO),
    )
