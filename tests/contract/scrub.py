"""What may stay of a recorded exchange, and what stands for the rest.

Only what is listed here stays: amounts, quantities, dates, codes and the distributor's catalogue, because how these are
written is what a recording is for. Everything else that could tell whose it is gets a pseudonym, the same one wherever
it comes again: ids keep their order and their sign, names and texts are numbered. Unknown numbers become 0, unknown
texts are numbered; their names stay, so that a recording shows which properties there are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import simplejson
from vcr.request import Request

Response = dict[str, Any]  # as vcrpy holds it
Exchange = tuple[Request, Response]

_AMOUNTS = frozenset(
    "quantity price subTotal total cost costTotal billingFee billingFeeRate amountDue salesTax balance carriedBalance "
    "qty_order unit_price baseprice unit_cost net_amount tax_amount tax_rate total_price discount_perc revenue "
    "tax_total amountdue amountpaid costprice recurringprice recurringcost currency_conversion_rate conversion_rate "
    "percent value".split()
)
_CODES = frozenset(
    "size totalElements totalPages number record_count page_no page_size status expires_in change_seq last_change_seq "
    "paymentstatus invoicetype emailstatus approval_status due_date_int due_date_type paymentterms period period_type "
    "sequence sequenceid decimalplacesforinvoices billingcategory item_tax_code "
    "site_item_tax_code taxcode invoiceday stopped".split()
)
_WORDS = frozenset(
    "type term status rateType chargeType unitOfMeasure currencyCode sort token_type grant_type audience scope country "
    "use currency_code_name default_currency_code_name currencyisocode tax_code nominal_code".split()
)
_CATALOGUE = frozenset("sku productName vendorName offeredBy".split())  # Pax8's own; the same for every partner
_SAID = frozenset("message instance error error_description Message ClassName errorMessage resultCode".split())
_DESCRIBED = frozenset({"description", "details"})
_NAMES = frozenset(
    "companyName partnerName client_name clientsite_name toplevel_name site_name main_site_name trading_name "
    "original_client_name contactname taken_by createdbyagentname assigned_agent_name contact_name who".split()
)
_QUERY = frozenset(
    "page size sort invoiceDateRangeStart invoiceDateRangeEnd pageinate page_no page_size count order orderdesc "
    "includelines includecredits includedetails includeinactive".split()
)
_HEADERS_SENT = ("accept", "authorization", "content-type")
_HEADERS_ANSWERED = ("content-type", "retry-after")

# The words that recordings of descriptions are for: by them Azure and prorates are recognised (reference/pax8 4).
_VOCABULARY = frozenset(
    "microsoft azure plan arrears charge reserved partial canceled prorated virtual machines storage bandwidth dns "
    "backup sql database key vault jan feb mar apr may jun jul aug sep oct nov dec deprecated options".split()
)

_ID = re.compile(
    r"id|uid|ihid|sitenumber|_itemid|item_code|(?:default_)?currency_code|.*_ids?|.*Id|client_to_invoice.*"
    r"|pax8(?:monthly|annual)invoice"
)
_GUID = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f])")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_ISO = re.compile(r"[A-Z]{3}")
_MARK = re.compile(r"\[bs:[0-9a-f]{20}:[0-9a-f]{8}:\d+\]|billingsync key=\w+ installation=\w+(?: period=[\d-]+)?")
_MAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+")
_ADDRESS = re.compile(r"(?i).*(address|street|city|post|province|county|geocoord).*")
_PHONE = re.compile(r"(?i).*(phone|mobile|tel_number|fax).*")
_LIMIT = re.compile(r"Rate Limit Reached - \d+ Requests per rolling \d+ minute window\.")


class Leak(Exception):
    """Something that was to be hidden is still there; nothing was written."""


@dataclass
class Scrubber:
    """`addresses`: what the true addresses begin with, and what stands for them, the longest first. `keep`: texts that
    scenes themselves send."""

    addresses: Mapping[str, str]
    keep: Collection[str]
    _ids: dict[int, int] = field(default_factory=dict)
    _guids: dict[str, str] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)
    _catalogue: set[str] = field(default_factory=set)
    _names: set[str] = field(default_factory=set)
    _hidden: set[str] = field(default_factory=set)  # that must be nowhere in the end

    def learn(self, exchanges: Iterable[Exchange], facts: Iterable[Mapping[str, Any]]) -> None:
        """Reads everything that will be scrubbed: ids are numbered in their own order, so all must be known first."""
        ids: set[int | None] = set()
        for request, response in exchanges:
            parts = urlsplit(request.uri)
            ids.update(_whole(segment) for segment in parts.path.split("/"))
            values = [(name, value) for name, value in parse_qsl(parts.query)]
            for name, value in [*values, *_walk(_json(request.body)), *_walk(_json(response["body"]["string"]))]:
                self._learn(name, value, ids, client=parts.path.rstrip("/").lower().endswith(("/client", "/companies")))
        for name, value in (pair for one in facts for pair in _walk(dict(one))):
            self._learn(name, value, ids, client=False)
        true = sorted(found for found in ids if found is not None and abs(found) > 1 and str(found) not in self.keep)
        self._ids = {number: 1001 + n for n, number in enumerate(number for number in true if number > 0)}
        below = [number for number in reversed(true) if number < 0]
        self._ids |= {number: -1001 - n for n, number in enumerate(below)}

    def _learn(self, name: str, value: Any, ids: set[int | None], *, client: bool) -> None:
        if _ID.fullmatch(name):
            ids.update(map(_whole, str(value).split(",")))
        if isinstance(value, str) and value.strip():
            if name in _CATALOGUE:
                self._catalogue.add(value)
            if name in _NAMES or (client and name == "name"):
                self._names.add(value)
        if isinstance(value, str) and value not in self.keep:
            if name in ("client_secret", "access_token", "refresh_token", "id_token"):
                self._hidden.add(value)
            self._hidden |= set(_MAIL.findall(value))

    # --- one exchange ------------------------------------------------------------------------------------------------

    def exchange(self, request: Request, response: Response) -> Exchange:
        """The exchange without anything that could tell whose it is."""
        request, response = quiet(request, response)
        login = request.method == "POST" and urlsplit(request.uri).path.endswith("/token")
        code = response["status"]["code"]
        headers = dict(request.headers)
        if "authorization" in headers:
            headers["authorization"] = f"Bearer {self._token(headers['authorization'].removeprefix('Bearer '))}"
        sent = self._login(request) if login else self._body(request.body, 200, login)
        answered = self._body(response["body"]["string"], code, login)
        scrubbed = Request(request.method, self.address(request.uri), sent, headers)
        return scrubbed, {**response, "body": {"string": answered}}

    def address(self, url: str) -> str:
        """The same call at the example host."""
        stem = next((stem for stem in self.addresses if url.startswith(stem)), None)
        if stem is None:
            raise Leak(f"a call to {urlsplit(url).hostname}, which is neither service")
        parts = urlsplit(self.addresses[stem] + url[len(stem) :])
        path = "/".join(map(self._segment, parts.path.split("/")))
        query = [(name, self._parameter(name, value)) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
        return urlunsplit((parts.scheme, parts.netloc, path, urlencode(query, safe=","), ""))

    def facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        plain = ("period", "rows_at_least")
        return {name: value if name in plain else self._value(name, value, {}) for name, value in facts.items()}

    def name_tenant(self, tenant: str) -> str:
        return self._numbered(tenant, "tenant-{}") if tenant else ""

    def check(self, text: str) -> None:
        """Raises Leak where something hidden, or an address that is none of the examples, is in the text."""
        for value in self._hidden | self._names:
            if len(value) > 3 and re.search(rf"(?<!\w){re.escape(json.dumps(value)[1:-1])}(?!\w)", text):
                raise Leak("a name or a secret is still there; see `scrub.py` for what stays")
        for stem in self.addresses:
            if (host := urlsplit(stem).netloc) and host in text:
                raise Leak(f"the address {host} is still there")

    # --- parts -------------------------------------------------------------------------------------------------------

    def _segment(self, segment: str) -> str:
        number = _whole(segment)
        return self._guid_in(segment) if number is None else str(self._id(number))

    def _parameter(self, name: str, value: str) -> str:
        if name in _QUERY:
            return value
        if name == "tenant":
            return self.name_tenant(value)
        return str(self._value(name, value, {}))

    def _login(self, request: Request) -> bytes:
        """The fields of a login: their names are what a recording is for."""
        as_json = "json" in request.headers.get("content-type", "")
        fields = json.loads(request.body) if as_json else dict(parse_qsl(request.body.decode()))
        shown = {"client_id": "client-id", "client_secret": "client-secret"}
        for name in fields:
            if name in shown:
                fields[name] = fields[name] if fields[name] in self.keep else shown[name]
            elif name not in _WORDS:
                fields[name] = self._text(name, str(fields[name]), {})
        return (json.dumps(fields) if as_json else urlencode(fields)).encode()

    def _body(self, body: bytes | None, status: int, login: bool) -> bytes:
        if not body:
            return b""
        try:
            value = _read(body)
        except ValueError:
            text = body.decode("utf-8", "replace")
            if text.lstrip().startswith("<"):
                return b"<html><head><title>scrubbed</title></head><body></body></html>"
            return body if _LIMIT.fullmatch(text.strip()) else b"scrubbed"
        if login and isinstance(value, dict):
            value = {name: self._credential(name, held) for name, held in value.items()}
        elif isinstance(value, str):
            value = self._said(value) if status >= 400 else self._text("", value, {})
        else:
            value = self._value("", value, {})
        return laid_out(value).encode()

    def _credential(self, name: str, value: Any) -> Any:
        if name == "access_token":
            return self._token(str(value))
        return "" if name in ("refresh_token", "id_token") else self._value(name, value, {})

    def _token(self, token: str) -> str:
        return self._tokens.setdefault(token, f"token-{len(self._tokens) + 1}")

    def _value(self, name: str, value: Any, row: Mapping[str, Any]) -> Any:
        if isinstance(value, dict):
            return {key: self._value(key, held, value) for key, held in value.items()}
        if isinstance(value, list):
            return [self._value(name, held, row) for held in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(name, value, row)
        if name in _AMOUNTS or name in _CODES or value in (-1, 0, 1):
            return value
        if _ID.fullmatch(name) and value == int(value):
            return type(value)(self._id(int(value)))
        return 0

    def _text(self, name: str, value: str, row: Mapping[str, Any]) -> str:
        marks = _MARK.findall(value)
        bare = _MARK.sub("", value).strip()
        if not value or value in self.keep or bare in self.keep or name in _WORDS or _DATE.fullmatch(value):
            return value
        if name in _CATALOGUE or value in self._catalogue:
            return value if not self._names_in(value) else self._numbered(value, "Product {}")
        if name == "auth_url":
            return self.address(value)
        if name == "code" and _ISO.fullmatch(value):  # of a currency
            return value
        if name == "tenant_id":
            return self.name_tenant(value)
        if name in _SAID:
            return self._said(value)
        if name in _DESCRIBED and "productName" in row:
            return self._skeleton(value, row)
        if _GUID.fullmatch(value):
            return self._guid_in(value)
        numbers = [_whole(part) for part in value.split(",")]
        if all(number in self._ids for number in numbers):
            return ",".join(str(self._id(number or 0)) for number in numbers)
        return "\n".join([*([self._numbered(bare, _form(name, bare))] if bare else []), *marks])

    def _skeleton(self, text: str, row: Mapping[str, Any]) -> str:
        """A description with nothing left but the words that everybody's descriptions have."""
        said = " ".join(str(row.get(name) or "") for name in ("productName", "vendorName"))
        known = _VOCABULARY | {word.casefold() for word in re.findall(r"\w+", said)}
        parts = re.split(r"(\w+)", self._guid_in(text[:500]))
        guids = set(self._guids.values())
        kept = [
            part
            if not re.fullmatch(r"\w+", part) or part.casefold() in known or any(part in guid for guid in guids)
            else "x"
            for part in parts
        ]
        return "".join(kept)

    def _said(self, text: str) -> str:
        """An error's sentence without what it is about."""
        text = _MAIL.sub("someone@example.com", self._guid_in(text[:500]))
        for name in sorted(self._names, key=len, reverse=True):
            text = text.replace(name, self._numbered(name, "Name {}"))
        return re.sub(r"(?<![\w-])\d{2,}(?![\w-])", lambda found: str(self._id(int(found[0]))), text)

    def _names_in(self, text: str) -> bool:
        return any(len(name) > 3 and name.casefold() in text.casefold() for name in self._names)

    def _id(self, number: int) -> int:
        return number if abs(number) <= 1 or str(number) in self.keep else self._ids.get(number, 0)

    def _guid_in(self, text: str) -> str:
        def other(found: re.Match[str]) -> str:
            name = found[0].lower()
            if name in self.keep:
                return found[0]
            return self._guids.setdefault(name, f"00000000-0000-4000-8000-{len(self._guids) + 1:012d}")

        return _GUID.sub(other, text)

    def _numbered(self, text: str, form: str) -> str:
        if text not in self._texts:
            self._texts[text] = form.format(len(self._texts) + 1)
        return self._texts[text]


