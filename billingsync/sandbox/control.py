"""`/_sandbox/...`: what tests in another process do instead of reaching into the sandbox's objects."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from billingsync.sandbox.faults import Fault
from billingsync.sandbox.halo_invoices import NotFound
from billingsync.sandbox.halo_lines import Refused
from billingsync.sandbox.halo_tables import TABLES
from billingsync.sandbox.people import Deed
from billingsync.sandbox.wire import Answer, Request, Row, decode
from billingsync.sandbox.world import World

_PAX8_TABLES = ("invoices", "companies", "products", "subscriptions")


def answer(world: World, request: Request) -> Answer:
    """404 for an unknown path; 400 with {"error": ...} for a body that cannot be used."""
    try:
        body = decode(request.body) if request.body else {}
        return _answer(world, request.method, request.path.strip("/"), body)
    except NotFound:
        return Answer(status=404, data={"error": "HaloPSA has no such row"})
    except (Refused, ValueError, TypeError, KeyError, AttributeError) as problem:
        return Answer(status=400, data={"error": str(problem)})


def _answer(world: World, method: str, path: str, body: Any) -> Answer:
    notes = world.notes
    match method, path:
        case "GET", "environment":
            return Answer(data=world.environment())
        case "GET", "state":
            return Answer(data=world.state() | {"counts": world.counts()})
        case "POST", "state":
            world.restore(body)
        case "GET", "calls":
            return Answer(data=[call.as_json() for call in notes.calls])
        case "DELETE", "calls":
            notes.calls.clear()
        case "GET", "ignored":
            return Answer(data=[list(entry) for entry in notes.ignored])
        case "GET", "alarms":
            return Answer(data=[asdict(alarm) for alarm in notes.alarms])
        case "POST", "faults":
            for fault in body if isinstance(body, list) else [body]:
                world.faults.add(fault if isinstance(fault, str) else Fault(**_tuples(fault)))
        case "DELETE", "faults":
            world.faults.clear()
        case "POST", "release":
            world.pax8.release()
        case "POST", "land":
            return Answer(data={"landed": world.land()})
        case "POST", "clock":
            world.advance(float(body["advance"]))
            return Answer(data={"done": True, "moment": world.halo.tables.moment()})
        case "POST", "person":
            return Answer(data={"done": True, "row": world.person(Deed(**body))})
        case "POST", "options":
            world.change(**_tuples(body))
        case "POST", "reset":
            world.reset(world.options)
        case "POST", "pax8":
            _edit_pax8(world, body)
        case "POST", "halo":
            _edit_halo(world, body)
        case _:
            return Answer(status=404, data={"error": f"no {method} /_sandbox/{path}"})
    return Answer(data={"done": True})


def _edit_pax8(world: World, body: Row) -> None:
    """`{"invoices": [...], "companies": [...], "items": {"<invoice id>": [...]}, "replace": false}`.

    A row with a known `id` is merged into the one there, another is added, one with `"_delete": true` goes. With
    `replace` the rows are the whole table."""
    replace = body.get("replace", False)
    for name in _PAX8_TABLES:
        if name in body:
            _merge(getattr(world.pax8, name), body[name], replace)
    for invoice_id, rows in body.get("items", {}).items():
        _merge(world.pax8.items.setdefault(invoice_id, []), rows, replace)
    if "hidden" in body:
        world.pax8.hidden = set(body["hidden"])


def _edit_halo(world: World, body: Row) -> None:
    """The same for HaloPSA's tables, e.g. `{"clients": [{"id": 214, "inactive": true}]}`."""
    for name in TABLES:
        if name in body:
            rows = list(world.halo.tables.table(name).values())
            _merge(rows, body[name], body.get("replace", False))
            world.halo.tables.load(name, rows)


def _merge(table: list[Row], rows: list[Row], replace: bool) -> None:
    if replace:
        table.clear()
    for row in rows:
        known = next((old for old in table if row.get("id") is not None and old.get("id") == row["id"]), None)
        if row.get("_delete"):
            if known is not None:
                table.remove(known)
        elif known is not None:
            known |= row
        else:
            table.append(row)


def _tuples(body: Row) -> Row:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in body.items()}
