"""Browsers that are signed in to the desk, and failures to sign in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update

from billingsync.core.desk import SignIn
from billingsync.store.book import Book
from billingsync.store.database import insert
from billingsync.store.people import Person, find_person, hashed
from billingsync.store.schema import desk_attempt, desk_person, desk_session

SEEN_EVERY = timedelta(minutes=1)  # so that not each click is a commit
WINDOW = timedelta(minutes=15)  # failures that are further apart are not counted together
FIRST_WAIT = timedelta(seconds=30)  # after the last failure that is free; doubles with each one more
LONGEST_WAIT = timedelta(minutes=15)  # nobody is locked out for good
FREE_FAILURES = {"account": 5, "address": 20}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session and its person. `id` is short and no secret: it names the session in the journal."""

    sha256: str
    person: Person
    how: str
    made_at: datetime
    seen_at: datetime
    address: str
    agent: str

    @property
    def id(self) -> str:
        return self.sha256[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """After how long a session ends, however it is used, and without a click."""

    absolute: timedelta
    idle: timedelta


class SessionBook(Book):
    def start_session(self, person: Person, how: SignIn, *, address: str, agent: str, now: datetime) -> str:
        """Signs a person in, and gives the secret for the browser. Journalled."""
        secret = secrets.token_urlsafe(32)
        row = {"sha256": hashed(secret), "person": person.id, "how": how.value, "made_at": now, "seen_at": now}
        with self.writing() as connection:
            connection.execute(
                desk_session.insert().values(partner=self.name, address=address, agent=agent[:200], **row)
            )
            mine = (desk_person.c.partner == self.name, desk_person.c.id == person.id)
            connection.execute(update(desk_person).where(*mine).values(seen_at=now))
            said = {"person": person.email, "how": how.value, "session": hashed(secret)[:8], "address": address}
            self.note(connection, "desk.signed_in", said, now)
        return secret

    def session(self, secret: str, limits: SessionLimits, now: datetime) -> Session | None:
        """The session of a browser's secret, where it has not ended and its person was not disabled."""
        mine = (desk_session.c.partner == self.name, desk_session.c.sha256 == hashed(secret))
        with self.reading() as connection:
            row = connection.execute(select(desk_session).where(*mine)).first()
            person = None if row is None else find_person(connection, self.name, id=row.person)
        if row is None or person is None or person.disabled_at is not None:
            return None
        if now >= row.made_at + limits.absolute or now >= row.seen_at + limits.idle:
            return None
        if now - row.seen_at >= SEEN_EVERY:
            with self.database.writing() as connection:
                connection.execute(update(desk_session).where(*mine).values(seen_at=now))
        return Session(
            sha256=row.sha256,
            person=person,
            how=row.how,
            made_at=row.made_at,
            seen_at=row.seen_at,
            address=row.address,
            agent=row.agent,
        )

    def sessions(self, person: str, limits: SessionLimits, now: datetime) -> tuple[Session, ...]:
        """A person's sessions that have not ended, the newest first."""
        mine = (desk_session.c.partner == self.name, desk_session.c.person == person)
        with self.reading() as connection:
            rows = connection.execute(select(desk_session).where(*mine).order_by(desk_session.c.made_at.desc())).all()
            whose = find_person(connection, self.name, id=person)
        assert whose is not None or not rows
        return tuple(
            Session(
                sha256=row.sha256,
                person=whose,
                how=row.how,
                made_at=row.made_at,
                seen_at=row.seen_at,
                address=row.address,
                agent=row.agent,
            )
            for row in rows
            if whose is not None and now < row.made_at + limits.absolute and now < row.seen_at + limits.idle
        )

    def end_session(self, sha256: str, *, who: str, now: datetime) -> None:
        """Ends one session. Journalled."""
        mine = (desk_session.c.partner == self.name, desk_session.c.sha256 == sha256)
        with self.writing() as connection:
            if connection.execute(delete(desk_session).where(*mine)).rowcount:
                self.note(connection, "desk.signed_out", {"session": sha256[:8], "who": who}, now)

    def end_sessions(self, person: str, *, but: str, who: str, now: datetime) -> None:
        """Ends a person's sessions, all `but` one. Journalled."""
        mine = (desk_session.c.partner == self.name, desk_session.c.person == person, desk_session.c.sha256 != but)
        with self.writing() as connection:
            ended = connection.execute(delete(desk_session).where(*mine)).rowcount
            self.note(connection, "desk.signed_out", {"person": person, "sessions": ended, "who": who}, now)

    def note_act(self, what: str, said: dict[str, Any], now: datetime) -> None:
        """Something that a person did on the desk, for the journal."""
        with self.writing() as connection:
            self.note(connection, f"desk.{what}", said, now)

    # Failures --------------------------------------------------------------------------------------------------------

    def sign_in_waits(self, account: str, address: str, now: datetime) -> timedelta:
        """How long this account and this address have to wait before the next try; zero where not at all."""
        subjects = (f"account {account}", f"address {address}")
        query = select(desk_attempt.c.wait_until).where(
            desk_attempt.c.partner == self.name, desk_attempt.c.subject.in_(subjects)
        )
        with self.reading() as connection:
            until: list[datetime] = [moment for moment in connection.execute(query).scalars() if moment is not None]
        return max([timedelta(0), *(moment - now for moment in until)])

    def note_failure(self, account: str, address: str, now: datetime) -> None:
        """A sign-in failed: counted for the account and for the address, and journalled."""
        with self.writing() as connection:
            for kind, value in (("account", account), ("address", address)):
                subject = f"{kind} {value}"
                mine = (desk_attempt.c.partner == self.name, desk_attempt.c.subject == subject)
                row = connection.execute(select(desk_attempt).where(*mine)).first()
                fresh = row is None or now - max(row.first_at, row.wait_until or row.first_at) >= WINDOW
                failures = 1 if fresh or row is None else row.failures + 1
                over = failures - FREE_FAILURES[kind]
                wait = min(FIRST_WAIT * 2 ** min(over, 10), LONGEST_WAIT) if over >= 0 else None
                put = insert(connection, desk_attempt).values(
                    partner=self.name,
                    subject=subject,
                    failures=failures,
                    first_at=now if fresh or row is None else row.first_at,
                    wait_until=None if wait is None else now + wait,
                )
                replaced = {name: put.excluded[name] for name in ("failures", "first_at", "wait_until")}
                connection.execute(put.on_conflict_do_update(index_elements=["partner", "subject"], set_=replaced))
            self.note(connection, "desk.sign_in_failed", {"account": account[:254], "address": address}, now)

    def forget_failures(self, account: str, now: datetime) -> None:
        """The account signed in: its failures count no more, nor do any that are long past."""
        with self.database.writing() as connection:
            mine = desk_attempt.c.partner == self.name
            connection.execute(delete(desk_attempt).where(mine, desk_attempt.c.subject == f"account {account}"))
            connection.execute(delete(desk_attempt).where(mine, desk_attempt.c.first_at < now - timedelta(days=1)))
