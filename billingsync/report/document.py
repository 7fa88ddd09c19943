"""Plans, runs, holds and errors as the JSON documents of the interface: the keys here are a contract with scripts.

Amounts, quantities and prices are strings in plain decimal notation, dates ISO 8601, ids as their owner gives them.
Keys may be added (raise the minor version), never renamed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from typing import Any

from billingsync.core.bill.plan import (
    Account,
    ClientPlan,
    CurrencyAccount,
    Dropped,
    Excluded,
    Hold,
    Plan,
    PlanLine,
    TrueUp,
    Waiting,
)
from billingsync.core.bill.plan import SourceSummary as Source
from billingsync.core.money import plain
from billingsync.core.steps import Step
from billingsync.report.equation import header_difference
from billingsync.report.escape import whole
from billingsync.report.result import RunResult
from billingsync.report.waiting import OpenHold

FORMAT_VERSION = "1.0"

Document = dict[str, Any]

# JSON leaves DEL, C1 controls and direction overrides raw; as \u escapes they mean the same and move no terminal.
_UNQUIET = re.compile("[\x7f-\x9f\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069\ufeff]")


def dump(document: Mapping[str, Any]) -> str:
    """One JSON document that any UTF-8 stream can carry, with a newline at its end."""
    text = StringIO()  # `dumps` holds all pieces of an indented text together, which take several times its size
    json.dump(document, text, ensure_ascii=False, indent=2, allow_nan=False)
    return _UNQUIET.sub(lambda found: f"\\u{ord(found[0]):04x}", whole(text.getvalue())) + "\n"


def error_document(code: str, message: str, next_steps: Iterable[Sequence[str]], exit_code: int) -> Document:
    """What a failing command prints with `--json`."""
    error = {"code": code, "message": message, "next_steps": _steps(next_steps), "exit_code": exit_code}
    return {"format_version": FORMAT_VERSION, "error": error}


def plan_document(plan: Plan, created_at: str, next_steps: Iterable[Sequence[str]] | None = None) -> Document:
    """A plan; `next_steps` are argument lists, by default posting it and looking at what is held."""
    if next_steps is None:
        next_steps = _plan_steps(plan)
    return {
        "format_version": FORMAT_VERSION,
        "next_steps": _steps(next_steps),
        "digest": plan.digest,
        "period": plan.period,
        "partner": plan.partner,
        "rules_digest": plan.rules_digest,
        "created_at": created_at,
        "clients_asked": list(plan.clients_asked),
        "sources": [_source(source) for source in plan.sources],
        "equation": {account.currency: _equation(account) for account in plan.accounts},
        "clients": [client_document(client) for client in plan.clients],
        "unassigned": {
            "excluded": [_excluded(entry) for entry in plan.unassigned_excluded],
            "holds": [_hold(hold) for hold in plan.unassigned_holds],
        },
        "kept_from_clients": [
            {
                "company_name": kept.company_name,
                "currency": kept.currency,
                "credits_withheld": plain(kept.credits_withheld, kept.currency),
                "price_dropped": plain(kept.price_dropped, kept.currency),
                "cost_absorbed": plain(kept.cost_absorbed, kept.currency),
            }
            for kept in plan.kept
        ],
        "warnings": list(plan.warnings),
        "true_ups": [true_up_document(up) for up in plan.true_ups],
        "targets": [
            {
                "invoice_id": one.invoice_id,
                "client_name": one.client_name,
                "closed": one.closed or None,
                "lines": {id_: list(said) for id_, said in one.lines.items()},
            }
            for one in plan.targets
        ],
        "waiting": [waiting_document(one) for one in plan.waiting],
        "alarms": list(plan.alarms),
        "left": list(plan.left),
    }


def waiting_document(one: Waiting) -> Document:
    """What waits on a recurring invoice; `next_creation` is null where HaloPSA does not say."""
    return {
        "invoice_id": one.invoice_id,
        "client_id": one.client_id,
        "client_name": one.client_name,
        "period": one.period,
        "currency": one.currency,
        "amount": plain(one.amount, one.currency),
        "cost": plain(one.cost, one.currency),
        "next_creation": one.next_creation or None,
    }


def _plan_steps(plan: Plan) -> list[list[str]]:
    steps = [["billingsync", "post", plan.digest]] if plan.writes else []
    return [*steps, *([["billingsync", "holds", plan.period]] if plan.held else [])]


def kept_plan(plan: Plan, created_at: str, clients: Iterable[Document]) -> Iterator[str]:
    """`plan_document` as the ledger keeps it, in pieces, as it is several times as large as the plan; on one line,
    which json writes in a tenth of the time; in ASCII, as a single emoji makes each character four bytes. `clients`
    are the `client_document` of each."""
    head = plan_document(replace(plan, clients=()), created_at, _plan_steps(plan))
    del head["clients"]
    yield f'{json.dumps(head, allow_nan=False)[:-1]}, "clients": ['
    for nth, client in enumerate(clients):
        yield f"{', ' if nth else ''}{json.dumps(client, allow_nan=False)}"
    yield "]}\n"


def run_document(result: RunResult) -> Document:
    """What `run` and `post` did; `returned` is what HaloPSA's answers came to."""
    return {
        "format_version": FORMAT_VERSION,
        "next_steps": _steps(result.next_steps),
        "run": result.run,
        "digest": result.digest,
        "period": result.period,
        "state": result.state,
        "message": result.message,
        "postings": [
            {
                "key": posting.key,
                "client_id": posting.client_id,
                "client_name": posting.client_name,
                "invoice_id": posting.invoice_id,
                "action": posting.action,
                "lines": posting.lines,
                "amount": plain(posting.amount, posting.currency),
                "cost": plain(posting.cost, posting.currency),
                "currency": posting.currency,
                "state": posting.state,
                "problem": posting.problem or None,
            }
            for posting in result.postings
        ],
        "taken_back": [
            {
                "key": back.key,
                "client_id": back.client_id,
                "client_name": back.client_name,
                "invoice_id": back.invoice_id,
                "amount": plain(back.amount, back.currency),
                "cost": plain(back.cost, back.currency),
                "currency": back.currency,
                "how": back.how,
                "credit_invoice": back.credit_invoice,
                "problem": back.problem or None,
            }
            for back in result.taken_back
        ],
        "true_ups": [true_up_document(up) for up in result.true_ups],
        "holds": [{**_hold(hold), "company_name": result.companies.get(hold.charge)} for hold in result.holds],
        "equation": {
            account.currency: _equation(account, result.returned.get(account.currency, (Decimal(0), Decimal(0))))
            for account in result.accounts
        },
    }


