"""HaloPSA's recurring invoices and items -> the values of a snapshot. Leniently: what cannot be used is a `problem`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from billingsync.core.inputs import Client, Item
from billingsync.core.money import ZERO, read_number
from billingsync.core.reconcile.snapshot import ItemTerms, RecurringInvoice, RecurringLine, WaitingProRata
from billingsync.psa.halo.wire import Raw, read_client, read_item, whole

_COUNTED = ("quantity_users", "quantity_assets", "quantity_licences", "quantity_subscriptions")
_NO_DATE = 1901  # SQL Server's day zero reads as 1899 or 1900 (reference/halopsa 2.7)
_APPROVED = ("", "0", "approved")

Times = tuple[datetime, datetime, ZoneInfo]  # when the reading began and ended, and the zone of HaloPSA's local times


def read_clients(rows: Sequence[Raw], currencies: Sequence[Raw] = ()) -> tuple[Client, ...]:
    """All clients, their currencies by id where rows only number them."""
    codes = {int(found): str(row.get("code") or "") for row in currencies if (found := whole(row.get("id")))}
    return tuple(read_client(row, codes) for row in rows)


def read_items(rows: Sequence[Raw], suppliers: Sequence[Raw] = ()) -> tuple[tuple[Item, ...], dict[int, ItemTerms]]:
    """The catalogue, and by item id what one unit costs and sells for each month."""
    names = {int(found): _text(row.get("name")) for row in suppliers if (found := whole(row.get("id")))}
    items = tuple(read_item(row) for row in rows)
    terms = {}
    for item, row in zip(items, rows, strict=True):
        problems: list[str] = []
        recurring = row.get("isrecurringitem") is not False
        price, cost = ("recurringprice", "recurringcost") if recurring else ("baseprice", "costprice")
        terms[item.id] = ItemTerms(
            price=_number(price, row.get(price), problems),
            cost=_number(cost, row.get(cost), problems),
            supplier=_text(row.get("supplier_name")) or names.get(whole(row.get("supplier_id")) or 0, ""),
        )
    return items, terms


def read_recurring(raw: Raw, times: Times | None = None) -> RecurringInvoice | None:
    """None for a row without an id or a client, of which nothing can be said. `times` decides what is moving [SN4]."""
    invoice_id, client_id = whole(raw.get("id")), whole(raw.get("client_id"))
    if invoice_id is None or client_id is None:
        return None
    schedule = raw.get("schedule")
    plan: Mapping[str, object] = schedule if isinstance(schedule, dict) else {}
    lines = raw.get("lines")
    payer = whole(raw.get("original_client_id")) or client_id
    return RecurringInvoice(
        id=invoice_id,
        client_id=client_id,
        name=_text(raw.get("reference")) or _text(raw.get("name")),
        contract_id=whole(raw.get("contract_id")) or None,
        currency=_text(raw.get("currency_code_name")).upper(),
        period_name=_text(raw.get("periodname")),
        disabled=raw.get("disabled") is True or plan.get("disabled") is True,
        in_approval=_in_approval(raw),
        start=_day(raw.get("startdate")) or _day(plan.get("startdate")),
        end=_day(raw.get("enddate")) or _day(plan.get("end_date")),
        last_created=_day(raw.get("lastcreated")) or _day(plan.get("lastcreated")),
        next_creation=_day(raw.get("nextcreationdate")) or _day(plan.get("nextcreationdate")),
        lines=tuple(_lines(lines if isinstance(lines, list) else [], payer)),
        moving=_moved(raw.get("last_modified"), times),
    )


def _lines(rows: Iterable[object], owner: int) -> Iterable[RecurringLine]:
    for row in rows:
        if isinstance(row, dict) and (line_id := whole(row.get("id"))) is not None:
            yield _line(row, line_id, owner)


def _line(raw: Raw, line_id: int, owner: int) -> RecurringLine:
    problems: list[str] = []
    unit = "unit_price" if raw.get("unit_price") is not None else "baseprice"
    numbers = {name: _number(name, raw.get(name), problems) for name in ("qty_order", unit, "unit_cost")}
    return RecurringLine(
        id=line_id,
        item_id=whole(raw.get("_itemid")) or None,
        text=_text(raw.get("item_shortdescription")) or _first_line(raw.get("item_longdescription")),
        quantity=numbers["qty_order"],
        unit_price=numbers[unit],
        unit_cost=numbers["unit_cost"],
        discount_percent=_number("discount_perc", raw.get("discount_perc"), problems) or ZERO,
        start=_day(raw.get("startdate")),
        end=_day(raw.get("enddate")),
        inactive=raw.get("isinactive") is True,
        one_time=raw.get("onetimecharge") is True,
        meter=raw.get("is_meter") is True,
        heading=raw.get("isgroupdesc") is True,
        bundled=raw.get("is_bundled_line") is True,
        counted=any(raw.get(name) for name in _COUNTED) or (whole(raw.get("recurring_invoice_quantity_type")) or 0) > 0,
        supplier=_text(raw.get("supplier_name")),
        client_id=whole(raw.get("original_client_id")) or owner,
        waiting=tuple(_waiting(raw.get("prorata_data"))),
        problem="; ".join(problems),
    )


def _waiting(value: object) -> Iterable[WaitingProRata]:
    for row in value if isinstance(value, list) else []:
        if not isinstance(row, dict):
            continue
        problems: list[str] = []
        yield WaitingProRata(
            id=whole(row.get("id")),
            day=_day(row.get("date")),
            quantity=_number("quantity", row.get("quantity"), problems) or ZERO,
            unit_price=_number("unitprice", row.get("unitprice"), problems),
            unit_cost=_number("unitcost", row.get("unitcost"), problems),
            invoiced=row.get("isinvoiced") is True,
        )


def _in_approval(raw: Raw) -> bool:
    """Whether somebody must approve before it changes or invoices."""
    status = str(raw.get("approval_status") if raw.get("approval_status") is not None else "").strip().casefold()
    return raw.get("requires_approval") is True and status not in _APPROVED


def _moved(value: object, times: Times | None) -> bool:
    """Whether a local time of HaloPSA lies in the span; the zone it means is not documented, so two are tried."""
    if times is None:
        return False
    began, ended, zone = times
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        return False
    zones = (zone, ZoneInfo("UTC")) if moment.tzinfo is None else (moment.tzinfo,)
    return any(began <= moment.replace(tzinfo=one) <= ended for one in zones)


def _day(value: object) -> date | None:
    try:
        day = date.fromisoformat(_text(value)[:10])
    except ValueError:
        return None
    return day if day.year >= _NO_DATE else None


def _first_line(value: object) -> str:
    lines = _text(value).splitlines()
    return lines[0].strip() if lines else ""


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(name: str, value: object, problems: list[str]) -> Decimal | None:
    try:
        return read_number(value)
    except ValueError as bad:
        problems.append(f"{name}: {bad}")
        return None
