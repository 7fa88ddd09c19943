"""Where bills go: what billing needs of a PSA. HaloPSA is its first implementation (`halo/`).

A PSA's JSON stays in its folder. What goes over the wire for a posting, what an invoice shows of it afterwards and how
it is taken back are the PSA's own; when, in which order and what is believed is `run/`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from billingsync.core.bill.plan import Posting
from billingsync.core.inputs import Client, Item
from billingsync.core.invoice import Invoice
from billingsync.core.reconcile.card_write import LineSet
from billingsync.core.reconcile.snapshot import RecurringInvoice
from billingsync.core.remembered import WrittenLine
from billingsync.core.rules import ProductRules
from billingsync.core.states import LineAction, LineFate
from billingsync.http import Sent, Service
from billingsync.store.postings import RecordedPosting

Check = Callable[[], None]  # asked right before each request; raises where it must not go out


class Intended(Protocol):
    """One line as we meant it. `line_id` is the PSA's for all but new lines."""

    @property
    def ordinal(self) -> int: ...
    @property
    def action(self) -> LineAction: ...
    @property
    def line_id(self) -> int | None: ...
    @property
    def quantity(self) -> Decimal: ...
    @property
    def unit_price(self) -> Decimal: ...
    @property
    def amount(self) -> Decimal: ...
    @property
    def cost(self) -> Decimal: ...
    @property
    def title(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """All clients. `short`: the list's rows lack what must be known before one of them is billed."""

    rows: tuple[Client, ...]
    short: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search gave. Only a complete one proves that something is absent [N2]; `why` says what it lacks."""

    rows: tuple[Invoice, ...]
    complete: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What of a posting an invoice carries: the PSA's line ids by ordinal, the returned sums, what differs in words."""

    invoice_id: int
    line_ids: Mapping[int, int]
    price: Decimal
    cost: Decimal
    differences: tuple[str, ...]
    still_there: tuple[int, ...]  # ids of lines that were to be removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one line of a posting: `there` to `unsure` of its kinds."""

    ordinal: int
    kind: LineFate
    line_id: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A request that is ready to be sent. `content` is what the ledger keeps of it; "" deletes the invoice. `whole`:
    it names every line, so what it leaves out is meant to go."""

    content: str
    send: Callable[[Check], Sent]
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInvoice:
    """What a new invoice has beside the posting's lines."""

    posting: Posting
    client: Client | None
    day: date
    installation: str
    period: str
    codes: ProductRules
    flag_one_time: bool = False  # HALO__ONE_TIME: the PSA itself is told what is billed once [B7]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChange:
    """One change of one line as the PSA's own history tells it; `at` is an ISO text in the PSA's time."""

    at: str
    who: str
    what: str


class Shows(StrEnum):
    """What a line that a card sets shows."""

    TO = "to"
    FROM = "from"
    OTHER = "other"
    UNMARKED = "unmarked"  # a line like the one that we added is there, without our mark


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSight:
    """What a recurring invoice shows of one line that a card sets. `said` is the line's numbers, for people."""

    ordinal: int
    shows: Shows
    line_id: int | None = None
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSight:
    """What a recurring invoice shows of a card's write. `beside` is what else changed, `prorated` the pro rata that
    the PSA added by itself, each in words; `made` says that it made an invoice meanwhile."""

    lines: tuple[LineSight, ...]
    beside: tuple[str, ...] = ()
    prorated: tuple[str, ...] = ()
    made: bool = False

    def all_show(self, what: Shows) -> bool:
        return all(line.shows == what for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLines:
    """What a card's write is made of: the changes of one recurring invoice's lines, and what added ones carry."""

    sets: Sequence[LineSet]
    key: str
    installation: str
    codes: ProductRules


class PSA(Protocol):
    """Reading raises UpstreamError where it fails, and says None only of what the PSA itself says is not there."""

    @property
    def service(self) -> Service: ...

    # Reading
    def clients(self) -> Clients: ...
    def client(self, client_id: int) -> Client | None: ...
    def items(self, group: str = "") -> tuple[Item, ...]: ...
    def item(self, item_id: int) -> Item | None: ...
    def item_groups(self) -> tuple[tuple[int, str], ...]: ...
    def read(self, invoice_id: int, *, template: bool) -> Invoice | None: ...
    def templates(self) -> tuple[Invoice, ...]: ...
    def search(
        self, client_ids: Sequence[int], control: tuple[int, int] | None, since: date | None = None
    ) -> Search: ...
    def control(self, known: Sequence[tuple[int, int]]) -> tuple[int, int] | None: ...
    def invoices_since(
        self, client_ids: Sequence[int] | None, day: date, whole: Callable[[Invoice], bool] = ...
    ) -> Iterator[Invoice]: ...
    def answered(self, json: object, *, template: bool = False) -> Invoice | None: ...
    def kept(self, invoice: Invoice) -> str: ...
    def kept_before(self, there: Invoice, key: str, answers: Mapping[int, str]) -> str: ...
    def from_kept(self, text: str | None) -> Invoice | None: ...
    def line_changes(self, invoice_id: int, line_id: int) -> tuple[LineChange, ...]: ...
    def prorata_keys(self) -> frozenset[str]: ...
    def recurring(self, there: Invoice) -> RecurringInvoice | None: ...

    # Writing
    def new_invoice(self, new: NewInvoice) -> Body: ...
    def change(self, new: NewInvoice, there: Invoice, written: Mapping[int, WrittenLine]) -> Body: ...
    def zeroed(self, there: Invoice, line_ids: Collection[int], *, template: bool) -> Body: ...
    def set_lines(self, there: Invoice, wanted: SetLines) -> Body: ...
    def take_back(self, row: RecordedPosting, there: Invoice, taken: Sequence[Fate]) -> Body: ...
    def new_item_group(self, name: str, before: Check) -> Sent: ...
    def new_item(self, name: str, sku: str, group: int, codes: ProductRules, before: Check) -> Sent: ...
    def made(self, json: object) -> tuple[int | None, str] | None: ...

    # What an invoice shows of a posting
    def compare(self, there: Invoice, row: RecordedPosting) -> Comparison | None: ...
    def is_twin(self, there: Invoice, row: RecordedPosting) -> bool: ...
    def intended_day(self, row: RecordedPosting) -> str: ...
    def unmarked(self, there: Invoice, row: RecordedPosting) -> bool: ...
    def tells_all(self, answer: Invoice, row: RecordedPosting) -> bool: ...
    def beside_ours(self, there: Invoice, row: RecordedPosting, *, adopted: bool) -> list[str]: ...
    def fates(self, row: RecordedPosting, there: Invoice, ordinals: frozenset[int]) -> tuple[Fate, ...]: ...
    def set_sight(
        self, before: Invoice, after: Invoice, sets: Sequence[LineSet], key: str, *, asked: bool
    ) -> SetSight: ...
    def disturbed(self, before: Invoice, after: Invoice, row: RecordedPosting, taken: Sequence[Fate]) -> list[str]: ...
