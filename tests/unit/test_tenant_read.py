"""What of the whole tenant is kept in memory: of a month that was posted not all that HaloPSA said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import cast

from billingsync.connect import Connections
from billingsync.core.invoice import Invoice, InvoiceLine, Mark
from billingsync.core.period import Period
from billingsync.run.tenant import read_tenant

POSTED, FORGOTTEN = "a" * 20, "b" * 20


def _invoice(id_: int, header: str = "", line: str = "") -> Invoice:
    mark = Mark(key=header, installation="01234567", ordinal=-1) if header else None
    on_line = Mark(key=line, installation="01234567", ordinal=0) if line else None
    return Invoice(id=id_, client_id=7, mark=mark, lines=(InvoiceLine(id=1, mark=on_line),), origin={"id": id_})


def test_the_original_is_kept_only_of_what_may_be_asked_for_again() -> None:
    known, forgotten = _invoice(1, POSTED, POSTED), _invoice(2, FORGOTTEN, FORGOTTEN)
    appended, foreign = _invoice(3, line=POSTED), _invoice(4)

    def since(clients: object, day: date, whole: Callable[[Invoice], bool]) -> list[Invoice]:
        return [one if whole(one) else replace(one, origin={}) for one in (known, forgotten, appended, foreign)]

    psa = SimpleNamespace(templates=lambda: (), invoices_since=since)
    ledger = SimpleNamespace(
        heads=lambda period, states: [SimpleNamespace(key=POSTED)], posted_periods=lambda: {"2026-10"}
    )
    connected = cast(Connections, SimpleNamespace(psa=psa, ledger=ledger))
    tenant = read_tenant(connected, Period(2026, 11))
    assert {one.id: bool(one.origin) for one in tenant.invoices} == {1: False, 2: True, 3: True, 4: False}
    # All but the one without a mark of ours are known whole, and need not be read once more.
    assert [id_ for id_ in (1, 2, 3, 4) if tenant.find(id_, template=False)] == [1, 2, 3]
