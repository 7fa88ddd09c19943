"""Who may use the desk: people and their roles, and the links that are good once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from billingsync.core.desk import LinkKind, Role
from billingsync.errors import UsageError
from billingsync.store.book import Book
from billingsync.store.database import read_as
from billingsync.store.schema import desk_link, desk_person, desk_session

PEOPLE = ("billingsync", "desk", "people")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """`password` is an Argon2id hash; None where none is set. `issuer` and `subject` are those of a person of SSO."""

    id: str
    email: str
    role: str
    password: str | None
    issuer: str | None
    subject: str | None
    made_at: datetime
    seen_at: datetime | None
    disabled_at: datetime | None

    @property
    def as_role(self) -> Role:
        return Role(self.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link that was good once: what it is for, and for whom."""

    kind: str
    person: str | None
    body: Mapping[str, Any]


def hashed(secret: str) -> str:
    """What is kept of a secret of 256 random bits: its SHA-256. It needs no salt, as nobody can guess it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def normal_email(text: str) -> str:
    """An address as people are found by it. UsageError for what is none."""
    email = text.strip().casefold()
    name, mark, host = email.partition("@")
    if not (name and mark and host) or len(email) > 254 or not email.isprintable() or " " in email or "@" in host:
        raise UsageError(f"{text!r:.80} is no e-mail address.", next_steps=[list(PEOPLE)])
    return email


class PeopleBook(Book):
    def people(self) -> tuple[Person, ...]:
        """Everybody, by e-mail address; who was disabled too."""
        with self.reading() as connection:
            rows = connection.execute(select(desk_person).where(desk_person.c.partner == self.name))
            return tuple(sorted((read_as(Person, row) for row in rows), key=lambda one: (one.email, one.id)))

    def person(self, id: str) -> Person | None:
        with self.reading() as connection:
            return find_person(connection, self.name, id=id)

    def person_by_email(self, email: str) -> Person | None:
        """The person who signs in here with that address, not one of SSO."""
        with self.reading() as connection:
            return find_person(connection, self.name, email=email.strip().casefold())

    def require_person(self, email: str) -> Person:
        """As `person_by_email`; UsageError where there is none."""
        found = self.person_by_email(normal_email(email))
        if found is None:
            raise UsageError(f"Nobody has the address {email!r:.80}.", next_steps=[list(PEOPLE)])
        return found

    def add_person(self, email: str, role: Role, *, who: str, now: datetime) -> Person:
        """Adds a person without a password. UsageError where the address is known."""
        address = normal_email(email)
        with self.writing() as connection:
            if find_person(connection, self.name, email=address):
                raise UsageError(f"{address} is there already.", next_steps=[[*PEOPLE, "link", address]])
            return self._add(connection, {"email": address, "role": role.value}, who, now)

    def person_of_issuer(
        self, issuer: str, subject: str, *, email: str, role: Role | None, now: datetime
    ) -> Person | None:
        """The person of an SSO sign-in, added or given the role that its claims say. None where neither a claim nor
        an earlier sign-in says who that is, or where the person was disabled."""
        with self.writing() as connection:
            found = find_person(connection, self.name, issuer=issuer, subject=subject)
            if found is None:
                if role is None:
                    return None
                row = {"email": email, "role": role.value, "issuer": issuer, "subject": subject}
                return self._add(connection, row, "the sign-in", now)
            if found.disabled_at is not None:
                return None
            if role is not None and role.value != found.role:
                self._set_role(connection, found, role, "the sign-in", now)
            return find_person(connection, self.name, id=found.id)

    def set_role(self, id: str, role: Role, *, who: str, now: datetime) -> None:
        """Gives a person another role, which ends the person's sessions. UsageError where no admin would be left."""
        with self.writing() as connection:
            person = find_person(connection, self.name, id=id)
            assert person is not None, id
            if role is not Role.ADMIN:
                self._keep_an_admin(connection, person)
            self._set_role(connection, person, role, who, now)

    def disable_person(self, id: str, *, who: str, now: datetime) -> None:
        """Shuts a person out at once. UsageError where no admin would be left."""
        with self.writing() as connection:
            person = find_person(connection, self.name, id=id)
            assert person is not None, id
            self._keep_an_admin(connection, person)
            mine = (desk_person.c.partner == self.name, desk_person.c.id == id)
            connection.execute(update(desk_person).where(*mine).values(disabled_at=now, password=None))
            end_sessions(connection, self.name, id)
            drop_links(connection, self.name, id)
            self.note(connection, "desk.person_disabled", {"person": person.email, "who": who}, now)

    def make_link(
        self,
        kind: LinkKind,
        *,
        person: str | None = None,
        body: Mapping[str, Any] | None = None,
        good_for: timedelta,
        now: datetime,
    ) -> str:
        """Makes the secret of a link. A person's earlier links of that kind end; so do all that are too old."""
        secret = secrets.token_urlsafe(32)
        with self.writing() as connection:
            connection.execute(delete(desk_link).where(desk_link.c.partner == self.name, desk_link.c.ends_at <= now))
            if person is not None:
                drop_links(connection, self.name, person)
            row = {"sha256": hashed(secret), "kind": kind.value, "person": person, "body": dict(body or {})}
            connection.execute(desk_link.insert().values(partner=self.name, ends_at=now + good_for, **row))
        return secret

    def look_at_link(self, secret: str, now: datetime) -> Link | None:
        """What a link is for, where it is still good. It stays good."""
        with self.reading() as connection:
            return find_link(connection, self.name, secret, now)

    def use_link(self, secret: str, kind: LinkKind, now: datetime) -> Link | None:
        """Uses a link up. None where it is not good, or was used in the meantime."""
        with self.writing() as connection:
            found = find_link(connection, self.name, secret, now)
            if found is None or found.kind != kind:
                return None
            mine = (desk_link.c.partner == self.name, desk_link.c.sha256 == hashed(secret))
            connection.execute(delete(desk_link).where(*mine))
            return found

    def set_password(self, id: str, password: str, *, who: str, now: datetime) -> None:
        """Keeps a new password's hash and ends the person's sessions."""
        with self.writing() as connection:
            mine = (desk_person.c.partner == self.name, desk_person.c.id == id)
            connection.execute(update(desk_person).where(*mine).values(password=password, disabled_at=None))
            end_sessions(connection, self.name, id)
            drop_links(connection, self.name, id)
            self.note(connection, "desk.password_set", {"person": id, "who": who}, now)

    def _add(self, connection: Connection, row: dict[str, Any], who: str, now: datetime) -> Person:
        id = secrets.token_hex(8)
        connection.execute(desk_person.insert().values(partner=self.name, id=id, made_at=now, **row))
        said = {"person": row["email"], "role": row["role"], "who": who}
        self.note(connection, "desk.person_added", said, now)
        found = find_person(connection, self.name, id=id)
        assert found is not None
        return found

    def _set_role(self, connection: Connection, person: Person, role: Role, who: str, now: datetime) -> None:
        mine = (desk_person.c.partner == self.name, desk_person.c.id == person.id)
        connection.execute(update(desk_person).where(*mine).values(role=role.value))
        end_sessions(connection, self.name, person.id)
        said = {"person": person.email, "before": person.role, "after": role.value, "who": who}
        self.note(connection, "desk.role_changed", said, now)

    def _keep_an_admin(self, connection: Connection, person: Person) -> None:
        """Somebody must be able to let others in; one who signs in with a password, should the issuer be away."""
        admins = select(func.count()).where(
            desk_person.c.partner == self.name,
            desk_person.c.role == Role.ADMIN.value,
            desk_person.c.disabled_at.is_(None),
            desk_person.c.issuer.is_(None),
            desk_person.c.id != person.id,
        )
        if person.role == Role.ADMIN and person.issuer is None and not connection.scalar(admins):
            raise UsageError(
                f"{person.email} is the only admin who can sign in with a password. Make another admin first.",
                next_steps=[[*PEOPLE, "add", "EMAIL", "--role", "admin"]],
            )


def find_person(connection: Connection, name: str, **wanted: str) -> Person | None:
    """A person by id, by (issuer, subject), or by e-mail address among those who sign in here."""
    query = select(desk_person).where(desk_person.c.partner == name)
    for column, value in wanted.items():
        query = query.where(desk_person.c[column] == value)
    if "email" in wanted:
        query = query.where(desk_person.c.issuer.is_(None))
    row = connection.execute(query).first()
    return None if row is None else read_as(Person, row)


def end_sessions(connection: Connection, name: str, person: str) -> None:
    """Ends every session of a person."""
    connection.execute(delete(desk_session).where(desk_session.c.partner == name, desk_session.c.person == person))


def drop_links(connection: Connection, name: str, person: str) -> None:
    """Ends every link of a person."""
    connection.execute(delete(desk_link).where(desk_link.c.partner == name, desk_link.c.person == person))


def find_link(connection: Connection, name: str, secret: str, now: datetime) -> Link | None:
    """A link that is still good."""
    mine = (desk_link.c.partner == name, desk_link.c.sha256 == hashed(secret), desk_link.c.ends_at > now)
    row = connection.execute(select(desk_link).where(*mine)).first()
    return None if row is None else Link(kind=row.kind, person=row.person, body=row.body)
