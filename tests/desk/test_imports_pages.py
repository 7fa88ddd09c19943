"""The wizard for vendors' files: nothing counts before it was seen, every mistake is told at once, and what was checked
is what is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from office import Office, office
from starlette.testclient import TestClient

from billingsync.core.desk import Role

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
GOOD = "Customer,Product,Usage\r\nContoso Ltd,Backup GB,120\r\nContoso Ltd,Backup GB,30\r\nFabrikam,Backup GB,7\r\n"
BAD = "Customer,Product,Usage\r\nContoso Ltd,Backup GB,many\r\n=cmd|' /C calc'!A0,Backup GB,few\r\nFabrikam,Backup GB,7\r\n"
COLUMNS = {"column_account": "Customer", "column_service": "Product", "column_quantity": "Usage"}
CHOICES = {
    "period": "2026-11",
    "name": "acronis",
    "vendor": "Acronis",
    "encoding": "auto",
    "delimiter": "auto",
    "decimal": "auto",
    "same_service": "sum",
    "currency": "",
    "total_rows": "",
    **COLUMNS,
}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as opened:
        yield opened


def upload(client: TestClient, text: str = GOOD, **fields: str) -> str:
    """The path of the draft."""
    data = {"period": "2026-11", "profile": "", **fields}
    answer = client.post("/imports/new", data=data, files={"file": ("acronis-2026-11.csv", text.encode())})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def form(page: str) -> dict[str, str]:
    part = page.partition('/save"')[2]
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', part))


def test_a_file_is_taken_step_by_step_and_counts_only_at_the_end(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    draft = upload(client)
    page = client.get(draft).text
    assert "certain" in page and "120" in page and '<option value="Customer" selected>' in page
    assert client.post(draft, data={**CHOICES, "column_account": ""}).status_code == 422
    assert client.post(draft, data={**CHOICES, "delimiter": "x"}).status_code == 422
    assert client.post(draft, data=CHOICES).headers["location"] == f"{draft}/check"
    check = client.get(f"{draft}/check").text
    assert "Old and new, side by side" in check and ">157<" in check
    assert not desk.ledger.imports() and draft in client.get("/imports").text  # a draft, nothing more
    answer = client.post(f"{draft}/save", data=form(check))
    assert answer.headers["location"] == "/imports"
    (kept,) = desk.ledger.imports()
    assert kept.rows["counted"] == 3 and kept.who.startswith("financial@msp.example (desk, session ")
    assert draft not in client.get("/imports").text and client.get(draft).status_code == 404
    assert (desk.folder / "rules" / "imports" / "acronis.toml").is_file()
    assert client.get("/imports.json").json()["imports"][0]["profile"] == "acronis"


def test_the_same_file_again_changes_nothing_and_says_so(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    first = upload(client)
    client.post(first, data=CHOICES)
    client.post(f"{first}/save", data=form(client.get(f"{first}/check").text))
    again = upload(client, profile="acronis")
    client.post(again, data={"period": "2026-11"})
    check = client.get(f"{again}/check").text
    assert "nothing changes" in check
    client.post(f"{again}/save", data=form(check))
    assert len(desk.ledger.imports()) == 1


def test_every_mistake_is_told_at_once_and_nothing_is_taken(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    draft = upload(client, BAD)
    client.post(draft, data=CHOICES)
    check = client.get(f"{draft}/check").text
    assert "2 mistakes" in check and check.count('data-name="Expected"') == 2
    assert ">2<" in check and ">3<" in check and "many" in check and "few" in check
    assert client.post(f"{draft}/save", data=form(check)).status_code == 422
    assert not desk.ledger.imports()
    client.post(f"{draft}/save", data={**form(check), "skip_bad": "1"})
    assert desk.ledger.imports()[0].rows["bad"] == 2
    sheet = client.get("/imports.csv").text
    assert "acronis-2026-11.csv" in sheet


def test_what_was_checked_is_what_is_imported(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    draft = upload(client)
    client.post(draft, data=CHOICES)
    seen = form(client.get(f"{draft}/check").text)
    client.post(draft, data={**CHOICES, "same_service": "separate"})  # somebody else chose otherwise
    assert client.post(f"{draft}/save", data=seen).status_code == 409
    assert (
        client.post(f"{draft}/save", data={**form(client.get(f"{draft}/check").text), "sha256": "0"}).status_code == 409
    )
    assert not desk.ledger.imports()


def test_going_back_loses_nothing_and_leaving_throws_away(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    draft = upload(client)
    client.post(draft, data={**CHOICES, "vendor": "Somebody else"})
    assert 'value="Somebody else"' in client.get(draft).text
    assert client.post(f"{draft}/leave").headers["location"] == "/imports"
    assert client.get(draft).status_code == 404


def test_drafts_are_forgotten_after_a_week(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    draft = upload(client)
    desk.clock.move(days=8)
    client = desk.browser(Role.FINANCIAL)
    assert draft not in client.get("/imports").text
    upload(client)
    assert client.get(draft).status_code == 404


def test_only_the_upload_may_be_large_and_only_of_one_file(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    large = "Customer,Product,Usage\r\n" + "Contoso Ltd,Backup GB,1\r\n" * 60_000
    assert len(large) > 65_536
    draft = upload(client, large)
    assert client.post(draft, data={"name": "x" * 70_000}).status_code == 413
    too_large = {"file": ("a.csv", b"x" * 10_600_000)}
    assert client.post("/imports/new", data={"period": "2026-11"}, files=too_large).status_code == 413
    two = [("file", ("a.csv", b"a,b,c\n")), ("other", ("b.csv", b"a,b,c\n"))]
    assert client.post("/imports/new", data={"period": "2026-11"}, files=two).status_code == 422
    assert client.post("/cards/aside", files={"file": ("a.csv", b"x")}).status_code == 422
    assert client.post("/imports/new", data={"period": "2026-11"}).status_code == 422
    assert (
        client.post("/imports/new", data={"period": "x"}, files={"file": ("a.csv", b"a,b\n1,2\n")}).status_code == 422
    )


def test_an_import_counts_no_longer_when_somebody_says_so(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    draft = upload(client)
    client.post(draft, data=CHOICES)
    client.post(f"{draft}/save", data=form(client.get(f"{draft}/check").text))
    number = str(desk.ledger.imports()[0].id)
    assert client.post("/imports/remove", data={"import": number}).status_code == 303
    assert not desk.ledger.imports()[0].is_current
    assert client.post("/imports/remove", data={"import": number}).status_code == 422


def test_accounts_are_said_to_be_clients_before_they_count(desk: Office) -> None:
    desk.plan()
    desk.compare()
    client = desk.browser(Role.FINANCIAL)
    draft = upload(client, GOOD.replace("Fabrikam", "Nobody Knows Them"))
    client.post(draft, data=CHOICES)
    page = client.get(f"{draft}/check").text
    assert "Not known yet" in page and "Nobody Knows Them" in page
    who = desk.ledger.client_rows(desk.ledger.newest_plan("2026-11").digest)[-1].client_id  # type: ignore[union-attr]
    said = {"kind": "account", "name": "Nobody Knows Them", "target": str(who)}
    assert client.post(f"{draft}/match", data={**said, "target": "x"}).status_code == 422
    assert client.post(f"{draft}/match", data=said).status_code == 303
    part = client.get(f"{draft}/check").text.partition("Not known yet")[2].partition("Old and new")[0]
    assert "Nobody Knows Them" not in part


def test_users_may_not_import(desk: Office) -> None:
    user = desk.browser(Role.USER)
    assert user.get("/imports").status_code == 403 and user.get("/imports/new").status_code == 403
    assert user.post("/imports/new", data={"period": "2026-11"}, files={"file": ("a.csv", b"a")}).status_code == 403
