"""Every page there is, with real ids: no secret leaves, no foreign name becomes markup, and each act of the desk is
the command's act [DK1]."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from office import MONTH, Office, office
from sqlalchemy import MetaData, select

from billingsync.cli import main
from billingsync.core.desk import OrderKind, Role
from billingsync.web.app import pages
from billingsync.web.ask import Page

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def filled(desk: Office, page: Page) -> str:
    """The path of a page with ids that exist."""
    head = desk.ledger.newest_plan(MONTH)
    assert head
    rows = desk.ledger.client_rows(head.digest)
    row = next((row for row in rows if row.lines), next(row for row in rows if row.company_id))
    body = desk.ledger.client_body(head.digest, row.nth)
    assert body
    runs, orders = desk.ledger.runs(), desk.ledger.orders()
    keys = [posting.key for posting in desk.ledger.heads()]
    known = {
        "where": "ready",
        "period": MONTH,
        "digest": head.digest,
        "other": head.digest,
        "nth": str(row.nth),
        "run": runs[-1].id if runs else "none",
        "charge": body["lines"][0]["charges"][0] if body["lines"] else body["holds"][0]["charge"],
        "key": keys[0] if keys else "none",
        "company": row.company_id,
        "sku": "MST-NCE-M365E3-C1",
        "id": orders[0].id,
    }
    return re.sub(r"\{([a-z_]+)(:[a-z]+)?\}", lambda found: str(known.get(found[1], "x")), page.path)


def answers(desk: Office, role: Role = Role.ADMIN) -> Iterator[tuple[str, Any]]:
    """Each page that may be read, and its twins; streams are left out."""
    client = desk.browser(role)
    for page in pages():
        if page.post or page.path.endswith("/events"):
            continue
        path = filled(desk, page)
        yield path, client.get(path)
        if page.twin:
            yield f"{path}.json", client.get(f"{path}.json")


@pytest.fixture
def posted(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as desk:
        desk.plan()
        head = desk.ledger.newest_plan(MONTH)
        assert head
        for kind, arguments in ((OrderKind.TEST, {}), (OrderKind.POST, {"period": MONTH})):
            digest = head.digest if kind is OrderKind.POST else None
            desk.ledger.file_order(kind, arguments=arguments, digest=digest, who="the test", now=desk.clock())
        assert desk.carry() == 2
        yield desk


def test_no_answer_no_header_and_no_row_of_the_database_has_a_secret(posted: Office) -> None:
    secrets = [secret for secret in posted.settings.secrets() if secret]
    cookie = posted.session(Role.ADMIN)
    assert secrets
    seen = 0
    for path, answer in answers(posted):
        assert answer.status_code < 500, path
        seen += answer.status_code == 200
        for secret in (*secrets, cookie):
            assert secret not in answer.text and secret not in str(answer.headers), path
    assert seen > 40
    metadata = MetaData()
    with posted.ledger.database.reading() as connection:
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                for value in row:
                    said = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                    assert not any(secret in said for secret in (*secrets, cookie)), table.name


def test_hostile_names_stay_text_on_every_page_there_is(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        evil = "<script>alert(1)</script>=HYPERLINK(1)\u202e" + "x" * 4000
        for company in desk.sandbox.pax8.companies:
            company["name"] = f"{evil} {company['name']}"
        desk.plan()
        head = desk.ledger.newest_plan(MONTH)
        assert head
        for path, answer in answers(desk):
            assert answer.status_code < 500, path
            if path.endswith(".json"):
                continue
            assert "<script>alert" not in answer.text and "\u202e" not in answer.text, path
            assert "x" * 1000 not in answer.text, path


def test_a_page_for_which_somebody_may_not_see_money_has_none(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        desk.plan()
        seen = 0
        for path, answer in answers(desk, Role.USER):
            if answer.status_code == 200:
                seen += 1
                assert not re.search(r"\d[.,]\d\d (USD|EUR)", answer.text), path
        assert seen > 6


# One path ------------------------------------------------------------------------------------------------------------

TOLD = ("decision", "set_aside", "put_back", "match.company", "match.item", "desk_rules", "posting.intent", "run.ended")
CHANCE = ("who", "at", "run", "digest", "key", "session", "base_key", "content_sha256")


def acts_by_desk(desk: Office, chosen: dict[str, Any]) -> None:
    client = desk.browser(Role.ADMIN)
    digest = chosen["digest"]
    aside = {"digest": digest, "aside": str(chosen["nth"]), "reason": "asked"}
    assert client.post(f"/ready/{MONTH}/set-aside", data=aside).status_code == 303
    newest = desk.ledger.newest_digest(MONTH)
    back = {"digest": newest, "charge": chosen["charges"]}
    assert client.post(f"/holds/{MONTH}/put-back", data=back).status_code == 303
    rules = {"company": chosen["company"], "lines.text": "{product}", "reason": "shorter"}
    assert client.post("/rules", data=rules).status_code == 303
    mapped = {"company": chosen["unmapped"], "client": str(chosen["client"]), "was": ""}
    client.post("/clients/choose", data=mapped)
    assert desk.carry() == 1
    client.post(f"/ready/{MONTH}/post", data={"digest": desk.ledger.newest_digest(MONTH)})
    assert desk.carry() == 1


def acts_by_command(desk: Office, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**desk.sandbox.environment(), "BILLINGSYNC_DATABASE_URL": desk.settings.database_url}
    env |= {"BILLINGSYNC_RULES_DIR": str(desk.settings.rules_dir), "BILLINGSYNC_HALO__ABSENCE_S": "1"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert main(["set-aside", *chosen["charges"], "--reason", "asked"]) == 0
    assert main(["put-back", *chosen["charges"]]) == 0
    assert main(["rules", "set", chosen["company"], "lines.text={product}", "--reason", "shorter"]) == 0
    assert main(["map", "companies", "--set", f"{chosen['unmapped']}={chosen['client']}"]) == 0
    assert main(["plan", MONTH, "--json"]) in (0, 3)
    assert main(["post", str(desk.ledger.newest_digest(MONTH))]) in (0, 3)


def choice(desk: Office) -> dict[str, Any]:
    desk.plan()
    head = desk.ledger.newest_plan(MONTH)
    assert head
    rows = desk.ledger.client_rows(head.digest)
    row = next(row for row in rows if row.lines and not row.holds and not row.removed)
    body = desk.ledger.client_body(head.digest, row.nth)
    unmapped = next(one for one in rows if one.company_id and one.client_id is None)
    assert body
    return {
        "digest": head.digest,
        "nth": row.nth,
        "company": row.company_id,
        "client": row.client_id,
        "unmapped": unmapped.company_id,
        "charges": sorted(charge for line in body["lines"] for charge in line["charges"]),
    }


def journal(desk: Office) -> list[tuple[str, Any]]:
    """What was done, without who did it and what is by chance."""
    found = []
    for entry in desk.ledger.journal_entries():
        if entry.kind in TOLD:
            body = json.loads(entry.body)
            found.append((entry.kind, {name: value for name, value in body.items() if name not in CHANCE}))
    return found


def invoices(desk: Office) -> list[str]:
    """What HaloPSA has, without our marks, which are of each ledger's own."""
    texts = [json.dumps(one, sort_keys=True, default=str) for _, one in sorted(desk.sandbox.halo.invoices.items())]
    return [re.sub(r"[0-9a-f]{20}|\b[0-9a-f]{8}\b|\d{4}-\d\d-\d\dT[0-9:.Z+]+", "", text) for text in texts]


def test_each_act_by_desk_and_by_command_gives_the_same_journal_and_the_same_invoices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with office(tmp_path / "one") as desk:
        acts_by_desk(desk, choice(desk))
        told, written = journal(desk), invoices(desk)
    with office(tmp_path / "other") as other:
        acts_by_command(other, choice(other), monkeypatch)
        assert [kind for kind, _ in journal(other)] == [kind for kind, _ in told]
        assert journal(other) == told
        assert invoices(other) == written
    assert {kind for kind, _ in told} >= {"set_aside", "put_back", "desk_rules", "match.company", "posting.intent"}
