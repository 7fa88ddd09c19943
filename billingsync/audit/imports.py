"""A month's imported files and what people decided about cards, as they go into an export [RA2]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.store.ledger import Ledger


class Folder(Protocol):
    """Where an export's files go; cells of tables are made inert there."""

    def put(self, name: str, content: bytes) -> None: ...
    def table(self, name: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None: ...


def write_imports(out: Folder, ledger: Ledger, period: Period) -> None:
    """Every file of the month byte for byte, also those that were replaced or removed, and the state of each row."""
    files = ledger.imports(period=period)
    if not files:
        return
    names = {one.id: f"imports/{one.id}-{re.sub(r'[^A-Za-z0-9._-]+', '_', one.file_name)[-60:]}" for one in files}
    for one in files:
        out.put(names[one.id], ledger.import_body(one.id))
    out.table(
        "imports.csv",
        ("import", "profile", "vendor", "state", "sha256", "bytes", "who", "at", "ended_by", "ended_at", "file"),
        [
            (
                one.id,
                one.profile,
                one.vendor,
                one.state,
                one.sha256,
                one.size,
                one.who,
                one.at.isoformat(),
                one.ended_by,
                one.ended_at.isoformat() if one.ended_at else None,
                names[one.id],
            )
            for one in files
        ],
    )
    out.table(
        "import-rows.csv",
        ("import", "line", "state", "account", "service", "sku", "quantity", "currency", "problem"),
        (
            (
                row.import_id,
                row.line,
                row.state,
                row.account,
                row.service,
                row.sku,
                None if row.quantity is None else plain(row.quantity),
                row.currency,
                row.problem,
            )
            for row in ledger.import_rows([one.id for one in files])
        ),
    )


def write_cards(out: Folder, ledger: Ledger, period: Period) -> None:
    """What was decided about cards in that month, in order."""
    decided = [one for one in ledger.card_decisions() if one.cycle == period]
    if not decided:
        return
    out.table(
        "cards.csv",
        ("card", "digest", "state", "from", "to", "who", "reason", "until"),
        [
            (
                one.card,
                one.digest,
                one.state.value,
                plain(one.before.quantity),
                plain(one.after.quantity),
                one.who,
                one.reason,
                one.until,
            )
            for one in decided
        ],
    )
    _write_written(out, ledger, period)


def _write_written(out: Folder, ledger: Ledger, period: Period) -> None:
    """What was sent for cards of that month, and the recurring invoice before and after, as they were read."""
    writes = [one for one in ledger.card_writes() if one.cycle == period]
    if not writes:
        return
    out.table(
        "card-writes.csv",
        ("write", "undoes", "client", "recurring_invoice", "state", "message", "who", "sent_at", "settled_at", "cards"),
        [
            (
                one.key,
                one.undoes,
                one.client_id,
                one.invoice_id,
                one.state.value,
                one.message,
                one.who,
                one.sent_at.isoformat(),
                one.settled_at.isoformat() if one.settled_at else None,
                " ".join(line.digest for line in one.lines),
            )
            for one in writes
        ],
    )
    for one in writes:
        out.put(f"cards/{one.key}-sent.json", one.content.encode())
        out.put(f"cards/{one.key}-before.json", one.before.encode())
        if one.answer is not None:
            out.put(f"cards/{one.key}-after.json", one.answer.encode())
