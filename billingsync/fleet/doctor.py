"""Is the fleet as it must be? One line a check, each that is wrong with its remedy."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from sqlalchemy import make_url, text

from billingsync import __version__
from billingsync.errors import BillingSyncError, ConfigurationError, FleetError
from billingsync.fleet.engines import conninfo_of, counts_of, make_engine, require_prepared
from billingsync.fleet.fleet_file import read_fleet_file
from billingsync.fleet.layout import FLEET
from billingsync.fleet.published import published_files, published_settings, write_rules
from billingsync.redaction import Redactor
from billingsync.rulebook.file import read_rules_text
from billingsync.settings import Settings
from billingsync.setup.doctor import Check, examine_side
from billingsync.store.fleet import Fleet, open_fleet
from billingsync.store.fleet_state import Standing, standing
from billingsync.store.isolation import APP, isolation
from billingsync.store.upgrade import current

HEARD_S = 3.0  # how long a notification may be under way
MOST_SKEW = timedelta(seconds=300)
SAMPLE = 3  # partners whose secrets and logins are tried
_CHANNEL = "billingsync_doctor"
_DIRECT = (
    "The worker's queue is told of new work by LISTEN and NOTIFY. Give workers PostgreSQL's own address in "
    "BILLINGSYNC_DATABASE_URL, not the pooler's, or set pool_mode = session for them."
)
_URL = "BILLINGSYNC_DATABASE_URL"
_ROLES = (
    "Have an administrator make the roles as docs/fleet.md says under Rows of one partner. Then type, as the owner of "
    "the tables:  billingsync db upgrade"
)
_MEND = "Mend what the sentence says, and run fleet doctor again."


def examine_fleet(machine: Settings, partner: str = "") -> list[Check]:
    """Every check, a failed one does not stop the others; of `partner` alone, or of a sample. UsageError for a partner
    that the fleet does not know."""
    url = machine.database_url
    checks = _guarded("database", lambda: _database(url))
    if any(one.state == "fail" for one in checks):
        return checks
    checks += _guarded("pooler", lambda: _pooler(url))
    checks += _guarded("engine", lambda: _engine(url))
    with open_fleet(url) as fleet:
        checks += _guarded("rows", lambda: _rows(fleet))
        found = standing(fleet)
        checks += _guarded("published", lambda: _published(fleet, found))
        checks += _guarded("workers", lambda: _workers(found))
        checks += _guarded("clocks", lambda: _clocks(found))
        for name in [partner] if partner else sample_of(found):
            checks += _guarded(name, lambda name=name: _partner(machine, fleet, found, name))  # type: ignore[misc]  # called at once
    return checks


def verdict(checks: Sequence[Check]) -> str:
    """One sentence: may this fleet work?"""
    wrong = sum(check.state == "fail" for check in checks)
    look = sum(check.state == "warn" for check in checks)
    worth = f" {look} {'point is' if look == 1 else 'points are'} worth a look." if look else ""
    if wrong:
        return f"Not well: {wrong} {'check is' if wrong == 1 else 'checks are'} WRONG.{worth}"
    return f"Well.{worth} Next:  billingsync fleet status"


def sample_of(found: Standing) -> list[str]:
    """A few partners that work is done for: the first, the last, and one between."""
    names = sorted(one.name for one in found.partners if one.due_at is not None or one.working)
    return sorted({names[0], names[len(names) // 2], names[-1]}) if names else []


def _guarded(name: str, look: Callable[[], Iterator[Check]]) -> list[Check]:
    found: list[Check] = []
    try:
        found.extend(look())
    except BillingSyncError as wrong:
        step = tuple(wrong.next_steps[0]) if wrong.next_steps else ()
        says = wrong.message.replace("\n", "; ")
        found.append(Check(name=name, state="fail", says=says, next_step=step, remedy="" if step else _MEND))
    except psycopg.Error as failed:
        says = f"the database refused: {type(failed).__name__}"
        remedy = "Look into PostgreSQL's own log, and at the rights of the role in BILLINGSYNC_DATABASE_URL."
        found.append(Check(name=name, state="fail", says=says, remedy=remedy))
    return found


def _database(url: str) -> Iterator[Check]:
    have, wanted = current(url)
    with open_fleet(url) as fleet:
        fleet.database.assert_durable()
        with fleet.database.reading() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
    says = f"PostgreSQL {version} at {make_url(url).render_as_string()}, durable, schema {have or wanted}"
    yield Check(name="database", state="ok", says=says)


def _rows(fleet: Fleet) -> Iterator[Check]:
    """Whether PostgreSQL keeps each partner's rows apart [F6]. Nothing is wrong without, it only guards less."""
    with fleet.database.reading() as connection:
        found = isolation(connection)
    on, off, sign_in = "row-level security is on", "row-level security is off", f"Put {APP}'s name and password into"
    if found.exposed and found.missing:
        roles = " and ".join(found.missing)
        yield Check(name="rows", state="warn", says=f"{off}: PostgreSQL has no role {roles}", remedy=_ROLES)
    elif found.exposed:
        tables = f"{len(found.exposed)} of {len(found.exposed) + len(found.apart)} tables, e.g. {found.exposed[0]}"
        says = f"{off} for {tables}, though its roles are there; to be turned on as {found.owner}, who owns them"
        yield Check(name="rows", state="warn", says=says, next_step=("billingsync", "db", "upgrade"))
    elif found.sees_everything:
        says = f"{on}, but {found.user} signs in here, a superuser or a role with BYPASSRLS, and sees everything"
        yield Check(name="rows", state="warn", says=says, remedy=f"{sign_in} {_URL}.")
    elif found.user == found.owner:
        says = f"{on}, but {found.user} signs in here, owns the tables, and could turn it off"
        yield Check(name="rows", state="warn", says=says, remedy=f"{sign_in} {_URL}; the owner is for db upgrade.")
    else:
        says = f"{on} for all {len(found.apart)} tables with partners' rows, and {found.user} cannot turn it off"
        yield Check(name="rows", state="ok", says=says)


