"""The HTTP client against real sockets on loopback: what is repeated, what is not, what is said, what never leaks."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from billingsync import __version__
from billingsync.errors import LoginFailed, NotReachable, Retryable, UpstreamError
from billingsync.http import (
    Answered,
    Budget,
    CallRecord,
    NotDone,
    OutcomeUnknown,
    Service,
    ServiceConfig,
    exchange,
    in_parallel,
    read_json,
    write_json,
)
from billingsync.http.exchange import proxy_for
from billingsync.http.verdict import retry_after

SECRET = 's3cret/with+odd=chars&"quote'


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Answers each request with what `answer(request)` gives: bytes to send raw, or None to close without a word."""

    answer: Callable[[Request], bytes | None] = lambda request: reply({})
    seen: list[Request] = field(default_factory=list)
    token_calls: int = 0
    token_answer: Callable[[Request], bytes | None] | None = None
    connections: int = 0
    tls: ssl.SSLContext | None = None

    def start(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the accept, which would take one more connection
        self._socket.close()

    def calls(self, method: str = "") -> list[Request]:
        return [one for one in self.seen if "/token" not in one.path and one.method.startswith(method)]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self.tls is not None:
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        with connection, connection.makefile("rb") as reader:
            while line := reader.readline().decode():
                method, path, _ = line.split(" ", 2)
                headers = {}
                while (line := reader.readline().decode().strip()) != "":
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = reader.read(int(headers.get("content-length", 0)))
                request = Request(method, path, headers, body)
                self.seen.append(request)
                if "/token" in path:
                    self.token_calls += 1
                    said = (self.token_answer or token)(request)
                else:
                    said = self.answer(request)
                if said is None:
                    return
                if said == b"reset":
                    linger = b"\1\0\0\0\0\0\0\0"
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                try:
                    connection.sendall(said)
                except OSError:
                    return
                if b"\r\nConnection: close\r\n" in said:
                    return


def reply(value: object, status: int = 200, *headers: str, body: bytes | None = None) -> bytes:
    content = json.dumps(value).encode() if body is None else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def token(request: Request, number: int = 1) -> bytes:
    return reply({"access_token": f"token-{number}", "expires_in": 3600, "token_type": "Bearer"})


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    one.start()
    yield one
    one.stop()


@contextmanager
def service(server: Server, **changes: object) -> Iterator[Service]:
    on_call = changes.pop("on_call", None)
    others = {name: changes.pop(name) for name in ("budget", "sleep") if name in changes}
    values: dict[str, object] = {
        "name": "Pax8",
        "base_url": f"{server.url}/v1",
        "token_url": f"{server.url}/token",
        "token_style": "json",
        "token_fields": {"audience": "https://api.pax8.com"},
        "client_id": "the-client",
        "client_secret": SECRET,
        "calls_per_minute": 1000,
        "first_wait_s": 0.001,
        "timeout_s": 5.0,
    }
    with Service(ServiceConfig(**(values | changes)), on_call=on_call, **others) as made:  # type: ignore[arg-type]
        yield made


def in_turn(*answers: bytes | None) -> Callable[[Request], bytes | None]:
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


# Reading


def test_reads_json_with_exact_decimals_and_our_headers(server: Server) -> None:
    server.answer = lambda request: reply(None, body=b'{"total": 0.1, "big": 12345678901234567890.123456789, "n": 3}')
    with service(server, headers={"X-Bypass": "let me pass quickly"}) as made:
        answer = made.get_json("/invoices", {"page": 0, "sort": "invoiceDate,desc"})
    assert answer.json == {"total": Decimal("0.1"), "big": Decimal("12345678901234567890.123456789"), "n": 3}
    assert answer.body == b'{"total": 0.1, "big": 12345678901234567890.123456789, "n": 3}'
    assert answer.status == 200
    (call,) = server.calls()
    assert call.path in ("/v1/invoices?page=0&sort=invoiceDate%2Cdesc", "/v1/invoices?page=0&sort=invoiceDate,desc")
    assert call.headers["authorization"] == "Bearer token-1"
    assert call.headers["user-agent"] == f"billingsync/{__version__}"
    assert call.headers["x-bypass"] == "let me pass quickly"


@pytest.mark.parametrize(
    "fault",
    [
        reply("busy", 500),
        reply("", 503),
        reply("", 408),
        reply("", 429, "Retry-After: 0"),
        reply(None, 200, body=b"<html><title>Sign in</title></html>"),
        reply(None, 200, body=b'{"content": ['),
        reply(None, 200, body=b""),
        reply(None, 200, body=b'{"a": 1, "a": 2}'),
        reply(None, 200, body=b'{"a": NaN}'),
        reply(None, 200, body=b'{"a": "\xff"}'),
        reply(None, 200, body=b'{"a": "\xed\xa0\x80"}'),  # a lone surrogate as bytes
        reply(None, 200, body=b"[" * 100_000),
        reply(None, 200, body=b"1" * 5000),
        reply(None, 200, "Content-Encoding: gzip", body=b"no gzip"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{}",  # body cut
        b"garbage\r\n\r\n",
        b"reset",
        None,
    ],
)
def test_reading_repeats_what_may_pass(server: Server, fault: bytes | None) -> None:
    server.answer = in_turn(fault, fault, reply({"ok": True}))
    with service(server) as made:
        assert made.get_json("/x").json == {"ok": True}
    assert len(server.calls()) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 415, 422, 409, 418])
