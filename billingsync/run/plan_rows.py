"""A plan as rows for pages: what a list shows of each client, and the client's whole part of the plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from billingsync.core.bill.plan import ClientPlan, Hold, Plan
from billingsync.core.money import ZERO
from billingsync.core.rules import Rulebook
from billingsync.core.states import LineAction
from billingsync.report.document import Document, plan_document
from billingsync.store.plan_rows import ClientRow, Held, PlanRows, body_of


def plan_rows(plan: Plan, rulebook: Rulebook, created_at: str, documents: Iterable[Document]) -> PlanRows:
    """The head, the rows and the bodies of a plan. `documents` are the `client_document` of each client."""
    head = plan_document(replace(plan, clients=()), created_at, [])
    del head["clients"]
    head["invoices"] = len(plan.postings)
    head["writes"] = plan.writes
    rows, bodies = [], {}
    for row, text in _rows(plan, rulebook, documents):
        rows.append(row)
        bodies[row.body] = text
    return PlanRows(head=head, rows=rows, bodies=bodies)


def _rows(plan: Plan, rulebook: Rulebook, documents: Iterable[Document]) -> Iterator[tuple[ClientRow, str]]:
    for nth, (client, document) in enumerate(zip(plan.clients, documents, strict=True)):
        key, text = body_of(document)
        counts: dict[str, int] = defaultdict(int)
        for line in client.lines:
            stays = line.action == LineAction.UPDATE and line.before_amount == line.amount
            counts["same" if stays else line.action] += 1
        row = ClientRow(
            nth=nth,
            company_id=client.company_id or "",
            company_name=client.company_name,
            client_id=client.client_id,
            client_name=client.client_name or "",
            matched_by=client.matched_by or "",
            guessed=client.guessed,
            behavior=client.behavior,
            target_invoice_id=client.target_invoice_id,
            currency=client.currency,
            added=counts[LineAction.ADD],
            updated=counts[LineAction.UPDATE],
            removed=counts[LineAction.REMOVE],
            same=counts["same"],
            amount=client.amount,
            cost=client.cost,
            held=client.held or "",
            holds=_holds(client.holds),
            left_out=len(client.dropped) + len(client.excluded),
            last_amount=client.last_amount,
            last_period=client.last_period,
            moved=_moved(client, rulebook),
            below_cost=bool(client.lines) and client.amount < client.cost,
            search=_search(client),
            body=key,
        )
        yield row, text


def _holds(holds: tuple[Hold, ...]) -> tuple[Held, ...]:
    sums: dict[tuple[str, str], list[Any]] = {}
    for hold in holds:
        entry = sums.setdefault((str(hold.reason), hold.currency), [ZERO, ZERO, 0])
        entry[0] += hold.amount
        entry[1] += hold.cost
        entry[2] += 1
    return tuple(
        Held(reason=reason, currency=currency, amount=amount, cost=cost, charges=number)
        for (reason, currency), (amount, cost, number) in sums.items()
    )


def _moved(client: ClientPlan, rulebook: Rulebook) -> bool:
    """Whether the amount moved by half of what its limit allows, or more."""
    if client.last_amount is None or client.last_amount <= 0 or not client.lines:
        return False
    file = rulebook.file_for(company_id=client.company_id, company_name=client.company_name, client_id=client.client_id)
    limits = (file.rules if file else rulebook.base).limits
    if limits.change_percent_max is None:
        return False
    percent = abs(client.amount - client.last_amount) * 100 / client.last_amount
    return percent * 2 >= Decimal(limits.change_percent_max)


def _search(client: ClientPlan) -> str:
    """What a filter finds a client by: its names and ids, and its products' names."""
    names = [client.client_name, client.company_name, str(client.client_id or ""), client.company_id or ""]
    products = [*(line.title for line in client.lines), *(hold.product for hold in client.holds)]
    return "\n".join(dict.fromkeys(" ".join(text.casefold().split())[:200] for text in [*names, *products] if text))
