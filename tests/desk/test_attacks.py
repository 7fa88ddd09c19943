"""Every page there is, with real ids: no secret leaves, no foreign name becomes markup or floods a page, and no money is
shown to who may not see it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from office import MONTH, Office, office
from sqlalchemy import MetaData, select

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


@pytest.fixture(scope="module")
def posted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("posted")) as desk:
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
            if not path.endswith(".json"):
                assert not any(one in answer.text for one in ("<script>alert", "\u202e", "x" * 1000)), path


def test_a_page_for_which_somebody_may_not_see_money_has_none(posted: Office) -> None:
    seen = 0
    for path, answer in answers(posted, Role.USER):
        if answer.status_code == 200:
            seen += 1
            assert not re.search(r"\d[.,]\d\d (USD|EUR)", answer.text), path
    assert seen > 6
