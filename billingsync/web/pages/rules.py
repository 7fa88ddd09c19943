"""The rules as they count, each key with the layer that says it; and what is different for one client [RI5]."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.responses import Response

from billingsync.core.desk import Role
from billingsync.core.rules import ClientFile, DeskRules, Rulebook
from billingsync.errors import RulesError, UsageError
from billingsync.report.html import clean
from billingsync.rulebook import as_toml, effective, kept_rulebook
from billingsync.rulebook.edit import keys_in, locked_keys, needs_reason
from billingsync.rulebook.keys import CLIENT_FILE, CLIENT_KEYS, KEYS, Key
from billingsync.run.desk_rules import ALL, RulesAsked, text_digest
from billingsync.run.rules_effect import Effect, effect_of
from billingsync.store.plan_rows import ClientRow
from billingsync.web.ask import Ask, Desk, NotFound, Page, Shown, see
from billingsync.web.kept import recurring_of
from billingsync.web.pages.clients import newest
from billingsync.web.pages.ready import client_rows
from billingsync.web.saving import save_rules
from billingsync.web.views.money import View, amount
from billingsync.web.views.paths import rules_path
from billingsync.web.views.times import moment

# What a client differs in most often stands first, in this order.
_FIRST = (
    "invoice.behavior",
    "invoice.recurring_invoice",
    "modifiers.azure",
    "modifiers.favorable_prorata",
    "modifiers.zero_lines",
    "products.lifecycle",
    "client.exclude",
)
_FIELDS = {key.dotted: key for key in (*KEYS, *CLIENT_KEYS) if key.section != "client" or key.name == "exclude"}
_ADMINS = ("limits.", "approval.")
_TAGS = re.compile(r"\s*\[[A-Z]+\d+\](-\[[A-Z]+\d+\])?")


def for_admins(dotted: str) -> bool:
    """Whether only an admin may set this key."""
    return dotted.startswith(_ADMINS)


def _book(desk: Desk) -> tuple[Rulebook, tuple[str, ...], list[str]]:
    """The rules, what is doubtful about them, and what is wrong with them: then there are none."""
    try:
        rulebook, warnings = kept_rulebook(desk.settings.rules_dir, desk.ledger.desk_rules())
    except RulesError as wrong:
        return Rulebook(), (), [clean(one, 400) for one in wrong.problems]
    return rulebook, warnings, []


def show_all(ask: Ask) -> Shown:
    rulebook, warnings, problems = _book(ask.desk)
    rows = _rows(rulebook, None)
    files = [
        {
            "name": clean(file.name or file.pax8_company or str(file.halo_client), 160),
            "path": rules_path(file.pax8_company) if file.pax8_company else "",
            "where": clean(file.path, 200),
        }
        for file in rulebook.clients[:1000]
    ]
    view = {
        **_form(ask, "", "all clients", rulebook, None),
        "rows": rows,
        "files": files,
        "warnings": [clean(one, 400) for one in warnings],
        "problems": problems,
        "digest": rulebook.digest[:12],
    }
    return Shown(template="rules", title="Rules", view=view, twin=lambda: {"rules": rows, "warnings": list(warnings)})


def _rows(rulebook: Rulebook, file: ClientFile | None) -> list[View]:
    """As `rules show` lists them."""
    return [
        {"key": key, "value": clean(as_toml(value), 400), "origin": clean(origin, 200)}
        for key, value, origin in effective(rulebook, file)
    ]


def _company(ask: Ask, id_: str) -> ClientRow:
    head = newest(ask)
    rows = client_rows(ask.ledger, head.digest) if head else ()
    row = next((row for row in rows if row.company_id == id_ and id_), None)
    if row is None:
        raise NotFound("There is no such client in the newest plan.")
    return row


def show(ask: Ask) -> Shown:
    return _client_page(ask, _company(ask, ask.path("company")))


def _client_page(ask: Ask, row: ClientRow, **extra: Any) -> Shown:
    rulebook, _, problems = _book(ask.desk)
    file = rulebook.file_for(company_id=row.company_id, company_name=row.company_name, client_id=row.client_id)
    rows = _rows(rulebook, file)
    view = {
        **_form(ask, row.company_id, clean(row.name, 160), rulebook, row),
        "rows": rows,
        "files": [],
        "warnings": [],
        "problems": problems,
        "digest": rulebook.digest[:12],
        **extra,
    }
    return Shown(
        template="rules", title=f"Rules of {view['name']}", view=view, twin=lambda: {"client": row.name, "rules": rows}
    )


def _form(ask: Ask, company: str, name: str, rulebook: Rulebook, row: ClientRow | None) -> View:
    """The fields that may be set, each with what counts now, and why one cannot be."""
    mine = next((one for one in ask.ledger.desk_rules() if one.company_id == company), None)
    one = mine or DeskRules(
        company_id=company,
        company_name=row.company_name if row else "",
        client_id=row.client_id if row else None,
        version=0,
        text="",
        who="",
        at=ask.now,
    )
    values = keys_in(one.text)
    locked: Mapping[str, str] = {}
    with suppress(RulesError):  # what is wrong stands on the page
        locked = locked_keys(ask.desk.settings.rules_dir, one)
    file = (
        rulebook.file_for(company_id=row.company_id, company_name=row.company_name, client_id=row.client_id)
        if row
        else None
    )
    now = {key: (as_toml(value), origin) for key, value, origin in effective(rulebook, file)}
    names = [*_FIRST, *(dotted for dotted in _FIELDS if dotted not in _FIRST)]
    shown = [dotted for dotted in names if _fits(_FIELDS[dotted], company)]
    fields = [_field(ask, dotted, values.get(dotted, ""), now.get(dotted, ("", "")), locked) for dotted in shown]
    return {
        "company": company,
        "name": name,
        "base": text_digest(one.text),
        "first": [field for field in fields if field["key"] in _FIRST],
        "others": [field for field in fields if field["key"] not in _FIRST],
        "recurring": _recurring(ask, row),
        "history": _history(ask, company),
        "may": ask.role.may(Role.FINANCIAL if company else Role.ADMIN),
        "effect": None,
        "says": [],
        "reason": "",
        "here": rules_path(company),
    }


def _fits(key: Key, company: str) -> bool:
    if company:
        return key.section != "clients"
    return key.where != CLIENT_FILE


def _field(ask: Ask, dotted: str, value: str, now: tuple[str, str], locked: Mapping[str, str]) -> View:
    key = _FIELDS[dotted]
    options = ["true", "false"] if key.is_flag else list(key.options)
    plain = value.strip('"') if options else value
    return {
        "key": dotted,
        "words": key.name.replace("_", " "),
        "says": _TAGS.sub("", key.says),
        "value": plain,
        "options": options,
        "now": clean(now[0] or "not set", 120),
        "origin": clean(now[1], 160),
        "locked": clean(locked.get(dotted, ""), 200),
        "admin": for_admins(dotted) and not ask.role.may(Role.ADMIN),
        "reason": needs_reason(dotted),
    }


def _recurring(ask: Ask, row: ClientRow | None) -> list[View]:
    """The client's recurring invoices as the newest plan read them."""
    head = newest(ask)
    if row is None or row.client_id is None or head is None:
        return []
    return [
        {"id": abs(one.id), "name": clean(one.name, 120), "next": one.next, "lines": one.lines}
        for one in recurring_of(ask.ledger, head.digest, row.client_id)
    ]


