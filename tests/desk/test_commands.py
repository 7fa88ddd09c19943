"""`billingsync desk`: serving, the first link, people by command."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from billingsync.cli import main
from billingsync.store.ledger import open_ledger


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("BILLINGSYNC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BILLINGSYNC_DATABASE_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def running(here: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    words = [sys.executable, "-m", "billingsync", "desk", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process, [process.stdout.readline() for _ in range(3)]
        if process.poll() is None:
            process.kill()


def test_a_fresh_machine_gets_a_link_that_makes_the_first_admin(running: tuple[Any, list[str]], here: Path) -> None:
    process, lines = running
    found = re.search(r"http://127\.0\.0\.1:(\d+)(/login/once/[\w-]{43})", "".join(lines))
    assert found, lines
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
    words = "four words are enough".replace(" ", "+")
    connection.request(
        "POST",
        found[2],
        f"email=eve%40msp.example&password={words}&again={words}",
        {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"},
    )
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 303 and answer.getheader("Set-Cookie", "").startswith("desk=")
    assert answer.getheader("Server") is None
    connection.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    with open_ledger(f"sqlite:///{here / 'ledger.db'}", partner="default") as ledger:
        assert [(person.email, person.role) for person in ledger.people()] == [("eve@msp.example", "admin")]


def test_the_demo_opens_its_month_in_the_desk(here: Path) -> None:
    words = [sys.executable, "-m", "billingsync", "demo", "--desk", "--dir", str(here / "demo")]
    quiet = {**os.environ, "BROWSER": "true"}  # nobody's browser is opened
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=quiet) as process:
        assert process.stdout
        said = "".join(process.stdout.readline() for _ in range(4))
        found = re.search(r"http://127\.0\.0\.1:(\d+)/login/once/", said)
        assert found, said
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    with open_ledger(f"sqlite:///{here / 'demo' / 'billingsync.db'}", partner="default") as ledger:
        assert ledger.planned_periods()


def test_a_head_that_trickles_in_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.applications import Starlette

    from billingsync.web.server import DeskServer

    monkeypatch.setattr("billingsync.web.server.HEADER_S", 0.3)
    with DeskServer("127.0.0.1", 0, lambda port: Starlette()) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
            began = time.monotonic()
            with pytest.raises((ConnectionError, AssertionError)):
                assert slow.recv(100)
            assert time.monotonic() - began < 4


def test_people_by_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str, code: int = 0) -> Any:
        assert main(["desk", "people", *words]) == code
        return capsys.readouterr()

    assert "Nobody yet" in run().out
    link = run("add", "Dana@msp.example", "--role", "financial").out.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:8793/login/once/[\w-]{43}", link)
    assert json.loads(run("link", "dana@msp.example", "--json").out)["link"] != link
    run("add", "eve@msp.example", "--role", "admin")
    run("role", "dana@msp.example", "user")
    assert json.loads(run("--json").out)["people"][0]["role"] == "user"
    run("disable", "dana@msp.example")
    assert json.loads(run("--json").out)["people"][0]["state"] == "disabled"
    assert "only admin" in run("disable", "eve@msp.example", code=2).err
    assert "Nobody has" in run("link", "nobody@msp.example", code=2).err
    assert "no e-mail" in run("add", "nonsense", code=2).err
    assert "god" in run("add", "x@y.example", "--role", "god", code=2).err


def test_another_machine_needs_a_public_address(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["desk", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "DESK__PUBLIC_URL" in capsys.readouterr().err
