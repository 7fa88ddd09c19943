"""Pax8's invoices as the ledger kept them: the raw pages of a period, read again without a call [S3]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from billingsync.core.charge import Source
from billingsync.http.jsontext import read_json
from billingsync.sources.pax8.wire import is_item_of, item_id, read_page, read_source


class Kept(Protocol):
    """A page as it came; `kind`: invoice (a list page with that invoice on it) | items."""

    @property
    def kind(self) -> str: ...
    @property
    def invoice_id(self) -> str: ...
    @property
    def page(self) -> int: ...
    @property
    def body(self) -> bytes: ...


def sources_of(documents: Iterable[Kept], counted: Collection[str]) -> tuple[Source, ...]:
    """The invoices of `counted` among these documents (oldest first; the newest reading of a page holds), by id.

    An invoice whose pages are not all there is left out: half of one is none [S2]."""
    headers: dict[str, Any] = {}
    pages: dict[str, dict[int, bytes]] = defaultdict(dict)
    for document in documents:
        if document.invoice_id not in counted:
            continue
        if document.kind == "items":
            pages[document.invoice_id][document.page] = document.body
        elif document.kind == "invoice":
            rows = read_page(read_json(document.body, odd_numbers=True)).content
            headers |= {item_id(row): row for row in rows if item_id(row) == document.invoice_id}
    found = []
    for invoice_id in sorted(headers):
        read = [read_page(read_json(body, odd_numbers=True)) for _, body in sorted(pages[invoice_id].items())]
        items = [row for page in read for row in page.content]
        if read and len(items) == read[-1].page.totalElements:
            found.append(read_source(headers[invoice_id], items))
    return tuple(found)


def raw_item(documents: Iterable[Kept], charge: str) -> Mapping[str, Any] | None:
    """The item of that charge as Pax8 said it last, in the pages of its invoice (oldest first); None where they are
    kept no more."""
    found = None
    name = charge.partition(":")[2].encode()
    for document in documents:
        if document.kind != "items" or (name not in document.body and not name.startswith(b"~")):
            continue  # a page is read only where it can have the item
        for row in read_page(read_json(document.body, odd_numbers=True)).content:
            if isinstance(row, dict) and is_item_of(charge, document.invoice_id, row):
                found = row
    return found
