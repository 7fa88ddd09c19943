"""The first run, the tests of the connections, and kept plans beside each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from office import Office, office

from billingsync.core.desk import Role

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Office]:
    with office(tmp_path) as opened:
        yield opened


def test_the_first_run_goes_from_keys_to_a_plan(desk: Office) -> None:
    client = desk.browser(Role.ADMIN)
    assert client.get("/").headers["location"] == "/start"
    steps = {one["step"]: one["done"] for one in client.get("/start.json").json()["rows"]}
    assert steps["Sandbox or real"] and not steps["Pax8 keys"] and not steps["First plan"]
    order = client.post("/connections/test").headers["location"]
    assert desk.carry() == 1
    assert client.get(order).headers["location"] == "/connections", desk.ledger.orders()[0].outcome
    steps = {one["step"]: one["done"] for one in client.get("/start.json").json()["rows"]}
    assert steps["Pax8 keys"] and steps["HaloPSA keys"]
    client.post("/ready/again", data={"period": "2026-11"})
    assert desk.carry() == 1
    steps = {one["step"]: one["done"] for one in client.get("/start.json").json()["rows"]}
    assert steps["First plan"] and not steps["Clients and products"]
    assert client.get("/").headers["location"] == "/ready/2026-11"


def test_the_connections_show_doctors_checks_and_the_codes_to_choose_from(desk: Office) -> None:
    admin, financial = desk.browser(Role.ADMIN), desk.browser(Role.FINANCIAL)
    assert "Not tried yet" in admin.get("/connections").text
    assert financial.post("/connections/test").status_code == 403
    admin.post("/connections/test")
    desk.carry()
    checks = admin.get("/connections.json").json()["checks"]
    assert {"Pax8", "HaloPSA", "database", "rules"} <= {one["name"] for one in checks}
    page = admin.get("/connections").text
    assert 'name="products.income_account"' in page and "disabled" in financial.get("/connections").text
    value = re.search(
        r'name="products.income_account".*?<option value="([^"]+)">', page.replace('<option value="">', ""), re.S
    )
    base = re.search(r'name="base" value="([0-9a-f]{64})"', page)
    assert value and base
    form = {"company": "", "base": base[1], "products.income_account": value[1]}
    assert admin.post("/rules/look", data=form).status_code == 200
    assert admin.post("/rules", data=form).status_code == 303
    assert value[1] in desk.ledger.desk_rules()[0].text


def test_a_test_that_fails_says_what_to_do(desk: Office) -> None:
    admin = desk.browser(Role.ADMIN)
    desk.sandbox.__exit__(None, None, None)
    admin.post("/connections/test")
    desk.carry()
    assert any(one["state"] == "fail" for one in admin.get("/connections.json").json()["checks"])


def test_two_kept_plans_are_compared_client_by_client(desk: Office) -> None:
    desk.plan()
    client = desk.browser(Role.FINANCIAL)
    before = desk.ledger.newest_plan("2026-11")
    assert before
    row = next(row for row in desk.ledger.client_rows(before.digest) if row.lines)
    client.post("/ready/2026-11/set-aside", data={"digest": before.digest, "aside": str(row.nth)})
    after = desk.ledger.newest_plan("2026-11")
    assert after and after.digest != before.digest
    page = client.get(f"/plans/{after.digest}").text
    assert f"/plans/{after.digest}/compare/{before.digest}" in page and "The newest plan" in page
    assert "An earlier plan" in client.get(f"/plans/{before.digest}?open={row.nth}").text
    changes = client.get(f"/plans/{after.digest}/compare/{before.digest}.json").json()["rows"]
    assert len(changes) == 1 and changes[0].startswith(row.company_name)
    assert client.get(f"/plans/{after.digest}/compare/{after.digest}.json").json()["rows"] == []
    assert client.get(f"/plans/{'0' * 64}").status_code == 404
