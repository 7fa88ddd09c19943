"""Cards: proposed changes of recurring lines, one a line in this cycle, and what people decide about them [CD1]."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from billingsync.core.desk import OrderKind, Role
from billingsync.core.reconcile.card import NOTHING_CHOSEN, CardKind, Choice
from billingsync.core.reconcile.card_states import CardState, Filter, Shown, card_set
from billingsync.core.schedule import local_day
from billingsync.errors import NoSnapshot, StaleCard, UsageError
from billingsync.reconcile.approval import choose
from billingsync.reconcile.cards import Deck, Ground, Rest, put_aside
from billingsync.report.cards import card_document, set_document
from billingsync.report.html import clean
from billingsync.store.cards import kept_choice
from billingsync.web.ask import Ask, NotFound, Page, see
from billingsync.web.ask import Shown as ShownPage
from billingsync.web.views import cards as views
from billingsync.web.views.money import View
from billingsync.web.views.times import clock

AT = "/cards"
MOST = 500  # cards on one page
_NAMES = ("q", "client", "product", "vendor", "tag", "kind", "state", "as", "by", "finding", "page")
_OPEN = (CardState.OPEN, CardState.UNDONE, CardState.FAILED)
_GROUPS = (("account", "By account"), ("service", "By service"), ("invoice", "By invoice"))


def ground_of(ask: Ask) -> Ground:
    return ask.desk.comparisons.ground(local_day(ask.now, ask.desk.settings.zone))


def show(ask: Ask) -> ShownPage:
    try:
        deck = ground_of(ask).deck()
    except NoSnapshot as none:
        return _nothing(ask, none)
    figures, may = ask.desk.figures, ask.role.may(Role.FINANCIAL)
    found = _chosen(ask, deck)
    together, by = card_set(found), ask.query("by") or "account"
    shown, page, pages = _paged(ask, found)
    here = {name: ask.query(name)[:200] for name in _NAMES if ask.query(name)}
    view: View = {
        "groups": [
            {"name": clean(name, 160), "rows": [views.card_view(one, figures, money=may) for one in rows]}
            for name, rows in views.grouped(shown, by)
        ],
        "count": figures.count(len(found)),
        "tabs": _tabs(ask, deck),
        "kinds": _kinds(ask, deck),
        "set": views.set_view(together, figures),
        "list": ask.query("as") == "list",
        "locale": ask.desk.settings.locale.replace("_", "-"),
        "by": by,
        "ways": [{"words": words, "path": _link(here | {"by": name}), "here": name == by} for name, words in _GROUPS],
        "as_list": _link(here | {"as": "list"}),
        "as_cards": _link({name: value for name, value in here.items() if name != "as"}),
        "before": _link(here | {"page": page - 1}) if page > 1 else "",
        "after": _link(here | {"page": page + 1}) if page < pages else "",
        "page": page,
        "pages": pages,
        "query": {name: ask.query(name)[:200] for name in _NAMES},
        "here": _link(here),
        "files": {ending: _link(here, f"{AT}.{ending}") for ending in ("xlsx", "csv", "json")},
        **_head(ask, deck),
    }
    return ShownPage(
        template="cards",
        title="Cards",
        view=view,
        twin=lambda: {
            "snapshot": deck.snapshot,
            "as_at": deck.as_at.isoformat(timespec="seconds"),
            "cycle": str(deck.cycle),
            "verdict": deck.verdict.value,
            "cards": [card_document(one, money=may) for one in found],
            **set_document(together, money=may),
        },
        tables=lambda: [views.cards_table(found, money=may)],
    )


def _head(ask: Ask, deck: Deck) -> View:
    return {
        "snapshot": deck.snapshot,
        "made": clock(deck.as_at, ask.now, ask.desk.settings.zone),
        "cycle": ask.desk.figures.month(str(deck.cycle)),
        "may": ask.role.may(Role.FINANCIAL),
        "says": "",
    }


def _nothing(ask: Ask, none: NoSnapshot) -> ShownPage:
    view: View = {"says": clean(none.message, 600), "may": ask.role.may(Role.FINANCIAL), "here": AT}
    return ShownPage(template="cards", title="Cards", view=view, twin=lambda: {"cards": []})


def _link(query: Mapping[str, Any], path: str = AT) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _chosen(ask: Ask, deck: Deck) -> list[Shown]:
    """The cards that the address asks for; by default those that wait for somebody."""
    state, kind = ask.query("state") or "open", ask.query("kind")
    if state not in ("open", "done", "all") or (kind and kind not in tuple(CardKind)):
        raise NotFound("There is no such list of cards.")
    wanted = Filter(kinds=frozenset({CardKind(kind)}) if kind else frozenset())
    found = deck.chosen(wanted, unchanged=kind == CardKind.UNCHANGED)
    if state != "all" and kind != CardKind.UNCHANGED:
        found = tuple(one for one in found if (one.state in _OPEN) is (state == "open"))
    text, finding = ask.query("q")[:200].casefold(), ask.query("finding")
    exact = {
        name: ask.query(name)[:200].casefold() for name in ("client", "product", "vendor", "tag") if ask.query(name)
    }

    def fits(one: Shown) -> bool:
        card = one.card
        has = {
            "client": (card.client_name.casefold(), str(card.client_id)),
            "product": (card.product.casefold(), *(sku.casefold() for sku in card.skus)),
            "vendor": (card.vendor.casefold(),),
            "tag": tuple(tag.casefold() for tag in card.tags),
        }
        named = f"{card.client_name}\n{card.product}\n{card.vendor}\n{' '.join(card.skus)}".casefold()
        return (
            (not text or text in named)
            and (not finding or card.finding == finding)
            and all(value in has[name] for name, value in exact.items())
        )

    return [one for one in found if fits(one)]


def _paged(ask: Ask, found: Sequence[Shown]) -> tuple[Sequence[Shown], int, int]:
    text, pages = ask.query("page"), max(1, -(-len(found) // MOST))
    page = min(max(int(text) if text.isdigit() and len(text) < 6 else 1, 1), pages)
    ordered = sorted(found, key=lambda one: (one.card.client_name.casefold(), one.card.product.casefold()))
    return ordered[(page - 1) * MOST : page * MOST], page, pages


def _tabs(ask: Ask, deck: Deck) -> list[View]:
    count, here = ask.desk.figures.count, ask.query("state") or "open"
    changing = deck.chosen(Filter())
    waiting = sum(one.state in _OPEN for one in changing)
    every = (
        ("open", "Open", waiting),
        ("done", "Done this cycle", len(changing) - waiting),
        ("all", "All", len(changing)),
    )
    return [
        {
            "words": words,
            "count": count(number),
            "path": _link({"state": name} if name != "open" else {}),
            "here": name == here and not ask.query("kind"),
        }
        for name, words, number in every
    ]


def _kinds(ask: Ask, deck: Deck) -> list[View]:
    kinds = [one.card.kind for one in deck.cards]
    return [
        {
            "words": views.KINDS[kind],
            "count": ask.desk.figures.count(kinds.count(kind)),
            "path": _link({"kind": kind.value, "state": "all"}),
            "here": ask.query("kind") == kind.value,
        }
        for kind in CardKind
        if kind in kinds
    ]


# One card -------------------------------------------------------------------------------------------------------------


def details(ask: Ask) -> ShownPage:
    return _details(ask, NOTHING_CHOSEN)


def change(ask: Ask) -> ShownPage:
    """The summary of change for what was typed; nothing is written anywhere."""
    return _details(ask, _typed(ask))


def _details(ask: Ask, choice: Choice) -> ShownPage:
    figures, may = ask.desk.figures, ask.role.may(Role.FINANCIAL)
    ground = ground_of(ask)
    plain = _found(ground, ask.path("digest"), NOTHING_CHOSEN)
    one = plain if choice == NOTHING_CHOSEN else _found(ground, ask.path("digest"), choice)
    deck = ground.deck()
    view: View = {
        "card": views.card_view(one, figures, money=may),
        "plain": plain.card.digest,
        "summary": views.summary(one, figures) if may else None,
        "typed": views.typed(one.card.after, choice, figures),
        "with_price": choice.with_price,
        "with_cost": choice.with_cost,
        "choice": _json(choice),
        "invoices": sorted(str(abs(one)) for one in ground.invoices_of(plain.card)),
        **views.quarters(
            plain,
            ground.decisions,
            figures,
            money=may,
            as_at=clock(deck.as_at, ask.now, ask.desk.settings.zone),
        ),
        **_head(ask, deck),
    }
    asked = ask.request.headers.get("hx-target", "")
    return ShownPage(
        template="card",
        title=f"{view['card']['client']}, {view['card']['product']}",
        view=view,
        part="summary" if asked.endswith("summary") else "main",
        twin=lambda: {"snapshot": deck.snapshot, "cards": [card_document(one, money=may)]},
    )


def _found(ground: Ground, digest: str, choice: Choice) -> Shown:
    """The card of this digest. NotFound where none has it now: on a page that is where it led."""
    try:
        return choose(ground, digest, choice)
    except StaleCard as gone:
        raise NotFound(f"{gone.message} Look at the cards of now.", next_steps=gone.next_steps) from gone


def _json(choice: Choice) -> dict[str, str]:
    """A choice as the fields of a form."""
    kept = kept_choice(choice)
    found = {name: str(kept[name]) for name in ("quantity", "price", "cost", "day") if kept[name] is not None}
    found |= {name: str(abs(kept[f"{name}_id"])) for name in ("line", "invoice") if kept[f"{name}_id"]}
    return found | {name: "1" for name in ("with_price", "with_cost") if kept[name]}


def _typed(ask: Ask) -> Choice:
    """What a person typed; a field that was left as it was proposed says nothing. Raises UsageError for what is no
    number or day."""
    line, invoice = _whole(ask, "line"), _whole(ask, "invoice")
    return Choice(
        line_id=line,
        invoice_id=None if invoice is None else -invoice,
        quantity=_number(ask, "quantity"),
        price=_number(ask, "price"),
        cost=_number(ask, "cost"),
        with_price=bool(ask.text("with_price")),
        with_cost=bool(ask.text("with_cost")),
        day=_day(ask.text("day")) if ask.text("day") else None,
    )


def _number(ask: Ask, name: str) -> Decimal | None:
    """A number as typed: digits with a point, never guessed."""
    text = ask.text(name)
    if not text or text == ask.text(f"was_{name}"):
        return None
    if not re.fullmatch(r"\d{1,12}(\.\d{1,6})?", text, re.ASCII):
        raise UsageError(f"Write the {name} as digits with a point, such as 12 or 21.50. {text!r:.40} is not one.")
    return Decimal(text)


def _whole(ask: Ask, name: str) -> int | None:
    text = ask.text(name)
    if not text:
        return None
    if not re.fullmatch(r"\d{1,12}", text, re.ASCII):
        raise UsageError(f"{text!r:.40} is no {name} of HaloPSA.")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r:.40} is no day; write it like 2026-12-20.") from None


# Acts -----------------------------------------------------------------------------------------------------------------


def approve(ask: Ask) -> Response:
    """Files the order to write exactly the cards that were shown [DK2]."""
    digests = _digests(ask)
    over, reason = bool(ask.text("over_limit")), ask.text("reason")[:1000]
    if over and not reason:
        raise UsageError("Say why this card may go beyond a limit. Nothing was approved.")
    choice = _typed(ask)
    ground = ground_of(ask)
    for digest in digests:
        choose(ground, digest, choice)  # stale: refused here already, before any order
    arguments: dict[str, Any] = {"digests": digests, "over_limit": over, "reason": reason}
    if choice != NOTHING_CHOSEN:
        arguments["choice"] = kept_choice(choice)
    return _file(ask, OrderKind.APPROVE_CARDS, arguments)


def undo(ask: Ask) -> Response:
    return _file(ask, OrderKind.UNDO_CARDS, {"digests": _digests(ask), "reason": ask.text("reason")[:1000]})


def pair(ask: Ask) -> Response:
    line = _whole(ask, "line")
    if line is None:
        raise UsageError("Write the line that carries these seats already. Nothing was changed.")
    return _file(ask, OrderKind.PAIR_CARD, {"digest": ask.path("digest"), "line": line})


def _file(ask: Ask, kind: OrderKind, arguments: Mapping[str, Any]) -> Response:
    name = hashlib.sha256("|".join(sorted(arguments.get("digests", (arguments.get("digest"),)))).encode()).hexdigest()
    return ask.order(kind, arguments, digest=name)


def _digests(ask: Ask) -> list[str]:
    found = sorted({str(value).strip().lower() for value in ask.form.getlist("card")})
    if not found:
        raise UsageError("Tick at least one card. Nothing was done.")
    if not all(re.fullmatch(r"[0-9a-f]{4,64}", one) for one in found):
        raise UsageError("That is no card's digest. Nothing was done.")
    return found


def aside(ask: Ask) -> Response:
    """Dismisses or snoozes what is ticked, all or none."""
    state = CardState.SNOOZED if ask.text("act") == "snooze" else CardState.DISMISSED
    until = _day(ask.text("until")) if state is CardState.SNOOZED else None
    reason = ask.text("reason")[:1000]
    if not reason:
        raise UsageError("Say why: it is what somebody will read next month. Nothing was changed.")
    rest = Rest(state=state, reason=reason, until=until)
    put_aside(ask.ledger, ground_of(ask).deck(), _digests(ask), rest, who=ask.who, now=ask.now)
    return see(AT)


def together(ask: Ask) -> ShownPage:
    """What is ticked, once more as a set with its sums and its digest, and the button that approves just it [DK5]."""
    ground, figures = ground_of(ask), ask.desk.figures
    deck = ground.deck()
    cards = [deck.find(digest) for digest in _digests(ask)]
    act = ask.text("act")
    chosen = card_set(cards)
    view: View = {
        "act": act if act in ("dismiss", "snooze") else "approve",
        "set": views.set_view(chosen, figures),
        "cards": [views.card_view(one, figures, money=True) for one in cards],
        "taken": {card.digest for card in chosen.cards},
        **_head(ask, deck),
    }
    return ShownPage(template="cards_together", title="Cards together", view=view)


PAGES = (
    Page(path=AT, show=show, role=Role.USER, twin=True, sheets=True),
    Page(path=f"{AT}/approve", show=approve, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/undo", show=undo, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/aside", show=aside, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/together", show=together, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/{{digest}}", show=details, role=Role.USER, twin=True),
    Page(path=f"{AT}/{{digest}}/change", show=change, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/{{digest}}/pair", show=pair, role=Role.FINANCIAL, post=True),
)
