"""kill -9 of the desk at each step of each act: the next process goes on with the order, or it is told as not done."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from dies import dies_at
from office import MONTH, RULES, Office, office

from billingsync.core.desk import OrderKind, OrderState, Role
from billingsync.rulebook import load_rulebook
from billingsync.run.desk_rules import text_digest
from billingsync.sandbox.options import SandboxOptions
from billingsync.store.orders import Order
from billingsync.store.plan_rows import ClientRow
from billingsync.web.kept import items_of, products_of

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.xdist_group("killed")]
SMALL = SandboxOptions(seed=7, clients=1, charges=6)
MOST = 60  # steps; an act that has more never ends


def file(desk: Office, kind: OrderKind, digest: str | None = None, **arguments: Any) -> Order:
    return desk.ledger.file_order(kind, arguments=arguments, digest=digest, who="the test", now=desk.clock())


def at_each_step(desk: Office, prepare: Callable[[], Order], check: Callable[[Order], None]) -> int:
    """Kills who carries out the order after each of its steps; another one finds it, and all is as it must be. How
    many steps there were."""
    for step in count(1):
        order = prepare()
        killed = dies_at(desk, step)
        desk.clock.move(seconds=61)  # nobody lives any more
        desk.carry()
        found = desk.ledger.order(order.id)
        assert found and found.state == OrderState.DONE, (step, found)
        check(found)
        if not killed:
            return step - 1
        assert step < MOST
    raise AssertionError


def rows_of(desk: Office) -> tuple[ClientRow, ...]:
    head = desk.ledger.newest_plan(MONTH)
    assert head
    return desk.ledger.client_rows(head.digest)


def ours(desk: Office) -> str:
    """Our lines in the sandbox's HaloPSA."""
    return "".join(str(raw) for raw in desk.sandbox.halo.invoices.values() if "[bs:" in str(raw))


def test_an_undo_is_gone_through_with(tmp_path: Path) -> None:
    with office(tmp_path, SMALL) as desk:

        def prepare() -> Order:
            desk.plan()
            digest = desk.ledger.newest_digest(MONTH)
            file(desk, OrderKind.POST, digest, period=MONTH)
            assert desk.carry() == 1 and desk.written() and ours(desk)
            run = desk.ledger.runs()[-1].id
            file(desk, OrderKind.UNDO, run=run, dry_run=True)
            assert desk.carry() == 1
            shown = desk.ledger.orders()[0].outcome["digest"]
            return file(desk, OrderKind.UNDO, shown, run=run, period=MONTH)

        def check(order: Order) -> None:
            assert order.outcome["state"] == "undone", order.outcome
            assert not desk.written() and not ours(desk)

        assert at_each_step(desk, prepare, check) >= 5


def test_a_client_that_was_chosen_is_kept_and_the_month_planned_anew(tmp_path: Path) -> None:
    with office(tmp_path, SMALL) as desk:
        desk.plan()
        company = next(row for row in rows_of(desk) if row.company_id and row.client_id is not None)
        clients = sorted(desk.sandbox.halo.clients)

        def prepare() -> Order:
            now = next(row.client_id for row in rows_of(desk) if row.company_id == company.company_id)
            then = next(one for one in clients if one != now)
            return file(desk, OrderKind.MAP_COMPANY, company=company.company_id, client=then, was=now, period=MONTH)

        def check(order: Order) -> None:
            asked, match = order.arguments["client"], desk.ledger.company_matches()[company.company_id]
            assert (match.client_id, match.how) == (asked, "person")
            assert desk.ledger.newest_digest(MONTH) == order.outcome["digest"]
            assert any(row.client_id == asked for row in rows_of(desk) if row.company_id == company.company_id)

        assert at_each_step(desk, prepare, check) >= 3


