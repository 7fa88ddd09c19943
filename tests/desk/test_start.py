"""The first run, the tests of the connections, and kept plans beside each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from office import Office, office

from billingsync.core.desk import Role
from billingsync.redaction import Redactor
from billingsync.settings import LiveSettings, Settings

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
    assert "waits to be looked at" in client.get("/start").text
    head = desk.ledger.newest_plan("2026-11")
    assert head
    client.post("/ready/2026-11/post", data={"digest": head.digest})
    assert desk.carry() == 1
    assert "in this run" in client.get(f"/runs/{desk.ledger.runs()[-1].id}").text
    assert "in this run" not in client.get("/ready/2026-11").text
    page = client.get("/start").text
    assert "was posted by admin@msp.example" in page and "waits to be looked at" not in page
    desk.plan()  # what is left now
    assert "has nothing more to post" in client.get("/start").text


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


def test_keys_are_typed_tried_and_saved_and_the_secret_is_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with office(tmp_path, BILLINGSYNC_PAX8__CLIENT_SECRET="", BILLINGSYNC_PAX8__CLIENT_ID="") as desk:
        admin = desk.browser(Role.ADMIN)
        environment = desk.sandbox.environment()
        names = ("CLIENT_ID", "CLIENT_SECRET")
        right = {"side": "pax8", **{name.lower(): environment[f"BILLINGSYNC_PAX8__{name}"] for name in names}}
        secret, wrong = right["client_secret"], "wrong-canary-81f2"
        assert desk.browser(Role.FINANCIAL).post("/start/keys", data=right).status_code == 403
        pages = [admin.get("/start").text]
        assert 'name="client_secret" required maxlength="400" autocomplete="off" type="password"' in pages[0]
        assert admin.post("/start/keys", data={**right, "client_secret": ""}).status_code == 422
        assert admin.post("/start/save", data={"side": "pax8"}).status_code == 422  # nothing was tried
        pages.append(admin.post("/start/keys", data={**right, "client_secret": wrong}).text)
        assert "Save these keys" not in pages[-1] and ">wrong<" in pages[-1]
        pages.append(admin.post("/start/keys", data=right).text)
        assert "Save these keys" in pages[-1]
        assert not (tmp_path / ".env").exists()
        assert admin.post("/start/save", data={"side": "halo"}).status_code == 422  # of the other side nothing is held
        admin.post("/start/keys", data=right)
        assert admin.post("/start/save", data={"side": "pax8"}).headers["location"].startswith("/orders/")
        assert f"BILLINGSYNC_PAX8__CLIENT_SECRET={secret}" in (tmp_path / ".env").read_text()
        assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
        pages += [admin.get(path).text for path in ("/start", "/start.json", "/activity", "/connections")]
        assert "The keys are set" in pages[-4] and "Start the desk" not in pages[-4]
        assert desk.carry() == 1  # with the new keys, in the same process
        pages += [admin.get(path).text for path in ("/start", "/connections.json")]
        assert {one["step"]: one["done"] for one in admin.get("/start.json").json()["rows"]}["Pax8 keys"]
        desk.plan()
        assert desk.live.redactor.text(f"login with {secret}") == "login with ***"
        kept = (desk.folder / "ledger.db").read_bytes() + (desk.folder / "ledger.db-wal").read_bytes()
        for canary in (secret, wrong):
            assert canary.encode() not in kept and not any(canary in page for page in pages)


def test_keys_that_replace_others_are_used_by_the_next_order_and_the_old_secret_stays_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    old = "old-canary-51a0"
    with office(tmp_path, BILLINGSYNC_HALO__CLIENT_SECRET=old) as desk:
        admin, environment = desk.browser(Role.ADMIN), desk.sandbox.environment()
        admin.post("/connections/test")
        desk.carry()
        assert any(one["state"] == "fail" for one in admin.get("/connections.json").json()["checks"])
        assert not {one["step"]: one["done"] for one in admin.get("/start.json").json()["rows"]}["HaloPSA keys"]
        assert "Other keys" in admin.get("/start").text
        names = ("base_url", "client_id", "client_secret")
        form = {"side": "halo", **{name: environment[f"BILLINGSYNC_HALO__{name.upper()}"] for name in names}}
        tried = admin.post("/start/keys", data=form).text
        assert "Save these keys" in tried and "may be billed twice" in tried  # wrong, but not the keys
        assert admin.post("/start/save", data={"side": "halo"}).headers["location"].startswith("/orders/")
        assert desk.carry() == 1
        checks = [one for one in admin.get("/connections.json").json()["checks"] if one["name"] == "HaloPSA"]
        assert checks[0]["state"] == "ok" and "login works" in checks[0]["says"]
        assert {one["step"]: one["done"] for one in admin.get("/start.json").json()["rows"]}["HaloPSA keys"]
        desk.plan()
        hide = desk.live.redactor.text
        assert hide(f"{old} {form['client_secret']}") == "*** ***"


def test_a_secret_file_wins_over_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from billingsync.setup.keys import typed, why_not_saved

    store = tmp_path / "credentials"
    store.mkdir()
    (store / "billingsync_pax8__client_secret").write_text("from the store\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(store))
    keys = typed("pax8", {"client_id": "one", "client_secret": "two"})
    assert "CLIENT_SECRET is set by a file" in why_not_saved(tmp_path, keys)


def test_saving_keys_leaves_the_rest_of_the_file_as_it_is(tmp_path: Path) -> None:
    from billingsync.setup.keys import save_keys, typed

    env = tmp_path / ".env"
    env.write_text("# mine\nBILLINGSYNC_TIMEZONE=Europe/Berlin\n#BILLINGSYNC_PAX8__CLIENT_ID=\n", encoding="utf-8")
    live = LiveSettings(Settings(), Redactor())
    save_keys(tmp_path, typed("pax8", {"client_id": "one", "client_secret": "it's $two"}), live)
    assert live.current().pax8.client_id == "one"
    assert env.read_text().splitlines() == [
        "# mine",
        "BILLINGSYNC_TIMEZONE=Europe/Berlin",
        "BILLINGSYNC_PAX8__CLIENT_ID=one",
        "BILLINGSYNC_PAX8__CLIENT_SECRET='it\\'s $two'",
    ]
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
