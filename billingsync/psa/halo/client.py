"""HaloPSA, as far as billing needs it. Lists are distrusted: some stop at 50 rows, some repeat pages (reference
2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar
from urllib.parse import quote, urlsplit

from billingsync.core.inputs import Client, Item
from billingsync.errors import AnswerTooLarge, LoginFailed, UpstreamError
from billingsync.http import Sent, Service
from billingsync.psa.halo.wire import Raw, id_of, read_client, read_item, whole
from billingsync.psa.psa import Check, Clients

PAGE = 100  # rows asked for; HaloPSA's default is 50, its largest page is not documented
SMALLER = {100: 50, 50: 10, 10: 1}  # each divides the one before, so that the rows already read are whole pages
MOST_PAGES = 10_000
ALL = 100_000  # as `count`, without paging: what a list gives that ignores paging (reference/halopsa 2.3)
ORDER_SHOWS = 20  # rows with falling ids: no other order has that by chance
READINGS = 3  # of a list that changed while it was read
Value = TypeVar("Value")

# What decides whether and how a client is billed, and what an item is matched by. A list of which no row shows any of
# these leaves them out; then they are read one by one rather than believed absent.
TELLING_OF_CLIENTS = ("client_to_invoice", "dontinvoice", "currencyisocode", "default_currency_code_name")
TELLING_OF_ITEMS = ("externalreference",)
MOST_ITEM_READS = 300  # six minutes of HaloPSA's budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a search gave. Only a complete one proves that something is absent [N2]; `why` says what it lacks."""

    rows: tuple[Raw, ...]
    complete: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Which tenant this is, `id` None where HaloPSA does not say, and where it says that tokens come from."""

    id: str | None
    login_url: str
    elsewhere: str = ""  # the host of `login_url`, where it is not the one that the settings name

    @property
    def token_url(self) -> str:
        """UpstreamError where an answer without authentication names another host: the secret does not go there."""
        if self.elsewhere:
            raise UpstreamError(
                "HaloPSA",
                "/authinfo",
                200,
                f"HaloPSA names another host for the login, {self.elsewhere}; if that is right, set "
                f"BILLINGSYNC_HALO__TOKEN_URL={self.login_url}",
            )
        return self.login_url


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
    url = f"{auth.rstrip('/')}/token" if isinstance(auth, str) and auth else f"{base_url.rstrip('/')}/auth/token"
    there, here = urlsplit(url), urlsplit(base_url)
    safe = _same_house(there.hostname or "", here.hostname or "") and there.scheme in (here.scheme, "https")
    name = tenant or id_
    return Tenant(
        id=id_,
        login_url=f"{url}?tenant={quote(name, safe='')}" if name else url,
        elsewhere="" if safe else f"{there.scheme}://{there.hostname}",
    )


_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_VENDOR = ("halopsa.com", "haloitsm.com", "usehalo.com")  # where hosted tenants live (reference/halopsa 1)


def _same_house(there: str, here: str) -> bool:
    """Whether a login host belongs to the tenant's: the same, both on this machine, or both the vendor's."""
    if there == here or (there in _LOOPBACK and here in _LOOPBACK):
        return True
    return any(there.endswith(f".{name}") and here.endswith(f".{name}") for name in _VENDOR)


def one_object(json: object) -> Raw | None:
    """What a POST answered: one object as documented, or the first of a list as some builds do (reference 2.2)."""
    if isinstance(json, list):
        json = json[0] if len(json) == 1 else None
    return json if isinstance(json, dict) else None


class Halo:
    def __init__(self, service: Service) -> None:
        self.service = service

    # Reading

    def clients(self) -> Clients:
        """All clients, inactive ones too. UpstreamError where the list cannot be read whole: a client that is not seen
        would be taken for one that does not exist."""
        rows = self._whole("/Client", "clients", {"includeinactive": "true"})
        found = tuple(map(read_client, rows))
        if any(
            not client.currency and raw.get("default_currency_code") for client, raw in zip(found, rows, strict=True)
        ):
            currencies = self._currencies()
            found = tuple(read_client(raw, currencies) for raw in rows)
        return Clients(rows=found, short=_lack(rows, TELLING_OF_CLIENTS))

    def _currencies(self) -> dict[int, str]:
        """Id -> ISO code; empty where this build or our rights do not show them."""
        try:
            rows, _ = list_rows(self.service.get_json("/Currency").json, "currencies")
        except LoginFailed:
            raise
        except UpstreamError as failed:
            if failed.status is not None and failed.status < 500:
                return {}
            raise
        return {found: str(raw.get("code") or "") for raw in rows if (found := id_of(raw)) is not None}

    def client(self, client_id: int) -> Client | None:
        raw = self._one(f"/Client/{client_id}", {"includedetails": "true"})
        return read_client(raw) if raw is not None and id_of(raw) is not None else None

    def items(self, group: str = "") -> tuple[Item, ...]:
        """The whole catalogue. Where the list does not show what items are matched by, items are read one by one: all
        of a small catalogue, of a large one those of the item group `group`; the others are matched by name only."""
        rows = self._whole("/Item", "items", {})  # without retired ones: rows do not say which are (reference 5)
        if not _lack(rows, TELLING_OF_ITEMS):
            return tuple(map(read_item, rows))
        found = []
        for raw in rows:
            item_id = id_of(raw)
            if item_id is not None and (len(rows) <= MOST_ITEM_READS or raw.get("assetgroup_name") == group):
                found.append(self.item(item_id) or read_item(raw))
            else:
                found.append(read_item(raw))
        return tuple(found)

    def item(self, item_id: int) -> Item | None:
        raw = self._one(f"/Item/{item_id}", {"includedetails": "true"})
        return read_item(raw) if raw is not None and id_of(raw) is not None else None

    def item_groups(self) -> tuple[tuple[int, str], ...]:
        """(id, name) of each item group; a bare list without paging."""
        rows, _ = list_rows(self.service.get_json("/AssetGroup").json, "")
        return tuple((found, str(raw.get("name") or "")) for raw in rows if (found := id_of(raw)) is not None)

    def invoice(self, invoice_id: int, *, recurring: bool) -> Raw | None:
        """One invoice with its lines; None only where HaloPSA says that there is none (404)."""
        path = f"{'/RecurringInvoice' if recurring else '/Invoice'}/{invoice_id}"
        raw = self._one(path, {"includedetails": "true", "includelines": "true"})
        if raw is not None and abs(id_of(raw) or 0) != abs(invoice_id):  # screens show recurring ids without the sign
            raise _unusable(path, f"something that is not invoice {invoice_id}")
        return raw

    def changes(self, invoice_id: int) -> tuple[Raw, ...]:
        """Who changed what on one invoice, lines included (reference/halopsa 3)."""
        return self._whole("/InvoiceChange", "changehistory", {"invoice_id": str(invoice_id)})

    def rows(self, path: str, key: str = "") -> tuple[Raw, ...]:
        """The rows of any list as they come, for showing; without a key it is a bare array without paging."""
        return self._whole(path, key, {}) if key else tuple(list_rows(self.service.get_json(path).json, "")[0])

    def recurring_invoices(self, *, lines: bool = False) -> tuple[Raw, ...]:
        """All recurring invoices; with their `lines` where lists show them, which saves a call for each."""
        return self._whole("/RecurringInvoice", "invoices", {"includelines": "true"} if lines else {})

    def search_rows(
        self, client_ids: Sequence[int], control: tuple[int, int] | None, since: date | None = None
    ) -> Look:
        """The clients' invoices with lines. `control` is (invoice, client) of one known to exist, or None. A list that
        shows no lines proves nothing: there the invoices dated from `since` on (None: all) are read one by one."""
        wanted = sorted({*client_ids, *([control[1]] if control else [])})
        rows, why = self._list("/Invoice", "invoices", _of_clients(wanted), counted=True)
        if not why and control and control[0] not in {id_of(raw) for raw in rows}:
            why = f"the search does not find invoice {control[0]}, which exists"
        mine = [raw for raw in rows if _is_of(raw, client_ids)]
        if since is not None:
            mine = [raw if _has_lines(raw) or _before(raw, since) else self._with_lines(raw) for raw in mine]
        else:
            mine = [self._with_lines(raw) for raw in mine]
        return Look(rows=tuple(mine), complete=not why, why=why)

    def _with_lines(self, raw: Raw) -> Raw:
        """The invoice itself where the list does not show its lines."""
        invoice_id = id_of(raw)
        if _has_lines(raw) or invoice_id is None:
            return raw
        return self.invoice(invoice_id, recurring=False) or raw

    def control(self, known: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
        """An invoice (with its client) that exists, to prove a search by: one of `known`, else any in the tenant.
        None where the tenant has no invoice at all."""
        for invoice_id, client_id in known[:3]:
            if self.invoice(invoice_id, recurring=False) is not None:
                return invoice_id, client_id
        rows, _ = list_rows(self.service.get_json("/Invoice", {"count": 1}).json, "invoices")
        for raw in rows:
            owner = id_of({"id": raw.get("client_id")})
            found = id_of(raw)
            if found is not None and owner is not None:
                return found, owner
        return None

    def since(self, client_ids: Sequence[int] | None, day: date, read: Callable[[Raw], Value]) -> Iterator[Value]:
        """What `read` makes of the clients' invoices (None: the whole tenant's) with lines, newest first, at least back
        to `day` by their dates. UpstreamError where it is not certain that these are all: what is not seen here would
        be billed again [N6]."""

        def ready(raw: Raw) -> Callable[[], Value]:
            # Read as it comes, as all rows together would take several times as much room; but where the list does not
            # show an invoice's lines, it is read by itself only once the list is believed.
            if not _has_lines(raw):
                return lambda: read(self._with_lines(raw))
            value = read(raw)
            return lambda: value

        for chunk in [None] if client_ids is None else _chunks(client_ids):
            asked = _of_clients(chunk)
            pages = Pages(self, "/Invoice", "invoices", {**asked, "order": "id", "orderdesc": "true"})
            found, far_enough = _back_to(day, pages, chunk, ready)
            if pages.repeated or pages.why or (pages.total is None and not far_enough):
                whole = self._whole("/Invoice", "invoices", asked, counted=True)
                found = [ready(raw) for raw in whole if _is_wanted(raw, chunk, day)]
            for value in found:
                yield value()

    # Writing

    def create_invoice(self, body: list[dict[str, object]] | bytes, *, before: Check) -> Sent:
        return self.service.send("POST", "/Invoice", body, before=before)

    def change_invoice(
        self, suffix: str, body: list[dict[str, object]] | bytes, *, recurring: bool, before: Check
    ) -> Sent:
        """`suffix` is "" for the header route, or "updatelines"."""
        path = "/RecurringInvoice" if recurring else "/Invoice"
        return self.service.send("POST", f"{path}/{suffix}" if suffix else path, body, before=before)

    def delete_invoice(self, invoice_id: int, *, before: Check) -> Sent:
        return self.service.send("DELETE", f"/Invoice/{invoice_id}", before=before)

    def create_item(self, body: list[dict[str, object]], *, before: Check | None = None) -> Sent:
        return self.service.send("POST", "/Item", body, before=before)

    def create_item_group(self, body: list[dict[str, object]], *, before: Check | None = None) -> Sent:
        return self.service.send("POST", "/AssetGroup", body, before=before)

    # Ways of reading

    def _one(self, path: str, params: Mapping[str, str]) -> Raw | None:
        try:
            json = self.service.get_json(path, params).json
        except LoginFailed:
            raise
        except UpstreamError as failed:
            if failed.status == 404:
                return None
            raise
        raw = one_object(json)
        if raw is None:
            raise _unusable(path, "something that is not an object")
        return raw

    def _whole(self, path: str, key: str, params: Mapping[str, str], *, counted: bool = False) -> tuple[Raw, ...]:
        """All rows of a list; UpstreamError where they cannot be had, also after reading it again."""
        why = ""
        for _ in range(READINGS):
            rows, why = self._list(path, key, params, counted=counted)
            if not why:
                return rows
        raise UpstreamError("HaloPSA", path, 200, f"HaloPSA's list {path} cannot be read whole: {why}")

    def _list(
        self, path: str, key: str, params: Mapping[str, str], *, counted: bool = False
    ) -> tuple[tuple[Raw, ...], str]:
        """All rows of a list, each id once, and what it lacks. Where paging is ignored it is read in one piece.
        `counted`: HaloPSA must say how many rows there are."""
        pages = Pages(self, path, key, {**params, "order": "id"})
        rows = tuple(pages)
        if pages.repeated:
            pages = Pages(self, path, key, {**params, "order": "id"}, at_once=True)
            rows = tuple(pages)
        why = pages.why
        if counted and not why and pages.total is None:
            why = "HaloPSA does not say how many rows there are"
        return rows, why


class Pages:
    """The rows of a list, page after page, each id once. Afterwards `why` says what the list lacks, `total` how many
    rows HaloPSA counts and `repeated` whether an id came again; with `keep` the answers as they came are `bodies`."""

    def __init__(
        self,
        halo: Halo,
        path: str,
        key: str,
        params: Mapping[str, str],
        *,
        at_once: bool = False,
        keep: bool = False,
    ) -> None:
        self.halo, self.path, self.key, self.params, self.at_once, self.keep = halo, path, key, params, at_once, keep
        self.why = ""
        self.total: int | None = None
        self.repeated = False
        self.bodies: list[bytes] = []

    def __iter__(self) -> Iterator[Raw]:
        seen: set[int] = set()
        page, size = 1, PAGE
        while page < MOST_PAGES:
            try:
                rows = self._read(page, size)
            except AnswerTooLarge:  # invoices of very many lines
                if self.at_once or size not in SMALLER:
                    raise
                page, size = (page - 1) * (size // SMALLER[size]) + 1, SMALLER[size]
                continue
            page += 1
            fresh = 0
            for raw in rows:
                found = id_of(raw)
                if found is None:
                    self.why = "a row has no id"
                elif found in seen:
                    self.repeated = True
                else:
                    seen.add(found)
                    fresh += 1
                    yield raw
            enough = len(rows) < size if self.total is None else len(seen) >= self.total
            if not fresh or enough or self.at_once:
                break
        if self.why:
            return
        if self.total is not None and len(seen) != self.total:
            self.why = f"{len(seen)} rows came of {self.total}"
        elif self.repeated:
            self.why = "a row came twice"
        elif self.total is None and len(seen) == 50:
            self.why = "just 50 rows came, and no count: it may have been cut"  # the silent default, reference 2.3

    def _read(self, page: int, size: int) -> list[Raw]:
        paging: dict[str, str | int] = {"pageinate": "true", "page_size": size, "page_no": page}
        params = {**self.params, **({"count": ALL} if self.at_once else paging)}
        answer = self.halo.service.get_json(self.path, params)
        if self.keep:
            self.bodies.append(answer.body)
        rows, total = list_rows(answer.json, self.key)
        if page > 1 and total != self.total:
            # A row that vanished from an earlier page has pulled another one across the edge, unseen.
            self.why = f"HaloPSA counted {self.total} rows and then {total}"
        self.total = total
        return rows


def list_rows(json: object, key: str) -> tuple[list[Raw], int | None]:
    """Rows and `record_count` of a list answer: an object with an entity key, or a bare array (reference 2.4)."""
    if isinstance(json, dict):
        rows = json.get(key)
        if isinstance(rows, list):
            return [row for row in rows if isinstance(row, dict)], whole(json.get("record_count"))
    elif isinstance(json, list):
        return [row for row in json if isinstance(row, dict)], None
    raise _unusable(key or "list", f"something that is not a list of {key or 'rows'}")


def _unusable(endpoint: str, what: str) -> UpstreamError:
    return UpstreamError("HaloPSA", endpoint, 200, f"HaloPSA answered {what}")


def _lack(rows: Sequence[Raw], names: Sequence[str]) -> bool:
    return bool(rows) and not any(name in raw for raw in rows for name in names)


def _has_lines(raw: Raw) -> bool:
    return isinstance(raw.get("lines"), list)


def _of_clients(client_ids: Sequence[int] | None) -> dict[str, str]:
    some = {} if client_ids is None else {"client_ids": ",".join(map(str, client_ids))}
    return {**some, "includelines": "true", "includecredits": "true"}


def _is_of(raw: Raw, client_ids: Sequence[int]) -> bool:
    """Whether an invoice is one of these clients'; filters may be ignored, so it is looked at here again."""
    return raw.get("client_id") in client_ids