def test_items_that_were_chosen_are_all_kept(tmp_path: Path) -> None:
    with office(tmp_path, SMALL) as desk:
        desk.plan()
        digest = desk.ledger.newest_digest(MONTH)
        assert digest
        skus = [one.sku for one in products_of(desk.ledger, digest).values() if one.sku][:2]
        items = [one.id for one in items_of(desk.ledger, digest)][:2]

        def prepare() -> Order:
            known = desk.ledger.item_matches()
            pairs = []
            for sku in skus:
                was = known[sku].item_id if sku in known else None
                pairs.append([sku, items[0] if was == items[1] else items[1], was])
            return file(desk, OrderKind.MAP_PRODUCTS, pairs=pairs, period=MONTH)

        def check(order: Order) -> None:
            known = desk.ledger.item_matches()
            assert {sku: known[sku].item_id for sku in skus} == {sku: item for sku, item, _ in order.arguments["pairs"]}
            assert desk.ledger.newest_digest(MONTH) == order.outcome["digest"]

        assert at_each_step(desk, prepare, check) >= 4


# Acts that a page does at once: whoever was answered nothing finds them done or not, and may do them again ------------


def sent_at_each_step(
    desk: Office, prepare: Callable[[], None], form: Callable[[], tuple[str, dict[str, str]]], done: Callable[[], bool]
) -> int:
    """Kills the desk after each step of a form that is sent. What is left is the act and no plan of it, which cannot
    be posted then, or nothing of it; sent again, it is done. How many steps there were."""
    for step in count(1):
        prepare()
        path, values = form()
        assert not done()
        shown = desk.ledger.newest_digest(MONTH)
        assert shown
        killed = dies_at(desk, step, desk.session(Role.ADMIN), path, values)
        if not done():
            assert killed and desk.ledger.newest_digest(MONTH) == shown, step
        elif desk.ledger.newest_digest(MONTH) == shown:
            order = file(desk, OrderKind.POST, shown, period=MONTH)
            assert desk.carry() == 1
            (found,) = [one for one in desk.ledger.orders() if one.id == order.id]
            assert "is not what would be posted now" in found.outcome["message"], found
        assert not desk.written()
        if not killed:
            return step - 1
        if not done():
            path, values = form()
            assert desk.browser(Role.ADMIN).post(path, data=values).status_code == 303, step
        assert done()
        after = desk.ledger.newest_digest(MONTH)
        desk.plan()
        assert desk.ledger.newest_digest(MONTH) == after != shown  # the plan on the page is of what was done
        assert step < MOST
    raise AssertionError


def test_rules_are_saved_or_not_and_no_plan_of_other_rules_is_posted(tmp_path: Path) -> None:
    with office(tmp_path, SMALL) as desk:
        desk.plan()
        texts = (f"{{product}} {nth}" for nth in count())
        wanted = ""

        def prepare() -> None:
            nonlocal wanted
            wanted = next(texts)

        def form() -> tuple[str, dict[str, str]]:
            text = next((one.text for one in desk.ledger.desk_rules()), "")
            return "/rules", {"company": "", "base": text_digest(text), "lines.text": wanted}

        def done() -> bool:
            return load_rulebook(desk.settings.rules_dir, desk.ledger.desk_rules()).base.lines.text == wanted

        assert sent_at_each_step(desk, prepare, form, done) >= 2


def test_what_is_held_is_approved_or_not_and_no_plan_without_that_is_posted(tmp_path: Path) -> None:
    with office(tmp_path, SMALL) as desk:
        desk.rules(f"{RULES}[limits]\nclient_amount_max = 1.00\n")
        desk.plan()
        held = next(row for row in rows_of(desk) if any(hold.reason == "limit_amount" for hold in row.holds))
        client = str(held.client_id)

        def prepare() -> None:
            desk.ledger.end_decisions(MONTH, [client], desk.clock())
            desk.plan()

        def form() -> tuple[str, dict[str, str]]:
            digest = str(desk.ledger.newest_digest(MONTH))
            return f"/holds/{MONTH}/approve", {
                "digest": digest,
                "kind": "limits",
                "client": client,
                "reason": "a new office",
            }

        def done() -> bool:
            return any(one.client == client for one in desk.ledger.decisions(MONTH))

        assert sent_at_each_step(desk, prepare, form, done) >= 2
