"""What people are told: one thing each, in a sentence, with what to type next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from billingsync.core.bill.plan import CurrencyAccount, Plan, TrueUp
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.reasons import title_of
from billingsync.core.states import MonthState, OutcomeState
from billingsync.errors import BillingSyncError, LoginFailed, Refused, RulesError, UpstreamError
from billingsync.report.equation import sentence
from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import plural
from billingsync.report.numbers import Figures
from billingsync.report.result import RunResult
from billingsync.report.waiting import Wait
from billingsync.run.plan import Planned
from billingsync.service.month import Month
from billingsync.store.notices import Thing
from billingsync.store.postings import PostingHead
from billingsync.store.runs import Run

_REFUSED = (200, 400, 401, 403)  # how a login is answered whose credentials are wrong
_DOCTOR = (("billingsync", "doctor"),)


def equation(plan: Plan, locale: str) -> str:
    """The month's equation, a sentence a currency."""
    figures = Figures(locale)
    return "; ".join(_sentence(account, figures) for account in plan.accounts)


def _sentence(account: CurrencyAccount, figures: Figures) -> str:
    price = account.price
    done = price.posted == price.already_posted
    if done:  # nothing is left to post: what earlier runs posted is simply posted
        price = replace(price, already_posted=ZERO)
    return sentence(price, account.currency, figures, done=done)


def released(planned: Planned, locale: str) -> Thing:
    """The month is there, and what it comes to."""
    plan = planned.plan
    number = len(plan.postings)
    ready = f": {number} {plural(number, 'invoice')} to post" if number else ""
    steps = [("billingsync", "plan", plan.period)]
    if number:
        steps.append(("billingsync", "post", plan.digest[:12]))
    return Thing(
        key=f"released:{plan.period}",
        event="released",
        title=f"{plan.period} is released{ready}",
        body=equation(plan, locale),
        steps=tuple(steps),
    )


def posted(run: Run, planned: Planned, locale: str) -> Thing:
    """A run has written invoices."""
    number = int(run.summary.get("postings", 0))
    plan = planned.plan
    steps = (("billingsync", "holds", run.period),) if plan.held else (("billingsync", "show", run.id),)
    return Thing(
        key=f"posted:{run.id}",
        event="posted",
        title=f"{run.period}: run {run.id} wrote {number} {plural(number, 'invoice')} ({run.state})",
        body=equation(plan, locale),
        steps=steps,
    )


def held(period: Period, wait: Wait, locale: str) -> Thing:
    """Charges of one company that wait for one thing."""
    number = len(wait.charges)
    money = Figures(locale).money(wait.amount, wait.currency)
    name = _short(wait.who)
    detail = _short(wait.detail, 300)
    first = wait.steps[0].command if wait.steps else ()
    typed, steps = bool(first), (first,) if first else ()
    return Thing(
        key=f"held:{period}:{wait.reason}:{_id(wait.who, wait.currency)}",
        event="held",
        title=f"{period} {name}: {title_of(wait.reason)} ({number} {plural(number, 'charge')}, {money})",
        body=detail if typed else f"{detail}. {_short(wait.next_step, 300)}",
        steps=(*steps, ("billingsync", "holds", str(period))),
        lasting=True,
    )


def credited(period: Period, up: TrueUp) -> Thing:
    """A client that was billed from an invoice that Pax8 then credited, and of which nothing else waits [R2]."""
    steps = tuple(step.command for step in up.steps[:1])
    return Thing(
        key=f"held:{period}:true_up:{_id(str(up.client_id), up.currency)}",
        event="held",
        title=f"{period} {_short(up.client_name)}: billed from an invoice that Pax8 credited",
        body=_short(up.detail, 300),
        steps=(*steps, ("billingsync", "plan", str(period))),
        lasting=True,
    )


def undone(period: Period, client_id: int, client_name: str) -> Thing:
    """A client whose bill a person undid, and that the worker would have billed again [R5]."""
    name = _short(client_name)
    return Thing(
        key=f"undone:{period}:{client_id}",
        event="held",
        title=f"{period} {name}: undone, so it is billed again only by a person's command",
        body="What was undone of it can be billed again as the plan shows.",
        steps=(
            ("billingsync", "plan", str(period), "--client", str(client_id)),
            ("billingsync", "run", str(period), "--client", str(client_id)),
        ),
        lasting=True,
    )


