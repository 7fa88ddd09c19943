"""A plan as one self-contained page that a finance person reads without explanation: `templates/plan.html.j2`.

This module turns the plan into the words and figures that the template places; the template decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from billingsync import __version__
from billingsync.core.bill.plan import ClientPlan, CurrencyAccount, Plan, SourceSummary
from billingsync.core.money import ZERO
from billingsync.core.reasons import title_of
from billingsync.core.states import TrueUpState
from billingsync.report.chart import CLIENT_ROW, client_bars, picture
from billingsync.report.client_view import client_view, left_out_view
from billingsync.report.equation import both, header_difference, sentence
from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import listed, new_invoice_counts, partner_name, plural, taken_back_from
from billingsync.report.numbers import Figures, code
from billingsync.report.waiting import NOBODY, ReasonGroup, Wait, by_reason, display_name, plan_holds

if TYPE_CHECKING:
    from jinja2 import Template

View = dict[str, Any]

_OPEN_CLIENTS, _OPEN_LINES = 40, 400  # beyond either, clients are shown folded
_OPEN_WAITS = 15

# What each part of the equation means, for somebody who has never seen it.
_MEANING = {
    "already_posted": "on HaloPSA invoices since an earlier run",
    "to_post": "goes onto client invoices when this plan is posted",
    "dropped": "left out by a rule about single charges, such as favorable prorata",
    "excluded": "never billed from here: rebates, credits, what Pax8 bills itself",
    "held": "waits until a person has decided; nobody is billed for it yet",
}


def plan_html(
    plan: Plan,
    created_at: str,
    *,
    locale: str = "en_US",
    next_command: str | None = None,
    version: str = __version__,
) -> str:
    """The page. Numbers and dates are written as in `locale`; all text is escaped; nothing is loaded from anywhere."""
    figures = Figures(locale)
    command = next_command if next_command is not None else f"billingsync post {plan.digest[:6]}"
    return page_template("plan.html.j2").render(
        partner=clean(partner_name(plan.partner), 120),
        month=figures.month(plan.period),
        period=plan.period,
        asked=_asked(plan),
        state=_state(plan, figures),
        command=command if plan.writes else "",
        accounts=[_account(account, figures) for account in _by_size(plan)],
        pictures=_by_client(plan, figures),
        meaning=_meaning(plan),
        held=[_group(group, figures) for group in by_reason(plan_holds(plan))],
        warnings=[clean(warning, 1000) for warning in plan.warnings],
        **_clients(plan, figures),
        unassigned=left_out_view((), plan.unassigned_excluded, figures),
        true_ups=_true_ups(plan, figures),
        kept=_kept(plan, figures),
        sources=[_source(source, figures) for source in plan.sources],
        digest=plan.digest,
        rules_digest=plan.rules_digest,
        created_at=created_at,
        created=figures.moment(created_at),
        version=version,
    )


def clean(text: str, length: int = 400) -> str:
    """Foreign text for the page: one line, inert, not longer than `length`. The template escapes it."""
    return shortened(one_line(text), length)


@lru_cache(maxsize=4)
def page_template(name: str) -> Template:
    """A template of the report pages: it escapes what others wrote, and a name that it lacks is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("billingsync.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _asked(plan: Plan) -> str:
    names = {client.company_id: display_name(client) for client in plan.clients}
    return listed([clean(names.get(company, company), 80) for company in plan.clients_asked], 8, "see the JSON")


def _state(plan: Plan, figures: Figures) -> list[str]:
    """What stands under the title: how many are billed, how much waits."""
    billed = len({posting.client_id for posting in plan.postings})
    invoices = len(plan.postings)
    held = sum(group.charges for group in by_reason(plan_holds(plan)))
    charges = sum(source.charges for source in plan.sources)
    said = [f"{figures.count(charges)} {plural(charges, 'charge')} from Pax8"]
    if billed:
        said.append(
            f"{figures.count(billed)} {plural(billed, 'client')} to bill "
            f"on {figures.count(invoices)} {plural(invoices, 'invoice')}"
        )
    else:
        said.append("nothing to post")
    if held:
        said.append(f"{figures.count(held)} {plural(held, 'charge waits', 'charges wait')} for a person")
    return said


def _meaning(plan: Plan) -> list[tuple[str, str, str]]:
    """State, label and meaning of every part that the accounts show."""
    shown = {state: label[0].upper() + label[1:] for account in plan.accounts for state, label, _, _ in both(account)}
    return [(state, shown[state], _MEANING[state]) for state in _MEANING if state in shown]


def _account(account: CurrencyAccount, figures: Figures) -> View:
    currency = account.currency

    def row(label: str, price: Decimal, cost: Decimal, state: str) -> View:
        margin, whole = price - cost, account.price.charges
        return {
            "state": state,
            "label": label,
            "price": figures.amount(price, currency),
            "cost": figures.amount(cost, currency),
            "margin": figures.amount(margin, currency),
            "rate": figures.percent(margin, price) if price > 0 and state in ("charged", "to_post") else "",
            "share": _share(price, whole, figures) if whole > 0 and state != "charged" else "",
        }

    rows = [row("Charged by Pax8", account.price.charges, account.cost.charges, "charged")]
    rows += [row(label[0].upper() + label[1:], price, cost, state) for state, label, price, cost in both(account)]
    return {
        "code": code(currency),
        "picture": picture(account.price, currency, figures),
        "rows": rows,
        "price": sentence(account.price, currency, figures),
        "cost": sentence(account.cost, currency, figures, subject=""),
    }


def _by_size(plan: Plan) -> list[CurrencyAccount]:
    """The currencies, the one with the most money first. Numbers of different currencies are compared as they are."""
    return sorted(plan.accounts, key=lambda account: (-abs(account.price.charges), account.currency))


def _by_client(plan: Plan, figures: Figures) -> list[View]:
    found = []
    for account in _by_size(plan):
        if bars := client_bars(plan.clients, account.currency, figures):
            height = len(bars) * CLIENT_ROW
            found.append({"code": code(account.currency), "bars": bars, "height": height})
    return found


def _share(part: Decimal, whole: Decimal, figures: Figures) -> str:
    """A share that rounding must not make nothing of, nor everything."""
    if 0 < part < whole / 2000:
        return f"< {figures.percent(Decimal('0.1'), Decimal(100))}"
    if whole * Decimal("0.9995") <= part < whole:
        return f"> {figures.percent(Decimal('99.9'), Decimal(100))}"
    return figures.percent(part, whole)


def _group(group: ReasonGroup, figures: Figures) -> View:
    return {
        "title": title_of(group.reason),
        "reason": group.reason,
        "count": f"{figures.count(group.charges)} {plural(group.charges, 'charge')}",
        "money": [figures.money(price, currency) for currency, (price, _) in group.money.items()],
        "rows": [_wait(wait, figures) for wait in group.waits],
        "open": len(group.waits) <= _OPEN_WAITS,
        "clients": f"{figures.count(len(group.waits))} {plural(len(group.waits), 'entry', 'entries')}",
    }


def _wait(wait: Wait, figures: Figures) -> View:
    step = clean(wait.next_step)
    return {
        "who": clean(wait.who, 160),
        "products": listed([clean(product, 120) for product in wait.products], 4, "all in the client's list below"),
        "count": len(wait.charges),
        "amount": figures.money(wait.amount, wait.currency),
        "cost": figures.amount(wait.cost, wait.currency),
        "detail": clean(wait.detail),
        "step": step,
        "command": step.startswith("billingsync "),
    }


def _clients(plan: Plan, figures: Figures) -> View:
    counts = new_invoice_counts(plan)
    rank = {account.currency: number for number, account in enumerate(_by_size(plan))}
    shown = [client for client in plan.clients if _has_news(client)]
    shown.sort(key=lambda one: (rank.get(one.currency, len(rank)), -_moved(one), display_name(one)))
    quiet = [clean(display_name(client), 80) for client in plan.clients if not _has_news(client)]
    lines = sum(len(one.lines) + len(one.dropped) + len(one.excluded) + len(one.holds) for one in shown)
    return {
        "clients": [client_view(one, counts, figures) for one in shown],
        "clients_open": len(shown) <= _OPEN_CLIENTS and lines <= _OPEN_LINES,
        "quiet": listed(quiet, 20, "see the JSON"),
    }


def _moved(client: ClientPlan) -> Decimal:
    """By how much a client's amount differs from last month's: what to look at first."""
    return ZERO if client.held else abs(client.amount - (client.last_amount or ZERO))


def _has_news(client: ClientPlan) -> bool:
    return bool(client.lines or client.dropped or client.excluded or client.holds or client.amount)


def _true_ups(plan: Plan, figures: Figures) -> Sequence[View]:
    return [
        {
            "who": clean(up.client_name, 160),
            "take_back": figures.amount(up.take_back, up.currency),
            "add": figures.amount(up.add, up.currency),
            "net": figures.amount(up.net, up.currency),
            "code": code(up.currency),
            "how": clean(up.detail if up.state == TrueUpState.BLOCKED else taken_back_from(up), 600),
            "state": {TrueUpState.APPROVED: "approved", TrueUpState.HELD: "waits for approval"}.get(
                up.state, "cannot be done yet"
            ),
            "step": clean(up.next_step, 300),
        }
        for up in plan.true_ups
    ]


def _kept(plan: Plan, figures: Figures) -> Sequence[View]:
    return [
        {
            "who": clean(kept.company_name, 160) or NOBODY,
            "credits": figures.amount(kept.credits_withheld, kept.currency),
            "dropped": figures.amount(kept.price_dropped, kept.currency),
            "absorbed": figures.amount(kept.cost_absorbed, kept.currency),
            "code": code(kept.currency),
        }
        for kept in plan.kept
    ]


def _source(source: SourceSummary, figures: Figures) -> View:
    currency = source.currency
    difference = header_difference(source)
    rounding = source.price_rounding or source.cost_rounding
    return {
        "id": clean(source.invoice_id, 120),
        "status": clean(source.status, 40),
        "charges": figures.count(source.charges),
        "price": figures.amount(source.price, currency),
        "cost": figures.amount(source.cost, currency),
        "tax": figures.amount(source.sales_tax, currency),
        "header": "" if source.header_total is None else figures.amount(source.header_total, currency),
        "difference": "" if difference is None else figures.amount(difference, currency),
        "differs": difference is not None and difference != ZERO,
        "code": code(currency),
        "rounding": f"{figures.amount(source.price_rounding, currency)} on prices, "
        f"{figures.amount(source.cost_rounding, currency)} on costs"
        if rounding
        else "",
    }
