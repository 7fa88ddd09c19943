"""HaloPSA's lists for a snapshot: clients, items, recurring invoices with lines, each whole or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from billingsync.errors import LoginFailed, NotReachable, UpstreamError
from billingsync.http.jsontext import read_json
from billingsync.psa.halo.client import MOST_ITEM_READS, READINGS, TELLING_OF_ITEMS, Halo, Pages, list_rows
from billingsync.psa.halo.wire import Raw

LISTS: Mapping[str, tuple[str, str, Mapping[str, str]]] = {  # by kind: path, key of the rows, parameters
    "clients": ("/Client", "clients", {"includeinactive": "true"}),
    "items": ("/Item", "items", {}),
    "recurring": ("/RecurringInvoice", "invoices", {"includelines": "true"}),
    "suppliers": ("/Supplier", "suppliers", {}),
    "currencies": ("/Currency", "currencies", {}),
}
_NOT_NEEDED = ("suppliers", "currencies")  # names for what others only number: without the right to them it goes on
ONE = "one"  # in the kind of a document that is a single object


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One answer exactly as it came. `kind`: a list's, with "/one" behind it for a single object."""

    kind: str
    page: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One list: its rows and the answers they came in, or in `why` what kept it from being read whole [SN2]."""

    rows: tuple[Raw, ...]
    bodies: tuple[Body, ...]
    why: str = ""


def read_lists(halo: Halo) -> dict[str, Listed]:
    """All of them. Rows that show too little are read one by one, up to `MOST_ITEM_READS`. NotReachable and a failed
    login are raised, everything else stands in `why`."""
    found = {kind: _read(halo, kind) for kind in LISTS if kind not in _NOT_NEEDED}
    found["recurring"] = _with_lines(halo, found["recurring"])
    found["items"] = _with_references(halo, found["items"])
    if any(row.get("supplier_id") and not row.get("supplier_name") for row in found["items"].rows):
        found["suppliers"] = _read(halo, "suppliers")
    if any(row.get("default_currency_code") and not _names_currency(row) for row in found["clients"].rows):
        found["currencies"] = _read(halo, "currencies")
    return {kind: replace(one, why="") if kind in _NOT_NEEDED else one for kind, one in found.items()}


def rows_of(kind: str, body: bytes) -> list[Raw]:
    """The rows of an answer as it was kept."""
    value = read_json(body)
    if kind.endswith(f"/{ONE}"):
        value = value[0] if isinstance(value, list) and value else value
        return [value] if isinstance(value, dict) else []
    return list_rows(value, LISTS[kind][1])[0]


def _read(halo: Halo, kind: str) -> Listed:
    path, key, params = LISTS[kind]
    why = ""
    for _ in range(READINGS):
        try:
            pages = Pages(halo, path, key, {**params, "order": "id"}, keep=True)
            rows = tuple(pages)
            if pages.repeated:  # paging is ignored: in one piece
                pages = Pages(halo, path, key, {**params, "order": "id"}, at_once=True, keep=True)
                rows = tuple(pages)
        except (NotReachable, LoginFailed):
            raise
        except UpstreamError as failed:
            why = failed.message
            if failed.status is not None and 400 <= failed.status < 500:
                break
            continue
        bodies = tuple(Body(kind=kind, page=number, body=body) for number, body in enumerate(pages.bodies))
        why = pages.why
        if not why:
            return Listed(rows=rows, bodies=bodies)
    return Listed(rows=(), bodies=(), why=f"HaloPSA's list {path} cannot be read whole: {why}")


def _with_lines(halo: Halo, listed: Listed) -> Listed:
    """Where the list does not show lines, each recurring invoice by itself."""
    bare = [row for row in listed.rows if not isinstance(row.get("lines"), list)]
    if not bare:
        return listed
    return _one_by_one(halo, listed, bare, "/RecurringInvoice", "the lines of recurring invoices")


def _with_references(halo: Halo, listed: Listed) -> Listed:
    """Where the list does not show what items are matched by, each item by itself."""
    if any(name in row for row in listed.rows for name in TELLING_OF_ITEMS):
        return listed
    return _one_by_one(halo, listed, listed.rows, "/Item", "what items are matched by")


def _one_by_one(halo: Halo, listed: Listed, rows: Sequence[Raw], path: str, what: str) -> Listed:
    if len(rows) > MOST_ITEM_READS:
        why = f"HaloPSA's list {path} does not show {what}, and {len(rows)} are too many to be read one by one"
        return replace(listed, why=why)
    params = {"includedetails": "true", "includelines": "true"}
    kind = f"{'recurring' if path == '/RecurringInvoice' else 'items'}/{ONE}"
    bodies, whole = list(listed.bodies), {str(row.get("id")): row for row in listed.rows}
    for number, row in enumerate(rows):
        try:
            answer = halo.service.get_json(f"{path}/{row.get('id')}", params)
        except (NotReachable, LoginFailed):
            raise
        except UpstreamError as failed:
            return replace(listed, why=f"HaloPSA does not show {path}/{row.get('id')}: {failed.message}")
        bodies.append(Body(kind=kind, page=number, body=answer.body))
        whole |= {str(row.get("id")): found for found in rows_of(kind, answer.body)}
    return replace(listed, rows=tuple(whole.values()), bodies=tuple(bodies))


def _names_currency(row: Raw) -> bool:
    return any(row.get(name) for name in ("currencyisocode", "default_currency_code_name", "clientcurrency"))
