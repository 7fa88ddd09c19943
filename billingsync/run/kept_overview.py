"""The first screen of a kept plan from the rows that the ledger keeps of it: in the time that its clients take, not its
charges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from billingsync.core.bill.plan import Account, CurrencyAccount
from billingsync.core.states import LineAction
from billingsync.report.labels import target
from billingsync.report.overview import (
    MOST_CLIENTS,
    Billed,
    KeptBack,
    Overview,
    held_for,
    largest_change_first,
    line_counts,
)
from billingsync.report.waiting import NOBODY, display_name
from billingsync.store.ledger import Ledger
from billingsync.store.plan_rows import ClientRow


def kept_overview(ledger: Ledger, digest: str) -> Overview | None:
    """The overview of the plan of this digest (or its beginning); None where only the whole plan tells it: one with
    true-ups, or of a version that kept no rows. UsageError where no plan has this digest."""
    head = ledger.plan_head(ledger.plan_entry(digest).digest)
    if head is None or head.content.get("true_ups", True):
        return None
    said, rows = head.content, ledger.client_rows(head.digest)
    holds = list(_holds(rows, said["unassigned"]["holds"]))
    billed = largest_change_first(row for row in rows if row.lines)
    shown = {(row.client_id, row.currency) for row in billed[: MOST_CLIENTS + 1]}
    new = _new_invoices(ledger, head.digest, [row for row in billed if (row.client_id, row.currency) in shown])
    return Overview(
        digest=head.digest,
        partner=said["partner"],
        period=head.period,
        invoices=len(said["sources"]),
        charges=sum(source["charges"] for source in said["sources"]),
        companies_asked=len(said["clients_asked"]),
        billed=[Billed(client=row, goes_to=_goes_to(row, new), lines=_lines(row)) for row in billed],
        held_clients=len({who for who, _ in holds}),
        held_for=held_for(hold for _, hold in holds),
        true_ups=(),
        kept_back=[
            KeptBack(
                currency=one["currency"],
                credits_withheld=Decimal(one["credits_withheld"]),
                cost_absorbed=Decimal(one["cost_absorbed"]),
            )
            for one in said["kept_from_clients"]
        ],
        warnings=said["warnings"],
        accounts=[
            CurrencyAccount(currency=currency, price=_account(sides["price"]), cost=_account(sides["cost"]))
            for currency, sides in said["equation"].items()
        ],
        writes=said["writes"],
        held=bool(holds or said.get("left") or said.get("alarms")),
    )


def _holds(
    rows: Sequence[ClientRow], unassigned: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, tuple[str, str, Decimal, int]]]:
    """Who waits, and for what: reason, currency, price and number of charges."""
    for row in rows:
        for held in row.holds:
            yield row.company_id or display_name(row), (held.reason, held.currency, held.amount, held.charges)
    for hold in unassigned:
        yield NOBODY, (hold["reason"], hold["currency"], Decimal(hold["amount"]), 1)


def _new_invoices(ledger: Ledger, digest: str, rows: Sequence[ClientRow]) -> Mapping[tuple[int, str], int]:
    """How many invoices each client gets in each currency: `group_by` may split them [B1]."""
    new = [row for row in rows if row.added and row.target_invoice_id is None]
    bodies = ledger.last_bodies(digest, [row.nth for row in new])
    groups: dict[tuple[int, str], set[str]] = defaultdict(set)
    for row in new:
        lines = bodies[row.nth]["lines"]
        groups[row.client_id or 0, row.currency] |= {one["group"] for one in lines if one["action"] == LineAction.ADD}
    return {where: len(found) for where, found in groups.items()}


def _goes_to(row: ClientRow, new: Mapping[tuple[int, str], int]) -> str:
    return "" if row.held else target(row, new.get((row.client_id or 0, row.currency), 1))


def _lines(row: ClientRow) -> str:
    return line_counts(updated=row.updated, added=row.added, removed=row.removed, same=row.same)


def _account(said: Mapping[str, str]) -> Account:
    return Account(**{name: Decimal(amount) for name, amount in said.items()})
