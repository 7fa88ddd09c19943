"""A card: one proposed change of one recurring line, what it lacks, and its digest [CD1]-[CD3]."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from billingsync.core.money import plain

if TYPE_CHECKING:
    from billingsync.core.reconcile.card_change import Change, Entry, Limit
    from billingsync.core.reconcile.findings import Confidence
    from billingsync.core.reconcile.matches import How
    from billingsync.core.reconcile.values import Values


class CardKind(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    GONE = "gone"
    UNCHANGED = "unchanged"


class Lack(StrEnum):
    """What keeps a card from being approved [CD3]."""

    NEEDS_LINE = "needs_line"
    NEEDS_INVOICE = "needs_invoice"
    NEEDS_ITEM = "needs_item"
    OURS = "blocked_ours"
    HALO = "blocked_halo"
    INVOICE_CLOSED = "blocked_invoice"
    OTHER_CLIENT = "blocked_client"
    MOVING = "blocked_moving"
    SUSPECT = "blocked_suspect"
    UNSURE = "blocked_unknown"
    WAITING = "blocked_waiting"
    PART_OF_A_UNIT = "blocked_part"
    PRORATA_OFF = "blocked_prorata"
    PRORATA_QUANTITY = "blocked_prorata_quantity"


LACKS: Mapping[Lack, str] = {
    Lack.NEEDS_LINE: "Several lines carry these seats. Choose one with --line.",
    Lack.NEEDS_INVOICE: "Choose the recurring invoice with --invoice.",
    Lack.NEEDS_ITEM: "No HaloPSA item is known for this product. Map it first.",
    Lack.OURS: "The billing job keeps this line; the next plan changes it.",
    Lack.HALO: "HaloPSA counts this line itself.",
    Lack.INVOICE_CLOSED: "The recurring invoice is disabled, has ended or waits for approval.",
    Lack.OTHER_CLIENT: "The line stands on a recurring invoice of another client.",
    Lack.MOVING: "Something here changed while it was read. Take another snapshot.",
    Lack.SUSPECT: "Too much is gone since the last snapshot. Confirm it first: billingsync snapshot --confirm",
    Lack.UNSURE: "A subscription here has an unknown status or quantity.",
    Lack.WAITING: "More pro rata waits on the line than the new quantity leaves room for.",
    Lack.PART_OF_A_UNIT: "The quantity is not a whole number.",
    Lack.PRORATA_OFF: 'That day lies in the running period, and cards.prorata is "off".',
    Lack.PRORATA_QUANTITY: "The entries do not add up to the seats that are missing.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person typed or chose for a card; None leaves what the card proposes. `entries` are dated seats that
    become pro rata; `day` is from when the change counts."""

    line_id: int | None = None
    invoice_id: int | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    cost: Decimal | None = None
    with_price: bool = False
    with_cost: bool = False
    day: date | None = None
    entries: tuple[tuple[date, Decimal], ...] = ()


NOTHING_CHOSEN = Choice()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One proposed change. `count` and `difference` are the row's, in HaloPSA's units; `waiting` is the pro rata that
    HaloPSA will still add. `effective` None means the next invoice, on `next_invoice` where HaloPSA says when."""

    id: str
    digest: str
    kind: CardKind
    client_id: int
    client_name: str
    group: str
    key: str
    product: str
    skus: tuple[str, ...]
    vendor: str
    tags: tuple[str, ...]
    invoice_id: int | None
    line_id: int | None
    contract_id: int | None
    item_id: int | None
    text: str
    period_name: str
    count: Decimal
    difference: Decimal
    waiting: Decimal
    before: Values
    after: Values
    effective: date | None
    next_invoice: date | None
    entries: tuple[Entry, ...]
    change: Change
    lacks: tuple[Lack, ...]
    limits: tuple[Limit, ...]
    confidence: Confidence
    finding: str | None
    guessed: bool
    lines: tuple[tuple[int | None, int | None, Decimal], ...]  # the group's: invoice, line, quantity
    facts: tuple[object, ...] = ()  # what else the digest is of
    companies: tuple[str, ...] = ()  # at Pax8
    terms: tuple[str, ...] = ()  # how their subscriptions are billed, as Pax8 writes it
    matched: tuple[How, ...] = ()  # what says that these lines carry this product

    @property
    def approvable(self) -> bool:
        """Within limits or not: beyond one it takes a reason, one card at a time."""
        return not self.lacks and self.kind is not CardKind.UNCHANGED

    def digest_from(self, day: date) -> str:
        """What the digest was, or will be, as a card that counts from that day on."""
        return card_digest(self.id, self.before, self.after, self.facts, day, ())

    @property
    def scheduled(self) -> bool:
        """Whether it waits for a later day."""
        return self.effective is not None and not self.entries


def card_id(client_id: int, key: str, line_id: int | None) -> str:
    """Hash of client, group and line, or "new"."""
    return hashlib.sha256(f"{client_id}|{key}|{line_id or 'new'}".encode()).hexdigest()[:12]


def card_digest(
    id_: str,
    before: Values,
    after: Values,
    fields: Sequence[object],
    effective: date | None,
    entries: Sequence[Entry],
) -> str:
    """What people act on [CD2]. The snapshot is not in it: a digest lives as long as what it shows is true."""

    def canonical(value: object) -> object:
        if isinstance(value, Decimal):
            return plain(value)
        return [canonical(one) for one in value] if isinstance(value, (tuple, list)) else value

    numbers = [canonical([values.quantity, values.unit_price, values.unit_cost]) for values in (before, after)]
    dated = [[entry.day.isoformat(), plain(entry.quantity)] for entry in entries]
    whole = [id_, numbers, canonical(list(fields)), effective.isoformat() if effective else None, dated]
    return hashlib.sha256(json.dumps(whole, separators=(",", ":")).encode()).hexdigest()[:16]
