"""What stands above every page, what the status says, and clients that are slow or break off."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from office import Office, office
from served import Served

from billingsync.core.desk import Role
from billingsync.core.period import Period
from billingsync.web.app import make_app, make_desk
from billingsync.web.server import MOST_CONNECTIONS, TURN_S, DeskServer
from billingsync.web.site import site_of
from billingsync.web.watch import MOST

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PATHS = ("/months", "/status", "/reconcile/licences", "/cards", "/imports")


def test_nothing_stands_above_a_page_where_all_is_well(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        assert "notes above" not in desk.browser(Role.ADMIN).get("/months").text


def test_a_silent_worker_is_told_on_every_page(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        desk.ledger.show_life("w", "worker", desk.clock())
        client = desk.browser(Role.ADMIN)
        assert "silent" not in client.get("/months").text
        desk.clock.move(minutes=10)
        for path in PATHS:
            assert "The worker has been silent since" in client.get(path).text, path
        assert "The worker has been silent" in desk.browser(Role.USER).get("/status").text


def test_a_secret_that_ends_and_another_tenant_are_told_to_who_may_see_money(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    soon = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
    with office(tmp_path, BILLINGSYNC_PAX8__EXPIRES_ON=soon) as desk:
        desk.ledger.bind_tenant("https://another.example/api", None, desk.clock())
        page = desk.browser(Role.FINANCIAL).get("/months").text
        assert f"The client secret of Pax8 ends on {soon}" in page
        assert "belongs to the HaloPSA at https://another.example/api" in page
        user = desk.browser(Role.USER).get("/status").text
        assert "client secret of" not in user and "another.example" not in user


def test_the_status_says_who_is_at_work(tmp_path: Path) -> None:
    with office(tmp_path) as desk:
        desk.plan()
        desk.compare()
        page = desk.browser(Role.USER).get("/status").text
        for words in ("Worker last seen", "Run under way", "Newest snapshot", "Orders waiting"):
            assert words in page


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Office, int]]:
    with office(tmp_path_factory.mktemp("slow")) as desk:
        desk.plan()

        def make(port: int) -> object:
            return make_app(make_desk(desk.live, desk.ledger, site_of(desk.settings.desk, port)))

        with DeskServer("127.0.0.1", 0, make) as server:  # type: ignore[arg-type]
            yield desk, server.port


def test_a_page_soon_gets_its_turn_beside_a_plan_in_the_same_process(running: tuple[Office, int]) -> None:
    """Python gives another thread its turn after 5 ms only, and a page wants one after each question to the ledger."""
    assert sys.getswitchinterval() <= TURN_S * 1.01 < 0.005


def head(desk: Office, port: int, line: str, *more: str) -> bytes:
    cookie = f"Cookie: desk={desk.session(Role.ADMIN)}"
    return "\r\n".join([line, f"Host: 127.0.0.1:{port}", cookie, *more, "", ""]).encode()


def alive(port: int) -> float:
    """How long the desk takes to answer somebody else."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as other:
        other.sendall(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        assert b"200" in other.recv(200)
    return time.monotonic() - began


def test_a_body_that_trickles_in_is_cut_off_and_holds_nobody_up(
    running: tuple[Office, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, port = running
    monkeypatch.setattr("billingsync.web.guard.BODY_S", 0.4)
    post = head(
        desk,
        port,
        "POST /cards/aside HTTP/1.1",
        "Sec-Fetch-Site: same-origin",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Length: 60000",
    )
    slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(12)]
    for each in slow:
        each.sendall(post + b"card=")
    assert alive(port) < 2
    began = time.monotonic()
    for each in slow:
        while each.recv(4096):  # an answer at most, then the end
            assert time.monotonic() - began < 9
        each.close()


def test_clients_that_break_off_in_the_middle_leave_nothing_behind(running: tuple[Office, int]) -> None:
    desk, port = running
    before = len(desk.ledger.orders())
    for whole in (
        head(desk, port, "GET /ready/2026-11 HTTP/1.1"),
        head(
            desk,
            port,
            "POST /reconcile/again HTTP/1.1",
            "Sec-Fetch-Site: same-origin",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Length: 500",
        ),
        head(
            desk,
            port,
            "POST /imports/new HTTP/1.1",
            "Sec-Fetch-Site: same-origin",
            "Content-Type: multipart/form-data; boundary=x",
            "Content-Length: 900000",
        )
        + b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na,b\r\n',
    ):
        for part in (len(whole) // 3, len(whole)):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as broken:
                broken.sendall(whole[:part])
                broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, no farewell
    assert alive(port) < 2
    assert len(desk.ledger.orders()) == before and not desk.ledger.drafts()


def test_more_connections_than_may_be_are_refused_and_the_others_go_on(running: tuple[Office, int]) -> None:
    _, port = running
    held = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(MOST_CONNECTIONS)]
    try:
        assert alive(port) < 3
    finally:
        for each in held:
            each.close()


def test_more_listeners_than_may_be_are_told_to_come_back(running: tuple[Office, int]) -> None:
    desk, port = running
    listening: list[socket.socket] = []
    with desk.ledger.run_lock("the test") as fence:
        run = desk.ledger.start_run(fence, period=Period(2026, 11), digest=None, who="the test", now=desk.clock())
        try:
            for _ in range(MOST + 2):
                each = socket.create_connection(("127.0.0.1", port), timeout=5)
                listening.append(each)
                each.sendall(head(desk, port, f"GET /runs/{run}/events HTTP/1.1"))
                said = each.recv(200)
                assert (b"200 OK" if len(listening) <= MOST else b"503") in said, len(listening)
            assert alive(port) < 2
        finally:
            for each in listening:
                each.close()


def test_two_people_on_one_thing_are_told_of_each_other_for_some_minutes(served: Served) -> None:
    dana, anna = served.browser(Role.FINANCIAL), served.browser(Role.ADMIN)
    assert "people look at this" not in dana.get("/rules").text
    assert "2 people look at this: you and financial@msp.example." in anna.get("/rules").text
    assert "2 people look at this: you and admin@msp.example." in dana.get("/rules").text
    assert "people look at this" not in dana.get("/status").text  # nothing is decided there
    served.clock.move(minutes=6)
    assert "people look at this" not in dana.get("/rules").text