def _pooler(url: str) -> Iterator[Check]:
    """Whether a pooler stands between, and whether what the adapter needs of PostgreSQL gets through it."""
    conninfo = conninfo_of(url)
    with psycopg.connect(conninfo, autocommit=True) as listening, psycopg.connect(conninfo, autocommit=True) as telling:
        row = listening.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        # A pooler tells a process of its own making, or of another server's connection.
        pooled = row[0] != listening.info.backend_pid
        listening.execute(f"LISTEN {_CHANNEL}")
        telling.execute("SELECT pg_notify(%s, 'x')", [_CHANNEL])
        heard = any(True for _ in listening.notifies(timeout=HEARD_S, stop_after=1))
    if not heard:
        who = "a pooler in transaction mode stands before PostgreSQL" if pooled else "notifications do not arrive"
        yield Check(name="pooler", state="fail", says=f"{who}: LISTEN does not work here", remedy=_DIRECT)
    elif pooled:
        yield Check(name="pooler", state="ok", says="a pooler stands before PostgreSQL, and passes on LISTEN")
    else:
        yield Check(name="pooler", state="ok", says="none: this is PostgreSQL itself, and LISTEN works")


def _engine(url: str) -> Iterator[Check]:
    engine = make_engine(url)
    require_prepared(engine)
    counts = asyncio.run(counts_of(engine))
    says = f"pgqueuer, {counts['queued']} queued, {counts['running']} running"
    if counts["queued"] and counts["oldest_s"] > 900:
        says += f"; the oldest waits {counts['oldest_s'] // 60} minutes"
        yield Check(name="engine", state="warn", says=f"{says}: more slots or workers would help")
    else:
        yield Check(name="engine", state="ok", says=says)


def _published(fleet: Fleet, found: Standing) -> Iterator[Check]:
    if not found.version:
        raise FleetError(["nothing is published yet"], next_steps=[["billingsync", "fleet", "apply", "--dry-run"]])
    own, problems, _ = read_fleet_file(read_rules_text(FLEET, fleet.settings_of(found.version)))
    if own is None:
        step = [["billingsync", "fleet", "apply", "--dry-run"]]
        raise FleetError([f"{FLEET} is refused by this release: {problems[0]}"], next_steps=step)
    yield Check(name="published", state="ok", says=f"version {found.version}, {len(found.partners)} partners")
    wrong = [one.name for one in found.partners if one.problems]
    if wrong:
        says = f"the newest files of {len(wrong)} partners are wrong and were not published, e.g. {wrong[0]}"
        yield Check(name="published", state="warn", says=says, next_step=("billingsync", "fleet", "check"))


def _workers(found: Standing) -> Iterator[Check]:
    living = found.living
    if not living:
        says = "none is at work"
        yield Check(name="workers", state="fail", says=says, next_step=("billingsync", "fleet", "worker"))
        return
    versions = sorted({one.version for one in living})
    slots = sum(one.slots for one in living)
    yield Check(name="workers", state="ok", says=f"{len(living)} with {slots} slots, of version {', '.join(versions)}")
    if versions != [__version__]:
        says = f"not all are of this version, {__version__}: replace them one by one"
        oldest = min(living, key=lambda one: (one.version == __version__, one.name))
        step = ("billingsync", "fleet", "drain", oldest.name)
        yield Check(name="workers", state="warn", says=says, next_step=step)
    for one in found.workers:
        if one not in living:
            says = f"{one.name} was last seen {one.seen_at:%Y-%m-%d %H:%MZ}"
            yield Check(name="workers", state="warn", says=says, remedy="Start it again, if it should work.")
        elif one.says:
            yield Check(name="workers", state="fail", says=f"{one.name} begins nothing: {one.says}", remedy=_MEND)


def _clocks(found: Standing) -> Iterator[Check]:
    ahead = datetime.now(UTC) - found.at
    says = f"this machine's and the database's differ by {abs(ahead.total_seconds()):.0f} s"
    if abs(ahead) > MOST_SKEW:
        yield Check(name="clocks", state="fail", says=says, next_step=("timedatectl",))
    else:
        yield Check(name="clocks", state="ok", says=says)


def _partner(machine: Settings, fleet: Fleet, found: Standing, name: str) -> Iterator[Check]:
    """One partner's secrets, and both of its logins."""
    files = published_files(fleet, name, found.version)
    with tempfile.TemporaryDirectory(prefix="billingsync-") as folder:
        rules = Path(folder) / write_rules(files, name, Path(folder))
        try:
            settings = published_settings(files, name, machine, secrets=True)
        except ConfigurationError as wrong:
            says, remedy = "; ".join(wrong.problems), "Put the secrets where fleet.toml says, see docs/fleet.md."
            steps = wrong.next_steps
            yield Check(
                name=f"{name} secrets",
                state="fail",
                says=says,
                next_step=tuple(steps[0]) if steps else (),
                remedy="" if steps else remedy,
            )
            return
        settings = settings.model_copy(update={"partner": name, "rules_dir": rules})
        yield Check(name=f"{name} secrets", state="ok", says="all there")
        redactor = Redactor(settings.secrets())
        for side in ("pax8", "halo"):
            for one in examine_side(settings, redactor, side):
                yield Check(
                    name=f"{name} {one.name}",
                    state=one.state,
                    says=one.says,
                    next_step=one.next_step,
                    remedy=one.remedy,
                )
