"""The page of one charge: its hops as `explain` tells them, and both vendors' own words, without asking either."""

from __future__ import annotations

import html
import json
import re

import pytest
from office import Office

from billingsync.connect import connections
from billingsync.core.desk import Role
from billingsync.redaction import Redactor
from billingsync.run.explain import explanation

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def charge_links(page: str) -> list[str]:
    return list(dict.fromkeys(html.unescape(path) for path in re.findall(r'href="(/charges/[^"]+)"', page)))


def test_every_charge_of_a_client_leads_to_its_page_and_the_page_says_what_explain_says(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    head = desk.ledger.newest_plan("2026-11")
    assert head
    links: list[str] = []
    for row in desk.ledger.client_rows(head.digest):
        body = desk.ledger.client_body(head.digest, row.nth)
        assert body
        found = charge_links(client.get(f"/ready/2026-11?open={row.nth}").text)
        charges = {charge for line in body["lines"] for charge in line["charges"]}
        charges |= {entry["charge"] for name in ("dropped", "excluded", "holds") for entry in body[name]}
        assert {path.removeprefix("/charges/") for path in found} == charges
        links += found
    told = {}
    with connections(desk.settings, Redactor(desk.settings.secrets())) as connected:
        for path in (links[0], links[-1], charge_links(client.get("/holds/2026-11").text)[0]):
            charge = path.removeprefix("/charges/")
            told[path] = explanation(connected, charge, say=lambda text: None)
    desk.sandbox.__exit__(None, None, None)  # no vendor is asked [DK3]
    for path, expected in told.items():
        twin = client.get(f"{path}.json").json()
        assert [(hop["hop"], hop["says"]) for hop in twin["hops"]] == list(expected.hops)
        item = json.loads(twin["source"])
        assert path.endswith(f":{item['id']}")
        page = client.get(path).text
        assert "What was decided, and why" in page and item["id"] in page


def test_after_posting_halos_own_line_stands_beside_paxs(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    head = desk.ledger.newest_plan("2026-11")
    assert head
    client.post("/ready/2026-11/post", data={"digest": head.digest})
    assert desk.carry() == 1
    run = desk.ledger.runs()[-1]
    postings = re.findall(r'href="(/postings/[^"]+)"', client.get(f"/runs/{run.id}").text)
    assert postings
    path = charge_links(client.get(postings[0]).text)[0]
    twin = client.get(f"{path}.json").json()
    answer = twin["answers"][0]
    assert answer["run"] == run.id and answer["state"] == "posted"
    assert answer["posting"] in answer["line"]  # HaloPSA's line carries our mark
    assert any(entry["kind"] == "posting.posted" for entry in twin["entries"])
    assert "Nothing was posted of it" not in client.get(path).text


def test_an_unknown_charge_is_not_found_and_money_is_not_for_users(desk: Office) -> None:
    assert desk.browser(Role.FINANCIAL).get("/charges/nothing:1").status_code == 404
    assert desk.browser(Role.FINANCIAL).get("/postings/nothing").status_code == 404
    assert desk.browser(Role.USER).get("/charges/nothing:1").status_code == 403
