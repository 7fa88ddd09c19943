"""Pax8's JSON -> core values, strictly where money or identity hang on it, leniently everywhere else.

Pydantic guards page envelopes, invoice headers and companies. It never sees an item: an item with an odd field must
become a held charge, not vanish with a validation error [S7].
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from billingsync.core.charge import Charge, Source, read_amounts
from billingsync.core.inputs import Company
from billingsync.core.money import NO_CURRENCY, ZERO, read_number
from billingsync.errors import NotReady

NOT_TAKEN = frozenset({"void", "credited"})  # [S1]


def text(value: object) -> str:
    """Any JSON value as text that every database stores and every eye sees.

    PostgreSQL refuses NUL, UTF-8 has no lone surrogates, terminals obey control characters: they become pictures
    (`␀`) or escapes (`\\ud83d`). Line breaks and tabs stay.
    """
    match value:
        case None:
            return ""
        case str():
            return value if value.isprintable() else "".join(map(_visible, value))
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return str(value)
    try:
        return text(json.dumps(value, ensure_ascii=False, default=str))
    except RecursionError:
        return "(nested too deep)"


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\t\r" or not (code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000):
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"\\u{code:04x}"


def _name(value: object) -> str:
    return text(value).strip()


def _day(value: object) -> date:
    """The day as written: elsewhere Pax8 adds a time and an offset without colon (reference/pax8 2)."""
    return date.fromisoformat(_name(value)[:10])


Id = Annotated[str, BeforeValidator(_name), Field(min_length=1)]
Text = Annotated[str, BeforeValidator(_name)]


class _Door(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class PageInfo(_Door):
    """The totals of a page; `number` counts from 0."""

    totalElements: Annotated[int, Field(ge=0)]
    totalPages: Annotated[int, Field(ge=0)]
    number: Annotated[int, Field(ge=0)] | None = None
    size: Annotated[int, Field(ge=0)] | None = None


class Page(_Door):
    """`{"content": [...], "page": {...}}`; without its totals a page proves nothing [S2]."""

    content: list[Any]
    page: PageInfo


class InvoiceHeader(_Door):
    """What must be readable of an invoice before anything else is asked of it."""

    id: Id
    invoiceDate: Annotated[date, BeforeValidator(_day)]
    status: Text = ""

    @property
    def taken(self) -> bool:
        """[S1]; the status is an open string, missing from Pax8's schema."""
        return self.status.lower() not in NOT_TAKEN


class _CompanyRow(_Door):
    id: Id
    name: Text = ""
    externalId: Text = ""
    status: Text = ""


def read_page(value: object) -> Page:
    """Raises ValueError where it is no page."""
    return Page.model_validate(value)


def read_header(invoice: object) -> InvoiceHeader:
    """Raises NotReady where the invoice cannot be told from others or has no month."""
    try:
        return InvoiceHeader.model_validate(invoice)
    except ValidationError as bad:
        fields = ", ".join(sorted({".".join(map(str, error["loc"])) or "object" for error in bad.errors()}))
        shown = text(invoice.get("id")) if isinstance(invoice, dict) else ""
        raise NotReady(f"Pax8's invoice {shown!r:.60} cannot be read: {fields}.") from None


def read_company(row: object) -> Company | None:
    """None for a row without an id: no charge can name it."""
    try:
        held = _CompanyRow.model_validate(row)
    except ValidationError:
        return None
    return Company(id=held.id, name=held.name, external_id=held.externalId, status=held.status or "Active")


def read_source(invoice: Mapping[str, object], items: Sequence[object]) -> Source:
    """One invoice with all its items. Raises NotReady for what cannot be an item, or an id that comes twice [S2]."""
    header = read_header(invoice)
    charges, ids = read_charges(header.id, invoice_currency(invoice), items)
    if twins := [name for name, count in Counter(ids).items() if name and count > 1]:
        raise NotReady(f"Pax8's invoice {header.id} lists the item {twins[0]} twice.")
    return source_of(invoice, charges, ids)


def invoice_currency(invoice: Mapping[str, object]) -> str:
    """What an invoice's items are in where they do not say it themselves."""
    return _currency(invoice.get("currencyCode"), NO_CURRENCY)


def is_item_of(charge: str, invoice_id: str, item: Mapping[str, object]) -> bool:
    """Whether a charge's id is what `source_of` calls this item. Items without an id that are equal are told apart by
    no one: any of them will do."""
    name = item_id(item)
    start = f"{invoice_id}:{name or f'~{fingerprint(_said(item))}'}"
    return charge == start or (not name and charge.startswith(f"{start}:"))


def read_charges(invoice_id: str, currency: str, items: Sequence[object]) -> tuple[list[Charge], list[str]]:
    """Some items of an invoice as charges, and their ids, "" where Pax8 gives none: such a charge is called after its
    content until `source_of` has seen them all. Raises NotReady for what cannot be an item."""
    charges, ids = [], []
    for item in items:
        if not isinstance(item, dict):
            raise NotReady(f"Pax8's invoice {invoice_id} has an item that is not an object: {item!r:.60}.")
        name = item_id(item)
        charge = _read_charge(item, f"{invoice_id}:{name or f'~{fingerprint(_said(item))}'}", invoice_id, currency)
        charges.append(charge if name else replace(charge, former_id=f"{invoice_id}:~{fingerprint(item)}"))
        ids.append(charge.id if name else "")
    return charges, ids