def holds_document(period: str | None, holds: Iterable[OpenHold], next_steps: Iterable[Sequence[str]] = ()) -> Document:
    """What waits, of one period or (None) of all."""
    return {
        "format_version": FORMAT_VERSION,
        "next_steps": _steps(next_steps),
        "period": period,
        "holds": [
            {
                **_hold(entry.hold),
                "period": entry.period or period,
                "company_id": entry.company_id,
                "company_name": entry.company_name,
                "client_id": entry.client_id,
                "client_name": entry.client_name,
                "since": entry.since or None,
                "age_days": entry.age_days,
            }
            for entry in holds
        ],
    }


def true_up_document(up: TrueUp) -> Document:
    currency = up.currency
    return {
        "period": up.period,
        "client_id": up.client_id,
        "client_name": up.client_name,
        "company_ids": list(up.companies),
        "currency": currency,
        "credited": list(up.credited),
        "take_back": {"amount": plain(up.take_back, currency), "cost": plain(up.take_back_cost, currency)},
        "add": {"amount": plain(up.add, currency), "cost": plain(up.add_cost, currency)},
        "net": {"amount": plain(up.net, currency), "cost": plain(up.net_cost, currency)},
        "invoices": [
            {"key": one.key, "invoice_id": one.invoice_id, "closed": one.closed or None} for one in up.postings
        ],
        "state": up.state,
        "kind": up.kind,
        "replaced": up.replaced,
        "approved_by": up.approved_by or None,
        "detail": up.detail,
        "next_step": up.next_step or None,
        "ways": _ways(up.steps),
    }


def _steps(next_steps: Iterable[Sequence[str]]) -> list[list[str]]:
    return [list(step) for step in next_steps]


