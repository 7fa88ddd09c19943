"""No secret in anything that comes out: terminal, database, reports, logs (invariant I9, fault 8)."""

import pathlib
import urllib.parse

import pytest
from cli import Office

from billingsync.sandbox.options import SandboxOptions

CANARY = "cAnArY-5ecret+/=x%20y"
OPTIONS = SandboxOptions(secret=CANARY, required_header=("X-Lift", f"{CANARY}-header"))
FAULTS = (None, "halo:POST:/Invoice:1:500", "halo:*:/auth/token:*:401", "pax8:*:/token:*:500", "halo:GET:/Client:*:not_json",
          "halo:*:/auth/token:*:not_json", "pax8:GET:/invoices:*:redirect", "halo:POST:/Invoice:2:reset")  # fmt: skip


def spellings(secret):
    return {secret, urllib.parse.quote(secret), urllib.parse.quote_plus(secret), urllib.parse.quote(secret, safe="")}


def found_in(content: bytes):
    """The spellings that are there; the tokens that the sandbox hands out are secrets too."""
    whole = [f"{CANARY}-pax8", f"{CANARY}-halo", f"{CANARY}-header", CANARY]
    return [one for secret in whole for one in spellings(secret) if one.encode() in content]


@pytest.fixture
def office(sandbox, sqlite_ledger_url, tmp_path):
    sandbox.reset(OPTIONS)
    office = Office(tmp_path, sandbox, sqlite_ledger_url)
    office.rules("")
    office.settings |= {
        "BILLINGSYNC_HALO__EXTRA_HEADERS": '{"X-Lift": "%s-header"}' % CANARY,
        "BILLINGSYNC_NOTIFY__URLS": f"workflows://{CANARY}@example.com/x",
        "BILLINGSYNC_PING__URL": f"https://hc.example.com/{CANARY}",
        "BILLINGSYNC_WEBHOOK__AUTHORIZATION": f"{CANARY}-webhook",
        "BILLINGSYNC_LOG__LEVEL": "debug",
    }
    return office


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_i9_no_secret_anywhere(office, fault):
    if fault:
        office.sandbox.faults.add(fault)
    said = []
    for words in (["plan", "--json"], ["plan", "--format", "html", "--out", "plan.html"], ["run", "--yes", "--json"],
                  ["run", "--yes", "--verbose"], ["holds"], ["doctor"], ["settings", "show"], ["settings", "show", "--json"],
                  ["plan", "--format", "xlsx", "--out", "plan.xlsx"], ["runs"], ["map", "companies"],
                  ["plan", "--format", "csv", "--out", "plan.csv"], ["plan", "--format", "markdown", "--out", "plan.md"],
                  ["audit", "export", "2026-11", "--out", "audit"], ["db", "backup", "copy.db"], ["status", "--json"]):  # fmt: skip
        ran = office.run(*words)
        said.append(ran.stdout + ran.stderr)
        assert not found_in(said[-1].encode()), (words, ran.text)
    tokens = [*office.sandbox._world.halo.tokens._given, *office.sandbox._world.pax8.tokens._given] if hasattr(
        office.sandbox._world.halo.tokens, "_given") else []  # fmt: skip
    if fault is None:
        written = {path.name for path, _ in office.everything_written()}
        assert {"plan.html", "plan.xlsx", "sheet1.xml", "plan.csv", "plan.md", "copy.db", "SHA256SUMS"} <= written, (
            written
        )
    for path, content in office.everything_written():
        assert not found_in(content), path
        assert not [token for token in tokens if str(token).encode() in content], path
    for text in said:
        assert not [token for token in tokens if str(token) in text]


@pytest.mark.parametrize("fault", [None, "halo:POST:/Invoice:1:500", "halo:*:/auth/token:*:401"], ids=str)
def test_i9_no_secret_with_debug(office, fault):
    """--debug brings tracebacks and every call: in a process of its own, as it raises."""
    if fault:
        office.sandbox.faults.add(fault)
    ran = office.process("run", "--yes", "--debug")
    assert not found_in((ran.stdout + ran.stderr).encode()), ran.text


def test_i9_no_secret_in_settings_errors(office):
    office.settings |= {
        "BILLINGSYNC_HALO__EXTRA_HEADERS": '{"X-Lift": %s-header"}' % CANARY,
        "BILLINGSYNC_PING__URL": CANARY,
        "BILLINGSYNC_NOTIFY__URLS": CANARY,
        "BILLINGSYNC_DATABASE_URL": f"postgresql://user:{CANARY.replace('/', '')}@127.0.0.1:1/x",
        "BILLINGSYNC_HALO__TIMEOUT_S": CANARY,
    }
    ran = office.run("plan")
    assert ran.code == 2
    assert CANARY[:13] not in ran.stdout + ran.stderr or "TIMEOUT" in ran.stderr


def test_i9_no_database_password(office):
    office.settings["BILLINGSYNC_DATABASE_URL"] = "postgresql+psycopg://user:cAnArY-5ecret@127.0.0.1:1/x"
    for words in (["plan"], ["doctor"], ["settings", "show"], ["db", "current"], ["plan", "--json"]):
        ran = office.run(*words)
        assert "cAnArY" not in ran.stdout + ran.stderr, ran.text
    ran = office.process("plan", "--debug")
    assert "cAnArY" not in ran.stdout + ran.stderr, ran.text


def test_i9_secrets_from_files_are_read_and_named_not_shown(office):
    secrets = office.folder / "secrets"
    secrets.mkdir()
    for name in ("PAX8", "HALO"):
        office.settings[f"BILLINGSYNC_{name}__CLIENT_SECRET"] = "unset"
        (secrets / f"billingsync_{name.lower()}__client_secret").write_text(f"{CANARY}-{name.lower()}\n")
    office.settings["BILLINGSYNC_SECRETS_DIR"] = str(secrets)
    ran = office.run("settings", "show").must(0)
    assert "client_secret" in ran.stdout and not found_in(ran.stdout.encode())
    office.run("plan", "--json").must(0, 3)
    assert pathlib.Path(secrets).is_dir()
