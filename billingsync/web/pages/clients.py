"""Which Pax8 company is billed as which HaloPSA client."""

from __future__ import annotations

from decimal import Decimal

from starlette.responses import Response

from billingsync.core.desk import OrderKind, Role
from billingsync.core.reasons import Reason, title_of
from billingsync.errors import UsageError
from billingsync.report.html import clean
from billingsync.report.labels import likeness, matched
from billingsync.store.mappings import CompanyMatch
from billingsync.store.plan_rows import ClientRow, PlanHead
from billingsync.web.ask import Ask, NotFound, Page, Shown
from billingsync.web.kept import clients_of, search
from billingsync.web.pages.ready import client_rows
from billingsync.web.views.money import View, money, sums
from billingsync.web.views.paging import page_of
from billingsync.web.views.paths import rules_path
from billingsync.web.views.ready import goes, shown_amount
from billingsync.web.views.sheets import clients_table

_ORDER = ("unmapped", "guessed", "doubtful", "matched", "never billed")
MOST = 900  # guesses in one act: what a form may send back


def newest(ask: Ask) -> PlanHead | None:
    """The newest plan of the newest month."""
    periods = ask.ledger.planned_periods()
    return ask.ledger.newest_plan(periods[-1]) if periods else None


def show(ask: Ask) -> Shown:
    head = newest(ask)
    query = ask.query("q")[:200].casefold()
    matches = ask.ledger.company_matches()
    known = client_rows(ask.ledger, head.digest) if head is not None else ()
    rows = [_row(ask, row, matches.get(row.company_id)) for row in known if row.company_id]
    shown = [row for row in rows if query in f"{row['company']}\n{row['client']}\n{row['id']}".casefold()]
    shown.sort(key=lambda row: (_ORDER.index(row["state"]), row["company"].casefold()))
    counts = [(state, sum(1 for row in rows if row["state"] == state)) for state in _ORDER]
    listed, part = page_of(shown, ask.query("page"), "/clients", {"q": ask.query("q")[:200]})
    view = {
        "rows": listed,
        "part": part,
        "counts": [(state, count) for state, count in counts if count],
        "q": ask.query("q")[:200],
        "planned": head is not None,
        "month": ask.desk.figures.month(head.period) if head else "",
        "may": ask.role.may(Role.FINANCIAL),
        "guesses": sum(1 for row in rows if row["guess"]),
    }
    hidden = {"guess"} if ask.role.may(Role.FINANCIAL) else {"guess", "money"}
    twin = [{key: value for key, value in row.items() if key not in hidden} for row in shown]
    return Shown(
        template="clients",
        title="Clients",
        view=view,
        twin=lambda: {"rows": twin},
        tables=lambda: [clients_table(shown, may=ask.role.may(Role.FINANCIAL))],
    )


def _row(ask: Ask, row: ClientRow, match: CompanyMatch | None) -> View:
    reasons = [hold.reason for hold in row.holds if hold.reason.startswith("client_")]
    never = row.client_id is None and match is not None and match.client_id is None and match.how == "person"
    if never:
        state = "never billed"
    elif row.client_id is None:
        state = "unmapped"
    elif any(reason != Reason.CLIENT_GUESSED for reason in reasons):
        state = "doubtful"
    else:
        state = "guessed" if row.guessed else "matched"
    number, currency = shown_amount(row)
    return {
        "id": row.company_id,
        "rules": rules_path(row.company_id),
        "company": clean(row.company_name, 160),
        "client": f"{clean(row.client_name, 160)} ({row.client_id})" if row.client_id is not None else "",
        "how": clean(likeness(row.guessed), 60) if row.guessed else matched(row.matched_by) if row.matched_by else "",
        "state": state,
        "guess": state == "guessed",
        "why": title_of(reasons[0]) if reasons else "",
        "goes": goes(row) if row.client_id is not None else "",
        "money": money(ask.desk.figures, number, currency) if number else "",
    }


def _company(ask: Ask, id: str) -> tuple[PlanHead, ClientRow]:
    head = newest(ask)
    row = next((row for row in client_rows(ask.ledger, head.digest) if row.company_id == id), None) if head else None
    if head is None or row is None:
        raise NotFound("There is no such company in the newest plan.")
    return head, row


