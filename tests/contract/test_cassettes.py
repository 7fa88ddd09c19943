"""Cassettes say where they are from, and hold nothing of anybody's."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

from .stage import ON_TAPE
from .tape import CASSETTES

TAPES = sorted(CASSETTES.glob("*/*.yaml"))
FIRST_LINES = re.compile(
    r"# (composed from documented shapes"
    r"|recorded from the sandbox on \d{4}-\d\d-\d\d; names and ids replaced"
    r"|recorded from a tenant on \d{4}-\d\d-\d\d; secrets, names and ids replaced)"
)
HOSTS = {"pax8.example", "halo.example", "elsewhere.example"}
AUDIENCE = ON_TAPE["BILLINGSYNC_PAX8__AUDIENCE"]

tapes = pytest.mark.parametrize("tape", TAPES, ids=lambda path: f"{path.parent.name}-{path.stem}")


def text_of(tape: Path) -> str:
    return tape.read_text(encoding="utf-8")


@functools.cache
def exchanges(tape: Path) -> list[tuple[Any, Any]]:
    requests, responses = FilesystemPersister.load_cassette(tape, yamlserializer)[:2]
    return list(zip(requests, responses, strict=True))


def test_there_are_cassettes() -> None:
    kinds = [text_of(tape).split()[1] for tape in TAPES]
    assert kinds.count("composed") > 30


@tapes
def test_it_says_where_it_is_from(tape: Path) -> None:
    first = text_of(tape).partition("\n")[0]
    assert FIRST_LINES.fullmatch(first), first
    assert tape.stem.endswith(".composed") == first.startswith("# composed")


@tapes
def test_it_names_no_host_but_the_examples(tape: Path) -> None:
    text = text_of(tape).replace(AUDIENCE, "").replace("api%3A%2F%2F", "")
    found = re.findall(r"(?i)\b(?:https?:|%3A)(?://|%2F%2F)([^/\s\"'\\%?]+)", text)
    assert {host for host in found if not re.fullmatch(r"www-\d+\.example", host)} <= HOSTS
    assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b", text)  # no address in numbers
    assert set(re.findall(r"[\w.+-]+@([\w.-]+)", text)) <= {"example.com"}
    for request, _ in exchanges(tape):
        assert urlsplit(request.uri).netloc in HOSTS


@tapes
def test_it_holds_no_secret(tape: Path) -> None:
    text = text_of(tape)
    assert not re.search(r"(?i)sandbox-(secret|pax8|halo)|(pax8|halo)-token|set-cookie|x-api-key", text)
    for request, response in exchanges(tape):
        bearer = request.headers.get("authorization", "Bearer token-0")
        assert re.fullmatch(r"Bearer token-\d+", bearer)
        assert request.headers.keys() <= {"accept", "authorization", "content-type"}
        assert response["headers"].keys() <= {"content-type", "retry-after", "location"}
        if urlsplit(request.uri).path.endswith("/token"):
            as_json = "json" in request.headers["content-type"]
            given = (
                json.loads(request.body) if as_json else {k: v[0] for k, v in parse_qs(request.body.decode()).items()}
            )
            assert given["client_id"] == "client-id"
            assert given["client_secret"] in ("client-secret", "not-the-secret")
            if response["status"]["code"] == 200:
                answer = json.loads(response["body"]["string"])
                assert re.fullmatch(r"token-\d+", answer["access_token"])
                assert not answer.get("refresh_token")
                assert not answer.get("id_token")
