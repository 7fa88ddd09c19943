"""What is left out: of the bills, and of the reports, apart; since when, by whom, and for how much this month."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from starlette.responses import Response

from billingsync.core.desk import Role
from billingsync.core.reasons import Exclusion, title_of
from billingsync.core.rules import Rules
from billingsync.errors import RulesError, UsageError
from billingsync.report.html import clean
from billingsync.rulebook import kept_rulebook, load_rulebook
from billingsync.run.desk_rules import ALL, RulesAsked
from billingsync.run.kept_plan import kept_month
from billingsync.store.ledger import Ledger
from billingsync.web.ask import Ask, Page, Shown, see
from billingsync.web.pages.clients import newest
from billingsync.web.pages.ready import client_rows
from billingsync.web.saving import save_rules
from billingsync.web.views.money import View, sums
from billingsync.web.views.sheets import exclusions_table

# Key of the rules, its words, and of what it is about.
_LISTS = (
    ("exclude.companies", "Companies never billed", "a Pax8 id or exact name"),
    ("exclude.products", "Products never billed", "a SKU or exact name"),
    ("exclude.types", "Charge types never billed", "as Pax8 calls it"),
    ("reconcile.exclude_companies", "Companies left out of reports and cards", "a Pax8 id or exact name"),
    ("reconcile.exclude_products", "Products left out of reports and cards", "a SKU or exact name"),
)

_ABOUT: Mapping[str, str] = {
    Exclusion.COMPANY: "companies",
    Exclusion.PRODUCT: "products",
    Exclusion.CHARGE_TYPE: "types",
}
Sums = dict[str, Decimal]


def show(ask: Ask) -> Shown:
    try:
        base = kept_rulebook(ask.desk.settings.rules_dir, ask.ledger.desk_rules())[0].base
    except RulesError as wrong:
        problems = [clean(one, 400) for one in wrong.problems]
        view: View = {"problems": problems, "lists": [], "others": [], "month": ""}
        return Shown(template="exclusions", title="Exclusions", view=view, twin=lambda: {"rows": []})
    figures, head = ask.desk.figures, newest(ask)
    kept_out, by_rule = _kept_out(ask.ledger, head.digest) if head else ({}, {})
    lists: list[View] = [
        {
            "key": key,
            "title": title,
            "about": about,
            "origin": clean(base.origins.get(key, "default"), 200),
            "rows": [
                {
                    "value": clean(value, 160),
                    "raw": value,
                    "money": sums(figures, kept_out.get((key, value.casefold()), {})),
                }
                for value in _values(base, key)
            ],
        }
        for key, title, about in _LISTS
    ]
    others = [
        {"rule": rule, "title": title_of(rule), "money": sums(figures, money)}
        for rule, money in sorted(by_rule.items())
    ]
    view = {
        "problems": [],
        "lists": lists,
        "others": others,
        "month": figures.month(head.period) if head else "",
    }
    rows = [
        {"key": one["key"], "value": row["raw"], "kept_out": row["money"], "origin": one["origin"]}
        for one in lists
        for row in one["rows"]
    ]
    return Shown(
        template="exclusions",
        title="Exclusions",
        view=view,
        twin=lambda: {"rows": rows},
        tables=lambda: [exclusions_table(rows)],
    )


def _values(base: Rules, key: str) -> tuple[str, ...]:
    section, _, name = key.partition(".")
    found: tuple[str, ...] = getattr(getattr(base, section), name)
    return found


@lru_cache(maxsize=2)
def _kept_out(ledger: Ledger, digest: str) -> tuple[Mapping[tuple[str, str], Sums], Mapping[str, Sums]]:
    """What each entry of a list kept out of a plan, and what each rule did in all, per currency."""
    head = ledger.plan_head(digest)
    found: dict[tuple[str, str], Sums] = {}
    by_rule: dict[str, Sums] = {}
    if head is None or not ledger.has_inputs(digest):
        return found, by_rule
    charges = kept_month(ledger, digest).charges
    wanted = [row.nth for row in client_rows(ledger, digest) if row.left_out]
    for body in (*ledger.last_bodies(digest, wanted).values(), head.content["unassigned"]):
        for entry in body["excluded"]:
            charge, currency, amount = entry["charge"], entry["currency"], Decimal(entry["amount"])
            names = [
                ("exclude.companies", str(body.get("company_id") or "")),
                ("exclude.companies", str(body.get("company_name") or "")),
                ("exclude.products", charges[charge].sku.strip() if charge in charges else ""),
                ("exclude.products", str(entry["product"])),
                ("exclude.types", charges[charge].type if charge in charges else ""),
            ]
            _add(by_rule.setdefault(str(entry["rule"]), {}), currency, amount)
            about = _ABOUT.get(str(entry["rule"]), "")
            for key, name in names:
                if name and key == f"exclude.{about}":
                    _add(found.setdefault((key, name.casefold()), {}), currency, amount)
    return found, by_rule


def _add(money: Sums, currency: str, amount: Decimal) -> None:
    money[currency] = money.get(currency, Decimal(0)) + amount


def change(ask: Ask) -> Response:
    """Puts something on a list of all clients' rules, or takes it off, with a reason; and plans the month anew."""
    key, value = ask.text("key"), ask.text("value")[:400]
    if key not in [one for one, _, _ in _LISTS] or not value:
        raise UsageError("Write what is to be left out. Nothing was changed.")
    rules_dir = ask.desk.settings.rules_dir
    now = _values(load_rulebook(rules_dir, ask.ledger.desk_rules()).base, key)
    off = ask.text("do") == "off"
    if off != (value in now):
        raise UsageError(f"{value!r:.80} is {'not' if off else 'already'} on that list. Nothing was changed.")
    then = [one for one in now if one != value] if off else [*now, value]
    asked = RulesAsked(client=ALL, values={key: json.dumps(then)}, reason=ask.text("reason")[:1000])
    save_rules(ask, asked)
    return see("/exclusions")


PAGES = (
    Page(path="/exclusions", show=show, role=Role.FINANCIAL, twin=True, sheets=True),
    Page(path="/exclusions", show=change, role=Role.FINANCIAL, post=True),
)