def _history(ask: Ask, company: str) -> list[View]:
    found, before = [], ""
    for one, reason in ask.ledger.desk_rules_history(company):
        old, new = keys_in(before), keys_in(one.text)
        changes = [
            (key, clean(old.get(key, "not set"), 160), clean(new.get(key, "not set"), 160))
            for key in dict.fromkeys((*old, *new))
            if old.get(key) != new.get(key)
        ]
        found.append(
            {
                "at": moment(one.at, ask.desk.settings.zone),
                "who": clean(one.who.partition(" (")[0], 160),
                "reason": clean(reason, 400),
                "changes": changes,
            }
        )
        before = one.text
    return found[::-1]


# Acts -----------------------------------------------------------------------------------------------------------------


def _asked(ask: Ask) -> RulesAsked:
    """What the form says other than what the desk's layer says now."""
    company = ask.text("company")
    mine = next((one for one in ask.ledger.desk_rules() if one.company_id == company), None)
    now = keys_in(mine.text if mine else "")
    values = {}
    for dotted in _FIELDS:
        if dotted not in ask.form:
            continue
        given, old = ask.text(dotted), now.get(dotted, "")
        if given not in (old, old.strip('"')):
            values[dotted] = given
    if not values:
        raise UsageError("Nothing on the page is other than it is. Nothing was saved.")
    forbidden = [key for key in values if for_admins(key)]
    if (forbidden or not company) and not ask.role.may(Role.ADMIN):
        raise UsageError(f"{forbidden[0] if forbidden else 'The rules of all clients'}: only an admin may set this.")
    return RulesAsked(client=company or ALL, values=values, reason=ask.text("reason")[:1000], base=ask.text("base"))


def preview_rules(ask: Ask) -> Shown:
    """What it would change this month, before it is saved; what is wrong stands beside the form."""
    company = ask.text("company")
    row = _company(ask, company) if company else None
    says, effect = "", None
    try:
        asked = _asked(ask)
        effect = effect_of(ask.ledger, ask.desk.settings.rules_dir, asked, who=ask.who, now=ask.now)
    except (RulesError, UsageError) as wrong:
        says = wrong.message
    extra = {
        "says": [clean(line, 400) for line in says.splitlines()],
        "effect": effect_view(ask, effect) if effect else None,
        "reason": ask.text("reason")[:1000],
    }
    shown = _client_page(ask, row) if row else show_all(ask)
    view = {**shown.view, **extra}
    for field in (*view["first"], *view["others"]):  # what was typed stays
        if field["key"] in ask.form:
            field["value"] = ask.text(field["key"])
    return Shown(template="rules", title=shown.title, view=view, status=422 if says else 200)


def effect_view(ask: Ask, effect: Effect) -> View:
    figures = ask.desk.figures
    rows = [
        {
            "name": clean(one.name, 160),
            "currency": one.currency,
            "parts": [
                (words, amount(figures, old, one.currency), amount(figures, new, one.currency), old != new)
                for words, old, new in (
                    ("to post", one.before.amount, one.after.amount),
                    ("held", one.before.held, one.after.held),
                    ("left out", one.before.left_out, one.after.left_out),
                )
            ],
            "lines": f"{one.before.lines} \u2192 {one.after.lines}",
        }
        for one in effect.moved[:200]
    ]
    return {
        "rows": rows,
        "count": len(effect.moved),
        "unread": effect.unread,
        "month": figures.month(effect.period) if effect.period else "",
    }


def save(ask: Ask) -> Response:
    """Keeps it, and plans the newest month anew without asking a vendor; nothing is posted [DK4]."""
    save_rules(ask, _asked(ask))
    return see(rules_path(ask.text("company")))


PAGES = (
    Page(path="/rules", show=show_all, role=Role.FINANCIAL, twin=True),
    Page(path="/rules", show=save, role=Role.FINANCIAL, post=True),
    Page(path="/rules/look", show=preview_rules, role=Role.FINANCIAL, post=True),
    Page(path="/rules/{company:path}", show=show, role=Role.FINANCIAL, twin=True),
)
