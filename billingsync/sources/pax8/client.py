"""Pax8's invoices, completely or not at all [S1]-[S3]."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote

from billingsync.core.charge import Charge, Source
from billingsync.core.inputs import Company
from billingsync.core.money import NO_CURRENCY, ZERO, read_number
from billingsync.core.period import Period
from billingsync.core.reconcile.expiring import CommitmentTerms
from billingsync.errors import LoginFailed, NotReachable, NotReady, NotReleased, Retryable, UpstreamError
from billingsync.http import Answer, Params, Service, ServiceConfig, in_parallel
from billingsync.sources.pax8.seats import read_dependencies
from billingsync.sources.pax8.wire import (
    InvoiceHeader,
    PageInfo,
    fingerprint,
    invoice_currency,
    item_id,
    read_charges,
    read_company,
    read_header,
    read_page,
    source_of,
    text,
)
from billingsync.sources.source import Document, Fetched, Released, Skipped

_PAGE_SIZE = 200  # Pax8's largest (reference/pax8 2)
_MOST_PAGES = 10_000  # two million rows: more is a mistake, and would be read for hours
_READINGS = 3  # of a list whose pages do not fit together, before it counts as not ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One list as it was read: its rows as JSON and the pages they came on, or in `why` what kept it from being read
    whole [SN2]."""

    rows: tuple[Any, ...]
    documents: tuple[Document, ...]
    why: str = ""


Rows = tuple[Sequence[Any], Sequence[str]]  # what a page's rows are read as, and their ids, "" where one has none


