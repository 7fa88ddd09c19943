"""Answers composed from the shapes that the vendors document, and that others have seen: no sandbox was asked.

The sandbox is our own reading of those documents; these answers are as lean, as odd or as generous as the documents
allow, so that a client that leans on the sandbox's habits is found out: items without ids, ids as 12.0, rows with most
properties absent, pages smaller than asked for, unknown properties, numbers with many digits. Values are invented.

Each composition lists what is answered, call after call; what is asked comes from playing its scene, so that a changed
request is on the cassette again after `python -m tests.contract.record composed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from . import scenes_halo as halo
from .scrub import laid_out


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    json: Any = None
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        return self.text.encode() if self.json is None else laid_out(self.json).encode()

    def all_headers(self) -> dict[str, str]:
        kind = "application/json; charset=utf-8" if self.json is not None else "text/html; charset=utf-8"
        return ({"content-type": kind} if self.content() else {}) | dict(self.headers)


@dataclass(frozen=True, kw_only=True)
class Composition:
    service: str
    scene: str
    answers: tuple[Answer, ...]
    facts: Mapping[str, Any]


COMPOSITIONS: list[Composition] = []

MONTH = {"period": "2026-11"}
INVOICE, OTHER, CONTOSO = (f"{n:08d}-aaaa-4bbb-8ccc-dddddddddddd" for n in (1, 2, 3))


def composed(service: str, **facts: Any) -> Callable[[Callable[[], list[Answer]]], None]:
    """A composition of the scene that the function is named after."""

    def note(compose: Callable[[], list[Answer]]) -> None:
        first = [PAX8_TOKEN] if service == "pax8" else [AUTHINFO, HALO_TOKEN]
        answers = compose()
        if answers and answers[0] is NO_LOGIN:
            first, answers = [], answers[1:]
        name = compose.__name__.partition("__")[0]
        COMPOSITIONS.append(Composition(service=service, scene=name, answers=(*first, *answers), facts=facts))

    return note


NO_LOGIN = Answer()  # the composition says itself what comes first
EMPTY_404, EMPTY_401 = Answer(status=404), Answer(status=401)

# --- Pax8 ------------------------------------------------------------------------------------------------------------

PAX8_TOKEN = Answer(
    json={
        "access_token": "token-1",
        "expires_in": 86400,
        "token_type": "Bearer",
        "scope": "",
        "expires_at": "2026-11-06T08:00:00.000+00:00",
    }
)


def page(rows: list[Any], *, of: int | None = None, number: int = 0, size: int = 200) -> Answer:
    total = len(rows) if of is None else of
    info = {"size": size, "totalElements": total, "totalPages": -(-total // size), "number": number}
    return Answer(json={"content": rows, "page": info})


def distributor_invoice(name: str = INVOICE, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "total": Decimal("1204.55"),
        "currencyCode": "USD",
        "balance": Decimal("1204.55"),
        "carriedBalance": Decimal("600.1"),
        "status": "Unpaid",
        "invoiceDate": "2026-11-01",
        "dueDate": "2026-11-15",
        "partnerName": "A Partner",
        **more,
    }


def item(**more: Any) -> dict[str, Any]:
    """As in the examples of the documents: no id, no vendor; `endPeriod` may be the first day that is not covered."""
    return {
        "type": "subscription",
        "purchaseOrderNumber": "N/A",
        "companyId": CONTOSO,
        "companyName": "Contoso",
        "startPeriod": "2026-11-01",
        "endPeriod": "2026-12-01",
        "quantity": 11,
        "unitOfMeasure": "User",
        "term": "Monthly",
        "sku": "CON-SEA-T00-0001",
        "description": "Seat",
        "rateType": "single",
        "chargeType": "per",
        "price": Decimal("2.4999"),
        "subTotal": Decimal("27.5"),
        "cost": Decimal("1.8312"),
        "costTotal": Decimal("20.14"),
        "offeredBy": "Pax8",
        "billedByPax8": False,
        "total": Decimal("27.5"),
        "productId": OTHER,
        "productName": "Seat",
        "billingFee": 0,
        "billingFeeRate": 0,
        "amountDue": Decimal("20.14"),
        "currencyCode": "USD",
        "salesTax": Decimal("1.61"),
        "subscriptionId": None,
        **more,
    }


def pax8_error(status: int, kind: str) -> Answer:
    body = {"type": kind, "message": "composed", "instance": "/public/v1/x", "status": status, "details": []}
    return Answer(status=status, json=body)


@composed("pax8")
def login() -> list[Answer]:
    return [page([distributor_invoice()])]


@composed("pax8")
def wrong_login() -> list[Answer]:
    return [NO_LOGIN, Answer(status=401, json={"error": "access_denied", "error_description": "Unauthorized"})]


@composed("pax8")
def renewal() -> list[Answer]:
    again = Answer(json={"access_token": "token-2", "expires_in": 86400, "token_type": "Bearer"})
    return [page([distributor_invoice()]), pax8_error(401, "UNAUTHORIZED"), again, page([distributor_invoice()])]


@composed("pax8", **MONTH)
def month() -> list[Answer]:
    """Two invoices and one of another month, as if the bounds were ignored; twins without ids; a page of two rows."""
    listed = [
        distributor_invoice(),
        distributor_invoice(OTHER, status="Nothing Due", partnerName="A Child Partner", futureField={"a": [1]}),
        distributor_invoice(CONTOSO, invoiceDate="2026-10-01", status="Carried"),
    ]
    azure = "Microsoft Azure Plan - Arrears Charge - Production - 11111111-2222-3333-4444-555555555555 - Storage"
    rows = [
        item(),
        item(),  # the same again: two charges
        item(type="prorate", quantity=-1, price=Decimal("4.1"), subTotal=Decimal("-4.1"), total=Decimal("-4.1"),
             cost=3, costTotal=-3, description="Nov Partial: Seat", purchaseOrderNumber=None),
    ]  # fmt: skip
    usage = [
        item(id=INVOICE, type="one-time", term="Arrears", sku="MST-AZR-PLN-C100", description=azure, details=azure,
             quantity=Decimal("1843.275"), price=Decimal("0.0561179"), total=Decimal("103.4412"),
             subTotal=Decimal("103.4412"), cost=Decimal("0.046765"), costTotal=Decimal("86.201"),
             vendorName="Microsoft", unknownProperty="new since the documents were written"),
        item(id=OTHER, type="payment-credit", companyId=None, companyName=None, sku=None, productId=None, quantity=1,
             price=-150, subTotal=-150, total=-150, cost=-150, costTotal=-150),
    ]  # fmt: skip
    first, last = page(rows[:2], of=3, size=2), page(rows[2:], of=3, number=1, size=2)
    return [page(listed), first, page(usage), last]  # the first pages come first


@composed("pax8", distributor_invoice_id=INVOICE)
def item_pages() -> list[Answer]:
    """Pages of 100 although 200 were asked for; ids on some rows only."""
    rows = [item(id=f"{n:08d}-0000-4000-8000-000000000000") if n % 7 else item(quantity=n) for n in range(1, 6)]
    return [
        page(rows[:2], of=5, size=2),
        page(rows[2:4], of=5, number=1, size=2),
        page(rows[4:], of=5, number=2, size=2),
    ]


@composed("pax8", **MONTH)
def credited() -> list[Answer]:
    """A wrong invoice credited in full, one that was voided, and the one that was issued instead."""
    listed = [
        distributor_invoice(),
        distributor_invoice(OTHER, status="Credited", balance=0),
        distributor_invoice(CONTOSO, status="Void", balance=0, total=0),
    ]
    return [page(listed), page([item()])]


@composed("pax8", **MONTH)
def months() -> list[Answer]:
    listed = [distributor_invoice(), distributor_invoice(OTHER, invoiceDate="2026-09-01", status="Credited")]
    return [page(listed[:1], of=2, size=1), page(listed[1:], of=2, number=1, size=1)]


@composed("pax8", **MONTH)
def not_released() -> list[Answer]:
    return [page([])]


@composed("pax8", **MONTH)
def no_items_yet() -> list[Answer]:
    return [page([distributor_invoice()]), pax8_error(404, "NOT_FOUND")]


@composed("pax8", **MONTH)
def empty_items() -> list[Answer]:
    return [page([distributor_invoice()]), page([])]


@composed("pax8", distributor_invoice_id=INVOICE)
def item_missing() -> list[Answer]:
    return [page([item(), item()], of=3)] * 3


@composed("pax8", distributor_invoice_id=INVOICE)
def item_twice() -> list[Answer]:
    return [page([item(id=OTHER), item(id=OTHER)])] * 3


@composed("pax8")
def companies() -> list[Answer]:
    """A website without scheme, a date whose offset has no colon, no external id, no address."""
    whole = {
        "id": CONTOSO,
        "name": "Contoso",
        "address": {"street": "1 Example Way", "city": "Town", "postalCode": "00000", "country": "US"},
        "phone": "000-0000",
        "website": "contoso.example",
        "status": "Active",
        "externalId": "A123",
        "selfServiceAllowed": False,
        "billOnBehalfOfEnabled": False,
        "orderApprovalRequired": False,
        "updatedDate": "2026-08-11T11:33:12.314-0600",
    }
    return [page([whole, {"id": OTHER, "name": "Gone", "status": "Deleted", "externalId": None}])]


@composed("pax8", **MONTH)
def busy() -> list[Answer]:
    too_many = pax8_error(429, "TOO_MANY_REQUESTS")
    told = Answer(status=429, json=too_many.json, headers={"retry-after": "7"})
    return [told, page([distributor_invoice()])]


@composed("pax8", **MONTH)
def away() -> list[Answer]:
    return [Answer(status=503, text="<html><body>composed</body></html>"), page([distributor_invoice()])]


# --- HaloPSA ---------------------------------------------------------------------------------------------------------

AUTHINFO = Answer(json={"auth_url": "https://halo.example/auth", "tenant_id": "example"})
HALO_TOKEN = Answer(
    json={"access_token": "token-1", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "", "id_token": ""}
)
NOTE = halo.header_note(halo.KEY, halo.INSTALLATION, "2026-11")


def listed(key: str, rows: list[Any], *, of: int | None = None, **more: Any) -> Answer:
    """The envelope as it was seen: `record_count` and `page_size` beside the rows."""
    return Answer(json={"page_size": 100, "record_count": len(rows) if of is None else of, key: rows, **more})


def line(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "item_shortdescription": "Work",
        "item_longdescription": "Work",
        "qty_order": Decimal("1.5"),
        "unit_price": Decimal("120.0"),
        "net_amount": Decimal("180.0"),
        **more,
    }


def our_line(number: int, **more: Any) -> dict[str, Any]:
    """Ours as it comes back: 27.4989 as a float column keeps it, and no cost, which the role may not see."""
    return {
        "id": Decimal(f"{number}.0"),
        "item_shortdescription": halo.TEXT,
        "item_longdescription": f"{halo.TEXT}\n{halo.mark_of(halo.KEY, halo.INSTALLATION, 0)}",
        "qty_order": Decimal("11.0"),
        "unit_price": Decimal("2.4999"),
        "net_amount": Decimal("27.4989"),
        "tax_amount": Decimal("0.0"),
        "isinactive": False,
        **more,
    }


def bill(number: int, client: int = 12, lines: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """An invoice with what is said to be always there, most of the rest absent, dates with a fraction."""
    return {
        "id": number,
        "client_id": client,
        "client_name": "Contoso",
        "invoicenumber": f"INV{number}",
        "invoice_date": "2026-11-05T12:00:00.123",
        "date_created": "2026-11-05T12:09:49",
        "posted": False,
        "dateposted": "1900-01-01T00:00:00",
        "total": Decimal("180.0"),
        "change_seq": 4,
        "lines": [line(10 * abs(number) + 1)] if lines is None else lines,
        **more,
    }


def few(numbers: list[int], client: int = 12) -> list[dict[str, Any]]:
    """Rows of a list without anything that is not needed."""
    return [
        {"id": n, "client_id": client, "invoice_date": "2026-10-05T12:00:00", "date_created": "2026-10-05T12:00:00",
         "lines": [{"id": n, "qty_order": 1, "unit_price": 0}]}
        for n in numbers
    ]  # fmt: skip


@composed("halo")
def discovery() -> list[Answer]:
    return []


@composed("halo")
def no_discovery() -> list[Answer]:
    return [NO_LOGIN, EMPTY_404, HALO_TOKEN]


@composed("halo")
def login__halo() -> list[Answer]:
    return [Answer(json=[])]


@composed("halo")
def wrong_login__halo() -> list[Answer]:
    said = Answer(status=400, json={"error": "invalid_client", "error_description": "composed"})
    return [NO_LOGIN, AUTHINFO, said]


@composed("halo")
def renewal__halo() -> list[Answer]:
    again = Answer(json={"access_token": "token-2", "token_type": "Bearer", "expires_in": Decimal("3600.0")})
    return [Answer(json=[]), EMPTY_401, again, Answer(json=[])]


@composed("halo", rows_at_least=51)
def clients() -> list[Answer]:
    """52 of them, in pages of 30 although 100 were asked for; ids as 12.0; one with all that decides about billing."""
    rows: list[dict[str, Any]] = [
        {"id": Decimal(f"{n}.0"), "name": f"Client {n}", "inactive": n == 7} for n in range(2, 53)
    ]
    rows.insert(0, {
        "id": 1, "name": "Contoso", "inactive": False, "stopped": 0, "dontinvoice": False, "client_to_invoice": -1,
        "client_to_invoice_recurring": 0, "currencyisocode": "usd", "main_site_id": Decimal("18.0"),
        "pax8monthlyinvoice": -237, "toplevel_id": 12, "unknown_property": None,
    })  # fmt: skip
    return [listed("clients", rows[:30], of=52, page_size=30), listed("clients", rows[30:], of=52, page_size=30)]


@composed("halo")
def short_clients() -> list[Answer]:
    short = {"id": 12, "name": "Contoso", "toplevel_id": 3, "inactive": False}
    whole = short | {"client_to_invoice": 0, "default_currency_code_name": "EUR", "dontinvoice": False}
    return [listed("clients", [short]), Answer(json=whole)]


@composed("halo")
def currencies_by_id() -> list[Answer]:
    client = {"id": 12, "name": "Contoso", "client_to_invoice": 0, "default_currency_code": Decimal("2.0")}
    return [listed("clients", [client]), Answer(json=[{"id": 2, "name": "Euro", "code": "EUR", "symbol": "x"}])]


@composed("halo")
def other_lists() -> list[Answer]:
    tax = {"id": Decimal("12.0"), "name": "VAT", "code": "V19", "value": Decimal("19.0")}
    return [Answer(json=[tax]), listed("suppliers", [{"id": 21, "name": "Distributor"}])]


@composed("halo", rows_at_least=51)
def items() -> list[Answer]:
    rows: list[dict[str, Any]] = [{"id": n, "name": f"Item {n}", "assetgroup_id": 5, "status": 0} for n in range(1, 54)]
    rows[8] |= {"externalreference": "CON-SEA-T00-0001", "baseprice": Decimal("2.5"), "item_suppliers": None}
    return [listed("items", rows)]


@composed("halo")
def item_groups() -> list[Answer]:
    group = {"id": 40, "name": "Licences", "showasitem": True, "showasequip": False, "sequence": 51, "tcsnote": ""}
    return [Answer(json=[group])]


@composed("halo", open_id=43)
def invoice() -> list[Answer]:
    return [Answer(json=bill(43, xero_status=None, customfields=[], unknown_property={"deep": [1]}))]


@composed("halo")
def no_invoice() -> list[Answer]:
    return [EMPTY_404]


@composed("halo", recurring_id=-237)
def recurring() -> list[Answer]:
    rows = [{"id": -240, "client_name": "Contoso"}, {"id": -237, "client_name": "Contoso", "total": Decimal("90.0")}]
    blank = line(28857, item_shortdescription="", qty_order=1, unit_price=0, net_amount=0, quantity_licences=[])
    return [listed("invoices", rows), Answer(json=bill(-237, lines=[line(24967), blank], periodname="Monthly"))]


@composed("halo", client_ids=[12, 13], control_ids=[43, 12])
def look() -> list[Answer]:
    """The filter is ignored: another client's invoice is among the rows."""
    return [listed("invoices", [bill(41, 99), bill(42, 13), bill(43, 12)])]


