"""Host, origin, method, size, headers, roles: what meets every request."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from served import HERE, PORT, Served

import billingsync.web
from billingsync.core.desk import Role
from billingsync.web import app as web_app
from billingsync.web.ask import Page

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@pytest.mark.parametrize("host", ["127.0.0.1:8793", "localhost:8793", "[::1]:8793", "LOCALHOST:8793"])
def test_this_machine_is_a_host_of_the_desk(served: Served, host: str) -> None:
    assert served.browser().get("/login", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8793.evil.example", "localhost:8793@evil", ""]
)
def test_another_host_is_refused_before_any_route(served: Served, host: str) -> None:
    for path in ("/login", "/static/desk.css", "/healthz", "/nothing"):
        assert served.browser().get(path, headers={"Host": host}).status_code == 400


def test_the_public_address_is_the_only_other_host(serve: Callable[..., Served]) -> None:
    served = serve(public_url="https://billing.acme.example")
    client = served.browser()
    assert client.get("/login").status_code == 200
    assert client.get("/login", headers={"Host": "acme.example"}).status_code == 400
    assert client.get("/login").headers["strict-transport-security"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 401),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, 401),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": HERE}, 403),
        ({"Origin": HERE}, 401),
        ({"Origin": f"http://localhost:{PORT}"}, 401),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": f"{HERE}.evil.example"}, 403),
        ({"Referer": f"{HERE}/login"}, 403),
        ({}, 403),
    ],
)
def test_what_comes_from_another_page_does_nothing(served: Served, headers: dict[str, str], status: int) -> None:
    client = served.browser()
    client.headers.pop("Sec-Fetch-Site")
    answer = client.post("/login", data={"email": "a@b.example", "password": "x"}, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_no_other_methods(served: Served, method: str) -> None:
    assert served.browser(Role.ADMIN).request(method, "/people").status_code == 405


def test_a_body_that_is_too_large_is_refused(served: Served) -> None:
    client = served.browser(Role.ADMIN)
    assert client.post("/people", content=b"x" * 70_000).status_code == 413

    def endless() -> object:
        for _ in range(20):
            yield b"email=" + b"x" * 8000

    sent = client.post("/people", content=endless(), headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert sent.status_code == 413
    many = "&".join(f"a{n}=1" for n in range(1100))
    answer = client.post("/people", content=many, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 422
    assert client.post("/people", json={"email": "a@b.example"}).status_code == 422
    assert len(served.ledger.people()) == 1


@pytest.mark.parametrize(
    "path", ["/login", "/", "/people", "/nothing", "/status.json", "/login/once/nothing", "/healthz"]
)
def test_every_answer_carries_the_headers(served: Served, path: str) -> None:
    for client in (served.browser(), served.browser(Role.USER), served.browser(Role.ADMIN)):
        answer = client.get(path)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in answer.headers


def test_static_files_may_be_kept_for_ever_and_have_a_hash(served: Served) -> None:
    page = served.browser().get("/login").text
    paths = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(paths) >= 4
    for path in paths:
        answer = served.browser().get(path)
        assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
        assert re.search(r"\.[0-9a-f]{12}\.", path)
    assert served.browser().get("/static/desk.css").status_code == 404


def test_no_template_holds_a_script_a_style_or_a_handler() -> None:
    folder = Path(billingsync.web.__file__).parent
    for file in (folder / "templates").iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"<style|style=|\son[a-z]+=|hx-on|javascript:|js:", text), file.name
        assert not re.search(r"<script(?![^>]*src=)", text), file.name
        assert "|safe" not in text.replace(" ", ""), file.name
    assert "eval(" not in (folder / "static" / "desk.js").read_text(encoding="utf-8")


def test_script_and_style_sheet_stay_small() -> None:
    folder = Path(billingsync.web.__file__).parent / "static"
    assert len((folder / "desk.js").read_text(encoding="utf-8").splitlines()) <= 400
    assert len((folder / "desk.css").read_text(encoding="utf-8").splitlines()) <= 350


def _filled(page: Page) -> str:
    return re.sub(r"\{[a-z_:]+\}", "x", page.path)


def test_nobody_sees_anything_but_the_sign_in(served: Served) -> None:
    client = served.browser()
    for page in web_app.pages():
        if page.role is None:
            continue
        path = _filled(page)
        answer = client.post(path) if page.post else client.get(path)
        assert answer.status_code == (401 if page.post else 303), path
        if not page.post:
            assert answer.headers["location"].startswith("/login?next=%2F"), path
        if page.twin:
            assert client.get(f"{path}.json").status_code == 401, path


@pytest.mark.parametrize("role", list(Role))
def test_every_page_keeps_to_its_role(served: Served, role: Role) -> None:
    client = served.browser(role)
    for page in web_app.pages():
        if page.role is None or page.path == "/logout":
            continue
        path = _filled(page)
        answers = [client.post(path) if page.post else client.get(path)]
        answers += [client.get(f"{path}.json")] if page.twin else []
        for answer in answers:
            if role.may(page.role):
                assert answer.status_code != 403, path
            else:
                assert answer.status_code == 403, path
            assert answer.status_code < 500, path


def test_a_page_without_a_declared_role_does_not_start() -> None:
    with pytest.raises(TypeError):
        Page(path="/secret", show=lambda ask: None)  # type: ignore[call-arg]


def test_an_unknown_page_says_so(served: Served) -> None:
    answer = served.browser(Role.USER).get("/nothing")
    assert answer.status_code == 404
    assert "There is no such page." in answer.text and "BS-NOT-FOUND" in answer.text


def test_the_next_page_is_one_of_ours(served: Served) -> None:
    for to in ("//evil.example", "https://evil.example", "/\\evil.example", "/ok\r\nSet-Cookie: a=b", "javascript:1"):
        page = served.browser().get("/login", params={"next": to}).text
        assert 'name="next" value="/"' in page, to
    assert 'name="next" value="/status?x=1"' in served.browser().get("/login", params={"next": "/status?x=1"}).text
