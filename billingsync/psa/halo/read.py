"""HaloPSA's invoices and recurring invoices -> `core.invoice.Invoice`. Lenient: every property is optional."""

from __future__ import annotations

import re
from decimal import Decimal

from billingsync.core.invoice import Invoice, InvoiceLine
from billingsync.core.money import ZERO
from billingsync.psa.halo.wire import Raw, flag, header_marker, id_of, lines_of, markers, number, whole, without_mark

# HaloPSA writes "no date" as a date long ago (reference/halopsa 2.7).
_NO_DATE = ("", "1899-12-30", "1900-01-01", "0001-01-01")
_ACCOUNTING_IDS = (
    "xeroid",
    "qboid",
    "intacct_recordno",
    "sage_business_cloud_id",
    "exact_id",
    "dbc_id",
    "kashflowid",
    "snelstart_id",
)
_AUTOMATIC = ("quantity_licences", "quantity_subscriptions", "quantity_users", "quantity_assets")
_CURRENCY = re.compile(r"[A-Z]{3}")


def read_invoice(raw: Raw, *, template: bool | None = None) -> Invoice | None:
    """One row or object; None where it has no usable id. `template` says which it is where the caller knows: ids of
    recurring invoices are negative in lists, and some builds show them without the sign."""
    found = id_of(raw)
    if found is None:
        return None
    lines = raw.get("lines")
    return Invoice(
        id=found,
        client_id=whole(raw.get("client_id")),
        client_name=_text(raw.get("client_name")),
        number=str(raw.get("invoicenumber") or ""),
        reference=_text(raw.get("reference")).strip(),
        date=_text(raw.get("invoice_date"))[:10],
        created=_moment(raw.get("date_created") or raw.get("datecreated")),
        modified=_moment(raw.get("last_modified")),
        template=found < 0 if template is None else template,
        disabled=flag(raw.get("disabled")),
        counts_licences=flag(raw.get("contains_calculated_quantity")),
        void=flag(raw.get("voided")),
        credit_note=_number(raw.get("invoicetype")) != 0 or _number(raw.get("creditlinkedtoinvoiceid")) > 0,
        closed=closed_because(raw),
        currency=_currency(raw),
        last_created=_moment(raw.get("lastcreated")),
        next_creation=_moment(raw.get("nextcreationdate")),
        made_from=_reference(raw.get("recurring_invoice_id")),
        mark=header_marker(raw),
        lines=tuple(map(_line, lines_of(raw))),
        lines_shown=isinstance(lines, list),
        origin=raw,
    )


def closed_because(raw: Raw) -> str:
    """Why an invoice must not be written to any more; "" while it is open (reference/halopsa 3.3)."""
    if flag(raw.get("voided")):
        return "is void"
    if flag(raw.get("posted")) or _date(raw.get("dateposted")) or _date(raw.get("last_synced")):
        return "is posted to accounting"
    for name in _ACCOUNTING_IDS:
        if raw.get(name) not in (None, "", 0, "0", False):
            return f"is in accounting ({name} is set)"
    if flag(raw.get("quickbooks_period_closed")):
        return "lies in a closed accounting period"
    if _number(raw.get("amountpaid")) != 0 or _number(raw.get("paymentstatus")) > 0 or _date(raw.get("datepaid")):
        return "is paid, wholly or in part"
    if _date(raw.get("datesent")):
        return "was sent to the customer"
    if flag(raw.get("requires_approval")) or _number(raw.get("approval_status")) > 0:
        return "is being approved"
    if _number(raw.get("invoicetype")) > 0 or _number(raw.get("creditlinkedtoinvoiceid")) > 0:
        return "is a credit note"
    return ""


def _line(raw: Raw) -> InvoiceLine:
    long, marked = without_mark(_text(raw.get("item_longdescription")))
    price = number(raw.get("unit_price"))
    item = whole(raw.get("_itemid")) or 0
    rows = raw.get("prorata_data")
    return InvoiceLine(
        id=id_of(raw),
        title=_text(raw.get("item_shortdescription")),
        text=long,
        marked_text=marked,
        quantity=_number(raw.get("qty_order")),
        unit_price=price if price is not None else _number(raw.get("baseprice")),
        unit_cost=number(raw.get("unit_cost")),
        net_amount=number(raw.get("net_amount")),
        discount_percent=_number(raw.get("discount_perc")),
        item_id=item if item > 0 else None,
        tax_code=_code(raw.get("tax_code")),
        account=_code(raw.get("nominal_code")),
        inactive=flag(raw.get("isinactive")),
        automatic=any(raw.get(name) for name in _AUTOMATIC) or _number(raw.get("recurring_invoice_quantity_type")) > 0,
        counts_licences=bool(raw.get("quantity_licences") or raw.get("quantity_subscriptions")),
        one_time=flag(raw.get("onetimecharge")),
        one_time_invoice_id=_reference(raw.get("onetimechargeinvoiceid")),
        prorata=len(rows) if isinstance(rows, list) else 0,
        mark=markers(raw),
        made_from=(_reference(raw.get("recurring_invoice_id")), _reference(raw.get("recurring_invoice_line_id"))),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _code(value: object) -> str | None:
    return str(value) if value not in (None, "") else None


def _number(value: object) -> Decimal:
    found = number(value)
    return ZERO if found is None else found


def _reference(value: object) -> int | None:
    return whole(value) or None


def _date(value: object) -> bool:
    return isinstance(value, str) and value[:10] not in _NO_DATE


def _moment(value: object) -> str:
    return value[:19] if isinstance(value, str) and _date(value) else ""


def _currency(raw: Raw) -> str:
    for name in ("currency_code_name", "currency"):
        code = _text(raw.get(name)).strip().upper()
        if _CURRENCY.fullmatch(code):
            return code
    return ""