def test_reading_does_not_repeat_a_refusal(server: Server, status: int) -> None:
    server.answer = lambda request: reply("Parameter client_id must be\u0007 included", status)
    with service(server) as made, pytest.raises(UpstreamError) as caught:
        made.get_json("/Invoice/lines")
    assert not isinstance(caught.value, Retryable)
    assert (caught.value.service, caught.value.endpoint, caught.value.status) == ("Pax8", "GET /Invoice/lines", status)
    assert "Parameter client_id must be included" in caught.value.message
    assert len(server.calls()) == 1


def test_after_the_last_attempt_the_error_names_service_endpoint_status_and_a_cut_body(server: Server) -> None:
    server.answer = lambda request: reply(None, 502, body=b"x" * 5000)
    with service(server) as made, pytest.raises(Retryable) as caught:
        made.get_json("/x")
    assert (caught.value.service, caught.value.endpoint, caught.value.status) == ("Pax8", "GET /x", 502)
    assert len(caught.value.body) == 300
    assert len(server.calls()) == 5


def test_html_is_named_as_html(server: Server) -> None:
    server.answer = lambda request: reply(None, body=b"<!doctype html><title>Corporate Proxy</title>")
    with service(server) as made, pytest.raises(Retryable, match="HTML page titled Corporate Proxy"):
        made.get_json("/x")


def test_a_refused_port_is_not_reachable(server: Server) -> None:
    server.stop()
    with service(server, token_url="http://127.0.0.1:1/token") as made:
        # Nobody refused the credentials: to call it a failed login would send people to the wrong place.
        with pytest.raises(NotReachable, match=r"cannot be reached at 127\.0\.0\.1: ConnectError"):
            made.get_json("/x")
        with pytest.raises(NotReachable):
            made.get_json("/x", anonymous=True)
    assert not server.seen


def test_one_byte_a_second_ends_at_the_total_deadline(server: Server) -> None:
    slow = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for head in (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Drip: "):
            connection, _ = slow.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head)
                for _ in range(200):
                    time.sleep(0.05)
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        break

    threading.Thread(target=serve, daemon=True).start()
    url = f"http://127.0.0.1:{slow.getsockname()[1]}"
    with service(server, base_url=url, timeout_s=0.4) as made:
        for _ in ("in the body", "in the head"):
            began = time.monotonic()
            assert isinstance(made.send("POST", "/x", []), OutcomeUnknown)
            assert 0.3 < time.monotonic() - began < 1.5
    slow.close()


def test_a_gzip_bomb_and_an_endless_body_end_at_the_cap(server: Server) -> None:
    bomb = gzip.compress(b"[" + b" " * 5_000_000 + b"]")
    server.answer = lambda request: reply(None, 200, "Content-Encoding: gzip", body=bomb)
    with service(server, max_body=1_000_000) as made, pytest.raises(UpstreamError, match="larger than 1000000 bytes"):
        made.get_json("/x")
    assert len(server.calls()) == 1


def test_gzip_is_unpacked(server: Server) -> None:
    server.answer = lambda request: reply(None, 200, "Content-Encoding: gzip", body=gzip.compress(b'{"a": 1}'))
    with service(server) as made:
        assert made.get_json("/x").body == b'{"a": 1}'


