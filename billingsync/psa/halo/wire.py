"""HaloPSA's JSON, read and written (reference/halopsa). Reading is lenient: every property is optional, ids may come
as 12.0, unknown ones are kept; writing uses the schema's names only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from billingsync.core.inputs import Client, Item
from billingsync.core.invoice import Mark
from billingsync.core.money import plain, read_number
from billingsync.core.rules import ProductRules
from billingsync.errors import UpstreamError

_LARGEST_ID = 2**63 - 1  # what databases keep
TEXT_LENGTH = 4000  # HaloPSA's text columns (reference/halopsa 2.7)

_MARK = re.compile(r"\[bs:([0-9a-f]{20}):([0-9a-f]{8}):(\d{1,6})\]")
_NOTE = re.compile(r"billingsync key=([0-9a-f]{20}) installation=([0-9a-f]{8})(?: period=(20\d\d-\d\d))?")
_CURRENCY = re.compile(r"[A-Z]{3}")

Raw = Mapping[str, object]


def number(value: object) -> Decimal | None:
    """A JSON number as `read_number` takes it; anything else, or one that is no amount, is not a number."""
    try:
        return read_number(value)
    except ValueError:
        return None


def id_of(raw: Raw) -> int | None:
    """An id; HaloPSA writes some as 12.0 (reference/halopsa 7)."""
    return whole(raw.get("id"))


def whole(value: object) -> int | None:
    """A whole number that a database can keep; anything else is none."""
    if type(value) is int:
        return value if abs(value) <= _LARGEST_ID else None
    found = number(value)
    return None if found is None or found != found.to_integral_value() else int(found)


def lines_of(raw: Raw) -> list[Raw]:
    found = raw.get("lines")
    return [line for line in found if isinstance(line, dict)] if isinstance(found, list) else []


def nothing(line: Raw) -> bool:
    """A line set to nothing is as good as removed: see `send.finish_removals`."""
    return number(line.get("qty_order")) == 0 and line.get("isinactive") is True


def same(left: object, right: object) -> bool:
    """Equal JSON values; 18 and 18.0 are the same number."""
    one, other = number(left), number(right)
    if one is not None and other is not None:
        return one == other
    return left == right


def _id(value: object) -> object:
    """12, 12.0 and null are ids; 0 and negative numbers mean "none" where a reference to something is meant."""
    found = whole(value)
    return value if found is None else found


def _reference(value: object) -> object:
    number = _id(value)
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def flag(value: object) -> bool:
    """Absent, null, false, 0 and "" are no. Anything else is yes: a strange `inactive` is to hold a bill."""
    return value not in (None, False, 0, "", "false", "False", "0")


Id = Annotated[int, BeforeValidator(_id)]
Reference = Annotated[int | None, BeforeValidator(_reference)]
Text = Annotated[str, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(flag)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _ClientRow(_Row):
    id: Id
    name: Text = ""
    inactive: Flag = False
    dontinvoice: Flag = False
    client_to_invoice: Reference = None
    client_to_invoice_recurring: Reference = None
    currencyisocode: Text = ""
    default_currency_code_name: Text = ""
    clientcurrency: Text = ""
    default_currency_code: Reference = None
    main_site_id: Reference = None
    pax8monthlyinvoice: Annotated[object, BeforeValidator(_id)] = None  # recurring invoices have negative ids
    pax8annualinvoice: Annotated[object, BeforeValidator(_id)] = None
    merged_into_client_id: Reference = None


class _ItemRow(_Row):
    id: Id
    name: Text = ""
    externalreference: Text = ""
    supplier_part_code: Text = ""
    default_supplier_part_code: Text = ""
    assetgroup_id: Reference = None
    inactive: Flag = False
    isinactive: Flag = False
    item_suppliers: Any = None


def read_client(raw: Raw, currencies: Mapping[int, str] | None = None) -> Client:
    """A row of GET /Client, with `currencies` (id -> ISO code) for rows that name only the id. UpstreamError where it
    has no usable id."""
    row = _row(_ClientRow, raw, "/Client")
    by_id = (currencies or {}).get(row.default_currency_code or 0, "")
    codes = (row.currencyisocode, row.default_currency_code_name, row.clientcurrency, by_id)
    return Client(
        id=row.id,
        name=row.name,
        inactive=row.inactive,
        dont_invoice=row.dontinvoice,
        merged_into=row.merged_into_client_id,
        pays_through=row.client_to_invoice if row.client_to_invoice != row.id else None,
        pays_recurring_through=row.client_to_invoice_recurring if row.client_to_invoice_recurring != row.id else None,
        currency=next((code for code in (code.strip().upper() for code in codes) if _CURRENCY.fullmatch(code)), ""),
        site_id=row.main_site_id,
        pax8_monthly_invoice=_nonzero(row.pax8monthlyinvoice),
        pax8_annual_invoice=_nonzero(row.pax8annualinvoice),
    )


def read_item(raw: Raw) -> Item:
    """A row of GET /Item. UpstreamError where it has no usable id."""
    row = _row(_ItemRow, raw, "/Item")
    suppliers = row.item_suppliers if isinstance(row.item_suppliers, list) else []
    codes = [row.supplier_part_code, row.default_supplier_part_code]
    codes += [_text(supplier.get("supplier_sku")) for supplier in suppliers if isinstance(supplier, dict)]
    return Item(
        id=row.id,
        name=row.name,
        external_reference=row.externalreference,
        supplier_part_codes=tuple(dict.fromkeys(code for code in codes if code.strip())),
        group_id=row.assetgroup_id,
        inactive=row.inactive or row.isinactive,
    )


def _nonzero(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value else None


def _row(model: type[Any], raw: Raw, endpoint: str) -> Any:
    try:
        return model.model_validate(raw)
    except ValidationError as wrong:
        fields = ", ".join(str(error["loc"][0]) if error["loc"] else "the row" for error in wrong.errors())
        message = f"HaloPSA's {endpoint} has a row that cannot be read: {fields}"
        raise UpstreamError("HaloPSA", endpoint, 200, message) from None


# Markers --------------------------------------------------------------------------------------------------------------


def mark_of(key: str, installation: str, ordinal: int) -> str:
    """What a line carries, wherever HALO__MARKER puts it [N1]."""
    return f"[bs:{key}:{installation}:{ordinal}]"


def header_note(key: str, installation: str, period: str) -> str:
    """What a new invoice carries in `internal_note`, which is not printed."""
    return f"billingsync key={key} installation={installation} period={period}"


def markers(line: Raw) -> Mark | None:
    """Our marker on a line, in any place that it may have been put: the setting may have changed since."""
    fields = line.get("customfields")
    places = [line.get(name) for name in ("item_longdescription", "productnumber", "item_shortdescription")]
    if fields and isinstance(fields, list):
        places += [field.get("value") for field in fields if isinstance(field, dict)]
    for place in places:
        if isinstance(place, str) and "[bs:" in place and (found := _MARK.findall(place)):
            key, installation, ordinal = found[-1]  # ours is written last
            return Mark(key=key, installation=installation, ordinal=int(ordinal))
    return None


def without_mark(text: str) -> tuple[str, bool]:
    """A text without our marker at its end, and whether one was there."""
    start = text.rfind("[bs:")
    if start < 0 or not _MARK.fullmatch(text[start:].rstrip()):
        return text, False
    return text[:start].rstrip(), True


def header_marker(invoice: Raw) -> Mark | None:
    """Our marker in an invoice's `internal_note`."""
    found = _NOTE.search(_text(invoice.get("internal_note")))
    return Mark(key=found[1], installation=found[2], ordinal=-1, period=found[3] or "") if found else None


