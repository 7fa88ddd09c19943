"""The whole story of one charge from what is kept, without asking a vendor: its hops, what Pax8 said of it, what
HaloPSA answered, and every entry of the journal about it [DK6]."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from billingsync.connect import answered_line
from billingsync.core.charge import Charge
from billingsync.errors import UsageError
from billingsync.rulebook import kept_rulebook
from billingsync.run.explain import Told, Way
from billingsync.run.kept_plan import KeptMonth, kept_month
from billingsync.run.plan import Planned, planned_again
from billingsync.sources.pax8.kept import raw_item
from billingsync.store.journal import Entry
from billingsync.store.ledger import Ledger
from billingsync.store.plan_rows import PlanHead


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Our line as HaloPSA gave it back. `text` is its JSON, "" where no answer is kept."""

    key: str
    run: str
    state: str
    invoice_id: int | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """`source` is the item as its source said it (JSON), "" where that is kept no more. `digest` and `made_at` are of
    the plan that the hops are told from; `company` is the Pax8 company's name."""

    charge: str
    period: str
    digest: str
    made_at: datetime
    company: str
    product: str
    hops: tuple[Told, ...]
    source: str
    answers: tuple[Answered, ...]
    entries: tuple[Entry, ...]


def story_of(ledger: Ledger, rules_dir: Path, charge: str) -> Story:
    """From the newest plan of the charge's month, and by the rules as they are now. UsageError where no plan has it."""
    head = _plan_with(ledger, charge)
    month = kept_month(ledger, head.digest)
    found = month.charges.get(charge)
    if found is None:
        raise _unknown(charge)
    planned = _planned(ledger, rules_dir, head, month, found)
    answers = tuple(_answers(ledger, charge))
    item = raw_item(ledger.invoice_documents(found.invoice_id), charge)
    return Story(
        charge=charge,
        period=head.period,
        digest=head.digest,
        made_at=head.created_at,
        company=found.company_name,
        product=found.product,
        hops=tuple(Way(ledger, found, planned).hops()),
        source="" if item is None else _pretty(item),
        answers=answers,
        entries=ledger.entries_naming([charge, *(one.key for one in answers)]),
    )


def _planned(ledger: Ledger, rules_dir: Path, head: PlanHead, month: KeptMonth, found: Charge) -> Planned:
    """The plan as it was kept, where the rules are those that decided it; else its client planned anew by today's."""
    rulebook, _ = kept_rulebook(rules_dir, ledger.desk_rules())
    if month.plan is None or month.plan.rules_digest != rulebook.digest:
        return planned_again(ledger, rules_dir, month.inputs, _companies(ledger, head, found.company_id))
    memory = ledger.memory_of_charge(month.inputs.period, found.id)
    inputs = replace(month.inputs, rulebook=rulebook, memory=memory)
    return Planned(plan=month.plan, inputs=inputs, created_at=head.created_at)


def _plan_with(ledger: Ledger, charge: str) -> PlanHead:
    """The newest plan of the month that the charge's invoice belongs to."""
    invoice = charge.partition(":")[0]
    periods = sorted({row.period for row in ledger.source_invoices() if row.invoice_id == invoice}, reverse=True)
    heads = (ledger.newest_plan(period) for period in periods)
    found = next((head for head in heads if head is not None), None)
    if found is None:
        raise _unknown(charge)
    return found


def _unknown(charge: str) -> UsageError:
    return UsageError(
        f"No plan has a charge {charge!r:.120}. Give INVOICE:ITEM.", next_steps=[["billingsync", "explain", charge]]
    )


def _companies(ledger: Ledger, head: PlanHead, company: str | None) -> list[str]:
    """Who has to be planned to tell of one charge: every company of the client that pays for it. Empty where nobody
    does: then everybody."""
    rows = [row for row in ledger.client_rows(head.digest) if row.company_id]
    mine = next((row for row in rows if row.company_id == company), None)
    if mine is None or company is None:
        return []
    same = {row.company_id for row in rows if row.client_id is not None and row.client_id == mine.client_id}
    return sorted({company, *same})


def _answers(ledger: Ledger, charge: str) -> Iterator[Answered]:
    for claim in ledger.claims_of(charge):
        row = ledger.posting(claim.key)
        ids = {line.ordinal: line.line_id for line in row.returned_lines}
        line = answered_line(row.answer or "", ids.get(claim.line))
        yield Answered(
            key=row.key,
            run=row.run,
            state=row.state if claim.live else "undone",
            invoice_id=row.invoice_id,
            text="" if line is None else _pretty(line),
        )


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