def test_redirects_are_refused_and_the_bearer_stays(server: Server) -> None:
    other = Server()
    other.start()
    server.answer = lambda request: reply({}, 308, f"Location: {other.url.replace('127.0.0.1', 'localhost')}/steal")
    with service(server) as made, pytest.raises(UpstreamError, match="redirects GET /x to localhost") as caught:
        made.get_json("/x")
    assert caught.value.status == 308
    assert not isinstance(caught.value, Retryable)
    assert not other.seen
    other.stop()


def test_odd_numbers_on_request_only() -> None:
    body = b'{"a": NaN, "b": -Infinity, "c": 1e99999999999999999999, "d": ' + b"9" * 5000 + b"}"
    with pytest.raises(ValueError, match="NaN is not"):
        read_json(body)
    odd = read_json(body, odd_numbers=True)
    assert all(value.is_nan() for value in odd.values())
    assert read_json(b'{"a": 1e3, "b": -0.0, "c": 7}', odd_numbers=True) == {"a": Decimal("1e3"), "b": 0, "c": 7}
    with pytest.raises(ValueError, match="beyond all bounds"):
        read_json(b"1e99999999999999999999")


@pytest.mark.parametrize("number", [b"1e999999999", b"-1E+401", b"1e-999999999", b"0e999999999", b"9" * 402 + b".5"])
def test_a_number_that_would_fill_all_memory_is_none(number: bytes) -> None:
    with pytest.raises(ValueError, match="beyond all bounds"):
        read_json(b'{"record_count": ' + number + b"}")
    assert read_json(number, odd_numbers=True).is_nan()
    assert read_json(b"1.7e308") == Decimal("1.7e308")


def test_an_answer_of_a_million_values_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueError, match="more than 500,000 values"):
        read_json(b"[" + b"{}," * 500_000 + b"{}]")


def test_requests_carry_exact_numbers() -> None:
    assert write_json([{"qty_order": Decimal("1.50"), "unit_price": Decimal("0.1"), "name": "Zoë \ud800"}]) == (
        b'[{"qty_order":1.50,"unit_price":0.1,"name":"Zo\\u00eb \\ud800"}]'
    )
    with pytest.raises(ValueError):
        write_json([Decimal("NaN")])


def test_the_clock_skew_is_remembered(server: Server) -> None:
    server.answer = lambda request: reply({}, 200, f"Date: {formatdate(time.time() + 600, usegmt=True)}")
    with service(server) as made:
        assert made.clock_skew_s is None
        made.get_json("/x")
        assert made.clock_skew_s == pytest.approx(600, abs=2)


def test_the_observer_sees_every_call_and_cannot_break_one(server: Server) -> None:
    calls: list[CallRecord] = []

    def watch(call: CallRecord) -> None:
        calls.append(call)
        raise RuntimeError("the watcher is broken")

    server.answer = in_turn(reply({}, 500), None, reply({}))
    with service(server, on_call=watch) as made:
        made.get_json("/x", {"search": "hidden"})
        assert made.calls_made == 4
    assert [(one.method, one.path, one.status, one.attempt) for one in calls] == [
        ("POST", "/token", 200, 1),
        ("GET", "/x", 500, 1),
        ("GET", "/x", None, 2),
        ("GET", "/x", 200, 3),
    ]


# TLS and proxies


def certificate(folder: Path, host: str) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / f"{host}.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*plain))
    return file


@pytest.mark.parametrize(
    ("named", "trusted", "says"),
    [("localhost", True, ""), ("localhost", False, "self-signed"), ("other.example", True, "Hostname mismatch")],
)
def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, trusted: bool, says: str) -> None:
    file = certificate(tmp_path, named)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = Server(tls=context)
    server.start()
    url = f"https://localhost:{server.port}"
    with service(server, base_url=url, token_url=f"{url}/token") as made:
        sent = made.send("POST", "/Invoice", [])
    server.stop()
    if says:
        assert isinstance(sent, NotDone) and sent.status is None
        assert says in sent.message
        assert not server.seen
    else:
        assert isinstance(sent, Answered)


