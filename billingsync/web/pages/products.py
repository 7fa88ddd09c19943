"""Which Pax8 product is which HaloPSA item, and where items come from that are none yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.responses import Response

from billingsync.core.desk import OrderKind, Role
from billingsync.core.reasons import title_of
from billingsync.errors import RulesError, UsageError
from billingsync.report.html import clean
from billingsync.rulebook import as_toml, kept_rulebook
from billingsync.run.desk_rules import ALL, RulesAsked
from billingsync.store.plan_rows import PlanHead
from billingsync.web.ask import Ask, NotFound, Page, Shown, see
from billingsync.web.kept import Product, items_of, product_fates, products_of, search
from billingsync.web.pages.clients import newest
from billingsync.web.saving import save_rules
from billingsync.web.views.money import View, sums
from billingsync.web.views.paths import charge_path, product_path
from billingsync.web.views.sheets import products_table

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_PARTS = 5  # items that the form has room for
LIFECYCLES = {
    "off": "Lines carry text only; nothing is looked for in HaloPSA.",
    "manual": "A product without an item waits until somebody chooses one.",
    "default_item": "Every line carries the default item.",
    "automatic": "A product without an item gets one made in HaloPSA, after a search for it.",
}


def planned_head(ask: Ask) -> PlanHead | None:
    """The newest plan, where what it was made from was kept."""
    head = newest(ask)
    return head if head is not None and ask.ledger.has_inputs(head.digest) else None


def show(ask: Ask) -> Shown:
    head = planned_head(ask)
    rows = [] if head is None else _rows(ask, head)
    query = ask.query("q")[:200].casefold()
    shown = [row for row in rows if query in f"{row['sku']}\n{row['name']}\n{row['item']}".casefold()]
    shown.sort(key=lambda row: (not row["why"], row["name"].casefold()))
    view = {
        "rows": shown[:1000],
        "open": sum(1 for row in rows if row["why"]),
        **_lifecycle(ask),
        "q": ask.query("q")[:200],
        "planned": head is not None,
        "month": ask.desk.figures.month(head.period) if head else "",
        "may": ask.role.may(Role.FINANCIAL),
    }
    hidden = () if ask.role.may(Role.FINANCIAL) else ("money",)
    twin = [{key: value for key, value in row.items() if key not in hidden} for row in shown]
    return Shown(
        template="products",
        title="Products",
        view=view,
        twin=lambda: {"rows": twin},
        tables=lambda: [products_table(shown, may=ask.role.may(Role.FINANCIAL))],
    )


def _lifecycle(ask: Ask) -> View:
    """What counts for all clients, in words."""
    lifecycle = ""
    with suppress(RulesError):  # the page of the rules says what is wrong
        rulebook, _ = kept_rulebook(ask.desk.settings.rules_dir, ask.ledger.desk_rules())
        lifecycle = rulebook.base.products.lifecycle
    return {
        "lifecycle": lifecycle.replace("_", " "),
        "lifecycle_says": LIFECYCLES.get(lifecycle, "The rules are wrong."),
    }


def _rows(ask: Ask, head: PlanHead) -> list[View]:
    """Every product of the month, with the item that its lines carry, or why they wait."""
    items, waits = product_fates(ask.ledger, head.digest)
    by_person = ask.ledger.item_matches()
    return [_row(ask, one, items, waits, by_person) for one in products_of(ask.ledger, head.digest).values()]


def _row(
    ask: Ask, one: Product, items: Mapping[str, Any], waits: Mapping[str, str], by_person: Mapping[str, Any]
) -> View:
    carried = [items[charge] for charge in one.charges if items.get(charge)]
    why = next((waits[charge] for charge in one.charges if charge in waits), "")
    person = by_person.get(one.sku)
    shown = [clean(item["name"], 160) + (f" ({item['id']})" if item["id"] is not None else "") for item in carried]
    return {
        "key": one.key,
        "sku": clean(one.sku, 80),
        "path": product_path(one.key),
        "name": clean(one.name, 160),
        "item": "; ".join(dict.fromkeys(shown)) or (f"item {person.item_id}" if person else ""),
        "new": any(item.get("create") for item in carried),
        "how": clean(f"chosen by {person.who.partition(' (')[0]}", 120) if person else "",
        "why": title_of(why) if why else "",
        "clients": len(one.companies),
        "money": sums(ask.desk.figures, one.money),
    }


def _product(ask: Ask, key: str) -> tuple[PlanHead, Product]:
    head = planned_head(ask)
    found = products_of(ask.ledger, head.digest).get(key) if head else None
    if head is None or found is None:
        raise NotFound("There is no such product in the newest plan.")
    return head, found


def show_one(ask: Ask) -> Shown:
    """One product: where it stands, and which item its lines are to carry. None is chosen beforehand."""
    head, one = _product(ask, ask.path("sku"))
    items, waits = product_fates(ask.ledger, head.digest)
    row = _row(ask, one, items, waits, ask.ledger.item_matches())
    query = ask.query("q")[:200] or one.name
    known = ask.ledger.item_matches().get(one.sku)
    may = ask.role.may(Role.FINANCIAL)
    view = {
        **row,
        "was": "" if known is None else str(known.item_id),
        "q": clean(query, 200),
        "found": [
            {"id": each.id, "name": clean(each.name, 160), "note": each.note}
            for each in search(items_of(ask.ledger, head.digest), query)
        ],
        "parts": _split(ask, one),
        **_lifecycle(ask),
        "charges": [(charge, charge_path(charge)) for charge in one.charges[:200]] if may else [],
        "month": ask.desk.figures.month(head.period),
        "may": may,
    }
    shown = {name: row[name] for name in row if may or name != "money"}
    return Shown(template="product", title=str(row["name"]), view=view, twin=lambda: {"rows": [shown]})


def _split(ask: Ask, one: Product) -> list[View]:
    """The items that the rules split it over, with room for more."""
    parts: list[View] = []
    with suppress(RulesError):
        base = kept_rulebook(ask.desk.settings.rules_dir, ask.ledger.desk_rules())[0].base
        block = next((block for block in base.product_blocks if block.pax8_sku == one.sku and one.sku), None)
        if block is not None:
            parts = [
                {"item": str(part.halo_item), "share": as_toml(part.share), "price": as_toml(part.unit_price)}
                for part in block.parts
            ]
    return (parts + [{"item": "", "share": "", "price": ""}] * _PARTS)[: max(_PARTS, len(parts))]


def set_item(ask: Ask) -> Response:
    """Files the order to map a product, and to plan the month anew; nothing is posted by it [DK4]."""
    head, one = _product(ask, ask.text("key"))
    chosen, was = ask.text("item") or ask.text("id"), ask.text("was")
    if not one.sku:
        raise UsageError("Pax8 gives this product no SKU. Give a HaloPSA item its name. Nothing was changed.")
    if not chosen.isdigit():
        raise UsageError("Choose one of the items, or write an item's id. Nothing was changed.")
    return ask.order(
        OrderKind.MAP_PRODUCT,
        {
            "sku": one.sku,
            "item": int(chosen),
            "was": int(was) if was.isdigit() else None,
            "period": head.period,
        },
    )


def split(ask: Ask) -> Response:
    """One product on several items: a rule for all clients, refused unless it adds up [P5]."""
    _, one = _product(ask, ask.text("key"))
    parts = []
    for nth in range(20):
        item, share, price = (ask.text(f"{name}{nth}") for name in ("item", "share", "price"))
        if not item:
            continue
        if not item.isdigit():
            raise UsageError(f"{item!r:.40} is no item's id. Nothing was changed.")
        if any(text and not _NUMBER.fullmatch(text) for text in (share, price)):
            raise UsageError(f"{share or price!r:.40} is no number. Write it like 12.50. Nothing was changed.")
        takes = f"share = {share}" if share else f"unit_price = {price}" if price else "rest = true"
        parts.append(f"{{ halo_item = {item}, {takes} }}")
    if not one.sku or not parts:
        raise UsageError("Write the items and what each takes. Nothing was changed.")
    asked = RulesAsked(client=ALL, values={f"product.{one.sku}": f"[{', '.join(parts)}]"}, reason=ask.text("reason"))
    save_rules(ask, asked)
    return see(product_path(one.key))


PAGES = (
    Page(path="/products", show=show, role=Role.USER, twin=True, sheets=True),
    Page(path="/products/choose", show=set_item, role=Role.FINANCIAL, post=True),
    Page(path="/products/split", show=split, role=Role.FINANCIAL, post=True),
    Page(path="/products/{sku:path}", show=show_one, role=Role.USER, twin=True),
)