def _as_they_are(rows: Sequence[Any]) -> Rows:
    return rows, [item_id(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    """One of Pax8's lists. Its pages are read as they come, so that their JSON need not be kept."""

    path: str
    what: str
    params: Params
    read: Callable[[Sequence[Any]], Rows] = _as_they_are
    of_invoice: str = ""  # whose items these are


@dataclass(frozen=True, slots=True)
class _Read:
    """One page of a list. `content` tells it from others where a row has no id."""

    number: int
    rows: Sequence[Any]
    ids: Sequence[str]
    content: str
    info: PageInfo
    packed: bytes
    sha256: str


_SOLD = {  # in an order that does not move while it is read: new ones come at the end
    "companies": _List(path="/companies", what="companies", params={"sort": "name,asc"}),
    "subscriptions": _List(path="/subscriptions", what="subscriptions", params={"sort": "createdDate,asc"}),
    "products": _List(path="/products", what="products", params={"sort": "name,asc"}),
}


def service_config(
    *,
    client_id: str,
    client_secret: str,
    base_url: str = "https://api.pax8.com/v1",
    token_url: str = "https://api.pax8.com/v1/token",  # noqa: S107 - an address
    audience: str = "https://api.pax8.com",
    calls_per_minute: int = 600,
    timeout_s: float = 60.0,
    first_wait_s: float = 1.0,
    at_once: int = 4,
) -> ServiceConfig:
    """How Pax8 is called: credentials and audience go as a JSON body (reference/pax8 1)."""
    return ServiceConfig(
        name="Pax8",
        base_url=base_url,
        token_url=token_url,
        token_style="json",  # noqa: S106 - a style
        token_fields={"audience": audience},
        client_id=client_id,
        client_secret=client_secret,
        calls_per_minute=calls_per_minute,
        timeout_s=timeout_s,
        first_wait_s=first_wait_s,
        at_once=at_once,
    )


class Pax8:
    """Reads only: the credential could order, so nothing here sends anything but a GET."""

    name = "pax8"

    def __init__(self, service: Service, parallel: int = 4) -> None:
        """`parallel`: pages asked for at a time, which the service sees to; half as many more are being read."""
        self.service = service
        self._threads = parallel + parallel // 2

    def invoices(self, period: Period) -> list[dict[str, Any]]:
        """The period's invoices as Pax8 gives them, void and credited ones included, newest first."""
        return [invoice for _, invoice, _ in self._invoices(period)]

    def taken_invoices(self, period: Period) -> frozenset[str]:
        """The ids of the period's invoices that count."""
        return frozenset(header.id for header, _, _ in self._invoices(period) if header.taken)

    def released(self) -> tuple[Released, ...]:
        """Every month that has an invoice, newest first."""
        months: defaultdict[Period, list[tuple[InvoiceHeader, Any]]] = defaultdict(list)
        for page in self._list(_List(path="/invoices", what="invoices", params={"sort": "invoiceDate,desc"})):
            for row in page.rows:
                header = read_header(row)
                if (period := _period(header)) is not None:
                    months[period].append((header, row))
        return tuple(_released(period, months[period]) for period in sorted(months, reverse=True))

    def listed(self) -> dict[str, bool]:
        """Every invoice that Pax8 lists, of all months, and whether it counts [S1]."""
        pages = self._list(_List(path="/invoices", what="invoices", params={"sort": "invoiceDate,desc"}))
        headers = [read_header(row) for page in pages for row in page.rows]
        return {header.id: header.taken for header in headers}

    def items(self, invoice_id: str) -> tuple[list[Charge], list[Document]]:
        """All items of an invoice, with the pages they came on. Raises NotReady unless they are complete [S2]."""
        pages = self._list(_items(invoice_id, NO_CURRENCY))
        return [row for page in pages for row in page.rows], [_document("items", invoice_id, page) for page in pages]

    def companies(self) -> tuple[Company, ...]:
        """All companies, inactive and deleted ones too: invoices still name them (reference/pax8 5)."""
        pages = self._list(_List(path="/companies", what="companies", params={"sort": "name,asc"}))
        found = (read_company(row) for page in pages for row in page.rows)
        return tuple(company for company in found if company is not None)

    def lists(self) -> dict[str, Listed]:
        """Everything that is sold and to whom: `companies`, `subscriptions` and `products`, their pages side by side.

        A list that does not fit together, also read again, or that we lack the right to read, says so in `why` and has
        no rows. NotReachable and a failed login are raised."""
        (pages, refused) = self._readable(_SOLD)
        found = {}
        for name, one in _SOLD.items():
            why = refused.get(name, "")
            if not why and _incomplete(pages[name]):
                try:
                    pages[name] = self._list(one, _READINGS - 1)
                except NotReady as bad:
                    why = bad.message
            rows = () if why else tuple(row for page in pages[name] for row in page.rows)
            if not why and (nameless := sum(not item_id(row) for row in rows)):
                why, rows = f"The {one.what} cannot be read: {nameless} have no id.", ()
            documents = tuple(_document(name, "", page) for page in pages.get(name, ()))
            found[name] = Listed(rows=rows, documents=documents, why=why)
        return found

    def history(self, subscription_ids: Sequence[str]) -> list[Document]:
        """What each of these subscriptions was before, in their order, as Pax8 sent it; one without an answer that
        can be used is left out: it explains, and proves nothing."""

        def read(subscription_id: str) -> Document | None:
            path = f"/subscriptions/{quote(subscription_id, safe='')}/history"
            try:
                answer = self.service.get_json(path, odd_numbers=True)
            except (NotReachable, LoginFailed):
                raise
            except UpstreamError:
                return None
            packed, digest = zlib.compress(answer.body, level=1), hashlib.sha256(answer.body).hexdigest()
            return Document(kind="history", invoice_id=subscription_id, page=0, packed=packed, sha256=digest)

        return [found for found in in_parallel(read, subscription_ids, self._threads) if found is not None]

    def commitments(self, product_ids: Sequence[str]) -> dict[str, CommitmentTerms]:
        """By commitment id what Pax8 documents of the commitments that these products are sold under; read fresh, as
        Pax8 asks not to store it. A product that it does not know tells nothing."""

        def read(product_id: str) -> dict[str, CommitmentTerms]:
            path = f"/products/{quote(product_id, safe='')}/dependencies"
            try:
                return read_dependencies(self.service.get_json(path).json)
            except (NotReachable, LoginFailed):
                raise
            except UpstreamError:
                return {}

        found: dict[str, CommitmentTerms] = {}
        for terms in in_parallel(read, product_ids, self._threads):
            found |= terms
        return found

    def _readable(self, lists: Mapping[str, _List]) -> tuple[dict[str, list[_Read]], dict[str, str]]:
        """The pages of each list, and why one may not be read: the right to one may be missing, to another not."""
        pages: dict[str, list[_Read]] = {}
        refused: dict[str, str] = {}
        try:
            return dict(zip(lists, self._side_by_side(list(lists.values())), strict=True)), refused
        except (NotReachable, LoginFailed):
            raise
        except (NotReady, UpstreamError):  # which of them: one by one
            for name, one in lists.items():
                try:
                    pages[name] = self._side_by_side([one])[0]
                except (NotReachable, LoginFailed):
                    raise
                except (NotReady, UpstreamError) as bad:
                    refused[name] = f"The {one.what} cannot be read: {bad.message}"
        return pages, refused

    def fetch(self, period: Period) -> Fetched:
        """The whole period, or an error: NotReleased, NotReady, or what `billingsync.http` raises. Never half."""
        found = self._invoices(period)
        if not found:
            raise NotReleased(f"Pax8 has no invoice of {period} yet.")
        skipped = tuple(_skipped(header, invoice) for header, invoice, _ in found if not header.taken)
        taken = [one for one in found if one[0].taken]
        lists = [_items(header.id, invoice_currency(invoice)) for header, invoice, _ in taken]
        read = [
            self._source(header, invoice, one, pages)
            for (header, invoice, _), one, pages in zip(taken, lists, self._side_by_side(lists), strict=True)
        ]
        documents = []
        for (header, _, listed), (_, pages) in zip(taken, read, strict=True):
            documents += [_document("invoice", header.id, listed)]
            documents += [_document("items", header.id, page) for page in pages]
        return Fetched(sources=tuple(source for source, _ in read), skipped=skipped, documents=tuple(documents))

    def _source(
        self, header: InvoiceHeader, invoice: dict[str, Any], one: _List, pages: list[_Read]
    ) -> tuple[Source, list[_Read]]:
        pages = pages if not _incomplete(pages) else self._list(one, _READINGS - 1)
        charges = [charge for page in pages for charge in page.rows]
        if not charges and not _only_carried(invoice):
            raise NotReady(f"Pax8's invoice {header.id} comes to {text(invoice.get('total'))} but has no items yet.")
        return source_of(invoice, charges, [name for page in pages for name in page.ids]), pages

    def _invoices(self, period: Period) -> list[tuple[InvoiceHeader, dict[str, Any], _Read]]:
        params = {
            "invoiceDateRangeStart": period.first_day.isoformat(),
            "invoiceDateRangeEnd": period.last_day.isoformat(),
            "sort": "invoiceDate,desc",
        }
        pages = self._list(_List(path="/invoices", what=f"invoices of {period}", params=params))
        read = [(read_header(row), row, page) for page in pages for row in page.rows]
        # Filtered on our side too: a server that ignores the bounds must not bill another month (fault 13).
        return [(header, row, page) for header, row, page in read if _period(header) == period]

    def _list(self, one: _List, readings: int = _READINGS) -> list[_Read]:
        """All pages of a list, proven to be complete; read again where they do not fit together, then NotReady."""
        why = ""
        for _ in range(readings):
            (pages,) = self._side_by_side([one])
            why = _incomplete(pages)
            if not why:
                return pages
        raise NotReady(f"The {one.what} cannot be read completely yet: {why}.")

    def _side_by_side(self, lists: Sequence[_List]) -> list[list[_Read]]:
        """Every page of each list: first the first ones, then all others together, so that a short list need not wait
        for the end of a long one. The first page that cannot be read ends all."""
        pages = [[first] for first in in_parallel(lambda one: self._page(one, 0), lists, self._threads)]
        for one, (first,) in zip(lists, pages, strict=True):
            if first.info.totalPages > _MOST_PAGES:
                raise NotReady(f"Pax8 says that the {one.what} fill {first.info.totalPages} pages.")
        others = [(nth, page) for nth, (first,) in enumerate(pages) for page in range(1, first.info.totalPages)]
        read = in_parallel(lambda each: self._page(lists[each[0]], each[1]), others, self._threads)
        for (nth, _), page in zip(others, read, strict=True):
            pages[nth].append(page)
        return pages

    def _page(self, one: _List, number: int) -> _Read:
        asked = {**one.params, "page": number, "size": _PAGE_SIZE}
        try:
            # Lenient with numbers: a NaN in one item must not make its page unreadable (fault 19).
            answer = self.service.get_json(one.path, asked, odd_numbers=True)
        except NotReachable:
            raise
        except Retryable as bad:
            if not one.of_invoice:
                raise
            # Answered, but not readable: the month is not ready, the machine is well.
            raise NotReady(f"The {one.what} cannot be read yet. {bad.message}", next_steps=bad.next_steps) from bad
        except UpstreamError as bad:
            if not one.of_invoice or bad.status != 404 or isinstance(bad, LoginFailed):
                raise
            # Seen right after release (reference/pax8 3.2): never "nothing to bill".
            raise NotReady(f"Pax8 lists invoice {one.of_invoice} but not its items yet (404).") from bad
        return _read(answer, number, one)


def _items(invoice_id: str, currency: str) -> _List:
    return _List(
        path=f"/invoices/{quote(invoice_id, safe='')}/items",
        what=f"items of invoice {invoice_id}",
        params={},
        read=partial(read_charges, invoice_id, currency),
        of_invoice=invoice_id,
    )


def _read(answer: Answer, number: int, one: _List) -> _Read:
    try:
        page = read_page(answer.json)
    except ValueError:
        raise NotReady(f"Pax8 returned an unexpected response for page {number + 1} of the {one.what}.") from None
    rows, ids = one.read(page.content)
    content = fingerprint(page.content) if "" in ids and len(ids) > 1 else ""
    packed, digest = zlib.compress(answer.body, level=1), hashlib.sha256(answer.body).hexdigest()
    return _Read(number, rows, ids, content, page.page, packed, digest)


def _incomplete(pages: Sequence[_Read]) -> str:
    """Why these pages are not the whole list, each row once; "" where they are [S2]."""
    total = pages[0].info.totalElements
    ids = Counter(name for page in pages for name in page.ids)
    for page in pages:
        if page.info.totalElements != total:
            return f"page 1 counts {total} in all, page {page.number + 1} counts {page.info.totalElements}"
        if page.info.number not in (None, page.number):
            return f"page {page.number + 1} was asked for, page {page.info.number + 1} came"
    if ids.total() != total:
        return f"{ids.total()} of {total} came"
    if twins := [name for name, count in ids.items() if name and count > 1]:
        return f"{twins[0]} came twice"
    # Rows without ids: true twins exist, whole pages of them do not.
    contents = Counter(page.content for page in pages if page.content)
    return "a page came twice" if any(count > 1 for count in contents.values()) else ""


def _period(header: InvoiceHeader) -> Period | None:
    try:
        return Period.of(header.invoiceDate)
    except ValueError:  # a year that no invoice has
        return None


def _released(period: Period, rows: Sequence[tuple[InvoiceHeader, Any]]) -> Released:
    taken = sorted(header.id for header, _ in rows if header.taken)
    content = fingerprint([row for _, row in sorted(rows, key=lambda one: one[0].id)])
    return Released(
        period=period, invoices=len(taken), skipped=len(rows) - len(taken), ids=tuple(taken), content=content
    )


def _total(invoice: Mapping[str, Any]) -> Decimal | None:
    try:
        return read_number(invoice.get("total"))
    except ValueError:
        return None


def _only_carried(invoice: Mapping[str, Any]) -> bool:
    """Whether all that an invoice asks for is what was owed before it: such a one has no items of its own [S2]."""
    try:
        total, carried = read_number(invoice.get("total")), read_number(invoice.get("carriedBalance"))
    except ValueError:
        return False
    return total is not None and total == (carried or ZERO)


def _skipped(header: InvoiceHeader, invoice: Mapping[str, Any]) -> Skipped:
    return Skipped(invoice_id=header.id, status=header.status, total=_total(invoice), invoice_date=header.invoiceDate)


def _document(kind: str, invoice_id: str, page: _Read) -> Document:
    return Document(kind=kind, invoice_id=invoice_id, page=page.number, packed=page.packed, sha256=page.sha256)