def test_the_environments_proxy_is_used_and_its_refusal_means_not_done(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", server.url.replace("//", "//me:pass%2Fword@"))
    with service(server, base_url="http://api.invalid/v1", token_url="http://api.invalid/token") as made:
        made.get_json("/x")
        assert made.redactor.text("pass/word") == "***"
    assert [one.path for one in server.seen] == ["http://api.invalid/token", "http://api.invalid/v1/x"]
    assert server.seen[0].headers["proxy-authorization"] == "Basic bWU6cGFzcy93b3Jk"
    server.answer = lambda request: reply("no", 403)
    with service(server, base_url="https://api.invalid/v1", token_url="https://api.invalid/token") as made:
        assert isinstance(made.send("POST", "/x", []), NotDone)
    monkeypatch.setenv("no_proxy", "api.invalid")
    assert proxy_for("https://api.invalid/") is None
    assert proxy_for("http://localhost:1/") is None


# Tokens


def test_pax8_login_is_json_with_audience(server: Server) -> None:
    with service(server) as made:
        made.get_json("/x")
    request = server.seen[0]
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "client_id": "the-client",
        "client_secret": SECRET,
        "audience": "https://api.pax8.com",
        "grant_type": "client_credentials",
    }


def test_halo_login_is_a_form_with_scope_and_tenant(server: Server) -> None:
    with service(
        server,
        token_style="form",
        token_url=f"{server.url}/token?tenant=acme",
        token_fields={"scope": "read:customers edit:invoices"},
    ) as made:
        made.get_json("/x")
    request = server.seen[0]
    assert request.path == "/token?tenant=acme"
    assert request.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert parse_qs(request.body.decode()) == {
        "client_id": ["the-client"],
        "client_secret": [SECRET],
        "scope": ["read:customers edit:invoices"],
        "grant_type": ["client_credentials"],
    }


def test_eight_threads_share_one_login_and_one_renewal(server: Server) -> None:
    def numbered(request: Request) -> bytes:
        return token(request, server.token_calls)

    barrier = threading.Barrier(8)

    def guarded(request: Request) -> bytes:
        if request.headers["authorization"] == "Bearer token-1":
            barrier.wait(5)  # all eight have sent the old token before the first 401 goes out
            return reply("", 401)
        return reply({"ok": 1})

    server.token_answer, server.answer = numbered, guarded
    with service(server) as made:
        results = in_parallel(lambda number: made.get_json(f"/{number}").json, range(8), 8)
    assert results == [{"ok": 1}] * 8
    assert server.token_calls == 2
    assert len(server.calls()) == 16


def test_a_second_401_is_a_matter_of_rights(server: Server) -> None:
    server.answer = lambda request: reply("", 401)
    with service(server) as made:
        with pytest.raises(UpstreamError, match=r"refuses GET /Invoice/5 \(401\).*rights are missing") as caught:
            made.get_json("/Invoice/5")
        assert not isinstance(caught.value, LoginFailed)
        sent = made.send("POST", "/Invoice", [])
    assert isinstance(sent, NotDone) and sent.status == 401
    assert (server.token_calls, len(server.calls())) == (3, 4)


def test_a_token_is_renewed_before_it_expires(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with service(server) as made:
        made.get_json("/x")
        later = time.monotonic() + 3600 - 61
        monkeypatch.setattr("billingsync.http.login.time.monotonic", lambda: later)
        made.get_json("/x")
        assert server.token_calls == 1
    server.token_calls = 0
    with service(server) as made:
        start = time.monotonic()
        monkeypatch.setattr("billingsync.http.login.time.monotonic", lambda: start)
        made.login()
        monkeypatch.setattr("billingsync.http.login.time.monotonic", lambda: start + 3600 - 59)
        made.login()
        assert server.token_calls == 2


@pytest.mark.parametrize("fault", [reply("", 429, "Retry-After: 0"), reply("", 503), None])
def test_the_login_is_repeated_too(server: Server, fault: bytes | None) -> None:
    server.token_answer = in_turn(fault, reply({"access_token": "late", "expires_in": 60}))
    with service(server) as made:
        made.get_json("/x")
    assert server.token_calls == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (reply({"error": "invalid_client", "error_description": "Bad secret"}, 401), "did not accept the client id"),
        (reply({"error": "access_denied"}, 400), "access_denied"),
        (reply({"error": "invalid_scope", "error_description": "no"}), "did not accept the login: invalid_scope no"),
        (reply(None, body=b"<html><title>Hotel WiFi</title>"), "HTML page titled Hotel WiFi"),
        (reply(["token"]), "answered by something else"),
        (reply({"access_token": ""}), "no access token"),
        (reply({"access_token": "a\nb"}), "no access token"),
        (reply({}, 404), "answered 404"),
        (reply({}, 302, "Location: https://evil.example/x"), "redirects POST /token to evil.example"),
        (reply("oops", 500), "oops. A wrong tenant is answered like this."),
    ],
)
def test_a_failed_login_says_why(server: Server, answer: bytes, says: str) -> None:
    server.token_answer = lambda request: answer
    with service(server, login_hint="A wrong tenant is answered like this.") as made:
        with pytest.raises(LoginFailed) as caught:
            made.get_json("/x")
        assert caught.value.message.startswith("Login failed: ")
        assert says in caught.value.message
        sent = made.send("POST", "/Invoice", [])
        assert isinstance(sent, NotDone)
    assert not server.calls()


