"""A partner's secrets: from files or from a program, and no mistake that shows one."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from billingsync.errors import SecretsError
from billingsync.fleet.fleet_file import SecretPlaces
from billingsync.fleet.partner_file import FleetPartner
from billingsync.fleet.secrets import with_secrets
from billingsync.settings.groups import Halo

PAX8, HALO = "BILLINGSYNC_PAX8__CLIENT_SECRET", "BILLINGSYNC_HALO__CLIENT_SECRET"
CANARY = "canary-8841-secret"
WHOLE = {
    "BILLINGSYNC_PAX8__CLIENT_ID": "pax-id",
    PAX8: f"{CANARY}-p",
    "BILLINGSYNC_HALO__CLIENT_ID": "halo-id",
    HALO: f"{CANARY}-h",
}


@pytest.fixture
def acme() -> FleetPartner:
    return FleetPartner(partner="acme", halo=Halo(base_url="https://acme.halopsa.example"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The secrets' folder, with those of two partners."""
    for name in ("acme", "beta"):
        (tmp_path / name).mkdir()
        for variable, value in WHOLE.items():
            put(tmp_path / name / variable, value)
    return tmp_path


def put(path: Path, value: str, mode: int = 0o600) -> None:
    path.write_text(value)
    path.chmod(mode)


def refused(partner: FleetPartner, places: SecretPlaces, **options: float) -> str:
    with pytest.raises(SecretsError) as wrong:
        with_secrets(partner, places, **options)
    assert CANARY not in wrong.value.message
    assert (wrong.value.code, wrong.value.exit_code) == ("BS-SECRETS", 2)
    return wrong.value.message


def program(tmp_path: Path, body: str) -> SecretPlaces:
    """A program for [secrets] command."""
    path = tmp_path / "secrets-of"
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time, signal, subprocess\nWHOLE = {WHOLE!r}\n{body}\n")
    path.chmod(0o700)
    return SecretPlaces(command=json.dumps([str(path), "--for"]))


# Files


def test_files_are_read(acme: FleetPartner, folder: Path) -> None:
    put(folder / "acme" / "BILLINGSYNC_NOTIFY__URLS", "mailto://a:b@c\nmailto://d:e@f\n")
    put(folder / "acme" / "BILLINGSYNC_HALO__EXTRA_HEADERS", '{"halo-app-name": "x"}')
    put(folder / "acme" / "note.txt", "not ours", 0o644)
    found = with_secrets(acme, SecretPlaces(dir=str(folder)))
    assert (found.pax8.client_id, found.pax8.client_secret.get_secret_value()) == ("pax-id", f"{CANARY}-p")
    assert (found.halo.client_id, found.halo.base_url) == ("halo-id", "https://acme.halopsa.example")
    assert len(found.notify.urls) == 2 and found.halo.header_values() == {"halo-app-name": "x"}
    assert CANARY not in repr(found)


def test_a_new_secret_is_read_the_next_time(acme: FleetPartner, folder: Path) -> None:
    places = SecretPlaces(dir=str(folder))
    with_secrets(acme, places)
    put(folder / "acme" / PAX8, "rotated")
    assert with_secrets(acme, places).pax8.client_secret.get_secret_value() == "rotated"


def test_every_mistake_of_the_files_is_told(acme: FleetPartner, folder: Path) -> None:
    own = folder / "acme"
    put(own / PAX8, CANARY, 0o640)
    put(own / HALO, CANARY, 0o604)
    (own / "BILLINGSYNC_PING__URL").write_bytes(b"\xff" + CANARY.encode())
    (own / "BILLINGSYNC_HALO__CLIENT_ID").unlink()
    (own / "BILLINGSYNC_HALO__CLIENT_ID").symlink_to(folder / "beta" / HALO)
    told = refused(acme, SecretPlaces(dir=str(folder)))
    assert told.count("others may read it; chmod 600") == 2
    assert "BILLINGSYNC_PING__URL, line 1: is not UTF-8" in told
    assert "BILLINGSYNC_HALO__CLIENT_ID: is a link out of the partner's folder" in told


def test_every_mistake_of_the_values_is_told(acme: FleetPartner, folder: Path) -> None:
    own = folder / "acme"
    put(own / PAX8, f"{CANARY}\nsecond line")
    put(own / HALO, "\n")
    put(own / "BILLINGSYNC_PING__URL", f"ftp://{CANARY}")
    put(own / "BILLINGSYNC_HALO__CLIENT_SECERT", CANARY)
    put(own / "BILLINGSYNC_HALO__BASE_URL", "https://other.example")
    told = refused(acme, SecretPlaces(dir=str(folder)))
    assert f"{PAX8} holds a line end" in told
    assert f"{HALO} is missing" in told
    assert "BILLINGSYNC_PING__URL must begin with https://" in told
    assert f"BILLINGSYNC_HALO__CLIENT_SECERT is no secret of a partner; did you mean {HALO}?" in told
    assert "BILLINGSYNC_HALO__BASE_URL is no secret of a partner" in told