def choose(ask: Ask) -> Shown:
    """Candidates for one company. None is chosen beforehand: two may fit."""
    head, row = _company(ask, ask.query("company"))
    query = ask.query("q")[:200] or row.company_name
    found = search(clients_of(ask.ledger, head.digest), query)
    view = {
        "company": row.company_id,
        "name": clean(row.company_name, 160),
        "now": f"{clean(row.client_name, 160)} ({row.client_id})" if row.client_id is not None else "",
        "was": "" if row.client_id is None else str(row.client_id),
        "q": clean(query, 200),
        "found": [{"id": one.id, "name": clean(one.name, 160), "note": one.note} for one in found],
        "affects": money(ask.desk.figures, *shown_amount(row)),
        "charges": _charges(row),
        "period": head.period,
        "month": ask.desk.figures.month(head.period),
    }
    return Shown(template="choose_client", title=f"Choose a client for {view['name']}", view=view)


def set_client(ask: Ask) -> Response:
    """Files the order to map a company, and to plan its month anew; nothing is posted by it [DK4]."""
    head, row = _company(ask, ask.text("company"))
    chosen, was = ask.text("client") or ask.text("id"), ask.text("was")
    if chosen != "never" and not chosen.isdigit():
        raise UsageError("Choose one of the clients, or write a client's id. Nothing was changed.")
    return ask.order(
        OrderKind.MAP_COMPANY,
        {
            "company": row.company_id,
            "client": None if chosen == "never" else int(chosen),
            "was": int(was) if was.isdigit() else None,
            "period": head.period,
        },
    )


# Guessed matches ------------------------------------------------------------------------------------------------------


def look_at_guesses(ask: Ask) -> Shown:
    """What was ticked, or every guess, with its charges and money, before anything is confirmed [DK5]."""
    head = newest(ask)
    known = client_rows(ask.ledger, head.digest) if head is not None else ()
    matches = ask.ledger.company_matches()
    shown = [(row, _row(ask, row, matches.get(row.company_id))) for row in known if row.company_id]
    guesses = [(row, view) for row, view in shown if view["guess"]]
    ticked = {str(value) for value in ask.form.getlist("company")}
    chosen = guesses if ask.text("all") else [pair for pair in guesses if pair[0].company_id in ticked]
    if head is None or not chosen:
        raise UsageError("Tick at least one guessed client. Nothing was changed.")
    if len(chosen) > MOST:
        raise UsageError(f"At most {MOST} guesses can be confirmed at once. Tick some of them. Nothing was changed.")
    by_currency: dict[str, Decimal] = {}
    for row, _ in chosen:
        number, currency = shown_amount(row)
        by_currency[currency] = by_currency.get(currency, Decimal(0)) + number
    view = {
        "rows": [
            view | {"charges": _charges(row), "pair": f"{row.company_id}\t{row.client_id}"} for row, view in chosen
        ],
        "charges": sum(_charges(row) for row, _ in chosen),
        "money": sums(ask.desk.figures, {code: number for code, number in by_currency.items() if code}),
        "month": ask.desk.figures.month(head.period),
        "every": len(chosen) == len(guesses),
    }
    return Shown(template="clients_confirm", title="Confirm guessed clients", view=view)


def confirm_guesses(ask: Ask) -> Response:
    """Files the order to confirm exactly the guesses that were shown, and to plan the month anew; nothing is posted by
    it [DK4]."""
    head, pairs = newest(ask), []
    for value in ask.form.getlist("pair"):
        company, _, client = str(value).partition("\t")
        if not company or not client.isdigit():
            raise UsageError("What is to be confirmed could not be read. Nothing was changed.")
        pairs.append([company, int(client)])
    if head is None or not pairs:
        raise UsageError("Tick at least one guessed client. Nothing was changed.")
    return ask.order(OrderKind.CONFIRM_GUESSED, {"pairs": pairs, "period": head.period})


def _charges(row: ClientRow) -> int:
    return row.lines + sum(hold.charges for hold in row.holds)


PAGES = (
    Page(path="/clients", show=show, role=Role.USER, twin=True, sheets=True),
    Page(path="/clients/choose", show=choose, role=Role.FINANCIAL),
    Page(path="/clients/choose", show=set_client, role=Role.FINANCIAL, post=True),
    Page(path="/clients/confirm", show=look_at_guesses, role=Role.FINANCIAL, post=True),
    Page(path="/clients/confirm/save", show=confirm_guesses, role=Role.FINANCIAL, post=True),
)