def overdue(period: Period, month: Month) -> Thing:
    why = f": {_short(month.problem, 300)}" if month.problem else ""
    what = "is not completely readable yet" if month.state == MonthState.UNREADABLE else "has not been released yet"
    return Thing(
        key=f"overdue:{period}",
        event="overdue",
        title=f"Pax8's invoice of {period} {what}",
        body=f"It is looked for again and again{why}",
        steps=(("billingsync", "periods"), ("billingsync", "status")),
        lasting=True,
    )


def cause_of(thing: Thing) -> str:
    """The kind of a failure without its details, e.g. "login:Pax8", "rules", "posting"."""
    words = thing.key.split(":")[1:]
    return ":".join(words[:2] if words[0] in ("login", "upstream", "refused", "cycle") else words[:1])


def failure(failed: BillingSyncError) -> Thing:
    """A cycle, or a month in it, failed."""
    if isinstance(failed, RulesError):
        key, title = "failed:rules", "The rules are wrong, so nothing is posted"
    elif isinstance(failed, LoginFailed) and failed.status in _REFUSED:
        key, title = f"failed:login:{failed.service}", f"{failed.service} does not accept the credentials"
    elif isinstance(failed, UpstreamError):
        key, title = f"failed:upstream:{failed.service}", f"{failed.service} cannot be used"
    elif isinstance(failed, Refused):
        key, title = f"failed:refused:{failed.code}", "Refused, to protect the bill"
    else:
        key, title = f"failed:cycle:{failed.code}", "A cycle of the worker failed"
    steps = failed.next_steps or _DOCTOR
    return Thing(key=key, event="failed", title=title, body=_short(failed.message, 600), steps=steps, lasting=True)


def expiring(service: str, ends: date, today: date) -> Thing:
    """A client secret ends soon, or has ended by what was noted."""
    variable = {"Pax8": "PAX8", "HaloPSA": "HALO"}[service]
    when = f"expires on {ends}" if ends >= today else f"was to expire on {ends}"
    return Thing(
        key=f"expiring:{service}:{ends}",
        event="failed",
        title=f"{service}'s client secret {when}",
        body=f"Make a new one, put it in place of BILLINGSYNC_{variable}__CLIENT_SECRET, set BILLINGSYNC_{variable}__"
        "EXPIRES_ON to its last day, restart the worker, and only then take the old one back.",
        steps=_DOCTOR,
        lasting=True,
    )


def clock(wrong: Mapping[str, float], whose: str = "This machine's") -> Thing:
    says = " and ".join(f"{name}'s by {abs(skew):.0f} s" for name, skew in sorted(wrong.items()))
    return Thing(
        key="failed:clock",
        event="failed",
        title=f"{whose} clock is wrong, so nothing is posted by itself",
        body=f"It differs from {says}.",
        steps=(("timedatectl",), *_DOCTOR),
        lasting=True,
    )


def differs(row: PostingHead) -> Thing:
    return Thing(
        key=f"failed:differs:{row.key}",
        event="failed",
        title=f"{row.period} {_short(row.client_name)}: HaloPSA has something else than was sent",
        body=f"Sent {row.amount} {_short(row.currency)}, found {row.returned_price}. {_short(row.message, 400)}",
        steps=(("billingsync", "show", row.run),),
        lasting=True,
    )


def trouble(result: RunResult, locale: str) -> list[Thing]:
    """What of a run did not end well."""
    figures = Figures(locale)
    found = [
        Thing(
            key=f"failed:posting:{result.period}:{one.client_id}:{_id(one.key)}",
            event="failed",
            title=f"{result.period} {_short(one.client_name)}: {figures.money(one.amount, one.currency)} not written",
            body=_short(one.problem, 400),
            steps=(("billingsync", "show", result.run), ("billingsync", "run", result.period)),
            lasting=True,
        )
        for one in result.postings
        if one.state == OutcomeState.FAILED
    ]
    for account in result.accounts:
        back = result.returned.get(account.currency, (ZERO, ZERO))
        if back != (account.price.posted, account.cost.posted):
            sides = (account.price.posted, back[0])
            says = " and ".join(figures.money(side, account.currency) for side in sides)
            found.append(
                Thing(
                    key=f"failed:returned:{result.period}:{_id(account.currency)}",
                    event="failed",
                    title=f"{result.period}: what was posted and what HaloPSA returned differ",
                    body=f"Posted and returned: {says}.",
                    steps=(("billingsync", "show", result.run),),
                    lasting=True,
                )
            )
    return found


def _short(text: str, most: int = 80) -> str:
    """Foreign text on one line, cut, and with nothing in it that a screen or a chat would obey."""
    return shortened(one_line(text), most)


def _id(*parts: object) -> str:
    """A short stable name for what may be long or hold anything."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:12]
