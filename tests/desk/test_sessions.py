"""Signing in, staying, leaving: people, links that are good once, passwords, limits of tries."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from served import QUICK_HASHES, Clock, Served
from starlette.testclient import TestClient

from billingsync.core.desk import LinkKind, Role
from billingsync.store.ledger import Ledger
from billingsync.web.passwords import Busy, Passwords

PASSWORD = "four words are enough"


def _kinds(ledger: Ledger) -> list[str]:
    return [entry.kind for entry in ledger.journal_entries()]


@pytest.fixture
def dana(served: Served) -> str:
    """A person who has a password."""
    person = served.ledger.add_person("dana@msp.example", Role.FINANCIAL, who="the test", now=served.clock())
    served.ledger.set_password(person.id, QUICK_HASHES.hash(PASSWORD), who="the test", now=served.clock())
    return person.id


def _sign_in(client: TestClient, password: str = PASSWORD, email: str = "dana@msp.example", **more: str) -> int:
    return client.post("/login", data={"email": email, "password": password, **more}).status_code


def test_signing_in_with_a_password_and_out_again(served: Served, dana: str) -> None:
    client = served.browser()
    answer = client.post("/login", data={"email": " Dana@MSP.example ", "password": PASSWORD, "next": "/me"})
    assert answer.status_code == 303 and answer.headers["location"] == "/me"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("desk=") and "HttpOnly" in cookie and "SameSite=lax" in cookie and "Path=/" in cookie
    assert "domain" not in cookie.lower()
    secret = client.cookies["desk"]
    assert len(secret) >= 43
    assert "dana@msp.example" in client.get("/me").text
    with served.ledger.reading() as connection:
        raw = "".join(str(row) for row in connection.exec_driver_sql("SELECT * FROM desk_session"))
        raw += "".join(str(row) for row in connection.exec_driver_sql("SELECT * FROM journal"))
    assert secret not in raw and PASSWORD not in raw
    assert client.post("/logout").headers["location"] == "/login"
    client.cookies.set("desk", secret)
    assert client.get("/me").status_code == 303
    assert [kind for kind in _kinds(served.ledger) if "sign" in kind] == ["desk.signed_in", "desk.signed_out"]


def test_over_tls_the_cookie_is_bound_to_the_host(serve: Callable[..., Served]) -> None:
    served = serve(public_url="https://billing.acme.example")
    person = served.ledger.add_person("dana@msp.example", Role.ADMIN, who="the test", now=served.clock())
    served.ledger.set_password(person.id, QUICK_HASHES.hash(PASSWORD), who="the test", now=served.clock())
    cookie = (
        served.browser().post("/login", data={"email": "dana@msp.example", "password": PASSWORD}).headers["set-cookie"]
    )
    assert cookie.startswith("__Host-desk=") and "Secure" in cookie


def test_a_sign_in_gives_a_new_session_and_ends_the_one_before(served: Served, dana: str) -> None:
    client = served.browser()
    _sign_in(client)
    before = client.cookies["desk"]
    _sign_in(client)
    assert client.cookies["desk"] != before
    old = served.browser()
    old.cookies.set("desk", before)
    assert old.get("/me").status_code == 303


def test_who_is_unknown_gets_the_answer_of_who_mistypes(served: Served, dana: str) -> None:
    wrong = served.browser().post("/login", data={"email": "dana@msp.example", "password": "wrong password"})
    unknown = served.browser().post("/login", data={"email": "nobody@msp.example", "password": "wrong password"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text.replace("dana@", "nobody@") == unknown.text


def test_after_five_failures_an_account_waits_and_never_for_good(served: Served, dana: str, clock: Clock) -> None:
    client = served.browser()
    assert [_sign_in(client, "wrong password") for _ in range(6)] == [401] * 5 + [429]
    assert _sign_in(client) == 429  # the right password waits too, else the answer would tell
    clock.move(seconds=31)
    assert _sign_in(client, "wrong password") == 401
    clock.move(seconds=31)
    assert _sign_in(client) == 429  # the wait has doubled
    clock.move(minutes=15)
    assert _sign_in(client) == 303
    assert _sign_in(served.browser(), "wrong password") == 401  # counted from the start again
    assert _kinds(served.ledger).count("desk.sign_in_failed") == 7


def test_an_address_waits_after_twenty_failures(served: Served) -> None:
    client = served.browser()
    codes = [_sign_in(client, "wrong password", f"p{n}@msp.example") for n in range(21)]
    assert codes == [401] * 20 + [429]


def test_only_a_known_proxy_says_where_somebody_is(serve: Callable[..., Served]) -> None:
    served = serve(proxies="127.0.0.1")
    client = served.browser()
    client.post(
        "/login", data={"email": "a@b.example", "password": "x"}, headers={"X-Forwarded-For": "6.6.6.6, 9.9.9.9"}
    )
    assert json.loads(served.ledger.journal_entries()[-1].body)["address"] == "9.9.9.9"
    served = serve()
    served.browser().post(
        "/login", data={"email": "a@b.example", "password": "x"}, headers={"X-Forwarded-For": "9.9.9.9"}
    )
    assert json.loads(served.ledger.journal_entries()[-1].body)["address"] == "127.0.0.1"


def test_a_session_ends_when_idle_and_at_its_time(served: Served, clock: Clock) -> None:
    client = served.browser(Role.USER)
    for _ in range(13):
        clock.move(minutes=55)
        assert client.get("/status").status_code == 200
    clock.move(minutes=55)
    assert client.get("/status").status_code == 303  # twelve hours are over
    idle = served.browser(Role.USER)
    clock.move(minutes=61)
    assert idle.get("/status").status_code == 303


def test_a_fragment_without_a_session_says_so(served: Served) -> None:
    answer = served.browser().get("/status", headers={"HX-Request": "true"})
    assert answer.status_code == 401 and "not signed in" in answer.text and "<html" not in answer.text


def test_disabling_and_a_new_role_end_sessions_at_once(served: Served) -> None:
    admin, user = served.browser(Role.ADMIN), served.browser(Role.USER)
    id = served.ledger.require_person("user@msp.example").id
    assert admin.post(f"/people/{id}/role", data={"role": "financial"}).status_code == 303
    assert user.get("/status").status_code == 303
    assert served.browser(Role.USER).get("/me").text.count("Financial") >= 1
    again = served.browser(Role.USER)
    assert admin.post(f"/people/{id}/disable").status_code == 303
    assert again.get("/status").status_code == 303
    assert {"desk.role_changed", "desk.person_disabled"} <= set(_kinds(served.ledger))
    said = json.loads(next(e.body for e in served.ledger.journal_entries() if e.kind == "desk.role_changed"))
    assert said["before"] == "user" and said["after"] == "financial"
    assert said["who"].startswith("admin@msp.example (desk, session ")


def test_the_last_admin_stays(served: Served) -> None:
    admin = served.browser(Role.ADMIN)
    id = served.ledger.require_person("admin@msp.example").id
    for act, data in (("disable", {}), ("role", {"role": "user"})):
        answer = admin.post(f"/people/{id}/{act}", data=data)
        assert answer.status_code == 422 and "only admin" in answer.text


def test_a_person_is_added_gets_a_link_and_chooses_a_password(served: Served) -> None:
    admin = served.browser(Role.ADMIN)
    page = admin.post("/people", data={"email": "Dana@msp.example", "role": "financial"})
    link = re.search(r"http://127\.0\.0\.1:8793(/login/once/[\w-]+)", page.text)
    assert link
    new = served.browser()
    for _ in range(3):  # looking does not use it up
        assert new.get(link[1]).status_code == 200
    short = new.post(link[1], data={"password": "short", "again": "short"})
    assert short.status_code == 422 and "at least 12" in short.text
    common = new.post(link[1], data={"password": "Password1234", "again": "Password1234"})
    assert common.status_code == 422 and "first passwords" in common.text
    unlike = new.post(link[1], data={"password": PASSWORD, "again": PASSWORD + "!"})
    assert unlike.status_code == 422
    done = new.post(link[1], data={"password": PASSWORD, "again": PASSWORD})
    assert done.status_code == 303
    assert "Financial" in new.get("/me").text
    assert served.browser().post(link[1], data={"password": PASSWORD, "again": PASSWORD}).status_code == 404
    assert _sign_in(served.browser()) == 303
    assert admin.post("/people", data={"email": "dana@msp.example", "role": "user"}).status_code == 422
    assert admin.post("/people", data={"email": "no address", "role": "user"}).status_code == 422
    assert admin.post("/people", data={"email": "x@y.example", "role": "god"}).status_code == 422


def test_a_link_ends_after_a_day_and_with_the_next_one(served: Served, clock: Clock) -> None:
    person = served.ledger.add_person("dana@msp.example", Role.USER, who="the test", now=clock())
    make = lambda: served.ledger.make_link(  # noqa: E731
        LinkKind.PASSWORD, person=person.id, good_for=timedelta(hours=24), now=clock()
    )
    first = make()
    second = make()
    client = served.browser()
    assert client.get(f"/login/once/{first}").status_code == 404
    assert client.get(f"/login/once/{second}").status_code == 200
    clock.move(hours=24, seconds=1)
    assert client.get(f"/login/once/{second}").status_code == 404


def test_the_first_link_makes_one_admin(served: Served, clock: Clock) -> None:
    links = [served.ledger.make_link(LinkKind.FIRST, good_for=timedelta(minutes=15), now=clock()) for _ in range(2)]
    client = served.browser()
    data = {"email": "eve@msp.example", "password": PASSWORD, "again": PASSWORD}
    assert client.post(f"/login/once/{links[0]}", data=data).status_code == 303
    assert "Admin" in client.get("/me").text and client.get("/people").status_code == 200
    late = served.browser().post(f"/login/once/{links[1]}", data={**data, "email": "mallory@msp.example"})
    assert late.status_code == 422
    assert [person.email for person in served.ledger.people()] == ["eve@msp.example"]


def test_changing_the_password_ends_every_session(served: Served, dana: str) -> None:
    here, there = served.browser(), served.browser()
    _sign_in(here)
    _sign_in(there)
    new = "another four words"
    wrong = here.post("/me/password", data={"old": "wrong", "password": new, "again": new})
    assert wrong.status_code == 422
    assert here.post("/me/password", data={"old": PASSWORD, "password": new, "again": new}).status_code == 303
    assert here.get("/me").status_code == there.get("/me").status_code == 303
    assert _sign_in(served.browser()) == 401 and _sign_in(served.browser(), new) == 303


def test_one_session_is_ended_and_all_others(served: Served, dana: str) -> None:
    here, there, third = (served.browser() for _ in range(3))
    for client in (here, there, third):
        _sign_in(client)
    shown = re.findall(r'name="session" value="([0-9a-f]{64})"', here.get("/me").text)
    assert len(shown) == 2
    here.post("/me/sessions/end", data={"session": shown[0]})
    assert sorted(client.get("/me").status_code for client in (there, third)) == [200, 303]
    stranger = served.browser(Role.ADMIN)
    stranger.post("/me/sessions/end", data={"session": shown[1]})  # somebody else's: nothing happens
    assert sorted(client.get("/me").status_code for client in (there, third)) == [200, 303]
    here.post("/me/sessions/end-others")
    assert [client.get("/me").status_code for client in (here, there, third)] == [200, 303, 303]


def test_a_password_that_is_kept_costs_what_the_library_advises() -> None:
    kept = Passwords().hash("four words are enough")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$") and Passwords().fits(kept, "four words are enough")
    assert not Passwords().fits(kept, "four words are enougH")


def test_one_hash_at_a_time_and_the_others_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billingsync.web.passwords.PATIENCE_S", 0.01)
    passwords = Passwords()
    with passwords._turn(), pytest.raises(Busy):
        passwords.fits(None, "x")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>@x.example", "a" * 200 + "@x.example"])
def test_hostile_addresses_are_shown_as_text(served: Served, name: str) -> None:
    admin = served.browser(Role.ADMIN)
    served.ledger.add_person(name, Role.USER, who="the test", now=served.clock())
    page = admin.get("/people").text
    assert "<script>alert" not in page and name.split("@")[0].replace("<", "&lt;").replace(">", "&gt;")[:50] in page


def test_light_or_dark_is_chosen_for_a_browser(served: Served, dana: str) -> None:
    client = served.browser()
    assert _sign_in(client) == 303
    assert "data-theme" not in client.get("/me").text
    assert client.post("/me/theme", data={"theme": "dark"}).headers["location"] == "/me"
    page = client.get("/status").text
    assert '<html lang="en" data-theme="dark">' in page and '<meta name="color-scheme" content="dark">' in page
    assert client.post("/me/theme", data={"theme": "<script>"}).status_code == 422
    client.cookies.set("desk-theme", "light-or-so")
    assert "data-theme" not in client.get("/login").text