@composed("halo", busy_client_id=12, busy_newest_id=160)
def look_cut() -> list[Answer]:
    """The count says 60; 50 come, and with the next page the same."""
    rows = few(list(range(101, 151)))
    cut = listed("invoices", rows, of=60, page_size=50)
    return [cut, cut, cut]


@composed("halo", busy_client_id=12, busy_newest_id=160)
def look_cut_in_silence() -> list[Answer]:
    return [listed("invoices", few(list(range(101, 151))), page_size=50)]


@composed("halo", busy_client_id=12, busy_newest_id=160)
def look_repeated() -> list[Answer]:
    rows = few(list(range(101, 161)))
    first = listed("invoices", rows[:50], of=60, page_size=50)
    return [first, first, listed("invoices", rows)]


@composed("halo", client_ids=[12], control_ids=[43, 12])
def look_without_lines() -> list[Answer]:
    bare = [{name: value for name, value in bill(43).items() if name != "lines"}]
    return [listed("invoices", bare), Answer(json=bill(43))]


@composed("halo", client_ids=[12, 13], control_ids=[43, 12])
def since() -> list[Answer]:
    """No order is kept, and no count is given with the second list."""
    found = listed("invoices", [bill(43, 12), bill(42, 13)])
    return [found, found]


@composed("halo", busy_client_id=12, busy_newest_id=160)
def since_stops() -> list[Answer]:
    newest = few(list(range(160, 130, -1)))
    for row in newest[5:]:
        row |= {"invoice_date": "2026-09-01T12:00:00", "date_created": "2026-09-01T12:00:00"}
    return [listed("invoices", newest, of=60, page_size=30)]


