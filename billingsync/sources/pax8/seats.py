"""What companies have at Pax8: JSON of subscriptions, products and commitments -> core values.

Leniently: what cannot be used becomes a `problem` or None, so that the comparison can name it. Only a row that cannot
be told from others makes its list unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from billingsync.core.money import read_number
from billingsync.core.reconcile.expiring import CommitmentTerms
from billingsync.core.reconcile.snapshot import Commitment, Product, SeatChange, Subscription
from billingsync.errors import NotReady
from billingsync.http.jsontext import read_json
from billingsync.sources.pax8.wire import read_page, text

Raw = Mapping[str, Any]

_SLACK = timedelta(minutes=1)  # by which Pax8's clock and ours may differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When a snapshot was being read; what changed inside is moving [SN4]."""

    began: datetime
    ended: datetime

    def holds(self, moment: datetime | None) -> bool:
        """False for a moment without a zone: nobody knows when that was."""
        if moment is None or moment.tzinfo is None:
            return False
        return self.began - _SLACK <= moment <= self.ended + _SLACK


def rows_of(body: bytes) -> list[Raw]:
    """The rows of one page of a list, or of a reply without paging, exactly as it was kept."""
    value = read_json(body, odd_numbers=True)
    content = value.get("content") if isinstance(value, dict) and "page" not in value else read_page(value).content
    return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []


def read_subscription(row: object, span: Span | None = None) -> Subscription:
    """Raises NotReady for what is no subscription or has no id."""
    held = row if isinstance(row, dict) else {}
    subscription_id = _name(held.get("id"))
    if not subscription_id:
        raise NotReady(f"Pax8 lists a subscription without an id: {text(row)[:60]!r}.")
    problems: list[str] = []
    numbers = {name: _number(name, held.get(name), problems) for name in ("quantity", "price", "partnerCost")}
    return Subscription(
        id=subscription_id,
        company_id=_name(held.get("companyId")),
        product_id=_name(held.get("productId")),
        product_name=_name(held.get("productName")),
        parent_id=_name(held.get("parentSubscriptionId")),
        quantity=numbers["quantity"],
        status=_name(held.get("status")),
        billing_term=_name(held.get("billingTerm")),
        commitment=_commitment(held.get("commitmentTerm")),
        start=day_of(held.get("startDate")),
        billing_start=day_of(held.get("billingStart")),
        end=day_of(held.get("endDate")),
        price=numbers["price"],
        cost=numbers["partnerCost"],
        currency=_name(held.get("currencyCode")).upper(),
        updated=updated_on(held),
        moving=span is not None and span.holds(moment_of(held.get("updatedDate"))),
        problem="; ".join(problems),
    )


def read_product(row: Raw) -> Product | None:
    """None for a row without an id: no subscription can name it."""
    product_id = _name(row.get("id"))
    if not product_id:
        return None
    names = (_name(row.get(name)) for name in ("sku", "name", "vendorName"))
    sku, name, vendor = names
    return Product(id=product_id, sku=sku, name=name, vendor=vendor)


def bills_itself(row: Raw) -> bool:
    """Whether Pax8 bills this company: then nobody else does [LC2]."""
    return row.get("billOnBehalfOfEnabled") is True


def updated_on(row: Raw) -> date | None:
    """The day of a subscription's last change, as Pax8 wrote it."""
    return day_of(row.get("updatedDate"))


def read_history(rows: Sequence[Raw]) -> tuple[list[SeatChange], Decimal | None]:
    """A subscription's past: each change of its quantity, oldest first, and the last quantity that was `Active`.

    Pax8 lists the newest state first. A state says itself when it began: `updatedDate`, else `startDate`."""
    states = [(read_subscription(row), updated_on(row)) for row in rows]
    changes = []
    for (now, day), (before, _) in pairwise(states):
        began = day or now.start
        if began is None or now.quantity is None or before.quantity is None or now.quantity == before.quantity:
            continue
        change = SeatChange(
            subscription_id=now.id, day=began, before=before.quantity, after=now.quantity, source="history"
        )
        changes.append(change)
    active = (state.quantity for state, _ in states if state.status in ("Active", "Activated"))
    return changes[::-1], next((quantity for quantity in active if quantity is not None), None)


def read_dependencies(value: object) -> dict[str, CommitmentTerms]:
    """By commitment id what GET /products/{id}/dependencies says; empty where the answer is something else."""
    rows = value.get("commitmentDependencies") if isinstance(value, dict) else None
    return {
        _name(row.get("id")): CommitmentTerms(
            auto_renew=_flag(row.get("autoRenew")),
            days_before_end=_days(row.get("renewalWindowDaysBeforeTermEnd")),
            days_after_end=_days(row.get("renewalWindowDaysAfterTermEnd")),
            may_decrease=_flag(row.get("allowForQuantityDecrease")),
            may_cancel_early=_flag(row.get("allowForEarlyCancellation")),
        )
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
    }


def _commitment(value: object) -> Commitment | None:
    """An object as documented; null for none; some code was seen to meet a bare text (reference/pax8 7)."""
    if isinstance(value, dict):
        return Commitment(id=_name(value.get("id")), term=_name(value.get("term")), end=day_of(value.get("endDate")))
    return Commitment(term=_name(value)) if isinstance(value, str) and value.strip() else None


def day_of(value: object) -> date | None:
    """The date part as written."""
    try:
        return date.fromisoformat(_name(value)[:10])
    except ValueError:
        return None


def moment_of(value: object) -> datetime | None:
    """With or without a colon in the offset; None for a bare date, which names no moment."""
    written = _name(value)
    try:
        return datetime.fromisoformat(written) if len(written) > len("2026-11-28") else None
    except ValueError:
        return None


def _name(value: object) -> str:
    return text(value).strip()


def _number(name: str, value: object, problems: list[str]) -> Decimal | None:
    try:
        return read_number(value)
    except ValueError as bad:
        problems.append(f"{name}: {bad}")
        return None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _days(value: object) -> int | None:
    try:
        number = read_number(value)
    except ValueError:
        return None
    return None if number is None else int(number)
