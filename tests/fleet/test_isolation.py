"""Row-level security [F6]: a worker's role owns nothing, and each transaction sees the rows of its own partner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, select

from billingsync.fleet.doctor import _rows
from billingsync.sandbox.server import Sandbox
from billingsync.setup.doctor import Check
from billingsync.store import isolation
from billingsync.store.fleet import open_fleet
from billingsync.store.isolation import APP, FLEET, STATUS
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import metadata, partner, posting
from tests.fleet.fleet_house import House, house
from tests.sandbox.cli import CALM, TEXT_ONLY, Office, billed, due

OWNER = "fleet_owner"


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def as_user(url: str, user: str) -> str:
    return make_url(url).set(username=user).render_as_string(hide_password=False)


@pytest.fixture
def owner_url(postgres_url: str) -> str:
    """A database whose owner is no superuser, as docs/fleet.md makes it."""
    name = make_url(postgres_url).database or ""
    with psycopg.connect(plain(postgres_url), autocommit=True) as connection:
        known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        for role, login in ((FLEET, "NOLOGIN"), (STATUS, "NOLOGIN"), (OWNER, "LOGIN"), (APP, "LOGIN")):
            if role not in known:
                connection.execute(f"CREATE ROLE {role} {login} NOINHERIT")  # type: ignore[call-overload]  # a constant
        connection.execute(f"GRANT {FLEET}, {STATUS} TO {OWNER}, {APP}")  # type: ignore[call-overload]  # constants
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(OWNER)))
    return as_user(postgres_url, OWNER)


@pytest.fixture
def home(tmp_path: Path, owner_url: str) -> Iterator[House]:
    """A fleet whose workers sign in as a role that owns nothing."""
    with house(tmp_path, owner_url, "acme", "birch") as found:
        assert "Row-level security is on." in found.run("db", "upgrade").must(0).stdout
        found.database_url = as_user(owner_url, APP)
        yield found


def test_every_table_with_a_partner_column_is_apart(home: House, postgres_url: str) -> None:
    """Fails for a new table without a policy."""
    with psycopg.connect(plain(postgres_url)) as connection:
        query = """SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity,
            EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'own')
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE a.attname = 'partner' AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"""
        found = {name: (forced, own) for name, forced, own in connection.execute(query)}
        owned = connection.execute("SELECT count(*) FROM pg_class WHERE relowner = %s::regrole", [APP]).fetchone()
    assert set(found) == {one.name for one in metadata.sorted_tables if "partner" in one.c}
    assert set(found.values()) == {(True, True)} and owned == (0,)


def test_a_fleet_works_and_a_missing_where_shows_nobody_elses_rows(home: House, postgres_url: str) -> None:
    for name in ("acme", "birch"):
        home.run("fleet", "run", name).must(0)
        assert home.is_billed(name)
        home.run("audit", "verify", "--partner", name).must()
    told = home.run("fleet", "status", "--json").must(0).json
    assert [one["state"] for one in told["partners"]] == ["well", "well"]
    with psycopg.connect(plain(home.database_url)) as connection, psycopg.connect(plain(postgres_url)) as all_seeing:
        for one in (one for one in metadata.sorted_tables if "partner" in one.c):
            query = sql.SQL("SELECT DISTINCT partner FROM {}").format(sql.Identifier(one.name))
            there = {row[0] for row in all_seeing.execute(query)}
            assert connection.execute(query).fetchall() == [], one.name
            connection.execute("SELECT set_config('billingsync.partner', 'acme', true)")
            assert {row[0] for row in connection.execute(query)} == there & {"acme"}, one.name
            if "acme" in there:
                stolen = sql.SQL("UPDATE {} SET partner = 'birch'").format(sql.Identifier(one.name))
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(stolen)
            connection.rollback()
    with open_ledger(home.database_url, partner="acme") as ledger, ledger.reading() as connection:
        assert set(connection.execute(select(posting.c.partner)).scalars()) == {"acme"}
        assert set(connection.execute(select(partner.c.partner)).scalars()) == {"acme"}
    with open_ledger(home.database_url, partner="acme") as ledger, ledger.run_lock("acme's") as fence:
        assert fence.server  # it may ask which server it is [F8]


def test_the_fleets_roles_read_no_document(home: House) -> None:
    home.run("fleet", "run", "acme").must(0)
    with psycopg.connect(plain(home.database_url), autocommit=True) as connection:
        for role in (FLEET, STATUS):
            for table, column in (("posting", "content"), ("plan", "document"), ("source_document", "body")):
                query = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(query)
        connection.execute("RESET ROLE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine (partner text)")


def rows(url: str) -> Check:
    with open_fleet(url) as fleet:
        (found,) = _rows(fleet)
    return found


def test_doctor_says_whether_rows_are_apart_and_for_whom(home: House, owner_url: str, postgres_url: str) -> None:
    told = home.run("fleet", "doctor", "--json").must(1).json
    (found,) = (one for one in told["checks"] if one["name"] == "rows")
    assert found["state"] == "ok" and "row-level security is on for all" in found["says"] and APP in found["says"]
    owners = rows(owner_url)
    assert owners.state == "warn" and "could turn it off" in owners.says and APP in owners.remedy
    supers = rows(postgres_url)
    assert supers.state == "warn" and "sees everything" in supers.says and APP in supers.remedy


@pytest.mark.parametrize(
    "broken",
    [
        "ALTER TABLE posting DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE posting NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY own ON posting",
    ],
)
def test_doctor_names_what_is_not_apart_and_db_upgrade_mends_it(home: House, owner_url: str, broken: str) -> None:
    with psycopg.connect(plain(owner_url), autocommit=True) as connection:
        connection.execute(broken)  # type: ignore[call-overload]  # a constant
    for url in (owner_url, home.database_url):
        found = rows(url)
        assert found.state == "warn" and found.next_step == ("billingsync", "db", "upgrade")
        assert "off for 1 of " in found.says and "e.g. posting" in found.says and f"as {OWNER}" in found.says
    signed_in, home.database_url = home.database_url, owner_url
    home.run("db", "upgrade").must(0)
    assert rows(signed_in).state == "ok"


def test_doctor_says_which_roles_are_missing(
    owner_url: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "STATUS", "billingsync_nobody")
    found = rows(postgres_url)
    assert found.state == "warn" and "off: PostgreSQL has no role billingsync_nobody" in found.says
    assert "Rows of one partner" in found.remedy and "billingsync db upgrade" in found.remedy


def test_workers_pausing_publishing_and_moving_work_as_before(home: House, tmp_path: Path) -> None:
    home.run("fleet", "pause", "acme", "--reason", "a dispute").must(0)
    home.run("fleet", "run", "acme").must(5)
    home.run("fleet", "resume", "acme").must(0)
    file = home.fleet_folder / "partners" / "acme" / "partner.toml"
    file.write_text(file.read_text() + "[partner]\nweight = 3\n")
    home.run("fleet", "apply", "fleet").must(0)
    worker = home.worker("--slots", "2")
    home.wait(lambda: all(home.cycles(name) == ["well"] for name in home.sandboxes))
    worker.terminate()
    assert worker.wait(30) == 0, home.logs()
    assert all(home.is_billed(name) for name in home.sandboxes)
    home.run("fleet", "export", "acme", "acme.db").must(0)
    home.run("fleet", "import", "acme", "acme.db", "--replace").must(0)
    home.run("audit", "verify", "--partner", "acme").must()


def test_two_partners_of_one_tenant_are_refused_though_they_do_not_see_each_other(home: House) -> None:
    from billingsync.errors import OtherTenant
    from billingsync.store.fleet_tenants import claim_tenant

    with open_ledger(home.database_url, partner="acme") as ledger, ledger.writing() as connection:
        claim_tenant(connection, "acme", "t-1")
    with open_ledger(home.database_url, partner="birch") as ledger:
        with pytest.raises(OtherTenant, match="acme"), ledger.writing() as connection:
            claim_tenant(connection, "birch", "t-1")


def test_a_single_installation_with_an_owner_goes_on_unchanged(owner_url: str, tmp_path: Path) -> None:
    with Sandbox(CALM) as server:
        office = Office(tmp_path, server, owner_url)
        office.rules(TEXT_ONLY)
        assert office.run("db", "upgrade", "--json").must().json.keys() & {"isolated"} == set()
        office.run("run", "--yes").must()
        assert billed(server) == due(server)
    with psycopg.connect(plain(owner_url)) as connection:
        assert connection.execute("SELECT count(*) FROM pg_policy").fetchone() == (0,)