@composed("halo", client_id=12)
def create() -> list[Answer]:
    """201 with the one object; with amounts as floats make them."""
    made = bill(44, lines=[our_line(441)], internal_note=NOTE)
    return [Answer(status=201, json=made), Answer(json=made)]


@composed("halo", client_id=12)
def create_answers_list() -> list[Answer]:
    return [Answer(json=[bill(44, lines=[our_line(441)], internal_note=NOTE)])]


@composed("halo")
def refused() -> list[Answer]:
    return [Answer(status=400, json="composed: there is no such client")]


@composed("halo", client_id=12)
def refused_by_type() -> list[Answer]:
    return [Answer(status=400, json={"[0].client_id": ["composed: no integer"]})]


@composed("halo", client_id=12)
def no_right() -> list[Answer]:
    again = Answer(json={"access_token": "token-2", "token_type": "Bearer", "expires_in": 3600})
    return [EMPTY_401, again, EMPTY_401]


@composed("halo", client_id=12)
def busy__halo() -> list[Answer]:
    limit = "Rate Limit Reached - 300 Requests per rolling 5 minute window."
    made = Answer(status=201, json=bill(44, lines=[our_line(441)], internal_note=NOTE))
    return [Answer(status=429, text=limit, headers={"content-type": "text/plain"}), made]


@composed("halo", client_id=12)
def lost_answer() -> list[Answer]:
    made = bill(44, lines=[our_line(441)], internal_note=NOTE)
    return [Answer(status=500), listed("invoices", [made])]


@composed("halo", recurring_id=-237)
def change_recurring() -> list[Answer]:
    before = bill(-237, lines=[line(24967)])
    after = bill(-237, lines=[line(24967), our_line(24990)])
    return [Answer(json=before), Answer(status=201, json=after), Answer(json=after)]


@composed("halo")
def create_item() -> list[Answer]:
    group = {"id": 41, "name": halo.GROUP, "showasitem": True}
    made = {"id": Decimal("902.0"), "name": halo.ITEM, "externalreference": halo.SKU, "assetgroup_id": 41, "status": 0}
    return [
        Answer(status=201, json=group),
        Answer(json=[group]),
        Answer(status=200, json=[made]),
        Answer(json=made),
    ]
