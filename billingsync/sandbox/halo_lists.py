"""Lists of the emulated HaloPSA: filters, order, paging, and the ways in which they may disappoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.wire import Row

_COMMON = frozenset(
    "pageinate page_no page_size count idonly search advanced_search order order2 order3 order4 order5 orderdesc "
    "orderdesc2 orderdesc3 orderdesc4 orderdesc5 includedetails".split()
)
_INVOICE = frozenset(
    "asset_id awaiting_approval billing_date billingcategory_ids client_id client_ids contract_id includecredits "
    "includeinvoices includelines includepoinvoices invoicedateend invoicedatestart my_approvals notpostedonly "
    "paymentstatuses postedonly purchaseorder_id quote_status ready_for_invoicing recurringinvoice_id reviewrequired "
    "rinvoice_type salesorder_id sent_status site_id stripeautopaymentrequired ticket_id toplevel_id user_id "
    "start_date end_date datesearch third_party_id xero_id quickbooks_id include_linked_item_details".split()
)
_ACTIVE = frozenset("activeinactive includeactive includeinactive toplevel_id".split())
DOCUMENTED: Mapping[str, frozenset[str]] = {
    "invoice": _COMMON | _INVOICE,
    "recurringinvoice": _COMMON | _INVOICE,
    "client": _COMMON
    | _ACTIVE
    | frozenset(
        "accountmanageronly exclude_internal includenotes includeqbofields integration_type integration_tenantids "
        "lastupdatefromdate lastupdatetodate search_name_only showcounts includecolumns columns_id".split()
    ),
    "site": _COMMON | _ACTIVE | frozenset("client_id exclude_internal includeaddress includenotes site_id".split()),
    "item": _COMMON
    | _ACTIVE
    | frozenset("assetgroup_id assetgroups supplier_id recurringonly excluderecurring xerotenantid".split()),
    "supplier": _COMMON | _ACTIVE,
    "assetgroup": frozenset("type istree includetypesforgroups includedetails".split()),
    "tax": frozenset("kashflowtenantid qbocompanyid xerotenantid related_to includedetails".split()),
    "lookup": frozenset("lookupid showallcodes exclude_zero domain includedetails".split()),
    "currency": frozenset(),
    "invoicedetailprorata": _COMMON,
    "tickets": _COMMON | frozenset("client_id open_only closed_only search_summary tickettype_id".split()),
    "invoicechange": _COMMON | frozenset({"invoice_id", "line_id", "type_id"}),
}


class BadParameter(ValueError):
    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value
        super().__init__(f"The value '{value}' is not valid.")


def truth(query: Mapping[str, str], name: str, default: bool = False) -> bool:
    return query.get(name, str(default)).lower() in ("true", "1")


def whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "").strip() or str(default)
    try:
        return int(text)
    except ValueError:
        raise BadParameter(name, text) from None


def envelope(options: SandboxOptions, rows: list[Row], query: Mapping[str, str], key: str) -> Row:
    """The rows asked for, in HaloPSA's envelope. Without paging or `count` a list stops at 50 rows, silently."""
    total = len(rows)
    rows = ordered(rows, query)
    if truth(query, "pageinate") and options.list_paging != "ignored":
        size = max(1, whole(query, "page_size", 50))
        if options.max_page_size is not None:
            size = min(size, options.max_page_size)
        number = max(1, whole(query, "page_no", 1))
        first = 0 if options.list_paging == "repeats" else (number - 1) * size
        return {"page_no": number, "page_size": size, "record_count": total, key: rows[first : first + size]}
    count = whole(query, "count", options.list_cap)
    return {"page_size": count, "record_count": total, key: rows[:count]}


def ordered(rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    """By `order`, `order2`, ... as far as the rows have such properties. Without it: as stored, which is no promise."""
    for suffix in ("5", "4", "3", "2", ""):
        name = query.get(f"order{suffix}", "").lower()
        if name and any(name in row for row in rows):
            rows = sorted(rows, key=_by(name), reverse=truth(query, f"orderdesc{suffix}"))
    return rows


def _by(name: str) -> Callable[[Row], tuple[int, Any]]:
    def key(row: Row) -> tuple[int, Any]:
        value = row.get(name)
        if value is None:
            return (0, 0)
        return (1, Decimal(value)) if isinstance(value, (bool, int, Decimal)) else (2, str(value).lower())

    return key


def invoices(options: SandboxOptions, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    """The filters of GET /Invoice and GET /RecurringInvoice."""
    if not truth(query, "includecredits"):
        rows = [row for row in rows if not row["invoicetype"]]
    for parameter, name in (("client_id", "client_id"), ("site_id", "sitenumber"), ("ticket_id", "ticket_id"),
                            ("recurringinvoice_id", "recurring_invoice_id"), ("quickbooks_id", "qboid")):  # fmt: skip
        if parameter == "recurringinvoice_id" and options.recurring_filter == "ignored":
            continue
        if wanted := whole(query, parameter, 0):
            rows = [row for row in rows if row[name] == wanted]
    for parameter, name in (("third_party_id", "thirdpartyinvoicenumber"), ("xero_id", "xeroid")):
        if text := query.get(parameter):
            rows = [row for row in rows if row[name] == text]
    if query.get("client_ids") and options.client_ids_filter == "supported":
        ids = {whole({"client_ids": part}, "client_ids", 0) for part in query["client_ids"].split(",")}
        rows = [row for row in rows if row["client_id"] in ids]
    if truth(query, "postedonly"):
        rows = [row for row in rows if row["posted"]]
    if truth(query, "notpostedonly"):
        rows = [row for row in rows if not row["posted"]]
    if query.get("search"):
        rows = searched(rows, query["search"], ("invoicenumber", "reference", "order_number", "client_name"))
    return _dated(options, rows, query)


def _dated(options: SandboxOptions, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    names = {
        "invoice_date": "invoice_date",
        "last_modified": "last_modified",
        "duedate": "duedate",
        "schedulestartdate": "startdate",
        "scheduleenddate": "enddate",
    }
    name = names.get(query.get("datesearch", "").lower())
    if name is None or options.date_filter == "ignored":
        return rows
    first, last = query.get("start_date", "")[:10], query.get("end_date", "")[:10]
    if first:
        rows = [row for row in rows if str(row.get(name, ""))[:10] >= first]
    if last:
        rows = [row for row in rows if str(row.get(name, ""))[:10] <= last]
    return rows


def searched(rows: list[Row], text: str, names: tuple[str, ...]) -> list[Row]:
    """`search` is a contains-match; which properties it looks at is not documented."""
    text = text.lower()
    return [row for row in rows if any(text in str(row.get(name, "")).lower() for name in names)]


def tickets(rows: list[Row], query: Mapping[str, str]) -> list[Row]:
    """The filters of GET /Tickets that are emulated."""
    if query.get("search_summary"):
        rows = searched(rows, query["search_summary"], ("summary",))
    return rows


def active(rows: list[Row], query: Mapping[str, str], *, listed: bool = False) -> list[Row]:
    """`includeinactive`, `includeactive`; `listed`: inactive ones are there unasked."""
    if not (listed or truth(query, "includeinactive")):
        rows = [row for row in rows if not row.get("inactive")]
    if not truth(query, "includeactive", default=True):
        rows = [row for row in rows if row.get("inactive")]
    return rows
