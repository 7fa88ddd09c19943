"""What a person does in HaloPSA's own screens, now or right before a call of somebody else's arrives."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from billingsync.sandbox.halo import Halo
from billingsync.sandbox.halo_invoices import NotFound
from billingsync.sandbox.wire import Request, Row, copy_json

DEEDS = ("edit", "add_line", "remove_line", "delete", "close", "make", "approve")
_CLOSED = ("posted", "sent", "paid", "voided")


@dataclass(frozen=True, kw_only=True)
class Deed:
    """`do`: one of DEEDS, to the invoice `id` (negative: a recurring one) or to its line `line`.

    `set`: the properties that edit changes, or those of the line that add_line adds. `how`: what close makes of it,
    posted | sent | paid | voided. `at` (a moment in HaloPSA's time) and `moves`: see `Making.command`.
    `before`: {"method": "POST", "path": "/Invoice", "nth": 1}: only when that call arrives; without it now.
    """

    do: str
    id: int
    line: int = 0
    set: Row = field(default_factory=dict)
    how: str = "posted"
    at: str | None = None
    moves: bool = True
    who: str = "Jane"
    before: Row = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.do not in DEEDS:
            raise ValueError(f"do is one of {', '.join(DEEDS)}, not {self.do!r}")
        if self.how not in _CLOSED:
            raise ValueError(f"how is one of {', '.join(_CLOSED)}, not {self.how!r}")

    def matches(self, service: str, request: Request) -> bool:
        path = request.path.lower().rstrip("/")
        return (
            service == "halo"
            and self.before.get("method", "*") in ("*", request.method)
            and fnmatchcase(path, str(self.before.get("path", "*")).lower())
        )


class People:
    """Deeds that wait for their call, in order."""

    def __init__(self) -> None:
        self.waiting: list[Deed] = []
        self._seen: list[int] = []

    def plan(self, deed: Deed) -> None:
        self.waiting.append(deed)
        self._seen.append(0)

    def clear(self) -> None:
        self.waiting.clear()
        self._seen.clear()

    def before(self, halo: Halo, service: str, request: Request) -> None:
        """Does what was planned for the moment before this call."""
        for index in range(len(self.waiting) - 1, -1, -1):
            deed = self.waiting[index]
            if deed.matches(service, request):
                self._seen[index] += 1
                if self._seen[index] >= int(deed.before.get("nth", 1)):
                    del self.waiting[index], self._seen[index]
                    act(halo, deed)


def act(halo: Halo, deed: Deed) -> Row | None:
    """Does it; gives the row that came of it, if any. Raises NotFound, Refused, ValueError."""
    if deed.do == "make":
        return halo.making.command(deed.id, deed.at, moves=deed.moves)
    if deed.do == "approve":
        return halo.making.approve(deed.id, deed.at)
    name = "recurring" if deed.id < 0 else "invoices"
    there = halo.tables.table(name).get(deed.id)
    if there is None:
        raise NotFound
    if deed.do == "delete":
        halo.tables.delete(name, deed.id)
        halo.tables.log_change(deed.id, 0, "invoice deleted", deed.id, None, who=deed.who)
        return None
    row: Row = copy_json(there)
    _change(halo, row, deed)
    for line in row["lines"]:
        halo.invoices.lines.compute(row, line)
    halo.invoices.compute(row)
    if deed.do == "close":
        row |= _closed(row, deed.how, halo.tables.moment())
    row |= {"change_seq": row["change_seq"] + 1, "last_modified": halo.tables.moment()}
    halo.tables.put(name, row)
    return row


def _change(halo: Halo, row: Row, deed: Deed) -> None:
    tables = halo.tables
    if deed.do == "add_line":
        halo.invoices.lines.write(row, [deed.set], "append", "")
        tables.changes[-1]["who"] = deed.who
    if deed.do not in ("edit", "remove_line"):
        return
    target: Row = row
    if deed.line:
        found = next((line for line in row["lines"] if line["id"] == deed.line), None)
        if found is None:
            raise NotFound
        target = found
    if deed.do == "remove_line":
        row["lines"] = [line for line in row["lines"] if line["id"] != deed.line]
        tables.log_change(row["id"], deed.line, "line removed", deed.line, None, who=deed.who)
        return
    for name, value in deed.set.items():
        tables.log_change(row["id"], deed.line, name, target.get(name), value, who=deed.who)
    target |= copy_json(deed.set)


def _closed(row: Row, how: str, now: str) -> dict[str, Any]:
    if how == "sent":
        return {"datesent": now, "emailstatus": 2}
    if how == "voided":
        return {"voided": True, "amountdue": 0}
    posted = {"posted": True, "dateposted": now}
    if how == "posted":
        return posted
    return {**posted, "paymentstatus": 2, "amountpaid": row["total"], "amountdue": 0, "datepaid": now}
