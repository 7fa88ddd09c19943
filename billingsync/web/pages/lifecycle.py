"""Where the items of products come from that have none in HaloPSA: one rule for all clients, with its effect first."""

from __future__ import annotations

from decimal import Decimal

from starlette.responses import Response

from billingsync.core.desk import Role
from billingsync.errors import RulesError, UsageError
from billingsync.report.html import clean
from billingsync.rulebook import kept_rulebook
from billingsync.run.desk_rules import ALL, RulesAsked
from billingsync.run.rules_effect import effect_of
from billingsync.web.ask import Ask, Page, Shown, see
from billingsync.web.kept import product_fates, products_of
from billingsync.web.pages.products import LIFECYCLES, planned_head
from billingsync.web.pages.rules import effect_view
from billingsync.web.saving import save_rules, shared_base
from billingsync.web.views.money import View, sums

AT = "/products/lifecycle"


def show(ask: Ask) -> Shown:
    return _shown(ask)


def _shown(ask: Ask, says: str = "", effect: View | None = None) -> Shown:
    now, default_item, origin = "", "", ""
    try:
        base = kept_rulebook(ask.desk.settings.rules_dir, ask.ledger.desk_rules())[0].base
        now, default_item = base.products.lifecycle, str(base.products.default_item or "")
        origin = base.origins.get("products.lifecycle", "default")
    except RulesError as wrong:
        says = wrong.message
    head = planned_head(ask)
    view = {
        "now": now,
        "origin": clean(origin, 200),
        "ways": list(LIFECYCLES.items()),
        "chosen": ask.text("lifecycle") or now,
        "default_item": clean(ask.text("default_item") or default_item, 20),
        "without": _without(ask, head.digest) if head else None,
        "month": ask.desk.figures.month(head.period) if head else "",
        "says": [clean(line, 400) for line in says.splitlines()],
        "effect": effect,
        "reason": ask.text("reason")[:1000],
        "base": ask.text("base") or shared_base(ask),
        "may": ask.role.may(Role.ADMIN),
    }
    twin = {"lifecycle": now, "default_item": default_item or None, "origin": view["origin"]}
    return Shown(
        template="lifecycle", title="Lifecycle", view=view, status=422 if says else 200, twin=lambda: {"rows": [twin]}
    )


def _without(ask: Ask, digest: str) -> View:
    """The products of a plan that HaloPSA has no item of: those that wait, and those that get one made."""
    items, waits = product_fates(ask.ledger, digest)
    found = [
        one
        for one in products_of(ask.ledger, digest).values()
        if any(charge in waits or (items.get(charge) or {}).get("create") for charge in one.charges)
    ]
    money: dict[str, Decimal] = {}
    for one in found:
        for currency, amount in one.money.items():
            money[currency] = money.get(currency, Decimal(0)) + amount
    clients = frozenset(company for one in found for company in one.companies)
    return {"products": len(found), "clients": len(clients), "money": sums(ask.desk.figures, money)}


def _asked(ask: Ask) -> RulesAsked:
    chosen, item = ask.text("lifecycle"), ask.text("default_item")
    if chosen not in LIFECYCLES:
        raise UsageError("Choose one of the ways. Nothing was saved.")
    values = {"products.lifecycle": chosen}
    if chosen == "default_item":
        if not item.isdigit():
            raise UsageError("Write the id of the default item. Nothing was saved.")
        values["products.default_item"] = item
    return RulesAsked(client=ALL, values=values, reason=ask.text("reason")[:1000], base=ask.text("base"))


def look(ask: Ask) -> Shown:
    """What it would do to this month, before it is saved; what is wrong stands beside the form."""
    says, effect = "", None
    try:
        found = effect_of(ask.ledger, ask.desk.settings.rules_dir, _asked(ask), who=ask.who, now=ask.now)
        effect = effect_view(ask, found)
    except (RulesError, UsageError) as wrong:
        says = wrong.message
    return _shown(ask, says, effect)


def save(ask: Ask) -> Response:
    """Keeps it; nothing is posted, and no item is made before something is [DK4]."""
    save_rules(ask, _asked(ask))
    return see("/products")


PAGES = (
    Page(path=AT, show=show, role=Role.FINANCIAL, twin=True),
    Page(path=f"{AT}/look", show=look, role=Role.ADMIN, post=True),
    Page(path=AT, show=save, role=Role.ADMIN, post=True),
)