def _chunks(client_ids: Sequence[int], size: int = 100) -> Iterator[Sequence[int]]:
    for start in range(0, len(client_ids), size):
        yield client_ids[start : start + size]


def _is_wanted(raw: Raw, client_ids: Sequence[int] | None, day: date) -> bool:
    return (client_ids is None or _is_of(raw, client_ids)) and not _before(raw, day)


def _back_to(
    day: date, newest_first: Iterable[Raw], client_ids: Sequence[int] | None, ready: Callable[[Raw], Value]
) -> tuple[list[Value], bool]:
    """What `ready` makes of the rows that are wanted, and whether they go back to `day`. Only a server that visibly
    keeps to the order is believed that what comes later is older: a list from oldest to newest begins with an old row
    too."""
    rows: list[Value] = []
    last: int | None = None
    for nth, raw in enumerate(newest_first, 1):
        if _is_wanted(raw, client_ids, day):
            rows.append(ready(raw))
        found = id_of(raw)
        descending = nth == 1 or (found is not None and last is not None and found < last)
        last = found if descending else None
        if descending and nth >= ORDER_SHOWS and _before(raw, day):
            return rows, True
    return rows, False


def _before(raw: Raw, day: date) -> bool:
    """Whether both of an invoice's dates lie well before `day`; a person may have dated one back or ahead."""
    dates = [str(raw.get(name) or "")[:10] for name in ("invoice_date", "date_created", "datecreated")]
    known = [text for text in dates if text > "1901"]
    return bool(known) and max(known) < f"{day:%Y-%m-%d}"
