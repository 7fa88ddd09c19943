"""An invoice as any PSA has it. The core and `run/` see only these values; a PSA's own JSON stays in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from billingsync.core.money import ZERO

CARD_MARKS = 900_000  # lines that cards add are numbered from here on: no posting has so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Our marker on an invoice or a line [N1]. `ordinal` is the line's in its posting, -1 on an invoice, which says
    its `period` too."""

    key: str
    installation: str
    ordinal: int
    period: str = field(default="", compare=False)

    @property
    def of_card(self) -> bool:
        """Whether a card added the line: it bills no charges, and is kept by hand from then on [WB2]."""
        return self.ordinal >= CARD_MARKS


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One line. Amounts are what the customer pays, in the invoice's currency; None: the PSA does not show it.

    `title` is the short text, `text` the long one without our marker; `marked_text` says that the marker was there.
    `automatic`: the PSA counts the quantity by itself, `counts_licences` from licences (its own Pax8 sync does so).
    `prorata` is how many pro rata entries of the PSA's own wait on the line. `made_from` names the recurring
    invoice and the line of it that this line was made from.
    """

    id: int | None
    title: str = ""
    text: str = ""
    marked_text: bool = False
    quantity: Decimal = ZERO
    unit_price: Decimal = ZERO
    unit_cost: Decimal | None = None
    net_amount: Decimal | None = None
    discount_percent: Decimal = ZERO
    item_id: int | None = None
    tax_code: str | None = None
    account: str | None = None
    inactive: bool = False
    automatic: bool = False
    counts_licences: bool = False
    one_time: bool = False
    one_time_invoice_id: int | None = None  # the invoice on which a one-time line was charged
    prorata: int = 0
    mark: Mark | None = None
    made_from: tuple[int | None, int | None] = (None, None)

    @property
    def is_zeroed(self) -> bool:
        """A line set to nothing is as good as removed."""
        return self.inactive and self.quantity == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice, or a template from which the PSA makes invoices on a schedule (`template`, a recurring invoice).

    `closed` says why it must not be written to any more, "" while it is open. `lines_shown` is False where a list left
    the lines out. `last_created` and `next_creation` are the template's schedule as ISO texts, "" where not known;
    `made_from` is the template that the PSA made this invoice from. `origin` is what the PSA said, for its own folder
    only: everything in it must come back as it was [B4].
    """

    id: int
    client_id: int | None
    client_name: str = ""
    number: str = ""
    reference: str = ""
    date: str = ""  # ISO date
    created: str = ""  # ISO date and time, "" where not known
    modified: str = ""  # likewise
    template: bool = False
    disabled: bool = False
    counts_licences: bool = False
    void: bool = False
    credit_note: bool = False
    closed: str = ""
    currency: str = ""  # ISO code, "" where the PSA does not say
    last_created: str = ""
    next_creation: str = ""
    made_from: int | None = None
    mark: Mark | None = None
    lines: tuple[InvoiceLine, ...] = ()
    lines_shown: bool = True
    origin: Mapping[str, object] = field(default_factory=dict, repr=False, compare=False)

    def line(self, line_id: int | None) -> InvoiceLine | None:
        """The line of this id."""
        return next((line for line in self.lines if line.id == line_id), None) if line_id is not None else None

    @property
    def by_id(self) -> dict[int | None, InvoiceLine]:
        return {line.id: line for line in self.lines}

    @property
    def is_copy(self) -> bool:
        """Whether the PSA made it from a template, markers and all."""
        return self.made_from is not None or any(line.made_from[0] is not None for line in self.lines)

    @property
    def live_marks(self) -> Iterator[Mark]:
        """The markers of lines that bill somebody."""
        return (line.mark for line in self.lines if line.mark is not None and not line.is_zeroed)

    def carries(self, key: str) -> bool:
        """Whether the invoice or any of its lines carries the marker of this posting."""
        if self.mark is not None and self.mark.key == key:
            return True
        return any(line.mark is not None and line.mark.key == key for line in self.lines)