def test_a_mounted_store_guards_its_files_itself(
    acme: FleetPartner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder / "acme" / PAX8, CANARY, 0o444)
    refused(acme, SecretPlaces(dir=str(folder)))
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(folder))
    assert with_secrets(acme, SecretPlaces(dir=str(folder))).pax8.client_secret.get_secret_value() == CANARY


def test_a_partner_without_a_folder_or_with_anothers_is_refused(acme: FleetPartner, folder: Path) -> None:
    other = acme.model_copy(update={"partner": "gamma"})
    assert "gamma: does not exist" in refused(other, SecretPlaces(dir=str(folder)))
    (folder / "gamma").symlink_to("acme")
    assert "is a link to another partner's folder" in refused(other, SecretPlaces(dir=str(folder)))
    (folder / "gamma").unlink()
    (folder / "gamma").write_text("x")
    assert "gamma: is not a directory" in refused(other, SecretPlaces(dir=str(folder)))


def test_without_a_place_nothing_is_read(acme: FleetPartner) -> None:
    assert "says not where" in refused(acme, SecretPlaces())


def test_a_folder_comes_before_a_program(acme: FleetPartner, folder: Path) -> None:
    both = SecretPlaces(dir=str(folder), command=json.dumps(["/nowhere/at-all"]))
    assert with_secrets(acme, both).pax8.client_id == "pax-id"


# A program


def test_a_program_gets_the_name_and_none_of_our_settings(
    acme: FleetPartner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLINGSYNC_DATABASE_URL", "postgresql://u:p@h/d")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    places = program(
        tmp_path,
        "mine = [name for name in os.environ if name.startswith('BILLINGSYNC')]\n"
        "urls = ['mailto://' + word + '@b' for word in sys.argv[1:] + mine + [os.environ['CREDENTIALS_DIRECTORY'][1:4]]]\n"
        "print(json.dumps({**WHOLE, 'BILLINGSYNC_NOTIFY__URLS': urls, 'lease_duration': 60}))",
    )
    found = with_secrets(acme, places)
    assert found.pax8.client_secret.get_secret_value() == f"{CANARY}-p"
    assert [url.get_secret_value() for url in found.notify.urls] == [
        "mailto://--for@b",
        "mailto://acme@b",
        "mailto://run@b",
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (f"print('{CANARY}')", "did not print JSON"),
        ("sys.stdout.buffer.write(bytes([255]) * 9)", "did not print JSON"),
        ("print('[' * 100_000)", "did not print JSON"),
        ("print([1])", "did not print a JSON object"),
        ("", "did not print JSON"),
        (f'print(\'{{"{PAX8}": "{CANARY}", "{PAX8}": "x"}}\')', "the same name twice"),
        (f"print(json.dumps({{**WHOLE, '{PAX8}': 8841}}))", f"{PAX8} is not a text"),
        (f"del WHOLE['{HALO}']; print(json.dumps(WHOLE))", f"{HALO} is missing"),
        ("print(json.dumps({**WHOLE, 'BILLINGSYNC_X': 'y'}))", "BILLINGSYNC_X is no secret of a partner"),
        (f"print(json.dumps(WHOLE)); print('{CANARY}', file=sys.stderr); sys.exit(3)", "ended with exit code 3"),
        ("print(json.dumps(WHOLE)); sys.stdout.flush(); os.kill(os.getpid(), 9)", "was killed by signal 9"),
        ("while True: print('y' * 4096)", "printed more than"),
    ],
)
def test_what_a_program_does_wrong_is_told(acme: FleetPartner, tmp_path: Path, body: str, says: str) -> None:
    assert says in refused(acme, program(tmp_path, body))


def test_a_program_that_is_none_is_told(acme: FleetPartner, tmp_path: Path) -> None:
    assert "cannot be started: No such file" in refused(acme, SecretPlaces(command=json.dumps(["/nowhere/at-all"])))
    (tmp_path / "text").write_text("x")
    assert "cannot be started: Permission" in refused(acme, SecretPlaces(command=json.dumps([str(tmp_path / "text")])))


@pytest.mark.parametrize(
    "ending", ["sleep 600", "exec >&-; sleep 600", "exit 0"], ids=["hangs", "hangs-silently", "leaves-a-child"]
)
def test_a_program_that_hangs_is_killed_with_its_children(acme: FleetPartner, tmp_path: Path, ending: str) -> None:
    """Its child ignores SIGTERM and holds the output open."""
    mark, path = tmp_path / "child", tmp_path / "secrets-of"
    path.write_text(
        f"#!/bin/sh\n(trap '' TERM; exec sleep 600) &\necho $! >{mark}\necho '{json.dumps(WHOLE)}'\n{ending}\n"
    )
    path.chmod(0o700)
    assert "was not done within" in refused(acme, SecretPlaces(command=json.dumps([str(path)])), command_s=2)
    child = int(mark.read_text())
    until = time.monotonic() + 30
    while _lives(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody asked for is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
