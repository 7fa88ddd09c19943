"""Holds, clients, months, activity, connections: what each shows, to whom, and that its act is the command's."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from office import PORT, Office, office

from billingsync.core.desk import Role
from billingsync.sandbox.options import SandboxOptions

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PATHS = ("/holds/2026-11", "/clients", "/months", "/activity", "/connections", "/status", "/runs", "/ready/2026-11")


def _field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found, page[:1500]
    return found[1]


def test_before_any_plan_pages_say_what_comes_next(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        client = desk.browser(Role.ADMIN)
        for path in ("/clients", "/months", "/runs", "/holds/2026-11", "/ready/2026-11"):
            page = client.get(path)
            assert page.status_code == 200 and "<tbody>" not in page.text, path
        assert client.get("/holds").headers["location"] == "/ready"
        assert client.get("/holds/nonsense").status_code == 404


def test_every_page_and_its_twin_opens(desk: Office) -> None:
    client = desk.browser(Role.ADMIN)
    for path in PATHS:
        assert client.get(path).status_code == 200, path
        assert client.get(f"{path}.json").json()["format_version"], path


def test_where_no_cycle_was_the_status_does_not_say_that_nothing_is_held(desk: Office) -> None:
    page = desk.browser(Role.ADMIN).get("/status").text
    assert "no cycle yet" in page and "Held charges" not in page


def test_a_user_sees_clients_without_money(desk: Office) -> None:
    financial, user = desk.browser(Role.FINANCIAL), desk.browser(Role.USER)
    assert "This month" in financial.get("/clients").text
    page = user.get("/clients").text
    assert "This month" not in page and " USD" not in page and "Choose client" not in page
    rows = user.get("/clients.json").json()["rows"]
    assert rows and not any("money" in row for row in rows)
    assert all("money" in row for row in financial.get("/clients.json").json()["rows"])


def test_a_client_is_chosen_for_a_company_and_the_month_is_planned_anew(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    rows = client.get("/clients.json").json()["rows"]
    company = next(row for row in rows if row["state"] == "unmapped")
    target = next(row for row in rows if row["state"] == "matched")
    id_ = re.search(r"\((\d+)\)$", target["client"])
    assert id_
    page = client.get("/clients/choose", params={"company": company["id"], "q": id_[1]}).text
    assert "checked" not in page  # nobody is chosen beforehand
    assert f'value="{id_[1]}"' in page
    form = {"company": company["id"], "client": id_[1], "was": ""}
    assert client.post("/clients/choose", data={**form, "client": ""}).status_code == 422
    order = client.post("/clients/choose", data=form).headers["location"]
    assert desk.carry() == 1
    assert client.get(order).headers["location"] == "/clients", desk.ledger.orders()[0].outcome
    match = desk.ledger.company_matches()[company["id"]]
    assert match.client_id == int(id_[1]) and match.who.startswith("financial@msp.example (desk, session ")
    again = {row["id"]: row for row in client.get("/clients.json").json()["rows"]}
    assert again[company["id"]]["state"] != "unmapped"
    assert not desk.written()  # a mapping posts nothing


@pytest.fixture
def guessing(tmp_path: Path) -> Iterator[Office]:
    """Two companies whose clients have a name that is only like theirs."""
    with office(tmp_path) as opened:
        opened.rename_two_clients()
        opened.plan()
        yield opened


def _guessed(desk: Office) -> list[str]:
    rows = desk.browser(Role.FINANCIAL).get("/clients.json").json()["rows"]
    return [row["id"] for row in rows if row["state"] == "guessed"]


def _matched_by_people(desk: Office) -> list[tuple[str, bool]]:
    entries = [json.loads(entry.body) for entry in desk.ledger.journal_entries() if entry.kind == "match.company"]
    return [(one["company_id"], one["who"].startswith("financial@")) for one in entries if one["how"] == "person"]


def test_guessed_clients_are_confirmed_in_one_act_after_their_sums_were_shown(guessing: Office) -> None:
    client, ids = guessing.browser(Role.FINANCIAL), _guessed(guessing)
    assert len(ids) == 2
    assert client.get("/clients").text.count('type="checkbox" name="company"') == 2
    assert client.post("/clients/confirm", data={}).status_code == 422
    look = client.post("/clients/confirm", data={"company": ids}).text
    assert look == client.post("/clients/confirm", data={"all": "1"}).text
    assert "2 guesses, " in look and " EUR" in look and " USD" in look  # per currency, never added
    assert not _matched_by_people(guessing)
    pairs = [html.unescape(pair) for pair in re.findall(r'name="pair" value="([^"]+)"', look)]
    order = client.post("/clients/confirm/save", data={"pair": pairs}).headers["location"]
    assert guessing.carry() == 1
    assert client.get(order).headers["location"] == "/clients", guessing.ledger.orders()[0].outcome
    assert sorted(_matched_by_people(guessing)) == sorted((id_, True) for id_ in ids)  # one entry each
    assert not _guessed(guessing) and not guessing.written()


def test_a_guess_that_is_another_one_now_confirms_none_of_them(guessing: Office) -> None:
    client = guessing.browser(Role.FINANCIAL)
    look = client.post("/clients/confirm", data={"all": "1"}).text
    pairs = [html.unescape(pair) for pair in re.findall(r'name="pair" value="([^"]+)"', look)]
    order = client.post("/clients/confirm/save", data={"pair": [pairs[0], pairs[1][:-1]]}).headers["location"]
    assert guessing.carry() == 1
    page = client.get(order).text
    assert "No guess was confirmed" in page
    assert not _matched_by_people(guessing)


def test_who_is_over_a_limit_is_let_through_with_a_reason(tmp_path: Path) -> None:
    with office(tmp_path, SandboxOptions(seed=7, clients=3, charges=30, trouble=False, history=0)) as desk:
        desk.rules("[limits]\nclient_amount_max = 1.00\n")
        desk.plan()
        client = desk.browser(Role.FINANCIAL)
        page = client.get("/holds/2026-11").text
        found = re.search(r'type="checkbox" name="client" value="([^"]+)"', page)
        assert found, page
        digest, company = _field(page, "digest"), found[1]
        form = {"digest": digest, "client": company, "kind": "limits"}
        assert client.post("/holds/2026-11/approve", data=form).status_code == 422  # no reason
        assert (
            client.post("/holds/2026-11/approve", data={"digest": digest, "reason": "x", "kind": "limits"}).status_code
            == 422
        )
        stale = client.post("/holds/2026-11/approve", data={**form, "digest": "0" * 64, "reason": "x"})
        assert stale.status_code == 409
        assert not desk.ledger.orders(open_only=True)
        order = client.post("/holds/2026-11/approve", data={**form, "reason": "a new office"})
        assert order.status_code == 303 and desk.carry() == 0  # planned anew without asking anybody
        after = client.get("/holds/2026-11").text
        assert f'name="client" value="{company}"' not in after
        said = client.get("/activity?q=a+new+office").text
        assert "a new office" in said and "financial@msp.example" in said


def test_no_secret_is_on_any_page(desk: Office) -> None:
    client = desk.browser(Role.ADMIN)
    secrets = [secret for secret in desk.settings.secrets() if secret]
    assert secrets
    for path in PATHS:
        for answer in (client.get(path), client.get(f"{path}.json")):
            for secret in secrets:
                assert secret not in answer.text, path
                assert secret not in str(answer.headers), path


def test_sign_ins_are_for_admins_alone(desk: Office) -> None:
    admin, financial = desk.browser(Role.ADMIN), desk.browser(Role.FINANCIAL)
    assert "desk.signed_in" in admin.get("/activity.json").text
    assert "desk.signed_in" not in financial.get("/activity.json").text


def test_hostile_names_stay_text_on_every_page(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        for company in desk.sandbox.pax8.companies:
            company["name"] = f"<script>alert(1)</script> =HYPERLINK(1) {company['name']} \u202e" + "x" * 4000
        desk.plan()
        client = desk.browser(Role.ADMIN)
        company = client.get("/clients.json").json()["rows"][0]["id"]
        for path in (*PATHS, f"/clients/choose?company={company}", "/ready/2026-11?open=0"):
            page = client.get(path).text
            assert "<script>alert" not in page and "\u202e" not in page and "x" * 1000 not in page, path


def test_what_is_set_aside_waits_and_is_put_back(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    before = desk.ledger.newest_plan("2026-11")
    assert before
    row = next(row for row in desk.ledger.client_rows(before.digest) if row.lines > 1)
    opened = client.get(f"/ready/2026-11?open={row.nth}").text
    found = re.search(r'type="checkbox" name="keep" value="([^"]+)"', opened)
    assert found
    form = {"digest": before.digest, "aside": f"{row.nth}:{found[1]}", "reason": "asked the client"}
    assert client.post("/ready/2026-11/set-aside", data={"digest": before.digest}).status_code == 422
    assert client.post("/ready/2026-11/set-aside", data={**form, "digest": "0" * 64}).status_code == 409
    desk.sandbox.__exit__(None, None, None)  # no vendor is asked
    assert client.post("/ready/2026-11/set-aside", data=form).status_code == 303
    after = desk.ledger.newest_plan("2026-11")
    assert after and after.digest != before.digest
    assert "Set aside" in client.get("/ready/2026-11").text
    page = client.get("/holds/2026-11").text
    back = re.search(r'type="checkbox" name="charge" value="([^"]+)"', page)
    assert back
    charges = re.findall(r'type="checkbox" name="charge" value="([^"]+)"', page)
    assert client.post("/holds/2026-11/put-back", data={"digest": after.digest, "charge": charges}).status_code == 303
    again = desk.ledger.newest_plan("2026-11")
    assert again and again.digest == before.digest


def test_what_an_update_of_the_plan_changed_is_marked(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    before = desk.ledger.newest_plan("2026-11")
    assert before
    row = next(row for row in desk.ledger.client_rows(before.digest) if row.lines)
    to = client.post("/ready/2026-11/set-aside", data={"digest": before.digest, "aside": str(row.nth)})
    page = client.get(to.headers["location"]).text
    assert page.count('<span class="tag">changed</span>') == 1 and "1 client is marked as changed" in page
    marked = next(part for part in page.split("<tr ") if '<span class="tag">changed</span>' in part)
    assert row.name in html.unescape(marked)
    assert f"/compare/{before.digest}" in page and f"was={before.digest}" in page  # views and sorting keep the marks
    assert "changed</span>" not in client.get("/ready/2026-11").text
    assert "changed</span>" not in client.get(f"/ready/2026-11?was={'0' * 64}").text


def test_who_acts_on_an_older_plan_is_told_what_is_other_now_and_led_back(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    before = desk.ledger.newest_plan("2026-11")
    assert before
    row = next(row for row in desk.ledger.client_rows(before.digest) if row.lines)
    client.post("/ready/2026-11/set-aside", data={"digest": before.digest, "aside": str(row.nth)})
    here = f"http://127.0.0.1:{PORT}/ready/2026-11?view=held"
    stale = client.post("/ready/2026-11/post", data={"digest": before.digest}, headers={"Referer": here})
    told = html.unescape(stale.text)
    assert stale.status_code == 409 and "Nothing was posted" in told and f"<bdi>{row.company_name}" in told
    assert 'href="/ready/2026-11?view=held">Look again' in told and not desk.ledger.orders(open_only=True)
    elsewhere = {"Referer": "https://evil.example/ready"}
    assert "Look again" not in client.post("/ready/2026-11/post", data={"digest": "0" * 64}, headers=elsewhere).text


def test_a_whole_client_is_set_aside(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    before = desk.ledger.newest_plan("2026-11")
    assert before
    row = next(row for row in desk.ledger.client_rows(before.digest) if row.lines > 1)
    client.post("/ready/2026-11/set-aside", data={"digest": before.digest, "nth": str(row.nth), "whole": "1"})
    after = desk.ledger.newest_plan("2026-11")
    assert after
    now = next(one for one in desk.ledger.client_rows(after.digest) if one.company_id == row.company_id)
    assert not now.lines and any(hold.reason == "set_aside" for hold in now.holds)


def test_activity_is_filtered_by_what_and_by_month(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        desk.plan("2026-10")
        desk.plan()
        admin = desk.browser(Role.ADMIN)

        def kinds(query: str) -> set[str]:
            return {one["kind"] for one in admin.get(f"/activity.json?{query}").json()["rows"]}

        assert kinds("kind=people") and all(one.startswith("desk.") for one in kinds("kind=people"))
        assert "plan" in kinds("kind=read") and not any(one.startswith("desk") for one in kinds("kind=read"))
        assert kinds("kind=posted") == set()
        assert kinds("kind=nonsense") == kinds("")
        for period in ("2026-10", "2026-11"):
            rows = admin.get(f"/activity.json?kind=read&period={period}").json()["rows"]
            assert [one["kind"] for one in rows].count("plan") == 1
            assert f"<option selected>{period}</option>" in admin.get(f"/activity?period={period}").text
        older = admin.get("/activity?kind=decided&period=2026-11").text
        assert "No entry fits" in older or "Mapped" in older
