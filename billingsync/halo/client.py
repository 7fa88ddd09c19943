"""HaloPSA, as far as billing needs it. Lists are distrusted: some stop at 50 rows, some repeat pages (reference 2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from billingsync.core.inputs import Client, Item
from billingsync.errors import UpstreamError
from billingsync.halo.compare import id_of
from billingsync.halo.wire import Raw, read_client, read_item
from billingsync.http import Sent, Service

PAGE = 100  # rows asked for; HaloPSA's default is 50, its largest page is not documented
MOST_PAGES = 10_000

Check = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a search gave. Only a complete one proves that something is absent [N2]; `why` says what it lacks."""

    rows: tuple[Raw, ...]
    complete: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Where tokens come from and which tenant this is; `id` is None where HaloPSA does not say."""

    token_url: str
    id: str | None


def discover(service: Service, base_url: str, tenant: str) -> Tenant:
    """GET /authinfo, which needs no token (reference/halopsa 1); builds without it have their tokens at /auth/token."""
    try:
        info = service.get_json("/authinfo", anonymous=True).json
    except UpstreamError as failed:
        if failed.status not in (400, 401, 403, 404):
            raise
        info = {}
    info = info if isinstance(info, dict) else {}
    found = info.get("tenant_id")
    id_ = str(found) if found not in (None, "") else None
    auth = info.get("auth_url")
    url = f"{auth.rstrip('/')}/token" if isinstance(auth, str) and auth else f"{base_url}/auth/token"
    name = tenant or id_
    return Tenant(token_url=f"{url}?tenant={name}" if name else url, id=id_)


def one_object(json: object) -> Raw | None:
    """What a POST answered: one object as documented, or the first of a list as some builds do (reference 2.2)."""
    if isinstance(json, list):
        json = json[0] if len(json) == 1 else None
    return json if isinstance(json, dict) else None


class Halo:
    def __init__(self, service: Service) -> None:
        self.service = service

    # Reading

    def clients(self) -> tuple[Client, ...]:
        """All clients, inactive ones too. UpstreamError where the list cannot be read whole: a client that is not seen
        would be taken for one that does not exist."""
        return tuple(read_client(raw) for raw in self._whole("/Client", "clients", {"includeinactive": "true"}))

    def items(self) -> tuple[Item, ...]:
        """The whole catalogue."""
        return tuple(read_item(raw) for raw in self._whole("/Item", "items", {"includeinactive": "true"}))

    def item(self, item_id: int) -> Item | None:
        raw = self._one(f"/Item/{item_id}", {"includedetails": "true"})
        return read_item(raw) if raw is not None and id_of(raw) is not None else None

    def item_groups(self) -> tuple[tuple[int, str], ...]:
        """(id, name) of each item group; a bare list without paging."""
        rows, _ = _rows(self.service.get_json("/AssetGroup").json, "")
        return tuple((found, str(raw.get("name") or "")) for raw in rows if (found := id_of(raw)) is not None)

    def invoice(self, invoice_id: int, *, recurring: bool) -> Raw | None:
        """One invoice with its lines; None where there is none."""
        path = "/RecurringInvoice" if recurring else "/Invoice"
        return self._one(f"{path}/{invoice_id}", {"includedetails": "true", "includelines": "true"})

    def recurring_invoices(self) -> tuple[Raw, ...]:
        """All recurring invoices, without lines."""
        return tuple(self._whole("/RecurringInvoice", "invoices", {}))

    def look(self, client_ids: Sequence[int], control: tuple[int, int] | None) -> Look:
        """The clients' invoices with lines. `control` is (invoice, client) of one known to exist, or None."""
        wanted = sorted({*client_ids, *([control[1]] if control else [])})
        read = _Pages(self, "/Invoice", "invoices", {**_of_clients(wanted), "order": "id"})
        rows = tuple(read)
        why = read.why
        if not why and control and control[0] not in {id_of(raw) for raw in rows}:
            why = f"the search does not find invoice {control[0]}, which exists"
        return Look(rows=tuple(raw for raw in rows if _is_of(raw, client_ids)), complete=not why, why=why)

    def control(self, known: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
        """An invoice (with its client) that exists, to prove a search by: one of `known`, else any in the tenant.
        None where the tenant has no invoice at all."""
        for invoice_id, client_id in known[:3]:
            if self.invoice(invoice_id, recurring=False) is not None:
                return invoice_id, client_id
        rows, _ = _rows(self.service.get_json("/Invoice", {"count": 1}).json, "invoices")
        for raw in rows:
            owner = raw.get("client_id")
            found = id_of(raw)
            if found is not None and isinstance(owner, int):
                return found, owner
        return None

    def since(self, client_ids: Sequence[int], day: date) -> Iterator[Raw]:
        """The clients' invoices with lines, newest first, at least back to `day` by their dates."""
        for chunk in _chunks(client_ids):
            read = _Pages(self, "/Invoice", "invoices", {**_of_clients(chunk), "order": "id", "orderdesc": "true"})
            last: int | None = None
            descending = True
            for raw in read:
                found = id_of(raw)
                descending = descending and found is not None and (last is None or found < last)
                last = found
                if not _is_of(raw, chunk):
                    continue
                yield raw
                if descending and _before(raw, day):
                    break

    def until(self, client_ids: Sequence[int], invoice_ids: frozenset[int | None]) -> Iterator[Raw]:
        """The clients' invoices with lines, newest first, until all of `invoice_ids` have been seen."""
        for chunk in _chunks(client_ids):
            left = set(invoice_ids)
            for raw in _Pages(self, "/Invoice", "invoices", {**_of_clients(chunk), "order": "id", "orderdesc": "true"}):
                if id_of(raw) in left:
                    left.discard(id_of(raw))
                    yield raw
                if not left:
                    return

    # Writing

    def create_invoice(self, body: list[dict[str, object]], *, before: Check) -> Sent:
        return self.service.send("POST", "/Invoice", body, before=before)

    def change_invoice(self, suffix: str, body: list[dict[str, object]], *, recurring: bool, before: Check) -> Sent:
        """`suffix` is "" for the header route, or "updatelines"."""
        path = "/RecurringInvoice" if recurring else "/Invoice"
        return self.service.send("POST", f"{path}/{suffix}" if suffix else path, body, before=before)

    def delete_invoice(self, invoice_id: int, *, before: Check) -> Sent:
        return self.service.send("DELETE", f"/Invoice/{invoice_id}", before=before)

    def create_item(self, body: list[dict[str, object]]) -> Sent:
        return self.service.send("POST", "/Item", body)

    def create_item_group(self, body: list[dict[str, object]]) -> Sent:
        return self.service.send("POST", "/AssetGroup", body)

    # Ways of reading

    def _one(self, path: str, params: Mapping[str, str]) -> Raw | None:
        try:
            return one_object(self.service.get_json(path, params).json)
        except UpstreamError as failed:
            if failed.status == 404:
                return None
            raise

    def _whole(self, path: str, key: str, params: Mapping[str, str]) -> Iterator[Raw]:
        pages = _Pages(self, path, key, {**params, "order": "id"})
        yield from pages
        if pages.why:
            raise UpstreamError("HaloPSA", path, 200, f"HaloPSA's list {path} cannot be read whole: {pages.why}")


class _Pages:
    """The rows of a list, page after page, each id once; `why` says afterwards what the list lacks."""

    def __init__(self, halo: Halo, path: str, key: str, params: Mapping[str, str]) -> None:
        self.halo, self.path, self.key, self.params = halo, path, key, params
        self.why = ""

    def __iter__(self) -> Iterator[Raw]:
        seen: set[int] = set()
        repeated = False
        total: int | None = None
        for page in range(1, MOST_PAGES):
            paging: dict[str, str | int] = {"pageinate": "true", "page_size": PAGE, "page_no": page}
            rows, count = _rows(self.halo.service.get_json(self.path, {**self.params, **paging}).json, self.key)
            total = count if count is not None else total
            fresh = 0
            for raw in rows:
                found = id_of(raw)
                if found is None:
                    self.why = "a row has no id"
                elif found in seen:
                    repeated = True
                else:
                    seen.add(found)
                    fresh += 1
                    yield raw
            if not fresh or (total is not None and len(seen) >= total) or (total is None and len(rows) < PAGE):
                break
        if self.why:
            return
        if total is not None and len(seen) != total:
            self.why = f"{len(seen)} rows came of {total}" + (", pages repeat" if repeated else "")
        elif total is None and len(seen) == 50:
            self.why = "just 50 rows came, and no count: it may have been cut"  # the silent default, reference 2.3


def _rows(json: object, key: str) -> tuple[list[Raw], int | None]:
    """Rows and `record_count` of a list answer: an object with an entity key, or a bare array (reference 2.4)."""
    if isinstance(json, dict):
        count = json.get("record_count")
        rows = json.get(key)
        if isinstance(rows, list):
            known = isinstance(count, int) and not isinstance(count, bool)
            return [row for row in rows if isinstance(row, dict)], count if known else None
    elif isinstance(json, list):
        return [row for row in json if isinstance(row, dict)], None
    raise UpstreamError("HaloPSA", key or "list", 200, f"HaloPSA answered something that is no list of {key or 'rows'}")


def _of_clients(client_ids: Sequence[int]) -> dict[str, str]:
    return {
        "client_ids": ",".join(map(str, client_ids)),
        "includelines": "true",
        "includecredits": "true",
    }


def _is_of(raw: Raw, client_ids: Sequence[int]) -> bool:
    """Whether an invoice is one of these clients'; filters may be ignored, so it is looked at here again."""
    return raw.get("client_id") in client_ids


def _chunks(client_ids: Sequence[int], size: int = 50) -> Iterator[Sequence[int]]:
    for start in range(0, len(client_ids), size):
        yield client_ids[start : start + size]


def _before(raw: Raw, day: date) -> bool:
    """Whether both of an invoice's dates lie well before `day`; a person may have dated one back or ahead."""
    dates = [str(raw.get(name) or "")[:10] for name in ("invoice_date", "date_created", "datecreated")]
    known = [text for text in dates if text > "1901"]
    return bool(known) and max(known) < f"{day:%Y-%m-%d}"
