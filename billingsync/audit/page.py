"""The first page of an export: `report/templates/audit.html.j2`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from billingsync import __version__
from billingsync.audit.month import Month
from billingsync.core.money import ZERO
from billingsync.report.escape import one_line, shortened
from billingsync.report.numbers import Figures


def index_page(month: Month, sources: Mapping[str, str], locale: str) -> str:
    """Self-contained; everything that others wrote is inert and escaped. `sources`: sha256 -> file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    figures = Figures(locale)
    environment = Environment(
        loader=PackageLoader("billingsync.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    states = ("posted", "dropped", "excluded", "held")
    return environment.get_template("audit.html.j2").render(
        partner=_clean(month.partner),
        month=figures.month(month.period),
        period=month.period,
        version=__version__,
        accounts=[
            {
                "currency": currency or "no currency",
                "rows": [
                    (state, figures.amount(price, currency), figures.amount(cost, currency))
                    for state, (price, cost) in sorted(
                        sums.items(), key=lambda each: states.index(each[0]) if each[0] in states else len(states)
                    )
                ],
                "waiting": [figures.amount(amount, currency) for amount in month.waiting.get(currency, ())],
                "price": figures.amount(sum((price for price, _ in sums.values()), ZERO), currency),
                "cost": figures.amount(sum((cost for _, cost in sums.values()), ZERO), currency),
            }
            for currency, sums in sorted(month.sums.items())
        ],
        invoices=[
            {
                "id": _clean(one.invoice_id),
                "status": _clean(one.status),
                "total": "" if one.total is None else figures.amount(one.total, one.currency),
                "currency": _clean(one.currency),
                "charges": "" if one.charges is None else figures.count(one.charges),
            }
            for one in month.invoices
        ],
        sources=[
            {"file": sources[one.sha256], "kind": _clean(one.kind), "page": one.page, "sha256": one.sha256}
            for one in month.documents
        ],
        runs=[
            {
                "id": run.id,
                "state": run.state,
                "at": run.started_at.isoformat(timespec="seconds"),
                "who": _clean(run.who),
                "digest": run.digest or "",
                "version": _clean(month.versions.get(run.id, "")),
            }
            for run in month.runs
        ],
        plans=[
            {"digest": one.digest, "at": one.created_at.isoformat(timespec="seconds"), "rules": one.rules_digest[:12]}
            for one in month.plans
        ],
        postings=[
            {
                "key": row.key,
                "client": _clean(row.client_name),
                "invoice": "" if row.invoice_id is None else str(abs(row.invoice_id)),
                "action": row.action,
                "state": row.state,
                "amount": figures.amount(row.amount, row.currency),
                "cost": figures.amount(row.cost, row.currency),
                "currency": row.currency,
                "message": _clean(row.message),
                "answered": row.answer is not None,
            }
            for row in month.postings
        ],
        decisions=[
            {"seq": entry.seq, "at": entry.at, "kind": entry.kind, "what": _words(entry.body)}
            for entry in month.decisions
        ],
        rules=[
            {"folder": f"rules/{digest[:12]}-{number}", "digest": digest, "files": len(files)}
            for number, (digest, files) in enumerate(month.rules, 1)
        ],
        entries=figures.count(len(month.journal)),
        last=month.journal[-1].hash if month.journal else "",
        charges=figures.count(len({charge["charge"] for charge in month.charges})),
    )


def _words(body: str) -> str:
    said = json.loads(body)
    shown = {name: value for name, value in said.items() if name not in ("content", "before", "files", "charges")}
    return _clean(", ".join(f"{name}: {value}" for name, value in shown.items()), 600)


def _clean(text: str, length: int = 300) -> str:
    return shortened(one_line(text), length)
