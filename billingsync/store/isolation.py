"""Row-level security of a fleet's database [F6]: a transaction sees the rows of the partner that it was begun for, and
without one none at all, so that a forgotten WHERE shows nobody else's.

Whoever works has a role of its own that owns no table. What is of all partners at once is done as one of two further
roles, which it takes for one transaction: the fleet's (publishing, handing out work) and the status's, which reads how
partners stand. Neither reads a document.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Table, text

from billingsync.store.database import Database
from billingsync.store.schema import cycle, ledger_schema, metadata, partner, plan, posting

APP = "billingsync_app"
FLEET = "billingsync_fleet"
STATUS = "billingsync_status"
_OWN = "partner = current_setting('billingsync.partner', true)"
_EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"


def isolate(database: Database) -> bool:
    """Turns it on for every table with a partner column, and gives each role its rights, also in the engine's schema;
    what is on stays. To be called by the tables' owner. False, and nothing is changed, where the three roles are not
    there."""
    with database.writing() as connection:
        wanted = {"roles": [APP, FLEET, STATUS]}
        there = connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles)"), wanted).all()
        if len(there) < 3:
            return False
        known = {(row.relname, row.polname) for row in connection.execute(text(_POLICIES))}
        for one in metadata.sorted_tables:
            if one is ledger_schema:
                continue  # only read
            _protect(connection, one, known)
        for schema in connection.execute(text(_OTHER_SCHEMAS)).scalars().all():
            connection.exec_driver_sql(
                f"GRANT USAGE ON SCHEMA {schema} TO {APP}; "
                f"GRANT {_EVERYTHING} ON ALL TABLES IN SCHEMA {schema} TO {APP}; "
                f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {APP}"
            )
        connection.exec_driver_sql(f"GRANT SELECT ON alembic_version, ledger_schema TO {APP}, {FLEET}, {STATUS}")
    return True


def is_isolated(connection: Connection) -> bool:
    """Whether it is on, and holds for us: a superuser sees everything."""
    if connection.dialect.name != "postgresql":
        return False
    return bool(connection.scalar(text(_ISOLATED)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """How rows are kept apart. `missing` are roles, `apart` and `exposed` tables with a partner column; `user` is who
    signed in, `owner` whose the tables are."""

    missing: list[str]
    apart: list[str]
    exposed: list[str]
    user: str
    owner: str
    sees_everything: bool  # the user, whatever is on


def isolation(connection: Connection) -> Isolation:
    """What PostgreSQL's own catalogue says of it; any role may ask."""
    wanted = (APP, FLEET, STATUS)
    there = set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())
    tables = connection.execute(text(_TABLES)).all()
    me = connection.execute(text(_WHO)).one()
    return Isolation(
        missing=[one for one in wanted if one not in there],
        apart=[one.relname for one in tables if one.is_apart],
        exposed=[one.relname for one in tables if not one.is_apart],
        user=me.name,
        owner=next((one.owner for one in tables if one.relname == partner.name), ""),
        sees_everything=me.sees_everything,
    )


@contextmanager
def as_fleet(connection: Connection) -> Iterator[None]:
    """For the statements of the block, within a partner's transaction, the fleet's own tables are seen whole."""
    if not is_isolated(connection):
        yield
        return
    connection.exec_driver_sql(f"SET LOCAL ROLE {FLEET}")
    yield  # an exception rolls all back, and the role with it
    connection.exec_driver_sql("SET LOCAL ROLE NONE")


def _protect(connection: Connection, one: Table, known: set[tuple[str, str]]) -> None:
    name = one.name
    of_fleet = name.startswith("fleet_")
    grants = [f"GRANT {_EVERYTHING} ON {name} TO {APP}"]
    policies: dict[str, str] = {}
    if "partner" in one.c:
        if (name, "") not in known:
            grants.append(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY; ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
        policies["own"] = f"USING ({_OWN}) WITH CHECK ({_OWN})"
    if of_fleet:
        policies |= _policies(one, f"FOR ALL TO {FLEET} USING (true) WITH CHECK (true)")
        grants.append(f"GRANT {_EVERYTHING} ON {name} TO {FLEET}; GRANT SELECT ON {name} TO {STATUS}")
    elif one is partner:
        policies |= _policies(one, f"FOR ALL TO {FLEET} USING (true) WITH CHECK (true)")
        grants.append(f"GRANT SELECT, INSERT ON {name} TO {FLEET}; GRANT SELECT ON {name} TO {STATUS}")
    elif one is cycle:
        policies |= _policies(one, f"FOR SELECT TO {FLEET} USING (true)")
        grants.append(f"GRANT SELECT ON {name} TO {FLEET}, {STATUS}")
    elif one in (posting, plan):  # whether there is one
        policies["fleet"] = f"FOR SELECT TO {FLEET} USING (true)"
        key = "key" if one is posting else "digest"
        grants.append(f"GRANT SELECT (partner, {key}) ON {name} TO {FLEET}")
    for statement in grants:
        connection.exec_driver_sql(statement)
    for policy, rule in policies.items():
        if (name, policy) not in known:
            connection.exec_driver_sql(f"CREATE POLICY {policy} ON {name} {rule}")


def _policies(one: Table, of_fleet: str) -> dict[str, str]:
    if "partner" not in one.c:
        return {}
    return {"fleet": of_fleet, "status": f"FOR SELECT TO {STATUS} USING (true)"}


# Tables that are protected, with "", and each policy.
_POLICIES = """
SELECT c.relname, p.polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE c.relnamespace = current_schema()::regnamespace
UNION SELECT relname, '' FROM pg_class
WHERE relrowsecurity AND relforcerowsecurity AND relnamespace = current_schema()::regnamespace
"""
_TABLES = """
SELECT c.relname, pg_get_userbyid(c.relowner) AS owner, c.relrowsecurity AND c.relforcerowsecurity
AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = 'own') AS is_apart
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'partner' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace ORDER BY c.relname
"""
_WHO = "SELECT rolname AS name, rolsuper OR rolbypassrls AS sees_everything FROM pg_roles WHERE rolname = session_user"
_OTHER_SCHEMAS = """
SELECT quote_ident(nspname) FROM pg_namespace
WHERE nspowner = to_regrole(quote_ident(current_user))
AND nspname != current_schema() AND nspname !~ '^pg_|^information_schema'
"""
_ISOLATED = """
SELECT c.relforcerowsecurity AND NOT (r.rolsuper OR r.rolbypassrls) FROM pg_class c, pg_roles r
WHERE c.oid = to_regclass('partner') AND r.rolname = session_user
"""
