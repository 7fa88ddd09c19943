"""The emulated Pax8 partner API: read only, strict as documented (reference/pax8)."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from billingsync.sandbox import pax8_more
from billingsync.sandbox.clock import Clock
from billingsync.sandbox.notes import Notes
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.tokens import Tokens, Window
from billingsync.sandbox.wire import Answer, Request, Row, decode

AUDIENCE = "https://api.pax8.com"
CLIENT_ID = "sandbox-pax8"
MAX_SIZE = 200

_INVOICE_SORTS = ("invoiceDate", "dueDate", "status", "partnerName", "total", "balance", "carriedBalance")
_INVOICE_EQUALS = ("status", "invoiceDate", "dueDate", "total", "balance", "carriedBalance", "companyId")
_LISTS: Mapping[str, tuple[str, ...]] = {  # the query parameters that each list documents, besides page and size
    "invoices": (*_INVOICE_EQUALS, "sort", "invoiceDateRangeStart", "invoiceDateRangeEnd"),
    "items": (),
    "companies": ("sort", "city", "country", "stateOrProvince", "postalCode", "selfServiceAllowed",
                  "billOnBehalfOfEnabled", "orderApprovalRequired", "status"),
    "products": ("sort", "search", "vendorName"),
    "subscriptions": ("sort", "companyId", "productId", "status", "billingTerm"),
    "usage-summaries": ("sort", "resourceGroup", "companyId"),
    "draftItems": ("monthOffset", "companyId"),
}  # fmt: skip


class Pax8Error(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status, self.kind = status, kind
        super().__init__(message)


class Pax8:
    """`invoices`, `companies`, `products`, `subscriptions`: rows as they go over the wire. `items`: rows by invoice id.
    `history` and `usage`: rows by subscription id, `usage_lines` by summary id, `dependencies` by product id. `hidden`:
    ids of invoices that are not released yet. All may be edited between calls."""

    def __init__(self, options: SandboxOptions, clock: Clock, notes: Notes) -> None:
        self.options = options
        self.notes = notes
        self.invoices: list[Row] = []
        self.items: dict[str, list[Row]] = {}
        self.companies: list[Row] = []
        self.products: list[Row] = []
        self.subscriptions: list[Row] = []
        self.history: dict[str, list[Row]] = {}
        self.usage: dict[str, list[Row]] = {}
        self.usage_lines: dict[str, list[Row]] = {}
        self.dependencies: dict[str, Row] = {}
        self.hidden: set[str] = set()
        self.tokens = Tokens(
            clock,
            prefix=options.own("pax8"),
            life_s=options.pax8_token_life_s,
            void_at_call=options.pax8_tokens_void_at_call,
        )
        self.window = Window(clock, options.pax8_calls_per_minute, 60)
        self._list_calls = 0
        self._readings: dict[str, int] = {}  # how often the first page of an invoice's items was asked for

    @property
    def client_secret(self) -> str:
        return self.options.own(f"{self.options.secret}-pax8")

    @property
    def client_id(self) -> str:
        return self.options.own(CLIENT_ID)

    def release(self) -> None:
        self.hidden.clear()

    def answer(self, request: Request) -> Answer:
        try:
            if request.path.rstrip("/") == "/token":
                return self._token(request)
            if not self.window.admits():
                raise Pax8Error(429, "TOO_MANY_REQUESTS", "Too many requests")
            if self.tokens.check(request.headers.get("authorization", "")) is None:
                raise Pax8Error(401, "UNAUTHORIZED", "Unauthorized")
            if request.method != "GET":
                self.notes.alarm("pax8_write", request.path, request.method)
                raise Pax8Error(405, "METHOD_NOT_ALLOWED", f"{request.method} is not allowed here")
            return Answer(data=self._get(request))
        except Pax8Error as error:
            return self.error(error.status, request.path, error.kind, str(error))

    def error(
        self, status: int, path: str, kind: str = "ERROR", message: str = "The sandbox was told to say so"
    ) -> Answer:
        body = {"type": kind, "message": message, "instance": f"/public/v1{path}", "status": status, "details": []}
        headers = {}
        if status == 429 and self.options.retry_after_s is not None:
            headers["Retry-After"] = str(self.options.retry_after_s)
        return Answer(status=status, data=body, headers=headers)

    def _token(self, request: Request) -> Answer:
        denied = Answer(status=401, data={"error": "access_denied", "error_description": "Unauthorized"})
        if request.method != "POST":
            raise Pax8Error(405, "METHOD_NOT_ALLOWED", f"{request.method} is not allowed here")
        if request.content_type != "application/json":
            raise Pax8Error(415, "UNSUPPORTED_MEDIA_TYPE", "The token is asked for with a JSON body")
        try:
            body = decode(request.body)
        except ValueError:
            return denied
        wanted = {
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "audience": AUDIENCE,
            "grant_type": "client_credentials",
        }
        if not isinstance(body, dict) or any(body.get(name) != value for name, value in wanted.items()):
            return denied
        return Answer(
            data={"access_token": self.tokens.give(), "expires_in": self.tokens.life_s, "token_type": "Bearer"}
        )

    def _get(self, request: Request) -> Any:
        match request.path.strip("/").split("/"):
            case ["invoices"]:
                return self._invoices(request.query)
            case ["invoices", "draftItems"]:
                return self._page(self._drafts(request.query), request.query, "draftItems")
            case ["invoices", invoice_id]:
                return self._one(self._released(), invoice_id, "Invoice", request.path)
            case ["invoices", invoice_id, "items"]:
                return self._items(invoice_id, request)
            case ["companies" | "products" | "subscriptions" as name]:
                rows: list[Row] = getattr(self, name)
                if name == "subscriptions":
                    pax8_more.move_seats(self.options, rows, request.query)
                return self._page(_filtered(rows, request.query, name), request.query, name)
            case ["companies" | "products" | "subscriptions" as name, row_id]:
                return self._one(getattr(self, name), row_id, name.title(), request.path)
            case ["subscriptions", row_id, "history"]:
                row = self._one(self.subscriptions, row_id, "Subscription", request.path)
                return {"content": self.history.get(row_id, [row])}
            case ["subscriptions", row_id, "usage-summaries"]:
                self._one(self.subscriptions, row_id, "Subscription", request.path)
                rows = _filtered(self.usage.get(row_id, []), request.query, "usage-summaries")
                return self._page(rows, request.query, "usage-summaries")
            case ["usage-summaries", row_id]:
                summaries = [row for rows in self.usage.values() for row in rows]
                return self._one(summaries, row_id, "UsageSummary", request.path)
            case ["usage-summaries", row_id, "usage-lines"]:
                if not request.query.get("usageDate"):
                    raise Pax8Error(422, "UNPROCESSABLE_ENTITY", "usageDate is required")
                rows = self.usage_lines.get(row_id, [])
                return {"content": [row for row in rows if row["usageDate"] == request.query["usageDate"]]}
            case ["products", row_id, "dependencies"]:
                self._one(self.products, row_id, "Product", request.path)
                return self.dependencies.get(row_id, {"commitmentDependencies": [], "productDependencies": []})
            case ["products", row_id, "pricing"]:
                product = self._one(self.products, row_id, "Product", request.path)
                return {"content": pax8_more.pricing(product, self.subscriptions)}
        raise Pax8Error(404, "NOT_FOUND", f"No such path: {request.path}")

    def _drafts(self, query: Mapping[str, str]) -> list[Row]:
        offset = query.get("monthOffset", "1")
        if offset not in ("0", "1"):
            raise Pax8Error(422, "UNPROCESSABLE_ENTITY", "monthOffset is 0 or 1")
        if (company := query.get("companyId")) is not None:
            self._one(self.companies, company, "Company", "/invoices/draftItems")
        return pax8_more.drafts(self, company, int(offset))

    def _released(self) -> list[Row]:
        return [invoice for invoice in self.invoices if invoice.get("id") not in self.hidden]

    def _one(self, rows: Sequence[Row], row_id: str, name: str, path: str) -> Row:
        for row in rows:
            if row.get("id") == row_id:
                return row
        raise Pax8Error(404, "NOT_FOUND", f"{name} Not Found: {row_id}")

    def _invoices(self, query: Mapping[str, str]) -> Row:
        self._list_calls += 1
        after = self.options.release_after_list_calls
        if after is not None and self._list_calls > after:
            self.release()
        rows = _filtered(self._released(), query, "invoices")
        first, last = query.get("invoiceDateRangeStart"), query.get("invoiceDateRangeEnd")
        if first:
            rows = [row for row in rows if str(row.get("invoiceDate", "")) >= first]
        if last:
            rows = [row for row in rows if str(row.get("invoiceDate", "")) <= last]
        return self._page(rows, query, "invoices")

    def _items(self, invoice_id: str, request: Request) -> Row:
        self._one(self._released(), invoice_id, "Invoice", request.path)
        rows = self.items.get(invoice_id, [])
        if request.query.get("page", "0") == "0":
            self._readings[invoice_id] = self._readings.get(invoice_id, 0) + 1
        order = self.options.item_pages
        if order == "reordered":
            rows = _shuffled(rows, f"{self.options.seed}:{self._readings.get(invoice_id, 0)}")
        elif order == "shuffled":
            rows = _shuffled(rows, f"{self.options.seed}:{request.query.get('page', '0')}")
        page = self._page(rows, request.query, "items")
        content: list[Row] = page["content"]
        if (
            order == "repeating"
            and page["page"]["number"] + 1 == page["page"]["totalPages"]
            and content
            and len(rows) > 1
        ):
            page["content"] = [*content[:-1], rows[0]]  # the count still agrees
        if order == "missing" and page["page"]["number"] == 0:
            page["content"] = content[1:]
        return page

    def _page(self, rows: Sequence[Row], query: Mapping[str, str], name: str) -> Row:
        for parameter in query:
            if parameter not in ("page", "size", *_LISTS[name]):
                self.notes.ignore(f"/{name}", f"?{parameter}")
        if sort := query.get("sort"):
            rows = _sorted(rows, sort, name)
        number, size = _whole(query, "page", 0), _whole(query, "size", 10)
        if size > MAX_SIZE and self.options.oversize == "capped":
            size = MAX_SIZE
        if not 1 <= size <= MAX_SIZE:
            raise Pax8Error(400, "BAD_REQUEST", f"size must be between 1 and {MAX_SIZE}")
        return {
            "content": list(rows[number * size : (number + 1) * size]),
            "page": {
                "size": size,
                "totalElements": len(rows),
                "totalPages": -(-len(rows) // size),
                "number": number,
            },
        }


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise Pax8Error(400, "BAD_REQUEST", f"{name} must be a whole number, not {text!r}")
    return int(text)


def _filtered(rows: list[Row], query: Mapping[str, str], name: str) -> list[Row]:
    for field, wanted in query.items():
        if field not in _LISTS[name] or field.startswith(("sort", "invoiceDateRange")):
            continue
        rows = [row for row in rows if _agrees(row, field, wanted)]
    return rows


def _agrees(row: Row, field: str, wanted: str) -> bool:
    if field == "search":
        return wanted.lower() in str(row.get("name", "")).lower()
    value = row.get(field, row.get("address", {}).get(field) if "address" in row else None)
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    if isinstance(value, (int, Decimal)):
        try:
            return value == Decimal(wanted)
        except InvalidOperation:
            return False
    return value == wanted


def _sorted(rows: Sequence[Row], sort: str, name: str) -> list[Row]:
    field, _, direction = sort.partition(",")
    if name == "invoices" and field not in _INVOICE_SORTS:
        raise Pax8Error(400, "BAD_REQUEST", f"cannot sort by {field!r}")
    if direction.lower() not in ("", "asc", "desc"):
        raise Pax8Error(400, "BAD_REQUEST", f"cannot sort {direction!r}")
    numeric = any(isinstance(row.get(field), (int, Decimal)) for row in rows)
    key: Callable[[Row], Any] = (
        (lambda row: row.get(field) or 0) if numeric else (lambda row: str(row.get(field) or ""))
    )
    return sorted(rows, key=key, reverse=direction.lower() == "desc")


def _shuffled(rows: list[Row], seed: str) -> list[Row]:
    rows = list(rows)
    random.Random(seed).shuffle(rows)  # noqa: S311  # repeatable is the point
    return rows