# Writing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLine:
    """One line as it goes out. `mark` is `mark_of` it."""

    title: str
    text: str
    quantity: Decimal
    unit_price: Decimal
    unit_cost: Decimal
    item_id: int | None
    tax_code: str | None
    nominal_code: str | None
    mark: str
    one_time: bool = False  # HaloPSA itself is to charge it once


def as_line(line: WireLine, marker: str) -> dict[str, object]:
    """InvoiceDetail (reference/halopsa 3.2). `unit_price` and `baseprice` are sent equal: which one counts on a new
    line is not known."""
    text = _MARK.sub(lambda found: f"({found[0][1:-1]})", line.text)  # a product's name must not pass for our marker
    wire: dict[str, object] = {
        "item_shortdescription": _cut(text, TEXT_LENGTH),
        "item_longdescription": _cut(text, TEXT_LENGTH),
        "qty_order": as_number(line.quantity),
        "unit_price": as_number(line.unit_price),
        "baseprice": as_number(line.unit_price),
        "unit_cost": as_number(line.unit_cost),
    }
    if line.item_id is not None:
        wire |= {"_itemid": line.item_id, "item_code": str(line.item_id)}
    if line.tax_code is not None:
        wire["tax_code"] = line.tax_code
    if line.nominal_code is not None:
        wire["nominal_code"] = line.nominal_code
    if line.one_time:
        wire["onetimecharge"] = True
    if marker == "longdescription":
        # The text is cut around the marker: a text of any length must not push it out (fault 37).
        wire["item_longdescription"] = f"{_cut(text, TEXT_LENGTH - len(line.mark) - 1)}\n{line.mark}"
    elif marker == "productnumber":
        wire["productnumber"] = line.mark
    else:
        wire["customfields"] = [{"id": int(marker.partition(":")[2]), "value": line.mark}]
    return wire