def source_of(invoice: Mapping[str, object], charges: Sequence[Charge], ids: Sequence[str]) -> Source:
    """One invoice with all its charges. [S5]: they are called `invoice:item`, or `invoice:~content:ordinal among
    equals`, so that page order changes no identity."""
    header = read_header(invoice)
    seen: Counter[str] = Counter()
    named = list(charges)
    for place, name in enumerate(ids):
        if not name:
            content, former = named[place].id, named[place].former_id
            seen.update((content, f"former {former}"))
            named[place] = replace(
                named[place], id=f"{content}:{seen[content]}", former_id=f"{former}:{seen[f'former {former}']}"
            )
    return Source(
        invoice_id=header.id,
        invoice_date=header.invoiceDate,
        status=header.status,
        currency=invoice_currency(invoice),
        total=_number(invoice.get("total")),
        carried_balance=_number(invoice.get("carriedBalance")),
        partner_name=_name(invoice.get("partnerName")),
        charges=tuple(named),
    )


def item_id(item: object) -> str:
    """Pax8's id of an item, "" where it gives none: documented, but missing in Pax8's own examples."""
    value = item.get("id") if isinstance(item, dict) else None
    return _name(value) if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool) else ""


# What says *what* is charged [S5]. Whatever else an item holds, or will hold one day, is no part of its identity.
_SAYS_WHAT = (
    "companyId subscriptionId productId sku type term startPeriod endPeriod "
    "quantity price subTotal total cost costTotal purchaseOrderNumber"
).split()


def _said(item: Mapping[str, object]) -> dict[str, object]:
    """What the identity of an item without an id is made of; its product's name only where it has no product id."""
    names = [*_SAYS_WHAT, *(() if item.get("productId") else ("productName",))]
    return {name: item.get(name) for name in names}


def fingerprint(value: object) -> str:
    """16 hex digits of a JSON value's content: key order, number spelling and null fields make no difference."""
    try:
        canonical = json.dumps(_plain(value), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    except RecursionError:
        raise NotReady("An item of Pax8's invoice is nested too deep to be read.") from None
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]


def _read_charge(item: Mapping[str, object], identity: str, invoice_id: str, currency: str) -> Charge:
    currency = _currency(item.get("currencyCode"), currency)
    amounts = read_amounts(
        currency=currency,
        quantity=item.get("quantity"),
        price=item.get("price"),
        sub_total=item.get("subTotal"),
        total=item.get("total"),
        cost=item.get("cost"),
        cost_total=item.get("costTotal"),
    )
    return Charge(
        id=identity,
        invoice_id=invoice_id,
        company_id=_name(item.get("companyId")) or None,
        company_name=_name(item.get("companyName")),
        external_id=_name(item.get("externalId")),
        type=_name(_name(item.get("type")).lower()),
        term=_name(item.get("term")),
        sku=_name(item.get("sku")),
        product_id=_name(item.get("productId")),
        product_name=_name(item.get("productName")),
        description=_name(item.get("description")),
        details=_name(item.get("details")),
        subscription_id=_name(item.get("subscriptionId")),
        purchase_order=_name(item.get("purchaseOrderNumber")),
        start=_name(item.get("startPeriod")),
        end=_name(item.get("endPeriod")),
        quantity=amounts.quantity,
        unit_price=amounts.unit_price,
        unit_cost=amounts.unit_cost,
        price=amounts.price,
        cost=amounts.cost,
        price_rounding=amounts.price_rounding,
        cost_rounding=amounts.cost_rounding,
        sales_tax=_number(item.get("salesTax")) or ZERO,  # shown beside the header only [S8]
        currency=currency,
        billed_by_pax8=item.get("billedByPax8") is True,  # "true" in quotes is not what Pax8 documents: billed
        problem=amounts.problem,
        vendor=_name(item.get("vendorName")),
        unit=_name(item.get("unitOfMeasure")),
    )


def _currency(value: object, otherwise: str) -> str:
    return _name(_name(value).upper()) or otherwise


def _number(value: object) -> Decimal | None:
    try:
        return read_number(value)
    except ValueError:
        return None


def _plain(value: object) -> object:
    """Numbers by value (1, 1.0 and 1e0 are one), strings told apart from them, null fields left out."""
    match value:
        case dict():
            return {str(key): _plain(held) for key, held in value.items() if held is not None}
        case list():
            return [_plain(held) for held in value]
        case bool() | None:
            return value
        case int() | Decimal():
            return ["number", _digits(Decimal(value))]
        case _:
            return value


def _digits(number: Decimal) -> str:
    sign, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int):  # NaN and the infinities
        return str(number)
    written = "".join(map(str, digits)).lstrip("0")
    short = written.rstrip("0")
    return f"{'-' if sign else ''}{short}e{exponent + len(written) - len(short)}" if short else "0"