def quiet(request: Request, response: Response) -> Exchange:
    """The exchange with the headers that matter alone."""
    asked = {name: request.headers[name] for name in _HEADERS_SENT if name in request.headers}
    said = {name.lower(): values for name, values in response["headers"].items() if name.lower() in _HEADERS_ANSWERED}
    if any(name.lower() == "location" for name in response["headers"]):
        said["location"] = ["https://elsewhere.example/"]
    status = {"code": response["status"]["code"], "message": ""}
    kept = {"status": status, "headers": said, "body": {"string": response["body"]["string"]}}
    return Request(request.method, request.uri, request.body, asked), kept


def laid_out(value: Any) -> str:
    """JSON with a line for each row of a list, to be read and compared by people; digits as they came."""

    def dumped(one: Any) -> str:
        return str(simplejson.dumps(one, use_decimal=True, ensure_ascii=True))

    def rows(held: list[Any]) -> str:
        return "[\n" + ",\n".join(map(dumped, held)) + "\n]" if held else "[]"

    if isinstance(value, list):
        return rows(value)
    if isinstance(value, dict) and any(isinstance(held, list) and held for held in value.values()):
        shown = [
            f"{dumped(key)}: {rows(held) if isinstance(held, list) else dumped(held)}" for key, held in value.items()
        ]
        return "{" + ", ".join(shown) + "}"
    return dumped(value)