def create_body(
    *,
    client_id: int,
    site_id: int | None,
    invoice_date: date,
    internal_note: str,
    order_number: str | None,
    lines: Sequence[WireLine],
    marker: str,
) -> list[dict[str, object]]:
    """POST /Invoice: one new invoice, complete, as an array of one (reference/halopsa 0.1, 0.8). Noon, so that a shift
    of some hours does not change the date (2.7)."""
    header: dict[str, object] = {
        "client_id": client_id,
        "invoice_date": f"{invoice_date:%Y-%m-%d}T12:00:00",
        "internal_note": internal_note,
        "lines": [as_line(line, marker) for line in lines],
    }
    if site_id is not None:
        header["sitenumber"] = site_id
    if order_number:
        header["order_number"] = order_number
    return [header]


def item_body(*, name: str, sku: str, group: int, codes: ProductRules) -> list[dict[str, object]]:
    """POST /Item [P2] [P4]: prices stay with the lines; what is not configured is not sent."""
    item: dict[str, object] = {
        "name": _cut(name, 250),
        "assetgroup_id": group,
        "externalreference": sku,
        "dont_track_stock": True,
        "doesnotneedconsigning": True,
    }
    if codes.income_account is not None:
        item["nominalcode"] = codes.income_account
    if codes.expense_account is not None:
        item["purchasenominalcode"] = codes.expense_account
    if codes.tax_code is not None:
        item["taxcode"] = int(codes.tax_code) if codes.tax_code.isdigit() else codes.tax_code
    return [item]


def item_group_body(name: str) -> list[dict[str, object]]:
    """POST /AssetGroup: what HaloPSA calls an item group (reference/halopsa 5)."""
    return [{"name": name, "showasitem": True, "item_donttrackstock_default": True}]


def _cut(text: str, length: int) -> str:
    """At most `length` as SQL Server counts: in UTF-16 units, of which an emoji has two."""
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * length:
        return text
    return units[: 2 * (length - 1)].decode("utf-16-le", "ignore") + "…"  # half an emoji at the cut is ignored


def as_number(number: Decimal) -> int | Decimal:
    """Whole numbers as such: 3, not 3.00; others with exactly their digits, however many."""
    whole = number.to_integral_value()
    return int(whole) if whole == number else Decimal(plain(number))
