"""Postings for the ledger's tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billingsync.core.bill.plan import ItemRef, PlanLine, Posting
from billingsync.core.period import Period
from billingsync.core.remembered import WrittenLine
from billingsync.store.book import Fence
from billingsync.store.ledger import Ledger
from billingsync.store.postings import Receipt, RecordedPosting, ReturnedLine, lines_text, posted_lines

PERIOD = Period(2026, 11)
NOW = datetime(2026, 11, 22, 1, 53, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=4)
CONTENT = '[{"client_id":214,"note":"\\u0000 é ✓ 𝄞","lines":[]}]'


def plan_line(*charges: str, amount: str = "10.00", cost: str = "8.00", action: str = "add") -> PlanLine:
    return PlanLine(
        action=action,
        line_id=None,
        title="Product",
        description="Product é (2026-11-01 to 2026-11-30)\nsecond line",
        item=ItemRef(id=17, name="Item"),
        quantity=Decimal(1),
        unit_price=Decimal(amount),
        unit_cost=Decimal(cost),
        amount=Decimal(amount),
        cost=Decimal(cost),
        charges=charges,
        group="PO-1",
        recurring_key="214|sub",
    )


def posting(
    key: str,
    *lines: PlanLine,
    base_key: str | None = None,
    generation: int = 0,
    client_id: int = 214,
    currency: str = "USD",
) -> Posting:
    return Posting(
        key=key,
        base_key=base_key or key,
        generation=generation,
        action="create",
        client_id=client_id,
        client_name="Contoso Ltd",
        invoice_id=None,
        group="",
        currency=currency,
        amount=sum((line.amount for line in lines), Decimal(0)),
        cost=sum((line.cost for line in lines), Decimal(0)),
        lines=lines,
    )


def simple(key: str, *charges: str, **options: object) -> Posting:
    """A posting with a line of 10.00 for each charge."""
    return posting(key, *(plan_line(charge) for charge in charges), **options)  # type: ignore[arg-type]


def intend(
    ledger: Ledger, fence: Fence, run: str, wanted: Posting, *, content: str = CONTENT, now: datetime = NOW
) -> None:
    ledger.record_intent(fence, run, wanted, content, posted_lines(wanted, {}), now)


def read_back(ledger: Ledger, wanted: Posting, content: str = CONTENT) -> RecordedPosting:
    lines = posted_lines(wanted, {})
    return ledger.read_back(wanted.key, content, lines, lines_text(lines))


def receipt(
    wanted: Posting,
    invoice_id: int = 90211,
    *,
    written: Sequence[WrittenLine] = (),
    gone: Sequence[tuple[int, int]] = (),
) -> Receipt:
    return Receipt(
        invoice_id=invoice_id,
        answer='{"id": 90211}',
        price=wanted.amount,
        cost=wanted.cost,
        lines=tuple(
            ReturnedLine(ordinal=ordinal, line_id=9000 + ordinal, amount=line.amount, cost=line.cost)
            for ordinal, line in enumerate(wanted.lines)
        ),
        written=tuple(written),
        gone=tuple(gone),
    )


def written_line(line_id: int = 9001, *, invoice_id: int = -237, quantity: str = "10", key: str = "") -> WrittenLine:
    """`key` is the posting that wrote it, "" where the ledger is to take the one that it records."""
    return WrittenLine(
        key=key,
        invoice_id=invoice_id,
        line_id=line_id,
        client_id=214,
        company_id="c-1",
        period="2026-11",
        recurring_key="214|sub",
        title="Product",
        description="Product é",
        quantity=Decimal(quantity),
        unit_price=Decimal("22.00"),
        unit_cost=Decimal("18.123456"),
        item_id=None,
    )


@contextmanager
def running(ledger: Ledger, period: Period = PERIOD, now: datetime = NOW) -> Iterator[tuple[Fence, str]]:
    """The lock and a started run."""
    with ledger.run_lock("test on this host") as fence:
        yield fence, ledger.start_run(fence, period=period, digest="d1", who="tester", now=now)
