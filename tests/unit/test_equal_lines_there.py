"""Sets of equal lines that a forgotten posting may have been made of [N6]: some are tried, never all."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal

from billingsync.core.bill.plan import PlanLine, Posting
from billingsync.core.invoice import InvoiceLine, Mark
from billingsync.core.money import ZERO
from billingsync.core.states import LineAction, PostingAction
from billingsync.run.already_there import MOST_CHOICES, _alike

PRICE = Decimal("22.00")


def _line(nth: int) -> PlanLine:
    return PlanLine(
        action=LineAction.ADD,
        line_id=None,
        title="Mail",
        description="Mail (2026-11-01 to 2026-11-30)",
        item=None,
        quantity=Decimal(1),
        unit_price=PRICE,
        unit_cost=ZERO,
        amount=PRICE,
        cost=ZERO,
        charges=(f"charge {nth}",),
    )


def test_of_many_equal_lines_only_so_many_sets_are_made() -> None:
    posting = Posting(
        key="a" * 20,
        base_key="a" * 20,
        generation=0,
        action=PostingAction.CREATE,
        client_id=1,
        client_name="Contoso",
        invoice_id=None,
        group="",
        currency="USD",
        amount=34 * PRICE,
        cost=ZERO,
        lines=tuple(_line(nth) for nth in range(34)),
    )
    there = [
        InvoiceLine(
            id=nth,
            text="Mail (2026-11-01 to 2026-11-30)",
            mark=Mark(key="b" * 20, installation="00000001", ordinal=nth),
        )
        for nth in range(5)
    ]

    tracemalloc.start()
    try:
        found = list(_alike([posting], there))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert len(found) == MOST_CHOICES
    assert all(len({line.charges for line in lines}) == 5 for _, lines in found)
    assert most < 2_000_000  # bytes: there are 278,256 such sets