def _form(name: str, text: str) -> str:
    if _MAIL.search(text):
        return "someone-{}@example.com"
    if text.startswith(("http:", "https:", "www.")):
        return "https://www-{}.example"
    if _PHONE.fullmatch(name):
        return "000-{}"
    if _ADDRESS.fullmatch(name):
        return "Address {}"
    return "Name {}" if name.lower().endswith("name") else "Text {}"


def _read(body: bytes) -> Any:
    return simplejson.loads(body.decode("utf-8-sig"), use_decimal=True)


def _json(body: bytes | None) -> Any:
    try:
        return _read(body or b"")
    except ValueError:
        return dict(parse_qsl((body or b"").decode("utf-8", "replace")))


def _walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no container, with the name of the property that it is in."""
    if isinstance(value, dict):
        for key, held in value.items():
            yield from _walk(held, key)
    elif isinstance(value, list):
        for held in value:
            yield from _walk(held, name)
    else:
        yield name, value


def _whole(value: object) -> int | None:
    """An id as an int, however it is written; 12.0 too, as HaloPSA writes some."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, Decimal)):
        return int(value) if value == int(value) else None
    found = re.fullmatch(r"-?\d{1,18}(?:\.0+)?", value) if isinstance(value, str) else None
    return int(found[0].partition(".")[0]) if found else None
