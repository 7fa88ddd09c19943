"""What the emulated HaloPSA stores: tables of rows with the names they have over the wire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from billingsync.sandbox.clock import Clock
from billingsync.sandbox.wire import Row, copy_json

TABLES = (
    "clients", "sites", "items", "groups", "taxes", "suppliers", "currencies", "lookups", "invoices", "recurring",
    "tickets",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Written:
    """One write as the journal keeps it: `before` is None for a new row. Rows are replaced, never changed in place,
    so the row of before is simply kept."""

    at: float
    table: str
    id: int
    before: Row | None


class HaloTables:
    """Rows by id; recurring invoices have negative ids. All may be edited between calls."""

    def __init__(self, month: str, clock: Clock) -> None:
        self.clients: dict[int, Row] = {}
        self.sites: dict[int, Row] = {}
        self.items: dict[int, Row] = {}
        self.groups: dict[int, Row] = {}
        self.taxes: dict[int, Row] = {}
        self.suppliers: dict[int, Row] = {}
        self.currencies: dict[int, Row] = {}
        self.lookups: dict[int, Row] = {}
        self.invoices: dict[int, Row] = {}
        self.recurring: dict[int, Row] = {}
        self.tickets: dict[int, Row] = {}
        self.changes: list[Row] = []  # HaloPSA's own audit trail
        self.next_ids = {
            "invoices": 90_001,
            "recurring": -201,
            "lines": 24_001,
            "items": 501,
            "groups": 41,
            "tickets": 2001,
            "prorata": 1,
        }
        self.journal: list[Written] = []
        self._clock = clock
        self._start = datetime.fromisoformat(f"{month}-05T09:00:00")
        self._ticks = 0

    def table(self, name: str) -> dict[int, Row]:
        rows: dict[int, Row] = getattr(self, name)
        return rows

    def moment(self) -> str:
        """HaloPSA's local time: it starts on the fifth of the month; a second passes with every write, and what the
        clock is moved on, so that two runs of the same calls end in the same state."""
        return (self._start + timedelta(seconds=self._ticks + int(self._clock.moved))).isoformat()

    def new_id(self, name: str) -> int:
        given = self.next_ids[name]
        self.next_ids[name] += -1 if name == "recurring" else 1
        return given

    def put(self, name: str, row: Row) -> None:
        """Stores the row in place of the one with its id."""
        table = self.table(name)
        self.journal.append(Written(self._clock.now(), name, row["id"], table.get(row["id"])))
        table[row["id"]] = row
        self._ticks += 1

    def delete(self, name: str, row_id: int) -> None:
        before = self.table(name).pop(row_id)
        self.journal.append(Written(self._clock.now(), name, row_id, before))
        self._ticks += 1

    def rows(self, name: str, *, hidden_since: float | None = None) -> list[Row]:
        """The table's rows; with `hidden_since` as they were before that time on the clock."""
        table = self.table(name)
        if hidden_since is None:
            return list(table.values())
        table = dict(table)
        for written in reversed(self.journal):
            if written.at < hidden_since:
                break
            if written.table == name and written.before is None:
                table.pop(written.id, None)
            elif written.table == name and written.before is not None:
                table[written.id] = written.before
        return list(table.values())

    def log_change(
        self, invoice_id: int, line_id: int, field: str, old: Any, new: Any, *, who: str = "billing API agent"
    ) -> None:
        self.changes.append(
            {
                "id": len(self.changes) + 1,
                "invoice_id": invoice_id,
                "invoice_line_id": line_id,
                "field_name": field,
                "old_value": "" if old is None else str(old),
                "new_value": "" if new is None else str(new),
                "who": who,
                "datetime": self.moment(),
            }
        )

    def settle(self) -> None:
        """What was stored so far has always been there."""
        self.journal.clear()
        self.changes.clear()
        self._ticks = 0

    def state(self) -> dict[str, Any]:
        """Everything that calls can change, as a deep copy that JSON can hold."""
        return {
            **{name: copy_json(list(self.table(name).values())) for name in TABLES},
            "changes": copy_json(self.changes),
            "next_ids": dict(self.next_ids),
            "ticks": self._ticks,
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name in TABLES:
            self.load(name, copy_json(state[name]))
        self.changes[:] = copy_json(state["changes"])
        self.next_ids = dict(state["next_ids"])
        self._ticks = state["ticks"]
        self.journal.clear()

    def load(self, name: str, rows: Iterable[Row]) -> None:
        table = self.table(name)
        table.clear()
        table.update((row["id"], row) for row in rows)