def test_the_token_address_may_be_found_with_the_service_itself(server: Server) -> None:
    server.answer = lambda request: reply({"auth_url": f"{server.url}"})
    found: list[str] = []

    def find(made: Service) -> str:
        found.append(made.get_json("/authinfo", anonymous=True).json["auth_url"])
        return f"{found[-1]}/token"

    with service(server, token_url=find) as made:
        made.get_json("/x")
    assert [one.path for one in server.seen] == ["/v1/authinfo", "/token", "/v1/x"]
    assert "authorization" not in server.seen[0].headers


# Writing


def test_a_write_is_one_request_on_a_fresh_connection(server: Server) -> None:
    server.answer = lambda request: reply({"id": 9, "total": 1.10}, 201)
    with service(server) as made:
        made.get_json("/x")
        before = server.connections
        sent = made.send("POST", "/Invoice", [{"client_id": 1, "qty": Decimal("1.10")}])
        again = made.send("POST", "/Invoice", [])
    assert isinstance(sent, Answered) and isinstance(again, Answered)
    assert (sent.status, sent.json["total"]) == (201, Decimal("1.1"))
    assert json.loads(sent.text) == {"id": 9, "total": 1.1}
    assert server.connections == before + 2
    post = server.calls("POST")[0]
    assert post.body == b'[{"client_id":1,"qty":1.10}]'
    assert post.headers["content-type"] == "application/json; charset=utf-8"
    assert post.headers["connection"] == "close"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 415, 422])
def test_a_refused_write_is_not_done(server: Server, status: int) -> None:
    server.answer = lambda request: reply({"[0].qty": ["Could not convert"]}, status)
    with service(server) as made:
        sent = made.send("POST", "/Invoice", [])
    assert isinstance(sent, NotDone)
    assert sent.status == status
    assert "Could not convert" in sent.message
    assert len(server.calls()) == (2 if status == 401 else 1)


@pytest.mark.parametrize(
    "fault",
    [
        reply("", 500),
        reply("", 502),
        reply("", 504),
        reply("", 408),
        reply("", 409),
        reply("", 418),
        reply({}, 302, "Location: https://elsewhere.example/"),
        reply(None, 200, body=b""),
        reply(None, 200, body=b"<html>"),
        reply(None, 200, body=b'{"id": 1, "id": 2}'),
        reply(None, 201, body=b'{"id": '),
        b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.1 400 Bad\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{}",
        b"garbage\r\n\r\n",
        b"reset",
        None,
    ],
)
def test_anything_else_leaves_a_write_unknown_and_it_is_never_repeated(server: Server, fault: bytes | None) -> None:
    server.answer = lambda request: fault
    with service(server) as made:
        sent = made.send("POST", "/Invoice", [])
    assert isinstance(sent, OutcomeUnknown), sent
    assert sent.why
    assert len(server.calls()) == 1


def test_a_write_that_is_not_answered_in_time_is_unknown(server: Server) -> None:
    def late(request: Request) -> bytes:
        time.sleep(0.6)
        return reply({})

    server.answer = late
    with service(server, timeout_s=0.3) as made:
        sent = made.send("POST", "/Invoice", [])
    assert isinstance(sent, OutcomeUnknown)
    assert "no answer in time" in sent.why


def test_a_write_that_never_connected_is_not_done_and_was_tried_again(server: Server) -> None:
    waits: list[float] = []
    with service(server, sleep=waits.append) as made:
        made.login()
        server.stop()
        sent = made.send("POST", "/Invoice", [])
    assert isinstance(sent, NotDone) and sent.status is None
    assert "cannot be reached" in sent.message
    assert len(waits) == 4


