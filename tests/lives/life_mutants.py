"""Bugs planted on purpose, of the kinds that lives are about: each with the small life that must see it.

Most break the product where its months meet its memory: what the pure plan is given to know, and what comes of it. The
others break what it sends to HaloPSA, or what it believes of an answer.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from unittest import mock

from life_script import Event, Script

from billingsync.run import plan as plan_module
from billingsync.sandbox.world import World

Inputs = Any
Plan = Any


@dataclass(frozen=True)
class Mutant:
    name: str
    plant: Callable[[], contextlib.AbstractContextManager[Any]]
    life: Script


def _life(behavior: str, *events: tuple[int, str, str] | tuple[int, str, str, int] | tuple[int, str, str, int, int],
          months: int = 3, clients: int = 2) -> Script:  # fmt: skip
    """A life of `clients` clients of one behavior; an event is (month, phase, kind, n, who)."""
    found = []
    for month, phase, kind, *more in events:
        n, who = (*more, 1, 0)[0] if more else 1, more[1] if len(more) > 1 else 0
        found.append(Event(month, phase, kind, who, n))
    return Script(0, (behavior,) * clients, months, tuple(found))


# What the plan is given to know, and what comes of it -----------------------------------------------------------------


def _knowing(change: Callable[[Inputs], Inputs]) -> Callable[[], Any]:
    """The plan is made of other inputs."""
    true = plan_module.plan_run
    return lambda: mock.patch.object(plan_module, "plan_run", lambda inputs: true(change(inputs)))


def _remembering(**forgotten: Any) -> Callable[[], Any]:
    """The plan is made without some of its memory."""
    return _knowing(lambda inputs: replace(inputs, memory=replace(inputs.memory, **forgotten)))


def _charges(change: Callable[[Any], Any]) -> Callable[[], Any]:
    """Each charge is read as another one; None: not at all."""

    def changed(inputs: Inputs) -> Inputs:
        sources = tuple(
            replace(source, charges=tuple(new for one in source.charges if (new := change(one)) is not None))
            for source in inputs.sources
        )
        return replace(inputs, sources=sources)

    return _knowing(changed)


def _planning(change: Callable[[Plan], Plan]) -> Callable[[], Any]:
    """Something else is posted than was planned."""
    true = plan_module.plan_run
    return lambda: mock.patch.object(plan_module, "plan_run", lambda inputs: change(true(inputs)))


def _postings(change: Callable[[Any], Any]) -> Callable[[], Any]:
    return _planning(
        lambda plan: replace(plan, postings=tuple(new for one in plan.postings if (new := change(one)) is not None))
    )


def _without(*actions: str) -> Callable[[Any], Any]:
    def change(posting: Any) -> Any:
        lines = tuple(line for line in posting.lines if line.action not in actions)
        return replace(posting, lines=lines) if lines else None

    return change


def _late_by_a_month() -> Any:
    """Whoever has a subscription pays for the seats of the month before."""
    seen: dict[tuple[str, str], Any] = {}

    def change(charge: Any) -> Any:
        key = (charge.company_id, charge.subscription_id or charge.id)
        before = seen.setdefault(key, charge)
        return replace(charge, quantity=before.quantity, price_amount=before.price_amount)

    return _charges(change)()


# What is sent, and what is believed -----------------------------------------------------------------------------------


def _sending(change: Callable[[str, list[Any]], None]) -> Callable[[], Any]:
    """The body of each write to HaloPSA is another one."""
    true = World.answer

    def answer(self: World, service: str, request: Any, call: Any, **more: Any) -> Any:
        if service == "halo" and request.method == "POST" and b'"lines"' in request.body:
            body = json.loads(request.body, parse_float=Decimal)
            change(request.path.lower(), body)
            request = replace(request, body=json.dumps(body, default=float).encode())
        return true(self, service, request, call, **more)

    return lambda: mock.patch.object(World, "answer", answer)


def _others_left_out(path: str, body: list[Any]) -> None:
    for row in body:
        if row.get("id"):
            row["lines"] = [line for line in row["lines"] if line.get("item_shortdescription") != "By hand"]


def _others_as_they_were(path: str, body: list[Any]) -> None:
    for row in body:
        for line in row["lines"]:
            if line.get("item_shortdescription") == "By hand":
                line["qty_order"] = 4


def _dearer(path: str, body: list[Any]) -> None:
    for row in body:
        for line in row["lines"]:
            if "[bs:" in str(line.get("item_longdescription")):
                line["unit_price"] = line["baseprice"] = line["unit_price"] + 1


def _reading(change: Callable[[str, Any], Any]) -> Callable[[], Any]:
    """What Pax8 answers is read as something else."""
    true = World.answer

    def answer(self: World, service: str, request: Any, call: Any, **more: Any) -> Any:
        found = true(self, service, request, call, **more)
        if service == "pax8" and isinstance(found.data, dict) and "content" in found.data:
            return replace(found, data=change(request.path, found.data))
        return found

    return lambda: mock.patch.object(World, "answer", answer)


def _status(*statuses: str) -> Callable[[str, Any], Any]:
    def change(path: str, data: Any) -> Any:
        rows = [row | {"status": "Unpaid"} if row.get("status") in statuses else row for row in data["content"]]
        return data | {"content": rows}

    return change


def _one_a_month(path: str, data: Any) -> Any:
    if path.rstrip("/") != "/invoices":
        return data
    seen: dict[str, Any] = {}
    for row in data["content"]:
        seen.setdefault(row["invoiceDate"][:7], row)
    count = len(seen)
    return data | {"content": list(seen.values()), "page": data["page"] | {"totalElements": count, "totalPages": 1}}


@contextlib.contextmanager
def _both(*plants: Callable[[], Any]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for plant in plants:
            stack.enter_context(plant())
        yield


_BILLED, _BEGIN, _UNBILLED = "billed", "begin", "unbilled"

MUTANTS = [
    Mutant("what earlier invoices billed is not known", _remembering(twins=(), live=()),
           _life("new", (1, _UNBILLED, "reissue_next"), months=2)),
    Mutant("what an invoice said is not known, nor its twins", _remembering(said=(), twins=()),
           _life("new", (1, _BILLED, "ids"), months=2)),
    Mutant("a credited invoice's postings are not known", _remembering(live=()),
           _life("new", (1, _BILLED, "reissue_late"), months=2)),
    Mutant("a credited invoice still counts", _knowing(lambda inputs: replace(inputs, credited=frozenset())),
           _life("new", (1, _BILLED, "reissue_late"), months=2)),
    Mutant("what is billed is not known", _remembering(settled={}, said=(), twins=()),
           _life("new", (1, _BILLED, "again"), months=2)),
    Mutant("an undone key is used again", _remembering(generations={}), _life("new", (1, _BILLED, "undo"), months=2)),
    Mutant("lines of last month are not known", _remembering(written_lines=()), _life("recurring", months=2)),
    Mutant("who was said to pay is forgotten", _remembering(matches={}, billed={}),
           _life("new", (1, _BEGIN, "move", 1), months=2)),
    Mutant("only the first invoice of a month counts",
           _knowing(lambda inputs: replace(inputs, sources=inputs.sources[:1])),
           _life("new", (1, _BILLED, "second"), months=2)),
    Mutant("prorates are passed over", _charges(lambda one: None if one.type == "prorate" else one),
           _life("new", (1, _BEGIN, "prorate"), months=2)),
    Mutant("credits are passed over", _charges(lambda one: None if one.price_amount < 0 else one),
           _life("new", (1, _BEGIN, "credit"), months=2)),
    Mutant("one-time charges are passed over", _charges(lambda one: None if one.type == "one-time" else one),
           _life("latest", (1, _BEGIN, "one_time"), months=2)),
    Mutant("seats of the month before", _late_by_a_month, _life("new", (1, _BEGIN, "seats", 9), months=2)),
    Mutant("a renamed company is another one",
           _charges(lambda one: replace(one, company_id="" if " No" in one.company_name else one.company_id)),
           _life("new", (1, _BEGIN, "rename_company"), months=2)),
    Mutant("HaloPSA's invoices are not known", _knowing(lambda inputs: replace(inputs, existing=())),
           _life("recurring", months=2)),
    Mutant("one invoice of a run is left out", _planning(lambda plan: replace(plan, postings=plan.postings[1:])),
           _life("new", months=1)),
    Mutant("another client pays", _postings(lambda one: replace(one, client_id=302)), _life("new", months=1)),
    Mutant("one-time lines stay on the template", _postings(_without("remove")),
           _life("recurring", (0, _BEGIN, "one_time"), months=2)),
    Mutant("lines on the template stay as they were", _postings(_without("update")),
           _life("recurring", (1, _BEGIN, "seats", 9), months=2)),
    Mutant("what is new does not reach the template", _postings(_without("add")),
           _life("recurring", (1, _BEGIN, "one_time"), months=2)),
    Mutant("cost is not sent",
           _postings(lambda one: replace(one, cost=Decimal(0), lines=tuple(
               replace(line, cost=Decimal(0), unit_cost=Decimal(0)) for line in one.lines))),
           _life("new", months=1)),
    Mutant("people's lines are left out", _sending(_others_left_out), _life("recurring", months=2)),
    Mutant("people's lines are put back", _sending(_others_as_they_were),
           _life("recurring", (0, _BILLED, "edit_own", 6), months=2)),
    Mutant("another price is sent", _sending(_dearer), _life("latest", months=1)),
    Mutant("credited invoices are read as good", _reading(_status("Credited")),
           _life("new", (1, _UNBILLED, "reissue_early", 3), months=2)),
    Mutant("void invoices are read as good", _reading(_status("Void")),
           _life("new", (1, _UNBILLED, "reissue_early", 6), months=2)),
    Mutant("an invoice that comes later is not seen", _reading(_one_a_month),
           _life("latest", (1, _BILLED, "second"), months=2)),
]  # fmt: skip
