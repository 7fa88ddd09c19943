"""What waits for people, by reason and then by money, with the one act that settles it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from billingsync.core.reasons import APPROVABLE, ApproveAs, title_of
from billingsync.report.html import clean
from billingsync.report.numbers import Figures
from billingsync.web.views.money import View, money, sums
from billingsync.web.views.paths import charge_path

MOST_LINKS = 200  # charges of one row that are named
NOBODY = "No company named by Pax8"
MAPS = frozenset({"client_unmapped", "client_ambiguous", "client_renamed", "client_guessed", "client_changed"})


_BUTTONS = {
    ApproveAs.LIMITS: "Let what is ticked pass",
    ApproveAs.NO_DUPLICATE: "What is ticked is no duplicate",
    ApproveAs.BILL: "Bill what is ticked",
    ApproveAs.ADD_AGAIN: "Add what is ticked again",
    ApproveAs.SOURCE_CHANGED: "Accept the change of what is ticked",
}


def approvable(reason: str) -> ApproveAs | None:
    """As what a hold of this reason may be approved; None where no approval ends it."""
    return next((kind for kind, reasons in APPROVABLE.items() if reason in {str(one) for one in reasons}), None)


def groups(
    bodies: Iterable[tuple[int, Mapping[str, Any]]],
    unassigned: Mapping[str, Any],
    figures: Figures,
    ages: Mapping[tuple[str, str], str] | None = None,
) -> list[View]:
    """By reason, the one with most charges first; in each, one entry a client, the largest first. `ages` says how long
    a company's holds of a reason have waited."""
    by_reason: dict[str, dict[str, View]] = {}
    for nth, body in [*bodies, (-1, unassigned)]:
        for hold in body["holds"]:
            reason = str(hold["reason"])
            entries = by_reason.setdefault(reason, {})
            who = clean(body.get("client_name") or body.get("company_name") or "", 160) or NOBODY
            entry = entries.setdefault(f"{nth} {hold['currency']}", _entry(nth, body, hold, who))
            entry["age"] = (ages or {}).get((entry["company"], reason), "")
            entry["amount"] += Decimal(hold["amount"])
            entry["charges"].append(hold["charge"])
            product = clean(hold["product"] or "", 120)
            if product and product not in entry["products"]:
                entry["products"].append(product)
    found = []
    for reason, entries in by_reason.items():
        rows = sorted(entries.values(), key=lambda entry: -abs(entry["amount"]))
        total: dict[str, Decimal] = {}
        for entry in rows:
            total[entry["currency"]] = total.get(entry["currency"], Decimal(0)) + entry["amount"]
        kind = approvable(reason)
        found.append(
            {
                "reason": reason,
                "title": title_of(reason),
                "kind": kind.value if kind else "",
                "button": _BUTTONS.get(kind, "") if kind else "",
                "aside": reason == "set_aside",
                "money": sums(figures, total),
                "charges": sum(len(entry["charges"]) for entry in rows),
                "maps": reason in MAPS,
                "rows": [_shown(entry, figures) for entry in rows],
            }
        )
    return sorted(found, key=lambda group: -int(group["charges"]))


def _entry(nth: int, body: Mapping[str, Any], hold: Mapping[str, Any], who: str) -> View:
    ways = [(clean(way["text"], 400), bool(way["command"])) for way in hold.get("ways", ())]
    step = hold.get("next_step") or ""
    return {
        "nth": nth,
        "who": who,
        "company": body.get("company_id") or "",
        "client": str(body.get("client_id") or body.get("company_id") or ""),
        "currency": hold["currency"],
        "amount": Decimal(0),
        "charges": [],
        "products": [],
        "detail": clean(hold.get("detail") or "", 400),
        "ways": ways or ([(clean(step, 400), step.startswith("billingsync "))] if step else []),
    }


def _shown(entry: View, figures: Figures) -> View:
    products = entry["products"]
    return entry | {
        "money": money(figures, entry["amount"], entry["currency"]),
        "count": len(entry["charges"]),
        "whys": [(charge, charge_path(charge)) for charge in entry["charges"][:MOST_LINKS]],
        "products": ", ".join(products[:4]) + (f" and {len(products) - 4} more" if len(products) > 4 else ""),
    }