def _source(source: Source) -> Document:
    currency = source.currency
    difference = header_difference(source)
    return {
        "invoice_id": source.invoice_id,
        "status": source.status,
        "charges": source.charges,
        "price": plain(source.price, currency),
        "cost": plain(source.cost, currency),
        "currency": currency,
        "sales_tax": plain(source.sales_tax, currency),
        "header_total": None if source.header_total is None else plain(source.header_total, currency),
        "header_difference": None if difference is None else plain(difference, currency),
        "price_rounding": plain(source.price_rounding, currency),
        "cost_rounding": plain(source.cost_rounding, currency),
    }


def _equation(account: CurrencyAccount, returned: tuple[Decimal, Decimal] | None = None) -> Document:
    sides = (("price", account.price, 0), ("cost", account.cost, 1))
    equation = {name: _account(side, account.currency) for name, side, _ in sides}
    if returned is not None:
        for name, _, place in sides:
            equation[name]["returned"] = plain(returned[place], account.currency)
    return equation


def _account(account: Account, currency: str) -> Document:
    return {
        "charges": plain(account.charges, currency),
        "posted": plain(account.posted, currency),
        "dropped": plain(account.dropped, currency),
        "excluded": plain(account.excluded, currency),
        "held": plain(account.held, currency),
        "already_posted": plain(account.already_posted, currency),
        **({} if account.waiting is None else {"waiting": plain(account.waiting, currency)}),
    }


def client_document(client: ClientPlan) -> Document:
    """One client of a plan."""
    currency = client.currency
    return {
        "company_id": client.company_id,
        "company_name": client.company_name,
        "client_id": client.client_id,
        "client_name": client.client_name,
        "matched_by": client.matched_by,
        "guessed": client.guessed or None,
        "behavior": client.behavior,
        "target_invoice_id": client.target_invoice_id,
        "amount": plain(client.amount, currency),
        "cost": plain(client.cost, currency),
        "currency": currency,
        "held": client.held,
        "limits": [{"reason": reason, "numbers": list(numbers)} for reason, numbers in client.limits.items()],
        "would_bill": None if client.would_bill is None else plain(client.would_bill, currency),
        "last_period": client.last_period or None,
        "last_amount": None if client.last_amount is None else plain(client.last_amount, currency),
        "lines": [_line(line, currency) for line in client.lines],
        "dropped": [_dropped(entry) for entry in client.dropped],
        "excluded": [_excluded(entry) for entry in client.excluded],
        "holds": [_hold(hold) for hold in client.holds],
    }


def _line(line: PlanLine, currency: str) -> Document:
    item = line.item
    return {
        "action": line.action,
        "line_id": line.line_id,
        "title": line.title,
        "description": line.description,
        "item": None if item is None else {"id": item.id, "name": item.name, "create": item.create},
        "quantity": plain(line.quantity),
        "unit_price": plain(line.unit_price, currency),
        "unit_cost": plain(line.unit_cost, currency),
        "amount": plain(line.amount, currency),
        "cost": plain(line.cost, currency),
        "charges": list(line.charges),
        "group": line.group,
        "before": line.before or None,
        "before_amount": None if line.before_amount is None else plain(line.before_amount, currency),
    }


def _dropped(entry: Dropped) -> Document:
    return {"charge": entry.charge, "modifier": entry.modifier, **_money(entry)}


def _excluded(entry: Excluded) -> Document:
    return {"charge": entry.charge, "rule": entry.rule, **_money(entry)}


def _hold(hold: Hold) -> Document:
    return {
        "charge": hold.charge,
        "reason": hold.reason,
        **_money(hold),
        "detail": hold.detail,
        "next_step": hold.next_step,
        "ways": _ways(hold.ways),
    }


def _ways(steps: Iterable[Step]) -> list[Document]:
    """Each way to end a hold: what it does with the money, and the command's words or what to do."""
    return [{"offer": step.offer, "command": list(step.command), "text": step.text} for step in steps]


def _money(entry: Dropped | Excluded | Hold) -> Document:
    return {
        "amount": plain(entry.amount, entry.currency),
        "cost": plain(entry.cost, entry.currency),
        "currency": entry.currency,
        "product": entry.product,
    }
