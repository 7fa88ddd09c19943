"""What the ledger remembers of earlier runs: what became of a charge, whom a company was billed to, our lines.

Apart from `core.inputs`, which holds these and much more: whoever only asks the ledger needs no more than this."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billingsync.core.states import ChargeState, PostingAction


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedMatch:
    """How a company was matched before. `how`: person | rules | external_id | name | similarity."""

    client_id: int | None  # None: a person said that this company is never billed
    how: str
    company_name: str
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A charge whose fate earlier runs decided. `by` is the modifier or rule, or the posting's key."""

    state: ChargeState
    by: str
    price: Decimal
    cost: Decimal
    currency: str
    detail: str = ""  # what the ledger noted, where it is in doubt
    run: str = ""  # that sent it


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a Pax8 invoice said of one charge when something of it was first billed [S9]; `live` while the charge is on
    a line of ours. `twin` and `reissue` are the keys of `core.bill.twins`, `sold` is subscription or else SKU."""

    charge: str
    invoice_id: str
    invoice_date: date
    period: str
    company_id: str
    type: str
    sold: str
    product: str
    twin: str
    reissue: str
    price: Decimal
    cost: Decimal
    currency: str
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """Whom a company was billed to last: a HaloPSA client, and in which period. `partner_names` are whose invoices
    billed it, none where that is not known."""

    client_id: int
    client_name: str
    period: str
    partner_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePosting:
    """A posting as far as its charges are still on its lines. `state` as in `Settled`; `price` and `cost` are those of
    its charges, `invoice_id` is None where HaloPSA's is not known."""

    key: str
    period: str = ""
    client_id: int
    client_name: str
    invoice_id: int | None
    action: PostingAction
    currency: str
    state: ChargeState
    price: Decimal
    cost: Decimal
    charges: frozenset[str]
    companies: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLine:
    """A line that we wrote on a recurring invoice and that is still ours [B3].

    `key` and `ordinal` are those of its marker. `written_at` is the PSA's own time of our write and `last_created` when
    an invoice had last been made from the template by then ("" for never, None where that is not known): whatever is
    made later bills it [B5]. `invoiced` are the invoices on which it was seen. `once`: it is billed once and then comes
    off [B7]. `live` is False where its charges are free again, as they were credited."""

    invoice_id: int
    client_id: int
    company_id: str
    period: str  # the newest period that wrote it
    line_id: int
    recurring_key: str
    title: str
    description: str
    quantity: Decimal
    unit_price: Decimal
    unit_cost: Decimal
    item_id: int | None
    key: str = ""
    ordinal: int = -1
    written_at: str = ""
    last_created: str | None = None
    invoiced: tuple[int, ...] = ()
    once: bool = False
    live: bool = True
