"""Cards on the desk: what each shows and to whom, what typed values come to, and that each act is the command's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from office import RULES, Office, office

from billingsync.core.desk import Role
from billingsync.sandbox import cast
from billingsync.sandbox.options import SandboxOptions

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SOLD = SandboxOptions(seed=1, trouble=False, clients=8, history=0, hand_kept=3)
BY_HAND = cast.members(SOLD.seed, SOLD.clients, trouble=False)[4:7]


def opened(folder: Path) -> Any:
    return office(folder, SOLD)


def compared(desk: Office) -> Office:
    desk.rules(f"{RULES}[exclude]\ncompanies = {json.dumps([one.company for one in BY_HAND])}\n")
    desk.plan()
    desk.compare()
    return desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with opened(tmp_path) as desk:
        yield compared(desk)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with opened(tmp_path_factory.mktemp("cards")) as desk:
        yield compared(desk)


def cards(desk: Office, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = desk.browser(Role.FINANCIAL).get("/cards.json", params=query).json()["cards"]
    return found


def ready(desk: Office) -> dict[str, Any]:
    """A card that can be approved as it is."""
    return next(one for one in cards(desk) if not one["lacks"] and not one["limits"] and one["kind"] == "changed")


def quantity_in_halo(desk: Office, card: dict[str, Any]) -> str:
    invoice = desk.sandbox.halo.table("recurring")[card["invoice_id"]]
    line = next(one for one in invoice["lines"] if one["id"] == card["line_id"])
    return f"{line['qty_order']:g}"


def test_without_a_snapshot_there_are_no_cards_and_it_is_said(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        page = desk.browser(Role.FINANCIAL).get("/cards").text
        assert "There are no cards" in page and "<tbody>" not in page


def test_the_list_is_the_command_s(shown: Office) -> None:
    from billingsync.connect import connections
    from billingsync.reconcile.cards import deal
    from billingsync.redaction import Redactor

    with connections(shown.settings, Redactor(shown.settings.secrets())) as connected:
        deck = deal(connected, say=lambda _: None)
    found = cards(shown)
    assert found and {one["digest"] for one in found} == {
        one.card.digest for one in deck.cards if one.card.kind != "unchanged"
    }
    before = len(shown.sandbox.calls)
    page = shown.browser(Role.FINANCIAL).get("/cards").text
    assert all(f'id="k{one["digest"]}"' in page for one in found)
    assert len(shown.sandbox.calls) == before


def test_a_user_sees_cards_without_money_and_cannot_act(shown: Office) -> None:
    user = shown.browser(Role.USER)
    page, one = user.get("/cards").text, cards(shown)[0]
    assert "USD" not in page and "EUR" not in page and "Approve" not in page
    assert user.get("/cards.json").json()["cards"][0]["change"] is None
    assert "USD" not in user.get("/cards.csv").text
    opened = user.get(f"/cards/{one['digest']}")
    assert opened.status_code == 200 and "USD" not in opened.text and "Unit price" not in opened.text
    for path in ("approve", "undo", "aside", "together", f"{one['digest']}/change", f"{one['digest']}/pair"):
        assert user.post(f"/cards/{path}", data={"card": one["digest"]}).status_code == 403, path


def test_filters_and_groups_stand_in_the_address(shown: Office) -> None:
    client = shown.browser(Role.FINANCIAL)
    kinds = {one["kind"] for one in cards(shown)}
    assert {one["kind"] for one in cards(shown, kind="new", state="all")} == {"new"} & kinds
    assert {one["kind"] for one in cards(shown, kind="unchanged")} == {"unchanged"}
    name = cards(shown)[0]["client_name"]
    assert {one["client_name"] for one in cards(shown, client=name)} == {name}
    for by in ("account", "service", "invoice"):
        assert "<tbody>" in client.get(f"/cards?by={by}&as=list").text
    assert client.get("/cards?kind=nonsense").status_code == 404
    finding = cards(shown)[0]["finding"]
    assert [one["finding"] for one in cards(shown, finding=finding)] == [finding]
    assert f"/cards?finding={finding}" in client.get("/reconcile/findings").text


def test_typed_values_are_worked_out_anew_and_nothing_is_written(shown: Office) -> None:
    client, one = shown.browser(Role.FINANCIAL), ready(shown)
    path, before = f"/cards/{one['digest']}", len(shown.sandbox.calls)
    page = client.get(path).text
    for quarter in (
        "As it stands in HaloPSA",
        "What was done to it",
        "The names on both sides",
        "What it would become",
    ):
        assert quarter in page
    more = str(int(float(one["to"]["quantity"])) + 1)
    answer = client.post(
        f"{path}/change", data={"quantity": more}, headers={"HX-Request": "true", "HX-Target": "div#summary"}
    )
    assert answer.status_code == 200 and "<main" not in answer.text
    assert f"to {more}," in answer.text and "Revenue" in answer.text
    found = re.search(r'name="card" value="([0-9a-f]+)"', answer.text)
    assert found and found[1] != one["digest"]
    assert client.post(f"{path}/change", data={"quantity": "1,5"}).status_code == 422
    assert client.post(f"{path}/change", data={"day": "tomorrow"}).status_code == 422
    assert client.get("/cards/0000000000000000").status_code == 404
    assert len(shown.sandbox.calls) == before


def test_a_card_is_approved_with_its_digest_and_taken_back(desk: Office) -> None:
    client, one = desk.browser(Role.FINANCIAL), ready(desk)
    assert quantity_in_halo(desk, one) == one["from"]["quantity"]
    assert client.post("/cards/approve", data={"card": "0" * 16}).status_code == 409  # stale: no order at all
    assert not desk.ledger.orders(open_only=True)
    order = client.post("/cards/approve", data={"card": one["digest"]}).headers["location"]
    assert client.post("/cards/approve", data={"card": one["digest"]}).headers["location"] == order
    assert desk.carry() == 1 and desk.ledger.orders()[0].state == "done", desk.ledger.orders()[0].outcome
    assert quantity_in_halo(desk, one) == one["to"]["quantity"]
    assert "done" in client.get(order).text
    decision = desk.ledger.card_decisions()[-1]
    assert decision.state == "done" and decision.who.startswith("financial@msp.example (desk, session ")
    assert one["digest"] not in {each["digest"] for each in cards(desk)}
    assert one["digest"] in {each["digest"] for each in cards(desk, state="done")}
    page = client.get(f"/cards/{one['digest']}").text
    assert "Put" in page and "back" in page
    client.post("/cards/undo", data={"card": one["digest"], "reason": "a mistake"})
    assert desk.carry() == 1 and desk.ledger.orders()[0].state == "done", desk.ledger.orders()[0].outcome
    assert quantity_in_halo(desk, one) == one["from"]["quantity"]


def test_typed_quantity_is_what_is_written(desk: Office) -> None:
    client, one = desk.browser(Role.FINANCIAL), ready(desk)
    more = str(int(float(one["to"]["quantity"])) + 1)
    page = client.post(f"/cards/{one['digest']}/change", data={"quantity": more}).text
    form = page.partition('action="/cards/approve"')[2].partition("</form>")[0]
    data = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
    assert data["quantity"] == more
    client.post("/cards/approve", data=data)
    assert desk.carry() == 1 and desk.ledger.orders()[0].state == "done", desk.ledger.orders()[0].outcome
    assert quantity_in_halo(desk, one) == more


def test_dismissing_and_snoozing_need_a_reason_and_keep_it(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    first, second = cards(desk)[:2]
    assert client.post("/cards/aside", data={"card": first["digest"], "act": "dismiss"}).status_code == 422
    said = client.post("/cards/aside", data={"card": first["digest"], "act": "dismiss", "reason": "free until March"})
    assert said.status_code == 303
    far = (desk.clock() + timedelta(days=200)).date().isoformat()
    near = (desk.clock() + timedelta(days=20)).date().isoformat()
    snooze = {"card": second["digest"], "act": "snooze", "reason": "asked them"}
    assert client.post("/cards/aside", data={**snooze, "until": far}).status_code == 422
    assert client.post("/cards/aside", data={**snooze, "until": near}).status_code == 303
    left = {one["digest"] for one in cards(desk)}
    assert not left & {first["digest"], second["digest"]}
    states = {one["digest"]: one["state"] for one in cards(desk, state="done")}
    assert states[first["digest"]] == "dismissed" and states[second["digest"]] == "snoozed"
    assert "free until March" in client.get(f"/cards/{first['digest']}").text
    who = desk.ledger.card_decisions()[-1].who
    assert who.startswith("financial@msp.example (desk, session ")


def test_together_shows_the_sums_first_and_leaves_what_lacks_something(shown: Office) -> None:
    client = shown.browser(Role.FINANCIAL)
    good = ready(shown)
    lacking = next(one for one in cards(shown) if one["lacks"])
    both = {"card": [good["digest"], lacking["digest"]], "act": "approve"}
    page = client.post("/cards/together", data=both).text
    assert "Approve 1 card<" in page and "1 that you ticked stay" in page
    form = page.partition('action="/cards/approve"')[2].partition("</form>")[0]
    assert re.findall(r'name="card" value="([^"]+)"', form) == [good["digest"]]
    assert client.post("/cards/together", data={"act": "approve"}).status_code == 422


def test_two_people_on_one_card_write_it_once(desk: Office) -> None:
    one = ready(desk)
    first, second = desk.browser(Role.FINANCIAL), desk.browser(Role.ADMIN)
    assert second.get(f"/cards/{one['digest']}").status_code == 200
    first.post("/cards/approve", data={"card": one["digest"]})
    assert desk.carry() == 1
    written = len([call for call in desk.sandbox.calls if call.method == "POST" and "RecurringInvoice" in call.path])
    late = second.post("/cards/approve", data={"card": one["digest"]})
    desk.carry()
    again = len([call for call in desk.sandbox.calls if call.method == "POST" and "RecurringInvoice" in call.path])
    assert late.status_code in (303, 409) and again == written
    assert quantity_in_halo(desk, one) == one["to"]["quantity"]


def test_what_a_card_lacks_is_chosen_in_its_details(shown: Office) -> None:
    client = shown.browser(Role.FINANCIAL)
    lacking = next(one for one in cards(shown) if one["lacks"] == ["needs_invoice"])
    page = client.get(f"/cards/{lacking['digest']}").text
    assert "--invoice" not in page and "Choose one in its details" in client.get("/cards").text
    offered = re.findall(r'<option value="(\d+)"', page.partition('id="invoice"')[2].partition("</select>")[0])
    assert len(offered) > 1
    answer = client.post(f"/cards/{lacking['digest']}/change", data={"invoice": offered[0]}).text
    assert 'action="/cards/approve"' in answer and f'name="invoice" value="{offered[0]}"' in answer


def test_what_several_lines_or_halo_itself_count_is_shown_too(tmp_path: Path) -> None:
    """What there is, what it becomes and the difference go together, also where no single line carries the seats."""
    with office(tmp_path, SandboxOptions(seed=7, clients=12, charges=240, history=1)) as desk:
        desk.plan()
        desk.compare()
        one = next(one for one in cards(desk) if one["line_id"] is None and one["kind"] == "gone")
        client = desk.browser(Role.FINANCIAL)
        row = client.get("/cards").text.partition(f'id="k{one["digest"]}"')[2].partition("</tr>")[0]
        assert f'data-name="HaloPSA">{one["from"]["quantity"]}</td>' in row
        assert f"\u2212{one['from']['quantity']}</td>" in row
        assert "a line would be added" not in client.get(f"/cards/{one['digest']}").text