def test_a_write_refused_by_429_is_repeated_and_the_next_answer_counts(server: Server) -> None:
    server.answer = in_turn(reply("Rate Limit Reached", 429, "Retry-After: 0"), reply({"id": 1}, 201))
    with service(server) as made:
        assert isinstance(made.send("POST", "/Invoice", []), Answered)
    assert len(server.calls()) == 2
    server.answer = lambda request: reply("Rate Limit Reached", 429, "Retry-After: 0")
    with service(server) as made:
        sent = made.send("POST", "/Invoice", [])
    assert isinstance(sent, NotDone)
    assert (sent.status, sent.retry_after) == (429, 0.0)
    assert "Rate Limit Reached" in sent.message


def test_a_write_renews_a_rejected_token_once(server: Server) -> None:
    server.token_answer = lambda request: token(request, server.token_calls)
    server.answer = in_turn(reply("", 401), reply({"id": 1}))
    with service(server) as made:
        assert isinstance(made.send("POST", "/Invoice", []), Answered)
    assert [one.headers["authorization"] for one in server.calls()] == ["Bearer token-1", "Bearer token-2"]


def test_before_is_asked_right_before_each_attempt_and_may_stop_it(server: Server) -> None:
    server.answer = lambda request: reply("", 429, "Retry-After: 0")
    asked: list[int] = []

    def before() -> None:
        asked.append(len(server.calls()))
        if len(asked) == 3:
            raise RuntimeError("the lock was lost")

    with service(server) as made, pytest.raises(RuntimeError, match="the lock was lost"):
        made.send("POST", "/Invoice", [], before=before)
    assert asked == [0, 1, 2]
    assert len(server.calls()) == 2


def test_a_delete_may_answer_nothing(server: Server) -> None:
    server.answer = lambda request: reply(None, 200, body=b"")
    with service(server) as made:
        assert made.send("DELETE", "/Invoice/5") == Answered(status=200, json=None, body=b"", hide=str)
    assert server.calls()[0].method == "DELETE"


# Waiting


@dataclass
class Clock:
    time: float = 1000.0
    slept: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.slept.append(seconds)
            self.time += seconds


def test_no_window_holds_more_calls_than_the_budget() -> None:
    clock = Clock()
    budget = Budget(10, now=clock.now, sleep=clock.sleep)
    ends: list[float] = []
    for number in range(35):
        with budget.slot():
            clock.time += 0.4 if number % 3 else 2.5  # calls take their time; the server may count at either end
        ends.append(clock.time)
    assert budget.calls_made == 35
    assert all(late - early >= 60 for early, late in zip(ends, ends[10:], strict=False))
    assert sum(clock.slept) < 3 * 60 + 10  # and it does not wait longer than it must
    assert len(clock.slept) <= 35  # no busy waiting


def test_budget_left_counts_calls_under_way_and_recovers() -> None:
    clock = Clock()
    budget = Budget(3, now=clock.now, sleep=clock.sleep)
    with budget.slot():
        assert budget.left() == 2
    assert budget.left() == 2
    clock.time += 60
    assert budget.left() == 3
    budget.pause(1e9)
    assert budget.left() == 0
    clock.time += 300
    assert budget.left() == 3
    with pytest.raises(ValueError):
        Budget(0)


def test_the_budget_holds_under_threads() -> None:
    clock = Clock()
    budget = Budget(20, now=clock.now, sleep=lambda seconds: (clock.sleep(seconds), time.sleep(0.0001))[0])
    stamps: list[float] = []

    def call(number: int) -> None:
        with budget.slot():
            stamps.append(clock.now())

    in_parallel(call, range(100), 8)
    stamps.sort()
    assert len(stamps) == 100
    assert all(late - early >= 60 for early, late in zip(stamps, stamps[20:], strict=False))


def test_token_calls_count_and_a_429_pauses_everybody(server: Server) -> None:
    clock = Clock()
    budget = Budget(100, now=clock.now, sleep=clock.sleep)
    server.answer = in_turn(reply("", 429, "Retry-After: 7"), reply({}))
    with service(server, budget=budget) as made:
        made.get_json("/x")
        assert (made.calls_made, made.budget_left()) == (3, 97)
    assert clock.slept == [7.0]


