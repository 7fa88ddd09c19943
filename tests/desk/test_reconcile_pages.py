"""The comparison on the desk: what the commands compute, to whom, and what is said where nothing can be compared."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from office import RULES, Office, office

from billingsync.core.desk import OrderKind, Role
from billingsync.core.period import Period
from billingsync.sandbox import cast
from billingsync.sandbox.options import SandboxOptions

SOLD = SandboxOptions(seed=1, trouble=False, clients=8, history=0, hand_kept=3)
BY_HAND = cast.members(SOLD.seed, SOLD.clients, trouble=False)[4:7]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PATHS = ("/reconcile/licences", "/reconcile/billing", "/reconcile/findings")


def snapshot(desk: Office, role: Role = Role.FINANCIAL) -> str:
    """Asks for a snapshot on the desk; where the order leads to."""
    client = desk.browser(role)
    order = client.post("/reconcile/again", data={"to": "/reconcile/findings"}).headers["location"]
    assert desk.carry() == 1
    assert desk.ledger.orders()[0].state == "done", desk.ledger.orders()[0].outcome
    return str(client.get(order).headers["location"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A planned month, with clients whose lines people keep, and forgot."""
    with office(tmp_path_factory.mktemp("reconcile"), SOLD) as opened:
        opened.rules(f"{RULES}[exclude]\ncompanies = {json.dumps([one.company for one in BY_HAND])}\n")
        opened.plan()
        assert snapshot(opened) == "/reconcile/findings"
        yield opened


