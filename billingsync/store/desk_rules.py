"""Rules that people write on the desk: every version is kept, the last of each company counts [DR1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from billingsync.store.book import Book
from billingsync.store.mappings import find_company_matches
from billingsync.store.schema import desk_rules, plan, plan_client, plan_head, rule_name

if TYPE_CHECKING:
    from billingsync.core.rules import DeskRules


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskText:
    """A text to be kept over version `version` (0 where there was none). "" says nothing any more."""

    company_id: str
    company_name: str
    client_id: int | None
    version: int
    text: str


class DeskRulesBook(Book):
    def desk_rules(self) -> tuple[DeskRules, ...]:
        """What counts now, those of all clients first. `client_id` is whom the company is billed as by now, and
        `company_name` what it is called by now, not on the day when they were saved: a file that names that client or
        company is theirs too, and one that is about whoever took over its old name is not."""
        with self.reading() as connection:
            rows = [row for row in newest(connection, self.name).values() if row.text]
            some = any(row.company_id for row in rows)
            matches = find_company_matches(connection, self.name) if some else {}
            bound, called = _names(connection, self.name) if some else ({}, {})
        billed = {id_: match.client_id for id_, match in matches.items() if match.client_id is not None}
        found = []
        for row in rows:
            name = called.get(row.company_id, row.company_name)
            found.append(
                replace(
                    row,
                    client_id=billed.get(row.company_id, row.client_id),
                    company_name=name if bound.get(name, row.company_id) == row.company_id else "",
                    other_names=tuple(text for text, target in bound.items() if target == row.company_id),
                )
            )
        return tuple(found)

    def desk_rules_history(self, company_id: str) -> tuple[tuple[DeskRules, str], ...]:
        """Every version of one company's ("": of all clients') and its reason, oldest first."""
        mine = (desk_rules.c.partner == self.name, desk_rules.c.company_id == company_id)
        with self.reading() as connection:
            rows = connection.execute(select(desk_rules).where(*mine).order_by(desk_rules.c.version)).all()
        return tuple((_rules(row), row.reason) for row in rows)

    def save_desk_rules(self, texts: Sequence[DeskText], *, who: str, reason: str, now: datetime) -> bool:
        """Keeps these texts, each as the next version, all or none. False where somebody else wrote one meanwhile."""
        with self.writing() as connection:
            known = newest(connection, self.name)
            versions = {company: row.version for company, row in known.items()}
            if any(versions.get(one.company_id, 0) != one.version for one in texts):
                return False
            for one in texts:
                before = known[one.company_id].text if one.company_id in known else ""
                row: Mapping[str, Any] = {
                    "company_id": one.company_id,
                    "company_name": one.company_name,
                    "client_id": one.client_id,
                    "version": one.version + 1,
                    "text": one.text,
                    "who": who,
                    "reason": reason,
                }
                connection.execute(desk_rules.insert().values(partner=self.name, at=now, **row))
                said = {name: value for name, value in row.items() if name != "text"}
                self.note(connection, "desk_rules", {**said, "before": before, "after": one.text}, now)
        return True

    def desk_rules_version(self, company_id: str) -> int:
        """The last version of a company's, 0 where none was ever written."""
        mine = (desk_rules.c.partner == self.name, desk_rules.c.company_id == company_id)
        with self.reading() as connection:
            return int(connection.scalar(select(func.max(desk_rules.c.version)).where(*mine)) or 0)


def _names(connection: Connection, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The names that are bound in the rules [C4], with their companies; and what the newest plan calls each company."""
    texts = select(rule_name.c.text, rule_name.c.target).where(
        rule_name.c.partner == name, rule_name.c.kind == "company"
    )
    bound = {row.text: row.target for row in connection.execute(texts)}
    last = (
        select(plan.c.digest)
        .join(plan_head, (plan_head.c.partner == plan.c.partner) & (plan_head.c.digest == plan.c.digest))
        .where(plan.c.partner == name, plan.c.asked == [])
        .order_by(plan_head.c.made_at.desc(), plan.c.digest)
        .limit(1)
    )
    called = select(plan_client.c.company_id, plan_client.c.company_name).where(
        plan_client.c.partner == name, plan_client.c.digest == last.scalar_subquery()
    )
    return bound, {row.company_id: row.company_name for row in connection.execute(called)}


def newest(connection: Connection, name: str) -> dict[str, DeskRules]:
    """The last version of each company's, by company, those of all clients first."""
    query = select(desk_rules).where(desk_rules.c.partner == name)
    rows = connection.execute(query.order_by(desk_rules.c.company_id, desk_rules.c.version))
    return {row.company_id: _rules(row) for row in rows}


def _rules(row: Any) -> DeskRules:
    from billingsync.core.rules import DeskRules

    return DeskRules(
        company_id=row.company_id,
        company_name=row.company_name,
        client_id=row.client_id,
        version=row.version,
        text=row.text,
        who=row.who,
        at=row.at,
    )