def test_429_without_retry_after_waits_ten_times_as_long_doubling(server: Server) -> None:
    clock = Clock()
    budget = Budget(100, now=clock.now, sleep=clock.sleep)
    server.answer = lambda request: reply("Rate Limit Reached - 300 Requests per rolling 5 minute window.", 429)
    with service(server, budget=budget, first_wait_s=1.0) as made, pytest.raises(Retryable) as caught:
        made.get_json("/x")
    assert caught.value.status == 429
    assert clock.slept == [10.0, 20.0, 40.0, 80.0, 160.0]


def test_other_faults_wait_exponentially_with_jitter(server: Server) -> None:
    waits: list[float] = []
    server.answer = lambda request: reply("", 500)
    with service(server, first_wait_s=1.0, sleep=waits.append) as made, pytest.raises(Retryable):
        made.get_json("/x")
    assert [least <= wait <= least + 1 for least, wait in zip((1, 2, 4, 8), waits, strict=True)] == [True] * 4


def test_retry_after_in_every_form() -> None:
    now = time.time()
    date = formatdate(now, usegmt=True)
    assert retry_after("17") == 17
    assert retry_after("1.5") == 1.5
    assert retry_after("0") == 0
    assert retry_after("-5") == 0
    assert retry_after("1000000000") == 300
    assert retry_after("inf") == 300
    assert retry_after(formatdate(now + 42, usegmt=True), date) == 42
    assert retry_after(formatdate(now + 42, usegmt=True)) == pytest.approx(42, abs=2)
    assert retry_after(formatdate(now - 42, usegmt=True), date) == 0
    assert retry_after(formatdate(now + 1e7, usegmt=True), date) == 300
    for nonsense in (None, "soon", "nan", "", "Wed, 99 Foo 2026"):
        assert retry_after(nonsense) is None


def test_pages_side_by_side_keep_their_order_and_the_first_error_ends_them() -> None:
    assert in_parallel(lambda number: number * 2, range(50), 4) == [number * 2 for number in range(50)]
    assert in_parallel(lambda number: number, [], 4) == []
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise RuntimeError("page 3")
        time.sleep(0.01)
        return number

    with pytest.raises(RuntimeError, match="page 3"):
        in_parallel(work, range(1000), 4)
    assert len(begun) < 50


# Secrets


def test_no_secret_is_in_any_message(server: Server) -> None:
    echoed = f"you sent {SECRET} " + "x" * 300

    server.token_answer = lambda request: reply({"error": "invalid_client", "error_description": echoed}, 401)
    with service(server) as made, pytest.raises(LoginFailed) as login:
        made.get_json("/x")
    server.token_answer = None
    server.answer = lambda request: reply(None, 400, body=echoed.encode() + request.headers["authorization"].encode())
    with service(server) as made:
        with pytest.raises(UpstreamError) as reading:
            made.get_json("/x")
        not_done = made.send("POST", "/x", [])
        server.answer = lambda request: reply({"you sent": request.headers["authorization"]}, 500)
        unknown = made.send("POST", "/x", [])
        server.answer = lambda request: reply({"you sent": request.headers["authorization"]})
        answered = made.send("POST", "/x", [])
        shown = [repr(made.config), login.value.message, login.value.body, reading.value.message, reading.value.body]
    shown += [repr(not_done), repr(unknown), answered.text if isinstance(answered, Answered) else ""]
    assert isinstance(answered, Answered)
    for text in shown:
        assert SECRET not in text
        assert json.dumps(SECRET)[1:-1] not in text
        assert "token-1" not in text
    assert "***" in login.value.message and "***" in answered.text


def test_a_call_under_way_when_the_service_is_closed_leaves_no_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = exchange._Backend.connect_tcp
    made: list[Any] = []
    with service(server) as one:
        one.login()

        def closed_meanwhile(*given: Any, **more: Any) -> Any:
            made.append(connect(*given, **more))
            one.close()
            return made[-1]

        monkeypatch.setattr(exchange._Backend, "connect_tcp", closed_meanwhile)
        one.get_json("/5")
    assert made and all(stream.get_extra_info("socket").fileno() == -1 for stream in made)


def test_no_more_calls_are_under_way_than_at_once(server: Server) -> None:
    under_way, most = [0], [0]
    lock = threading.Lock()

    def slow(request: Request) -> bytes:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.02)
        with lock:
            under_way[0] -= 1
        return reply({})

    server.answer = slow
    with service(server, at_once=3) as made:
        in_parallel(lambda number: made.get_json(f"/{number}"), range(24), 8)
    assert most[0] == 3