def test_without_a_snapshot_pages_say_so_and_offer_to_read(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        client = desk.browser(Role.FINANCIAL)
        for path in PATHS:
            page = client.get(path)
            assert page.status_code == 200 and "Nothing is compared" in page.text and "<tbody>" not in page.text
            assert 'action="/reconcile/again"' in page.text
            assert client.get(f"{path}.json").json()["verdict"] == "nothing_compared"
            assert client.get(f"{path}.csv").status_code == 409
        assert 'action="/reconcile/again"' not in desk.browser(Role.USER).get(PATHS[0]).text


def test_looking_asks_no_vendor(desk: Office) -> None:
    client, before = desk.browser(Role.FINANCIAL), len(desk.sandbox.calls)
    for path in PATHS:
        assert client.get(path).status_code == 200
    assert len(desk.sandbox.calls) == before


def test_looking_at_a_month_decides_nothing(desk: Office) -> None:
    """Which snapshot counts for a month is written down by those who reconcile, never by a page [SN5]."""
    month, zone = desk.ledger.snapshots()[-1].as_at.astimezone(desk.settings.zone).strftime("%Y-%m"), desk.settings.zone
    client, before = desk.browser(Role.FINANCIAL), desk.ledger.newest_change()
    assert client.get(f"/reconcile/licences?period={month}").status_code == 200
    assert client.get(f"/reconcile/billing?period={month}&to={month}").status_code == 200
    assert desk.ledger.newest_change() == before and not any(one.period for one in desk.ledger.snapshots())
    assert desk.ledger.snapshot_shown_for(Period.parse(month), zone)


def test_the_pages_say_what_the_commands_say(desk: Office) -> None:
    from billingsync.core.reconcile.compare import compare
    from billingsync.reconcile.choose import newest_kept
    from billingsync.reconcile.inputs import inputs_for
    from billingsync.reconcile.reconcile import books_of
    from billingsync.report.comparison.output import documents
    from billingsync.report.comparison.view import Filters, view

    entry = newest_kept(desk.ledger, desk.settings.zone)
    whole = compare(inputs_for(books_of(desk.ledger, desk.settings), entry, None))
    client = desk.browser(Role.FINANCIAL)
    for what in ("licences", "billing", "findings"):
        twin = client.get(f"/reconcile/{what}.json").json()
        assert twin == {**twin, **documents(what, [view(whole, Filters(), everything=True)])}
        assert twin["snapshot"] == entry.id
    page = client.get("/reconcile/findings").text
    for finding in whole.findings:
        assert f'id="{finding.id}"' in page


def test_a_client_s_total_is_the_sum_of_its_rows(desk: Office) -> None:
    rows = desk.browser(Role.FINANCIAL).get("/reconcile/licences.json").json()["rows"]
    page = desk.browser(Role.FINANCIAL).get("/reconcile/licences").text
    some = rows[0]["client_id"]
    total = sum(Decimal(row["count"]) for row in rows if row["client_id"] == some)
    name = rows[0]["client_name"]
    part = page.partition(f"<bdi>{name}</bdi>")[2][:400]
    assert f'data-name="Pax8">{total.normalize():f}<' in part


def test_a_user_sees_seats_and_no_money(desk: Office) -> None:
    financial, user = desk.browser(Role.FINANCIAL), desk.browser(Role.USER)
    page, document = user.get("/reconcile/licences").text, user.get("/reconcile/licences.json").json()
    assert document["rows"] and "USD" not in page and "totals" not in document
    assert "month" not in document["findings"][0] and "USD" in financial.get("/reconcile/licences").text
    table = user.get("/reconcile/licences.csv").text
    assert "client" in table and "currency" not in table and "USD" not in table
    name = re.search(r'data-open="(/reconcile/licences/rows/[^"]+)"', page)
    assert name and "USD" not in user.get(name[1]).text
    for path in ("/reconcile/billing", "/reconcile/findings"):
        for ending in ("", ".json", ".csv", ".xlsx"):
            assert user.get(path + ending).status_code == 403, path + ending


def test_rows_open_to_subscriptions_and_lines(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    for what, says in (("licences", "In HaloPSA"), ("billing", "Spread over longer terms")):
        page = client.get(f"/reconcile/{what}").text
        found = re.search(rf'data-open="(/reconcile/{what}/rows/([^"]+))"', page)
        assert found, page
        assert says in client.get(found[1]).text
        assert says in client.get(f"/reconcile/{what}?open={found[2]}").text  # and without a script
        assert client.get(f"/reconcile/{what}/rows/nonsense").status_code == 404


def test_filters_views_and_months_stand_in_the_address(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    rows = client.get("/reconcile/licences.json").json()["rows"]
    assert any(row["difference"] != "0" for row in rows)
    only = client.get("/reconcile/licences.json?view=differences").json()["rows"]
    assert only and all(row["difference"] != "0" for row in only)
    name = rows[0]["client_name"]
    found = client.get("/reconcile/licences.json", params={"q": name}).json()["rows"]
    assert found and {row["client_name"] for row in found} == {name}
    for view in ("product", "active"):
        assert "<tbody>" in client.get(f"/reconcile/licences?view={view}").text
    kind = client.get("/reconcile/findings.json").json()["findings"][0]["kind"]
    shown = client.get(f"/reconcile/findings.json?kind={kind}").json()["findings"]
    assert shown and {one["kind"] for one in shown} == {kind}
    assert client.get("/reconcile/findings?kind=nonsense").status_code == 422
    assert client.get("/reconcile/licences?period=nonsense").status_code == 422


def test_a_month_without_a_snapshot_is_refused_by_name_and_named_in_a_range(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    page = client.get("/reconcile/licences?period=2026-03").text
    assert "There is no whole snapshot of 2026-03".lower() in page.lower() and "<tbody>" not in page
    here = desk.ledger.snapshots()[-1].as_at.astimezone(desk.settings.zone)
    before = (here.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    month = here.strftime("%Y-%m")
    both = client.get(f"/reconcile/billing?period={before}&to={month}")
    assert both.status_code == 200 and f"There is no whole snapshot of {before}" in both.text


def test_sheets_have_the_rows_and_no_formula(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    for path in PATHS:
        answer = client.get(f"{path}.csv")
        rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
        assert answer.headers["content-type"].startswith("text/csv") and rows
        assert (
            answer.headers["content-disposition"] == f'attachment; filename="{path.strip("/").replace("/", "-")}.csv"'
        )
        assert client.get(f"{path}.xlsx").content[:2] == b"PK"


def test_asking_twice_reads_once(desk: Office) -> None:
    client = desk.browser(Role.FINANCIAL)
    first = client.post("/reconcile/again", data={"to": "/expiring"}).headers["location"]
    assert client.post("/reconcile/again", data={"to": "/expiring"}).headers["location"] == first
    client.post("/reconcile/again", data={"to": "https://evil.example/"})
    before = len(desk.ledger.snapshots())
    assert desk.carry() == 2
    assert len(desk.ledger.snapshots()) == before + 1  # the second was asked for before the first was taken
    orders = [one for one in desk.ledger.orders() if one.kind == OrderKind.SNAPSHOT]
    assert {one.arguments["to"] for one in orders} == {"/reconcile/findings", "/expiring", "/"}


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        _rename(desk.sandbox)
        desk.plan()
        snapshot(desk)
        client = desk.browser(Role.ADMIN)
        for path in (*PATHS, "/reconcile/licences?view=active", "/reconcile/licences?view=product"):
            page = client.get(path).text
            assert "<script>alert" not in page and "\u202e" not in page and "x" * 1000 not in page, path
        hostile = client.get("/expiring.ics").text
        assert "x" * 400 not in hostile and "\u202e" not in hostile
        assert all(line.startswith(" ") or line[:1].isupper() for line in hostile.split("\r\n")[:-1])
        for path in PATHS:
            cells = [cell for row in csv.reader(io.StringIO(client.get(f"{path}.csv").text)) for cell in row]
            assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))], path


def _rename(sandbox: Any) -> None:
    for company in sandbox.pax8.companies:
        company["name"] = f"=HYPERLINK(1) <script>alert(1)</script> {company['name']} \u202e" + "x" * 4000


def test_what_ends_is_counted_as_the_command_counts_it(desk: Office) -> None:
    from billingsync.connect import connections
    from billingsync.reconcile.reconcile import renewals
    from billingsync.redaction import Redactor
    from billingsync.report.comparison.renewals import Renewals, renewals_document

    with connections(desk.settings, Redactor(desk.settings.secrets())) as connected:
        whole, expiry = renewals(connected, within=90, say=lambda _: None)
    client = desk.browser(Role.FINANCIAL)
    before = len(desk.sandbox.calls)
    twin = client.get("/expiring.json").json()
    assert len(desk.sandbox.calls) == before
    document = renewals_document(Renewals(whole=whole, expiry=expiry, within=90))
    assert twin == {**twin, **json.loads(json.dumps(document))}  # with what Pax8 documents, as the order asked for it
    assert any(one["documented"]["auto_renew"] is not None for one in twin["subscriptions"])
    page = client.get("/expiring").text
    for row, counts in (("term", twin["counts"]), ("committed_monthly", twin["committed_monthly"])):
        for days, count in counts.items():
            tile = page.partition(f"row={row}&amp;within={days}")[2][:120]
            assert f">{count}<" in tile
            listed = client.get(f"/expiring.json?row={row}&within={days}").json()["subscriptions"]
            assert len(listed) == count and all(one["row"] == row for one in listed)
    assert len(client.get("/expiring.json?row=no-date").json()["subscriptions"]) == twin["no_date"]
    assert client.get("/expiring?row=nonsense").status_code == 404


def test_what_ends_is_saved_as_a_calendar(desk: Office, tmp_path: Path) -> None:
    client = desk.browser(Role.USER)
    assert 'href="/expiring.ics"' in client.get("/expiring").text
    answer = client.get("/expiring.ics")
    assert (
        answer.headers["content-type"].startswith("text/calendar")
        and "attachment" in answer.headers["content-disposition"]
    )
    lines = answer.content.decode().replace("\r\n ", "").split("\r\n")
    ends = [one for one in client.get("/expiring.json").json()["subscriptions"] if one["end"]]
    assert lines[0] == "BEGIN:VCALENDAR" and lines[-2:] == ["END:VCALENDAR", ""]
    assert lines.count("BEGIN:VEVENT") == lines.count("END:VEVENT") == len(ends) > 1
    for one in ends:
        at = lines.index(f"UID:{one['subscription_id']}@billingsync")
        assert lines[at + 2] == f"DTSTART;VALUE=DATE:{one['end'].replace('-', '')}"
    assert "USD" not in answer.text
    assert all(len(line) <= 75 for line in answer.content.split(b"\r\n"))
    some = client.get("/expiring.ics?row=past").text
    assert some.count("BEGIN:VEVENT") == len(client.get("/expiring.json?row=past").json()["subscriptions"])


def test_a_user_sees_what_ends_without_money(desk: Office) -> None:
    user = desk.browser(Role.USER)
    document = user.get("/expiring.json").json()
    assert document["subscriptions"] and not any("month" in one for one in document["subscriptions"])
    assert "USD" not in user.get("/expiring").text and "USD" not in user.get("/expiring.csv").text
    assert "currency" not in user.get("/expiring.csv").text


def test_without_a_snapshot_nothing_is_said_of_what_ends(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        page = desk.browser(Role.FINANCIAL).get("/expiring").text
        assert "Nothing is known of what ends" in page and "<tbody>" not in page
        assert desk.browser(Role.FINANCIAL).get("/expiring.csv").status_code == 409
