"""Ready to invoice, orders and runs through the pages, against the sandbox: what is shown is what is posted."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from office import MONTH, RULES, Office, office

from billingsync.core.desk import OrderKind, OrderState, Role

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as opened:
        yield opened


def _digest(page: str) -> str:
    found = re.search(r'name="digest" value="([0-9a-f]{64})"', page)
    assert found, page[:2000]
    return found[1]


def test_a_month_is_read_posted_shown_and_undone_without_script(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    assert client.get("/").headers["location"] == "/start"
    assert "No month was planned yet" in client.get("/ready").text
    asked = client.post("/ready/again", data={"period": "2026-11"})
    order = asked.headers["location"]
    assert "Waits for its turn" in client.get(order).text
    assert desk.carry() == 1
    assert client.get(order).headers["location"] == "/ready/2026-11"
    page = client.get("/ready/2026-11").text
    assert "charged" in page and "Post exactly" in page
    opened = client.get("/ready/2026-11?open=0").text
    assert 'class="more"' in opened
    digest = _digest(page)
    question = client.get(f"/ready/2026-11/post?digest={digest}").text
    assert "to HaloPSA?" in question
    order = client.post("/ready/2026-11/post", data={"digest": digest}).headers["location"]
    again = client.post("/ready/2026-11/post", data={"digest": digest}).headers["location"]
    assert order == again  # the same order, not a second one
    assert desk.carry() == 1
    run = client.get(order).headers["location"]
    assert run.startswith("/runs/")
    shown = client.get(run).text
    assert "What HaloPSA returned" in shown and "posted" in shown
    written = desk.written()
    assert written
    twin = client.get(f"{run}.json").json()
    assert sum(Decimal(one["amount"]) for one in twin["postings"]) == written
    assert twin["who"].startswith("financial@msp.example (desk, session ")
    after = client.get("/ready/2026-11").text
    assert "This plan was posted" in after and "Post exactly" not in after
    look = client.post(f"{run}/undo/look").headers["location"]
    desk.carry()
    preview = client.get(look).text
    assert "What undoing would take out" in preview and desk.written() == written
    digest = _digest(preview)
    undone = client.post(f"{run}/undo", data={"digest": digest}).headers["location"]
    desk.carry()
    done = client.get(undone).text
    assert "What was taken out" in done and "billed again only when a person says so" in done
    assert desk.written() == 0


def test_a_plan_that_is_not_the_newest_is_not_posted(desk: Office) -> None:
    desk.plan()
    client = desk.browser(Role.FINANCIAL)
    old = _digest(client.get("/ready/2026-11").text)
    desk.rules('[modifiers]\nzero_lines = "keep"\n[limits]\nclient_amount_max = 1.00\n')
    desk.plan()
    answer = client.post("/ready/2026-11/post", data={"digest": old})
    assert answer.status_code == 409 and "not the newest" in answer.text and "BS-STALE-PLAN" in answer.text
    assert not desk.ledger.orders(open_only=True)


def test_a_plan_that_is_made_again_is_the_newest_again(desk: Office) -> None:
    desk.plan()
    first = desk.ledger.newest_plan("2026-11")
    desk.rules("[limits]\nclient_amount_max = 1.00\n")
    desk.plan()
    second = desk.ledger.newest_plan("2026-11")
    desk.rules(RULES)
    desk.plan()
    third = desk.ledger.newest_plan("2026-11")
    assert first and second and third and first.digest == third.digest != second.digest
    assert third.created_at > second.created_at


def test_what_changed_between_look_and_click_is_shown_and_nothing_is_posted(desk: Office) -> None:
    desk.plan()
    client = desk.browser(Role.FINANCIAL)
    digest = _digest(client.get("/ready/2026-11").text)
    desk.rules("[limits]\nclient_amount_max = 1.00\n")
    order = client.post("/ready/2026-11/post", data={"digest": digest}).headers["location"]
    desk.carry()
    page = client.get(order).text
    assert "Nothing was done" in page and "BS-STALE-PLAN" in page and "What changed" in page
    assert desk.written() == 0
    assert _digest_or_none(client.get("/ready/2026-11").text) != digest


def _digest_or_none(page: str) -> str | None:
    found = re.search(r'name="digest" value="([0-9a-f]{64})"', page)
    return found[1] if found else None


def test_above_the_amount_a_second_person_confirms(tmp_path: Path) -> None:
    with office(tmp_path, BILLINGSYNC_DESK__TWO_PEOPLE_ABOVE="1") as desk:
        desk.plan()
        first, second = desk.browser(Role.FINANCIAL), desk.browser(Role.ADMIN)
        digest = _digest(first.get("/ready/2026-11").text)
        order = first.post("/ready/2026-11/post", data={"digest": digest}).headers["location"]
        assert desk.carry() == 0 and "Waits for a second person" in first.get(order).text
        assert first.post(f"{order}/confirm", data={"digest": digest}).status_code == 409
        assert desk.carry() == 0
        page = second.get(order).text
        assert "Confirm and post" in page and _digest(page) == digest
        assert second.post(f"{order}/confirm", data={"digest": "0" * 64}).status_code == 409
        assert second.post(f"{order}/confirm", data={"digest": digest}).status_code == 303
        assert desk.carry() == 1 and desk.written()
        who = desk.ledger.runs()[-1].who
        assert "financial@msp.example" in who and "confirmed by admin@msp.example" in who


def test_a_second_person_may_send_it_back(tmp_path: Path) -> None:
    with office(tmp_path, BILLINGSYNC_DESK__TWO_PEOPLE_ABOVE="1") as desk:
        desk.plan()
        first, second = desk.browser(Role.FINANCIAL), desk.browser(Role.ADMIN)
        digest = _digest(first.get("/ready/2026-11").text)
        order = first.post("/ready/2026-11/post", data={"digest": digest}).headers["location"]
        second.post(f"{order}/cancel", data={"reason": "Contoso looks wrong"})
        assert "Contoso looks wrong" in first.get(order).text
        assert desk.carry() == 0 and desk.written() == 0


def test_an_order_waits_while_another_run_holds_the_lock(desk: Office) -> None:
    desk.plan()
    client = desk.browser(Role.FINANCIAL)
    order = client.post("/ready/2026-11/post", data={"digest": _digest(client.get("/ready/2026-11").text)})
    with desk.ledger.run_lock("eve at the terminal"):
        assert desk.carry() == 0
        page = client.get(order.headers["location"]).text
        assert "eve at the terminal" in page and "Cancel" in page
    assert client.post(f"{order.headers['location']}/cancel").status_code == 303
    assert desk.carry() == 0 and desk.written() == 0


def test_an_order_of_a_dead_process_is_carried_on(desk: Office) -> None:
    desk.plan()
    client = desk.browser(Role.FINANCIAL)
    digest = _digest(client.get("/ready/2026-11").text)
    client.post("/ready/2026-11/post", data={"digest": digest})
    now = desk.clock()
    assert desk.ledger.claim_order("a process that dies", now)
    assert desk.carry() == 0  # it still seems to live
    desk.clock.move(seconds=61)
    assert desk.carry() == 1 and desk.written()
    assert desk.carry() == 0
    order = desk.ledger.orders()[0]
    assert order.state == OrderState.DONE and order.kind == OrderKind.POST


def test_two_processes_claim_an_order_once(desk: Office) -> None:
    desk.ledger.file_order(OrderKind.PLAN, arguments={}, who="the test", now=desk.clock())
    claims = [desk.ledger.claim_order(name, desk.clock()) for name in ("one", "two")]
    assert [claim.claimer for claim in claims if claim] == ["one"]


def test_views_filters_and_sorting_are_in_the_address(desk: Office) -> None:
    desk.plan()
    client = desk.browser(Role.FINANCIAL)
    whole = client.get("/ready/2026-11").text
    held = client.get("/ready/2026-11?view=held").text
    assert 0 < held.count('<tr class="r') < whole.count('<tr class="r')
    name = re.search(r'aria-expanded="false"><bdi>([^<]+)</bdi>', whole)
    assert name
    found = client.get("/ready/2026-11", params={"q": name[1].upper()}).text
    assert name[1] in found and found.count('<tr class="r') < whole.count('<tr class="r')
    assert "No client or product fits" in client.get("/ready/2026-11?q=nothing-like-this").text
    names = re.findall(
        r'aria-expanded="false"><bdi>([^<]+)</bdi>', client.get("/ready/2026-11?sort=client&down=1").text
    )
    assert names == sorted(names, key=str.casefold, reverse=True)
    part = client.get("/ready/2026-11?view=held", headers={"HX-Request": "true", "HX-Target": "div#list"}).text
    assert "<html" not in part and 'class="views"' in part and 'class="dock"' not in part
    main = client.get("/ready/2026-11", headers={"HX-Request": "true"}).text
    assert "<html" not in main and 'class="dock"' in main


def test_opening_a_page_calls_no_vendor(desk: Office) -> None:
    desk.plan()
    client = desk.browser(Role.ADMIN)
    desk.sandbox.__exit__(None, None, None)
    for path in ("/ready/2026-11", "/ready/2026-11?open=0", "/runs", "/status", "/ready/2026-11.json", "/people"):
        assert client.get(path).status_code == 200, path


def test_the_twin_of_a_plan_is_the_commands_document_and_reading_it_is_logged(desk: Office) -> None:
    desk.plan()
    twin = desk.browser(Role.FINANCIAL).get("/ready/2026-11.json").json()
    assert {"digest", "equation", "clients", "unassigned"} <= set(twin)
    assert desk.ledger.journal_entries()[-1].kind == "desk.read"


def test_a_run_is_told_as_it_is_committed(desk: Office) -> None:
    desk.plan()
    client = desk.browser(Role.FINANCIAL)
    client.post("/ready/2026-11/post", data={"digest": _digest(client.get("/ready/2026-11").text)})
    desk.carry()
    run = desk.ledger.runs()[-1].id
    text = client.get(f"/runs/{run}/events").text
    postings = len(desk.ledger.heads(run=run))
    assert text.count("event: posting") == postings and "event: done" in text
    rest = client.get(f"/runs/{run}/events", headers={"Last-Event-ID": str(postings - 1)}).text
    assert rest.count("event: posting") == 1
    assert "event: stage" not in text

    order = desk.ledger.file_order(
        OrderKind.POST, arguments={}, digest=desk.ledger.show_run(run).digest, who="dana", now=desk.clock()
    )
    assert desk.ledger.claim_order("somebody", desk.clock())
    desk.ledger.say_of_order(order.id, "somebody", "reading back 3 of 7")
    told = client.get(f"/runs/{run}/events").text
    assert "event: stage\nid: " in told and '"words": "reading back 3 of 7"' in told


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        for company in desk.sandbox.pax8.companies:
            company["name"] = f"<script>alert(1)</script> {company['name']} \u202e" + "x" * 4000
            break
        desk.plan()
        client = desk.browser(Role.FINANCIAL)
        for path in ("/ready/2026-11", "/ready/2026-11?open=0"):
            page = client.get(path).text
            assert "<script>alert" not in page and "\u202e" not in page and "x" * 1000 not in page


def test_a_list_that_is_too_long_has_pages_and_sums_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from billingsync.web.views import paging

    monkeypatch.setattr(paging, "WHOLE", 3)
    monkeypatch.setattr(paging, "A_PAGE", 2)
    with office(tmp_path) as desk:
        desk.plan()
        client = desk.browser(Role.FINANCIAL)
        for path, marks in ((f"/ready/{MONTH}", r'id="c(\d+)"'), ("/clients", r"/clients/choose\?company=([^\"]+)")):
            seen: list[str] = []
            shown, after = client.get(path).text, path
            whole = shown.partition('class="dock"')[2]
            while True:
                rows = re.findall(marks, shown)
                assert 0 < len(rows) <= 2 and "the sums are of all that match" in shown, path
                assert shown.partition('class="dock"')[2] == whole  # what would be posted is of all
                seen += rows
                more = re.search(r'<a href="([^"]+)">Next page', shown)
                if more is None:
                    break
                after = html.unescape(more[1])
                shown = client.get(after).text
            assert len(seen) == len(set(seen)) > 3
            assert f"page={len(seen) // 2 + len(seen) % 2}" in after
        assert client.get(f"/ready/{MONTH}?page=99999").status_code == 200
        opened = client.get(f"/ready/{MONTH}?view=to-post&sort=amount&down=1&page=2").text
        assert "view=to-post" in opened and "page=1" in opened


def test_the_page_of_an_undo_says_what_stays_taken_back(desk: Office) -> None:
    """As a true-up of that run took it back; with the run whose undo takes its credit back."""
    client = desk.browser(Role.FINANCIAL)
    order = desk.ledger.file_order(
        OrderKind.UNDO, arguments={"run": "r2", "dry_run": True}, who="the test", now=desk.clock()
    )
    assert desk.ledger.claim_order("c", desk.clock()) is not None
    posting = {"client": "Contoso", "invoice_id": 5, "currency": "USD", "outcome": "undone", "invoice": "kept"}
    stays = {"client": "Fabrikam <b>", "amount": "264.00", "currency": "USD", "credit_run": "r1"}
    outcome = {
        "postings": [{**posting, "removed": "1.00", "kept": "0.00", "problem": ""}],
        "stays": [stays],
        "digest": "0" * 64,
    }
    desk.ledger.end_order(order.id, "c", OrderState.DONE, run=None, outcome=outcome, now=desk.clock())
    page = re.sub(r"\s+", " ", client.get(f"/orders/{order.id}").text)
    assert "What this run took back of <bdi>Fabrikam &lt;b&gt;</bdi> (264.00 USD) stays taken back" in page
    assert 'undoing <a href="/runs/r1">run r1</a> takes its credit back' in page
