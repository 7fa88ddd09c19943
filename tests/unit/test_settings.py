"""Settings: three places, every mistake at once by variable name, and no secret ever in a message."""

from __future__ import annotations

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from billingsync.errors import SettingsError
from billingsync.redaction import Redactor
from billingsync.settings import PREFIX, Loaded, Settings, load_settings, settings_rows, variables
from billingsync.settings.places import readable_by_others
from billingsync.settings.show import masked

CANARY = "c4n4ry-s3cr3t"


class Machine:
    """A working directory with `.env` and secret directories, and an environment."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.env: dict[str, str] = {}

    def put(self, name: str, text: str | bytes, mode: int = 0o600) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def load(self, **env: str) -> Loaded:
        given = self.env | {PREFIX + name: value for name, value in env.items()}
        return load_settings(given, self.directory, run_secrets=self.directory / "run")

    def problems(self, **env: str) -> tuple[str, ...]:
        with pytest.raises(SettingsError) as wrong:
            self.load(**env)
        assert wrong.value.exit_code == 2 and wrong.value.next_steps
        assert all(problem.isprintable() and CANARY not in problem for problem in wrong.value.problems)
        return wrong.value.problems

    def problem(self, **env: str) -> str:
        found = self.problems(**env)
        assert len(found) == 1, found
        return found[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# The table of interface.md

DEFAULTS = {
    "DATABASE_URL": "sqlite:///billingsync.db",
    "KEEP_SOURCES_MONTHS": "not set",
    "LEASE_S": "60",
    "SHARE_CALLS": "False",
    "RULES_DIR": "rules",
    "PARTNER": "default",
    "TIMEZONE": "UTC",
    "ROLE": "not set",
    "PAX8__BASE_URL": "https://api.pax8.com/v1",
    "PAX8__TOKEN_URL": "https://api.pax8.com/v1/token",
    "PAX8__AUDIENCE": "https://api.pax8.com",
    "PAX8__CLIENT_ID": "not set",
    "PAX8__CLIENT_SECRET": "not set",
    "PAX8__EXPIRES_ON": "not set",
    "PAX8__CALLS_PER_MINUTE": "600",
    "PAX8__TIMEOUT_S": "60",
    "PAX8__PARALLEL": "4",
    "HALO__BASE_URL": "not set",
    "HALO__TOKEN_URL": "not set",
    "HALO__TENANT": "not set",
    "HALO__SCOPE": "read:customers read:items edit:items read:invoices edit:invoices read:suppliers",
    "HALO__CLIENT_ID": "not set",
    "HALO__CLIENT_SECRET": "not set",
    "HALO__EXPIRES_ON": "not set",
    "HALO__CALLS_PER_MINUTE": "50",
    "HALO__CALLS_IN_5_MINUTES": "250",
    "HALO__TIMEOUT_S": "60",
    "HALO__ABSENCE_S": "180",
    "HALO__MARKER": "longdescription",
    "HALO__WRITE_LINES": "header",
    "HALO__ONE_TIME": "plain",
    "HALO__CURRENCY": "not set",
    "HALO__EXTRA_HEADERS": "not set",
    "POLL__FROM_DAY": "4",
    "POLL__EVERY_MINUTES": "60",
    "POLL__ALERT_DAY": "10",
    "SNAPSHOT__AT": "05:00",
    "SNAPSHOT__KEEP_DAYS": "92",
    "HEALTH__HOST": "127.0.0.1",
    "HEALTH__PORT": "8790",
    "WEBHOOK__AUTHORIZATION": "not set",
    "WEBHOOK__HOST": "127.0.0.1",
    "WEBHOOK__PORT": "8792",
    "NOTIFY__URLS": "not set",
    "NOTIFY__EVENTS": "released, held, posted, failed, overdue, recovered, differences, expiring, card_failed",
    "NOTIFY__HALO_TICKET": "not set",
    "PING__URL": "not set",
    "DESK__PORT": "0",
    "DESK__HOST": "127.0.0.1",
    "DESK__PUBLIC_URL": "not set",
    "DESK__PROXIES": "not set",
    "DESK__SESSION_HOURS": "12",
    "DESK__IDLE_MINUTES": "60",
    "DESK__TWO_PEOPLE_ABOVE": "not set",
    "DESK__OIDC__ISSUER": "not set",
    "DESK__OIDC__CLIENT_ID": "not set",
    "DESK__OIDC__CLIENT_SECRET": "not set",
    "DESK__OIDC__DOMAIN": "not set",
    "DESK__OIDC__ROLES": "not set",
    "DESK__LOGIN": "password",
    "LOCALE": "en_US",
    "LOG__FORMAT": "not set",
    "LOG__LEVEL": "info",
    "RETRY__FIRST_WAIT_S": "1",
}
GOOD = {
    "DATABASE_URL": "postgresql://billing:pw@db.example/billing",
    "KEEP_SOURCES_MONTHS": "84",
    "LEASE_S": "30",
    "SHARE_CALLS": "True",
    "RULES_DIR": "/etc/billingsync/rules",
    "PARTNER": "acme",
    "TIMEZONE": "Europe/Berlin",
    "PAX8__BASE_URL": "http://127.0.0.1:9001/v1/",
    "PAX8__TOKEN_URL": "http://127.0.0.1:9001/v1/token",
    "PAX8__AUDIENCE": "https://api.pax8.com/",
    "PAX8__CLIENT_ID": " id ",
    "PAX8__CLIENT_SECRET": CANARY,
    "PAX8__EXPIRES_ON": "2027-03-31",
    "PAX8__CALLS_PER_MINUTE": "1000",
    "PAX8__TIMEOUT_S": "2.5",
    "PAX8__PARALLEL": "8",
    "HALO__BASE_URL": "https://acme.halopsa.com/",
    "HALO__TOKEN_URL": "https://auth.example/auth/token?tenant=acme",
    "HALO__TENANT": "acme",
    "HALO__SCOPE": "all",
    "HALO__CLIENT_ID": "id",
    "HALO__CLIENT_SECRET": CANARY,
    "HALO__EXPIRES_ON": "2027-03-31",
    "HALO__CALLS_PER_MINUTE": "60",
    "HALO__CALLS_IN_5_MINUTES": "280",
    "HALO__TIMEOUT_S": "30",
    "HALO__ABSENCE_S": "90",
    "HALO__MARKER": "customfield:217",
    "HALO__WRITE_LINES": "add_lines",
    "HALO__ONE_TIME": "flag",
    "HALO__CURRENCY": "CAD",
    "HALO__EXTRA_HEADERS": json.dumps({"x-bypass": CANARY}),
    "POLL__FROM_DAY": "5",
    "POLL__EVERY_MINUTES": "15",
    "POLL__ALERT_DAY": "8",
    "SNAPSHOT__AT": "23:59",
    "SNAPSHOT__KEEP_DAYS": "30",
    "ROLE": "Financial",
    "HEALTH__HOST": "0.0.0.0",
    "HEALTH__PORT": "0",
    "WEBHOOK__AUTHORIZATION": CANARY * 2,
    "WEBHOOK__HOST": "0.0.0.0",
    "WEBHOOK__PORT": "8443",
    "NOTIFY__URLS": f"workflows://{CANARY}, mailto://x:y@example.com?to=a@b.c,d@e.f",
    "NOTIFY__EVENTS": "held, FAILED",
    "NOTIFY__HALO_TICKET": '{"tickettype_id": 21, "client_id": 12}',
    "PING__URL": f"https://hc-ping.com/{CANARY}",
    "DESK__PORT": "8793",
    "DESK__HOST": "0.0.0.0",
    "DESK__PUBLIC_URL": "https://billing.acme.example/",
    "DESK__PROXIES": "10.0.0.1, ::1",
    "DESK__SESSION_HOURS": "8",
    "DESK__IDLE_MINUTES": "30",
    "DESK__TWO_PEOPLE_ABOVE": "10000.00",
    "DESK__OIDC__ISSUER": "https://login.example/tenant/v2.0",
    "DESK__OIDC__CLIENT_ID": "desk",
    "DESK__OIDC__CLIENT_SECRET": CANARY,
    "DESK__OIDC__DOMAIN": "acme.example",
    "DESK__OIDC__ROLES": '{"Billing.Admin": "admin"}',
    "DESK__LOGIN": "Both",
    "LOCALE": "de-DE",
    "LOG__FORMAT": "JSON",
    "LOG__LEVEL": "Warning",
    "RETRY__FIRST_WAIT_S": "0.01",
}


def test_every_variable_and_its_default(machine: Machine) -> None:
    loaded = machine.load()
    assert settings_rows(loaded) == [
        (variable.name, DEFAULTS[variable.name.removeprefix(PREFIX)], "default") for variable in variables()
    ]
    assert {variable.name for variable in variables()} == {PREFIX + name for name in DEFAULTS}
    assert loaded.settings == Settings() and loaded.warnings == ()
    assert all(variable.says for variable in variables())


def test_every_variable_is_read(machine: Machine) -> None:
    loaded = machine.load(**GOOD)
    found = loaded.settings
    assert loaded.warnings == () and set(loaded.origins.values()) == {"environment"}
    assert found.database_url == "postgresql+psycopg://billing:pw@db.example/billing"
    assert (found.rules_dir, found.zone) == (Path("/etc/billingsync/rules"), ZoneInfo("Europe/Berlin"))
    assert (found.pax8.base_url, found.pax8.audience) == ("http://127.0.0.1:9001/v1", "https://api.pax8.com/")
    assert (found.pax8.client_id, found.pax8.timeout_s) == ("id", 2.5)
    assert found.halo.base_url == "https://acme.halopsa.com"
    assert found.halo.token_url == "https://auth.example/auth/token?tenant=acme"
    assert found.halo.header_values() == {"x-bypass": CANARY}
    assert (found.halo.marker, found.halo.write_lines) == ("customfield:217", "add_lines")
    assert found.notify.events == ("held", "failed")
    assert [url.get_secret_value() for url in found.notify.urls] == [
        f"workflows://{CANARY}",
        "mailto://x:y@example.com?to=a@b.c,d@e.f",
    ]
    assert (found.locale, found.log.format, found.log.level) == ("de_DE", "json", "warning")
    default = Settings()
    for variable in variables():
        assert variable.of(found) != variable.of(default), variable.name


def test_secrets_are_listed_for_redaction_and_never_shown(machine: Machine) -> None:
    loaded = machine.load(**GOOD)
    assert set(loaded.settings.secrets()) == {
        CANARY,
        "pw",
        f"workflows://{CANARY}",
        "mailto://x:y@example.com?to=a@b.c,d@e.f",
        f"https://hc-ping.com/{CANARY}",
        CANARY * 2,
    }
    shown = repr(loaded) + repr(settings_rows(loaded)) + str(loaded.settings)
    assert CANARY not in shown and "pw@" not in shown
    rows = {name.removeprefix(PREFIX): (value, origin) for name, value, origin in settings_rows(loaded)}
    assert rows["HALO__CLIENT_SECRET"] == ("set (from environment)", "environment")
    assert rows["DATABASE_URL"][0] == "postgresql+psycopg://***@db.example/billing"
    assert rows["HALO__EXTRA_HEADERS"][0] == rows["NOTIFY__URLS"][0] == "set (from environment)"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////var/lib/billingsync.db", "sqlite:////var/lib/billingsync.db"),
        ("postgresql+psycopg://u:p@h:5432/d", "postgresql+psycopg://***@h:5432/d"),
        ("postgresql+psycopg://u:p@ss@h/d", "postgresql+psycopg://***@h/d"),
        (
            "postgresql+psycopg://h/d?user=u&password=p&sslmode=require",
            "postgresql+psycopg://h/d?user=***&password=***&sslmode=require",
        ),
    ],
)
def test_database_urls_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


# Places


def test_the_environment_wins_over_secret_files_over_dotenv(machine: Machine) -> None:
    names = [PREFIX + name for name in ("HALO__TENANT", "HALO__SCOPE", "HALO__CLIENT_ID", "PAX8__CLIENT_ID")]
    machine.put(".env", "".join(f"{name}=dotenv\n" for name in names))
    for name in names[1:]:
        machine.put(f"run/{name}", "run")
    for name in names[2:]:
        machine.put(f"credentials/{name.lower()}", "credentials")
    machine.put(f"own/{names[3].title()}", "own")
    machine.env |= {"CREDENTIALS_DIRECTORY": str(machine.directory / "credentials"), f"{PREFIX}SECRETS_DIR": "own"}
    loaded = machine.load()
    halo, pax8 = loaded.settings.halo, loaded.settings.pax8
    assert (halo.tenant, halo.scope, halo.client_id, pax8.client_id) == ("dotenv", "run", "credentials", "own")
    assert loaded.origins[f"{PREFIX}HALO__TENANT"] == ".env"
    assert loaded.origins[f"{PREFIX}HALO__SCOPE"] == f"file {machine.directory}/run/{PREFIX}HALO__SCOPE"
    assert machine.load(PAX8__CLIENT_ID="env").settings.pax8.client_id == "env"
    assert machine.load(HALO__TENANT="").settings.halo.tenant == "dotenv", "an empty value counts as not set"


def test_names_in_any_case(machine: Machine) -> None:
    machine.env = {"billingsync_timezone": "Europe/Paris", "BILLINGSYNC_LOCALE": "fr_FR", "billingsync_locale": "de_DE"}
    found = machine.load().settings
    assert (found.timezone, found.locale) == ("Europe/Paris", "fr_FR")


@pytest.mark.parametrize("text", [CANARY, CANARY + "\n", CANARY + "\r\n", "\ufeff" + CANARY])
def test_a_secret_file_loses_one_line_end(machine: Machine, text: str) -> None:
    path = machine.put(f"run/{PREFIX}HALO__CLIENT_SECRET", text)
    loaded = machine.load()
    assert loaded.settings.halo.client_secret.get_secret_value() == CANARY
    rows = {name: value for name, value, _ in settings_rows(loaded)}
    assert rows[f"{PREFIX}HALO__CLIENT_SECRET"] == f"set (from {path})"


def test_the_secrets_directory_may_be_named_in_dotenv(machine: Machine) -> None:
    machine.put(".env", f"{PREFIX}SECRETS_DIR=own\n")
    machine.put(f"own/{PREFIX}HALO__TENANT", "acme")
    loaded = machine.load()
    assert loaded.settings.halo.tenant == "acme" and loaded.warnings == ()


def test_a_secrets_directory_that_is_not_there(machine: Machine) -> None:
    assert f"{PREFIX}SECRETS_DIR: {machine.directory}/own is not a directory" == machine.problem(SECRETS_DIR="own")


def test_other_files_among_secrets_are_not_ours(machine: Machine) -> None:
    machine.put("run/postgres_password", b"\xff")
    machine.put("run/halo__client_secret", "x")
    assert machine.load().settings == Settings()


def test_two_secret_files_that_mean_the_same(machine: Machine) -> None:
    machine.put(f"run/{PREFIX}HALO__TENANT", "upper")
    machine.put(f"run/{PREFIX}HALO__TENANT".lower(), "lower")
    loaded = machine.load()
    assert loaded.settings.halo.tenant == "upper" and "is not read" in loaded.warnings[0]


def test_secret_files_that_cannot_be_read(machine: Machine) -> None:
    (machine.directory / f"run/{PREFIX}HALO__TENANT").mkdir(parents=True)
    machine.put(f"run/{PREFIX}HALO__SCOPE", b"\xff\xff")
    machine.put(f"run/{PREFIX}HALO__CLIENT_ID", "x" * 300_000)
    machine.put(f"run/{PREFIX}HALO__CLIENT_SECRET", f"{CANARY}\n{CANARY}\n")
    found = machine.problems()
    assert [problem.partition(":")[2].strip() for problem in found] == [
        "is too large for settings, more than 262144 bytes",
        "is not UTF-8; save the file as UTF-8",
        "is not a regular file",
        "holds a line end or another invisible character",
    ]


def test_dotenv_in_all_its_forms(machine: Machine) -> None:
    machine.put(
        ".env",
        "\ufeff# a comment\n\n"
        f"export {PREFIX}HALO__TENANT='acme'  # a comment\n"
        f'{PREFIX}HALO__CLIENT_ID="a b"\n'
        f"{PREFIX}HALO__CLIENT_SECRET=a$HOME${{PATH}}#b\n"
        f"{PREFIX}HALO__SCOPE=\n"
        "OTHER=1\n",
    )
    loaded = machine.load()
    halo = loaded.settings.halo
    assert (halo.tenant, halo.client_id) == ("acme", "a b")
    assert halo.client_secret.get_secret_value() == "a$HOME${PATH}#b"
    assert halo.scope == Settings().halo.scope and loaded.warnings == ()


def test_mistakes_in_dotenv_are_named_by_line(machine: Machine) -> None:
    machine.put(
        ".env",
        f"\n\n{CANARY} is no line\n{PREFIX}TIMEZONE\n{PREFIX}HALO__CLIENT_SECRET='{CANARY}\n",
    )
    found = machine.problems()
    assert [problem.partition(":")[0] for problem in found] == [".env, line 3", ".env, line 4", ".env, line 5"]


def test_dotenv_in_latin_1_or_no_file(machine: Machine) -> None:
    machine.put(".env", b"\n#\xe9")
    assert machine.problem() == ".env, line 2: is not UTF-8; save the file as UTF-8"
    (machine.directory / ".env").unlink()
    (machine.directory / ".env").mkdir()
    assert machine.problem() == ".env: is not a regular file"


def test_dotenv_warns(machine: Machine) -> None:
    machine.put(
        ".env",
        f"HALO__CLIENT_SECRET={CANARY}\n{PREFIX}TIMEZONE=UTC\n{PREFIX}TIMEZONE=Europe/Rome\n"
        f"{PREFIX}HALO__CLIENT_SECERT={CANARY}\n{PREFIX}ZZZZZZ=1\n",
    )
    loaded = machine.load()
    assert loaded.settings.timezone == "Europe/Rome"
    assert loaded.warnings == (
        f".env, line 1: HALO__CLIENT_SECRET is not read; write {PREFIX}HALO__CLIENT_SECRET",
        f".env: {PREFIX}TIMEZONE stands on line 2 and 3; the last one counts",
        f"{PREFIX}HALO__CLIENT_SECERT (.env) is not a variable of billingsync; "
        f"did you mean {PREFIX}HALO__CLIENT_SECRET?",
        f"{PREFIX}ZZZZZZ (.env) is not a variable of billingsync",
    )


def test_an_unknown_variable_in_the_environment_gets_the_nearest(machine: Machine) -> None:
    (warning,) = machine.load(HALO__BASEURL="https://acme.halopsa.com").warnings
    assert f"{PREFIX}HALO__BASEURL (environment)" in warning and f"did you mean {PREFIX}HALO__BASE_URL?" in warning


def test_fault_08_files_with_secrets_that_others_may_read_are_complained_of(machine: Machine) -> None:
    secret = f"{PREFIX}HALO__CLIENT_SECRET"
    dotenv = machine.put(".env", f"{PREFIX}PAX8__CLIENT_SECRET=x\n", 0o640)
    own = machine.put(f"own/{secret}", "x", 0o604)
    machine.put(f"run/{PREFIX}PING__URL", "https://hc-ping.com/x", 0o444)
    loaded = machine.load(SECRETS_DIR="own")
    assert loaded.warnings == tuple(
        f"{path} holds secrets and others may read it: chmod 600 {path}" for path in (dotenv, own)
    ), "Docker's own store is not blamed"
    assert readable_by_others(own) and not readable_by_others(machine.put("x", "", 0o600))
    assert not readable_by_others(machine.directory / "gone")
    dotenv.write_text(f"{PREFIX}TIMEZONE=UTC\n{PREFIX}HALO__CLIENT_SECRET=\n")
    own.chmod(0o400)
    assert machine.load(SECRETS_DIR="own").warnings == (), "without a secret in it, anybody may read .env"


def test_blanks_around_a_secret_are_named(machine: Machine) -> None:
    loaded = machine.load(HALO__CLIENT_SECRET=f" {CANARY}")
    assert loaded.settings.halo.client_secret.get_secret_value() == f" {CANARY}"
    assert loaded.warnings == (
        f"{PREFIX}HALO__CLIENT_SECRET (environment) begins or ends with a blank, which is taken as part of it",
    )


def test_a_short_absence_is_named_but_not_for_the_sandbox(machine: Machine) -> None:
    (warning,) = machine.load(HALO__ABSENCE_S="100", HALO__BASE_URL="https://acme.halopsa.com").warnings
    assert warning.startswith(f"{PREFIX}HALO__ABSENCE_S is 100:") and warning.endswith("at least 120")
    assert machine.load(HALO__ABSENCE_S="0", HALO__BASE_URL="http://127.0.0.1:9").warnings == ()


def test_the_real_environment_is_read_where_none_is_given(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.directory)
    monkeypatch.setenv(f"{PREFIX}TIMEZONE", "Europe/Oslo")
    machine.put(".env", f"{PREFIX}LOCALE=nb_NO")
    found = load_settings(run_secrets=machine.directory / "run").settings
    assert (found.timezone, found.locale) == ("Europe/Oslo", "nb_NO")


# Mistakes

BAD = [
    ("TIMEZONE", "Europe/Berln", "did you mean Europe/Berlin?"),
    ("TIMEZONE", "europe/berlin", "did you mean Europe/Berlin?"),
    ("TIMEZONE", "Berlin", "did you mean Europe/Berlin?"),
    ("TIMEZONE", "Europe", "is not a time zone"),
    ("TIMEZONE", "/etc/passwd", "is not a time zone"),
    ("TIMEZONE", "../../etc/passwd", "is not a time zone"),
    ("LOCALE", "en_XY", "is no locale; did you mean en_"),
    ("LOCALE", "!!", "is no locale"),
    ("LOCALE", "../x", "is no locale"),
    ("DATABASE_URL", "sqlite://", "must name a file"),
    ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
    ("DATABASE_URL", "sqlite:///file:x?mode=memory&uri=true", "must name a file"),
    ("DATABASE_URL", "sqlite:///file:x?uri=true", "by its path"),
    ("DATABASE_URL", "sqlite://billingsync.db", "three slashes"),
    ("DATABASE_URL", "sqlite+aiosqlite:///x.db", "without another driver"),
    ("DATABASE_URL", "billingsync.db", "must begin with sqlite:/// or postgresql://"),
    ("DATABASE_URL", f"mysql://u:{CANARY}@h/d", "must begin with sqlite:/// or postgresql://"),
    ("DATABASE_URL", f"postgresql+psycopg2://u:{CANARY}@h/d", "postgresql+psycopg://"),
    ("DATABASE_URL", f"postgresql://u:{CANARY}@h:port/d", "cannot be read as an address"),
    ("DATABASE_URL", f"postgresql://u:{CANARY}@h", "names no database"),
    ("PAX8__BASE_URL", "api.pax8.com", "must be a whole address that begins with https://"),
    ("PAX8__BASE_URL", "http://api.pax8.com/v1", "must begin with https://, because the token would travel in clear"),
    ("PAX8__BASE_URL", "https://api.pax8.com/v1?x=1", "must not have a query"),
    ("PAX8__TOKEN_URL", "http://127.0.0.1.example.com/token", "must begin with https://"),
    ("HALO__BASE_URL", "http://localhost.example.com", "must begin with https://"),
    ("HALO__BASE_URL", "https://acme.halopsa.com/api", "without /api"),
    ("HALO__BASE_URL", "https://acme.halopsa.com/auth/", "without /auth"),
    ("HALO__BASE_URL", f"https://me:{CANARY}@acme.halopsa.com", "must not hold a name or password"),
    ("HALO__BASE_URL", "https://acme.hal\u043epsa.com", "plain letters"),
    ("HALO__BASE_URL", "https://", "no usable host"),
    ("HALO__BASE_URL", "https://acme.halopsa.com:99999", "cannot be read as an address"),
    ("HALO__BASE_URL", "https://acme.halopsa.com:0", "no usable host name or port"),
    ("HALO__BASE_URL", "https://[::1", "cannot be read as an address"),
    ("HALO__BASE_URL", "https://acme.halopsa.com/a b", "characters that an address cannot have"),
    ("HALO__BASE_URL", "https://acme.halopsa.com#x", "characters that an address cannot have"),
    ("HALO__BASE_URL", "ftp://acme.halopsa.com", "must begin with https://"),
    ("HALO__TOKEN_URL", "http://acme.halopsa.com/auth/token", "must begin with https://"),
    ("HALO__MARKER", "longdescripton", "longdescription, productnumber, customfield:<id>"),
    ("HALO__MARKER", "customfield:x", "customfield:<id>"),
    ("HALO__MARKER", "customfield:", "customfield:<id>"),
    ("HALO__MARKER", "customfield:\u0663", "customfield:<id>"),
    ("HALO__WRITE_LINES", "headr", "did you mean header?"),
    ("HALO__ONE_TIME", "flags", "did you mean flag?"),
    ("HALO__EXTRA_HEADERS", f"x: {CANARY}", "is not JSON"),
    ("HALO__EXTRA_HEADERS", "[" * 100_000, "is not JSON"),
    ("HALO__EXTRA_HEADERS", f'["{CANARY}"]', "must be a JSON object of texts"),
    ("HALO__EXTRA_HEADERS", '{"a": 1}', "must be a JSON object of texts"),
    ("HALO__EXTRA_HEADERS", '{"a b": "x"}', "HTTP does not allow"),
    ("HALO__EXTRA_HEADERS", '{"a": "x\\r\\ny"}', "HTTP does not allow"),
    ("HALO__EXTRA_HEADERS", json.dumps({"Authorization": CANARY}), "must not set Authorization"),
    ("HALO__CALLS_PER_MINUTE", "0", "must be at least 1"),
    ("HALO__CALLS_PER_MINUTE", "many", '"many" is no whole number'),
    ("PAX8__CALLS_PER_MINUTE", "1e9", "is no whole number"),
    ("PAX8__CALLS_PER_MINUTE", "9" * 5000, "is too long a number"),
    ("PAX8__PARALLEL", "33", "must be at most 32"),
    ("PAX8__PARALLEL", "1.5", "is no whole number"),
    ("PAX8__TIMEOUT_S", "0", "must be more than 0"),
    ("PAX8__TIMEOUT_S", "inf", "is not a number"),
    ("HALO__TIMEOUT_S", "a minute", "is not a number"),
    ("HALO__ABSENCE_S", "-1", "must be at least 0"),
    ("HALO__ABSENCE_S", "nan", "is not a number"),
    ("POLL__FROM_DAY", "0", "must be at least 1"),
    ("POLL__EVERY_MINUTES", "0", "must be at least 1"),
    ("POLL__ALERT_DAY", "31", "must be at most 28"),
    ("POLL__ALERT_DAY", "3", "3 comes before BILLINGSYNC_POLL__FROM_DAY, which is 4"),
    ("SNAPSHOT__AT", "24:00", "is not a time of day such as 05:00"),
    ("SNAPSHOT__AT", "5am", "is not a time of day such as 05:00"),
    ("SNAPSHOT__KEEP_DAYS", "0", "must be at least 1"),
    ("ROLE", "owner", "user, financial"),
    ("HEALTH__PORT", "65536", "must be at most 65535"),
    ("NOTIFY__EVENTS", "held,postd", "did you mean posted?"),
    ("NOTIFY__EVENTS", "[1]", "must be a list of texts"),
    ("NOTIFY__EVENTS", "[held", "is not a JSON list"),
    ("HALO__EXPIRES_ON", "31.3.2027", '"31.3.2027" is not a date; write one such as 2027-03-31'),
    ("WEBHOOK__PORT", "0", "must be at least 1"),
    ("WEBHOOK__AUTHORIZATION", "c4n4ry", "can be guessed: it must have at least 16 characters"),
    ("WEBHOOK__AUTHORIZATION", CANARY * 2 + "é", "holds characters that a header cannot carry"),
    ("NOTIFY__HALO_TICKET", "yes", "must be a JSON object of ticket fields such as"),
    ("NOTIFY__HALO_TICKET", "[1]", "must be a JSON object of ticket fields such as"),
    ("NOTIFY__HALO_TICKET", '{"summary": "x"}', "must not set summary"),
    ("NOTIFY__HALO_TICKET", '{"Client": 1}', "must be a JSON object of ticket fields such as"),
    ("NOTIFY__HALO_TICKET", '{"impact": 1.5}', "has a fraction in impact"),
    ("NOTIFY__URLS", CANARY, "entry 1 is not an Apprise URL"),
    ("NOTIFY__URLS", f"slack://a {CANARY}", "entry 2 is not an Apprise URL"),
    ("PING__URL", CANARY, "must be a whole address"),
    ("PING__URL", f"https://x:{CANARY}@hc.example", "must not hold a name or password"),
    ("LOG__FORMAT", "jsn", "did you mean json?"),
    ("LOG__LEVEL", "loud", "debug, info, warning, error, critical"),
    ("RETRY__FIRST_WAIT_S", "0", "must be more than 0"),
    ("HALO__CLIENT_SECRET", f"{CANARY}\n{CANARY}", "holds a line end"),
    ("PAX8__CLIENT_ID", "id\u200b", "another invisible character"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "says"), BAD, ids=[f"{name}={value[:20]!r}" for name, value, _ in BAD])
def test_a_mistake_is_named_by_its_variable(machine: Machine, name: str, value: str, says: str) -> None:
    said = machine.problem(**{name: value})
    assert said.startswith(f"{PREFIX}{name} (environment): ") and says in said, said


def test_all_mistakes_at_once(machine: Machine) -> None:
    machine.put(".env", f"{PREFIX}PAX8__PARALLEL=x\n{PREFIX}POLL__FROM_DAY=15\n")
    machine.put(f"run/{PREFIX}HALO__CLIENT_SECRET", "a\nb\n")
    found = machine.problems(TIMEZONE="x", HALO__BASE_URL="http://acme.halopsa.com", NOTIFY__URLS="y")
    assert [problem.partition(":")[0] for problem in found] == [
        f"{PREFIX}HALO__CLIENT_SECRET (file {machine.directory}/run/{PREFIX}HALO__CLIENT_SECRET)",
        f"{PREFIX}TIMEZONE (environment)",
        f"{PREFIX}PAX8__PARALLEL (.env)",
        f"{PREFIX}HALO__BASE_URL (environment)",
        f"{PREFIX}POLL__ALERT_DAY",
        f"{PREFIX}NOTIFY__URLS (environment)",
    ]


@given(
    name=st.sampled_from([name for name in DEFAULTS if name not in ("RULES_DIR",)]),
    value=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
)
@example(name="HALO__BASE_URL", value="https://[v1.x]")
@example(name="DATABASE_URL", value="postgresql://h/d?x")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_gives_settings_or_sentences(tmp_path: Path, name: str, value: str) -> None:
    try:
        load_settings({PREFIX + name: value}, tmp_path, run_secrets=tmp_path / "run")
    except SettingsError as wrong:
        problems = wrong.problems
    else:
        problems = (PREFIX + name,)
    assert problems and all(problem.startswith(PREFIX) and problem.isprintable() for problem in problems)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://Acme.HaloPSA.com/", "https://Acme.HaloPSA.com"),
        ("HTTPS://acme.halopsa.com", "https://acme.halopsa.com"),
        ("https://halo.acme.example:8443/psa/", "https://halo.acme.example:8443/psa"),
        ("http://localhost:8001", "http://localhost:8001"),
        ("http://[::1]:8001/", "http://[::1]:8001"),
        ("http://halo.localhost", "http://halo.localhost"),
    ],
)
def test_addresses(machine: Machine, given: str, url: str) -> None:
    assert machine.load(HALO__BASE_URL=given).settings.halo.base_url == url


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("sqlite:////var/lib/x.db?timeout=5", "sqlite:////var/lib/x.db?timeout=5"),
        ("sqlite+pysqlite:///x.db", "sqlite:///x.db"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql+psycopg://u:p%40@h/d", "postgresql+psycopg://u:p%40@h/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql+psycopg:///d?host=/run/postgresql"),
    ],
)
def test_databases(machine: Machine, given: str, url: str) -> None:
    assert machine.load(DATABASE_URL=given).settings.database_url == url


def test_a_percent_escaped_password_is_hidden_as_it_is_written_and_as_it_is(machine: Machine) -> None:
    assert "p@" in machine.load(DATABASE_URL="postgresql://u:p%40@h/d").settings.secrets()
    assert "q@" in machine.load(DATABASE_URL="postgresql://h/d?password=q%40").settings.secrets()


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("slack://a", ["slack://a"]),
        ("slack://a,workflows://b", ["slack://a", "workflows://b"]),
        ("slack://a\nworkflows://b\n", ["slack://a", "workflows://b"]),
        (json.dumps(["slack://a", "mailto://x?to=a,b"]), ["slack://a", "mailto://x?to=a,b"]),
    ],
)
def test_notification_urls(machine: Machine, text: str, urls: list[str]) -> None:
    found = machine.load(NOTIFY__URLS=text).settings.notify.urls
    assert [url.get_secret_value() for url in found] == urls


@pytest.mark.parametrize(
    ("text", "events"),
    [("all", Settings().notify.events), ("held held", ("held",)), ('["failed", "held"]', ("failed", "held"))],
)
def test_notification_events(machine: Machine, text: str, events: tuple[str, ...]) -> None:
    assert machine.load(NOTIFY__EVENTS=text).settings.notify.events == events


# Credentials


def test_credentials_are_demanded_only_where_they_are_needed(machine: Machine) -> None:
    found = machine.load().settings
    with pytest.raises(SettingsError) as wrong:
        found.require_upstreams()
    assert [problem.partition(" ")[0] for problem in wrong.value.problems] == [
        f"{PREFIX}PAX8__CLIENT_ID",
        f"{PREFIX}PAX8__CLIENT_SECRET",
        f"{PREFIX}HALO__BASE_URL",
        f"{PREFIX}HALO__CLIENT_ID",
        f"{PREFIX}HALO__CLIENT_SECRET",
    ]
    assert wrong.value.next_steps == (("billingsync", "init"),)
    with pytest.raises(SettingsError) as wrong:
        found.require_upstreams(["pax8"])
    assert len(wrong.value.problems) == 2
    machine.load(**GOOD).settings.require_upstreams()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().halo.tenant = "x"


def test_settings_alone_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}TIMEZONE", "Europe/Oslo")
    assert Settings().timezone == "UTC"


# What every program takes from the environment


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SSL_CERT_FILE", "absent.pem", "cannot be read (No such file or directory); name a file of certificates"),
        ("SSL_CERT_FILE", "empty.pem", "holds no certificate that can be read"),
        ("SSL_CERT_FILE", ".", "is a directory"),
        ("SSL_CERT_DIR", "absent", "is not a directory"),
        ("HTTPS_PROXY", f"http://me:{CANARY}@proxy:port", "cannot be read as an address"),
        ("https_proxy", f"http://me:{CANARY}@", "cannot be read as an address"),
        ("ALL_PROXY", f"socks5://me:{CANARY}@proxy:1080", "socks5:// proxies are not supported"),
    ],
)
def test_wrong_certificates_and_proxies_are_wrong_settings(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.chdir(machine.directory)
    machine.put("empty.pem", "no certificate")
    machine.env[name] = value
    found = machine.problem()
    assert found.startswith(f"{name}: ") and says in found


def test_right_certificates_and_proxies_are_none_of_our_business(machine: Machine) -> None:
    machine.env |= {"HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128", "http_proxy": "proxy:3128", "ALL_PROXY": ""}
    machine.env |= {"SSL_CERT_DIR": f"/absent:{machine.directory}"}
    machine.load()


# Notices' addresses


@pytest.mark.parametrize(
    ("url", "hidden", "shown"),
    [
        (
            "mailtos://finance%40acme.com:p%40ss@smtp.acme.com?to=a@b.com",
            ["finance@acme.com", "p%40ss", "p@ss"],
            ["smtp"],
        ),
        ("slack://botname12@T1JJ3T3L2abc/A1BRTD4JDxyz", ["botname12", "T1JJ3T3L2abc", "A1BRTD4JDxyz"], []),
        ("workflows://h.example.com:443/abc/sig%2Bnature-1234", ["sig+nature-1234"], ["h.example.com", "markdown"]),
    ],
)
def test_the_parts_of_a_notices_address_are_secret_too(
    machine: Machine, url: str, hidden: list[str], shown: list[str]
) -> None:
    redactor = Redactor(machine.load(NOTIFY__URLS=url).settings.secrets())
    for text in hidden:
        assert redactor.text(f"to {text} in vain") == "to *** in vain"
    for text in shown:
        assert redactor.text(text) == text
