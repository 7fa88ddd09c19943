"""Families and bundles: which products count as one, and which item covers seats of several [LC7]."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from starlette.responses import Response

from billingsync.core.desk import Role
from billingsync.core.rules import BundleBlock, MatchBlock, Rules
from billingsync.errors import RulesError, UsageError
from billingsync.report.html import clean
from billingsync.rulebook import as_toml, kept_rulebook
from billingsync.run.desk_rules import ALL, RulesAsked
from billingsync.web.ask import Ask, Page, Shown, see
from billingsync.web.kept import items_of, products_of
from billingsync.web.pages.products import planned_head
from billingsync.web.saving import save_rules, shared_base
from billingsync.web.views.money import View

AT = "/products/together"
_MOST = 40  # fields of one form
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_NOTHING = "Nothing was saved."


def show(ask: Ask) -> Shown:
    """All of them as they count for all clients, each with its form, and an empty form for a new one."""
    rules, problems = _rules(ask)
    head, sku = planned_head(ask), ask.query("sku")[:200]
    names = {one.sku: one.name for one in products_of(ask.ledger, head.digest).values() if one.sku} if head else {}
    items = {str(one.id): one.name for one in items_of(ask.ledger, head.digest)} if head else {}
    families = [_family(one, rules, names, items) for one in rules.matches]
    bundles = [_bundle(one, rules, names, items) for one in rules.bundles]
    new = MatchBlock(pax8_skus=(sku,) if sku else ())
    view = {
        "families": families,
        "bundles": bundles,
        "family": _family(new, rules, names, items),
        "bundle": _bundle(BundleBlock(halo_item=0, covers=()), rules, names, items) | {"item": ""},
        "sku": clean(sku, 200),
        "skus": sorted((clean(one, 120), clean(name, 120)) for one, name in names.items())[:1000],
        "problems": problems,
        "base": shared_base(ask),
        "may": ask.role.may(Role.FINANCIAL),
    }
    rows = [
        *({"kind": "family", "skus": list(one.pax8_skus), "items": list(one.halo_items)} for one in rules.matches),
        *({"kind": "bundle", "item": one.halo_item, "skus": [c.pax8_sku for c in one.covers]} for one in rules.bundles),
    ]
    return Shown(template="together", title="Families and bundles", view=view, twin=lambda: {"rows": rows})


def _rules(ask: Ask) -> tuple[Rules, list[str]]:
    try:
        return kept_rulebook(ask.desk.settings.rules_dir, ask.ledger.desk_rules())[0].base, []
    except RulesError as wrong:
        return Rules(), [clean(one, 400) for one in wrong.problems]


def _family(one: MatchBlock, rules: Rules, names: Mapping[str, str], items: Mapping[str, str]) -> View:
    key = one.pax8_skus[0] if one.pax8_skus else ""
    origin = rules.origins.get(f"reconcile.match.{key}", "")
    return {
        "key": key,
        "skus": [(clean(sku, 120), clean(names.get(sku, ""), 160)) for sku in one.pax8_skus],
        "items": [(str(id), clean(items.get(str(id), ""), 160)) for id in one.halo_items],
        "count": one.count,
        "per_unit": as_toml(one.per_unit),
        "round": one.round,
        "origin": clean(origin, 200),
        "ours": origin.startswith("desk, "),
    }


def _bundle(one: BundleBlock, rules: Rules, names: Mapping[str, str], items: Mapping[str, str]) -> View:
    origin = rules.origins.get(f"reconcile.bundle.{one.halo_item}", "")
    return {
        "item": str(one.halo_item),
        "name": clean(items.get(str(one.halo_item), ""), 160),
        "covers": [
            (clean(each.pax8_sku, 120), clean(names.get(each.pax8_sku, ""), 160), as_toml(each.seats))
            for each in one.covers
        ],
        "origin": clean(origin, 200),
        "ours": origin.startswith("desk, "),
    }


# Acts -----------------------------------------------------------------------------------------------------------------


def save_family(ask: Ask) -> Response:
    """Products that count as one, as a rule for all clients; with "off" the desk's rule is taken out again."""
    key, skus = ask.text("key"), _filled(ask, "sku")
    if ask.text("do") == "off":
        return _save(ask, {f"reconcile.match.{key}": ""})
    items = _filled(ask, "item")
    if not skus or not items:
        raise UsageError(f"Write the products and the items that carry them. {_NOTHING}")
    if wrong := next((item for item in items if not item.isdigit()), ""):
        raise UsageError(f"{wrong!r:.40} is no item's id. {_NOTHING}")
    now = next((one for one in _rules(ask)[0].matches if key in one.pax8_skus), MatchBlock(pax8_skus=()))
    block = replace(now, pax8_skus=tuple(skus), halo_items=tuple(map(int, items)), halo_lines=())
    value = as_toml(replace(block, count="sum", per_unit=MatchBlock(pax8_skus=()).per_unit, round="exact"))
    for name, kinds in (("count", ("sum", "each")), ("round", ("exact", "up"))):
        chosen = ask.text(name)
        if chosen not in kinds:
            raise UsageError(f"Choose one of {', '.join(kinds)}. {_NOTHING}")
        value += f", {name} = {as_toml(chosen)}"
    value += f", per_unit = {_number(ask.text('per_unit') or '1')}"
    gone = {f"reconcile.match.{key}": ""} if key and key not in skus else {}
    return _save(ask, {**gone, f"reconcile.match.{key if key in skus else skus[0]}": f"{{ {value} }}"})


def save_bundle(ask: Ask) -> Response:
    """What one item covers, as a rule for all clients; with "off" the desk's rule is taken out again."""
    item = ask.text("item")
    if not item.isdigit():
        raise UsageError(f"Write the id of the item that is sold as a bundle. {_NOTHING}")
    if ask.text("do") == "off":
        return _save(ask, {f"reconcile.bundle.{int(item)}": ""})
    covers = [
        f"{{ pax8_sku = {as_toml(sku)}, seats = {_number(ask.text(f'seats{nth}') or '1')} }}"
        for nth in range(_MOST)
        if (sku := ask.text(f"sku{nth}")[:200])
    ]
    if not covers:
        raise UsageError(f"Write the products that the item covers. {_NOTHING}")
    return _save(ask, {f"reconcile.bundle.{int(item)}": f"[{', '.join(covers)}]"})


def _save(ask: Ask, values: Mapping[str, str]) -> Response:
    save_rules(ask, RulesAsked(client=ALL, values=values, reason=ask.text("reason")[:1000], base=ask.text("base")))
    return see(AT)


def _filled(ask: Ask, name: str) -> Sequence[str]:
    """The fields of that name that say something, each once."""
    return list(dict.fromkeys(text for nth in range(_MOST) if (text := ask.text(f"{name}{nth}")[:200])))


def _number(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"{text!r:.40} is no number. Write it like 2 or 0.5. {_NOTHING}")
    return text


PAGES = (
    Page(path=AT, show=show, role=Role.USER, twin=True),
    Page(path=f"{AT}/family", show=save_family, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/bundle", show=save_bundle, role=Role.FINANCIAL, post=True),
)
