"""Plans that were shown, and what people approved of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from billingsync.core.period import Period
from billingsync.errors import LedgerError, UsageError
from billingsync.store.book import Book
from billingsync.store.columns import zipped
from billingsync.store.packing import parsed
from billingsync.store.plan_rows import PlanRows, add_plan_rows, plan_made_again
from billingsync.store.schema import journal, plan, plan_inputs

SHORTEST_PREFIX = 6
OF = "$of"  # the digest of the plan where the rest of the inputs is kept
_ENTRY = (plan.c.digest, plan.c.period, plan.c.rules_digest, plan.c.asked, plan.c.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEntry:
    """A plan in a list. `asked` are the companies of --client; empty means all."""

    digest: str
    period: str
    rules_digest: str
    asked: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan(PlanEntry):
    """`document` is the plan as it was shown (JSON)."""

    document: str


class PlanBook(Book):
    def save_plan(
        self,
        *,
        digest: str,
        period: Period,
        rules_digest: str,
        asked: Sequence[str],
        document: Iterable[str],
        now: datetime,
        rows: PlanRows | None = None,
        inputs: Iterable[bytes] | None = None,
    ) -> bool:
        """Keeps a plan, its document and its inputs in pieces, and its rows for pages. The same digest is the same
        plan, and is kept as it was first shown. False where it was."""
        with self.writing(fresh=True) as connection:
            is_new = not plan_exists(connection, self.name, digest)
            if is_new:
                sha256 = hashlib.sha256()
                row = {"digest": digest, "period": str(period), "rules_digest": rules_digest, "asked": list(asked)}
                kept = zipped(_hashed(document, sha256))
                add_plan(connection, self.name, row | {"document": kept, "created_at": now})
                if rows is not None:
                    add_plan_rows(connection, self.name, digest, rows, now)
                if inputs is not None:
                    values = {"partner": self.name, "digest": digest, "body": zipped(inputs)}
                    connection.execute(plan_inputs.insert().values(**values))
                self.note(connection, "plan", row | {"document_sha256": sha256.hexdigest()}, now)
            else:
                plan_made_again(connection, self.name, digest, rows, now)
        return is_new

    def save_rules(self, digest: str, files: Mapping[str, str], now: datetime) -> None:
        """Keeps the text of the rules of this digest, by path, in the journal: what decided, as it was written. The
        same texts are kept once."""
        said = dict(sorted(files.items()))
        with self.writing() as connection:
            if said not in find_rules(connection, self.name, digest):
                self.note(connection, "rules", {"digest": digest, "files": said}, now)

    def rules_texts(self, digest: str) -> tuple[dict[str, str], ...]:
        """The texts that had this digest: several where only comments changed."""
        with self.reading() as connection:
            return find_rules(connection, self.name, digest)

    def find_plan(self, prefix: str) -> SavedPlan:
        """The one plan whose digest begins with `prefix`. UsageError where none or several do, naming them."""
        with self.reading() as connection:
            entry = one_plan(connection, self.name, prefix)
            mine = (plan.c.partner == self.name, plan.c.digest == entry.digest)
            row = connection.execute(select(plan).where(*mine)).one()
        return SavedPlan(**_entry(row), document=row.document.decode())

    def plan_entry(self, prefix: str) -> PlanEntry:
        """As `find_plan`, without the document, which is large."""
        with self.reading() as connection:
            return one_plan(connection, self.name, prefix)

    def kept_inputs(self, digest: str) -> Mapping[str, Any] | None:
        """What that plan was made from, packed and parsed; None where an older version made it. What it has in common
        with the plan of which it was made anew is kept there."""
        query = select(plan_inputs.c.body).where(plan_inputs.c.partner == self.name, plan_inputs.c.digest == digest)
        with self.reading() as connection:
            body = connection.scalar(query)
        if body is None:
            return None
        found: dict[str, Any] = parsed(body)
        if OF not in found:
            return found
        other = self.kept_inputs(found[OF])
        if other is None:
            raise LedgerError(f"What plan {digest[:12]} was made from is not whole: {found[OF][:12]} is missing.")
        clients = [other["plan"]["clients"][one] if isinstance(one, int) else one for one in found["plan"]["clients"]]
        return {**other, **found, "plan": {**found["plan"], "clients": clients}}

    def has_inputs(self, digest: str) -> bool:
        """Whether that was kept."""
        query = select(plan_inputs.c.digest).where(plan_inputs.c.partner == self.name, plan_inputs.c.digest == digest)
        with self.reading() as connection:
            return connection.scalar(query) is not None

    def plans(self, period: Period | None = None) -> tuple[PlanEntry, ...]:
        """The plans of a period, or all, oldest first; without their documents, which are large."""
        with self.reading() as connection:
            return list_plans(connection, self.name, period)


def _hashed(pieces: Iterable[str], sha256: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        text = piece.encode()
        sha256.update(text)
        yield text


def find_rules(connection: Connection, name: str, digest: str) -> tuple[dict[str, str], ...]:
    """The rules texts of a digest that the journal has, oldest first."""
    query = select(journal.c.body).where(journal.c.partner == name, journal.c.kind == "rules")
    kept = [json.loads(body) for body in connection.execute(query.order_by(journal.c.seq)).scalars()]
    return tuple(entry["files"] for entry in kept if entry["digest"] == digest)


def add_plan(connection: Connection, name: str, row: dict[str, Any]) -> None:
    """Keeps a plan."""
    connection.execute(plan.insert().values(partner=name, **row))


def plan_exists(connection: Connection, name: str, digest: str) -> bool:
    """Whether that plan is kept already."""
    query = select(plan.c.digest).where(plan.c.partner == name, plan.c.digest == digest)
    return connection.scalar(query) is not None


def one_plan(connection: Connection, name: str, prefix: str) -> PlanEntry:
    """The plan whose digest (hexadecimal) begins so. UsageError where none or several do."""
    wanted = prefix.strip().lower()
    if not re.fullmatch(r"[0-9a-f]+", wanted) or len(wanted) < SHORTEST_PREFIX:
        raise UsageError(
            f"{prefix!r:.80} is not the digest of a plan: give {SHORTEST_PREFIX} or more of its digits (0-9, a-f).",
            next_steps=[["billingsync", "plan"]],
        )
    query = select(*_ENTRY).where(plan.c.partner == name, plan.c.digest.startswith(wanted)).order_by(plan.c.digest)
    found = [PlanEntry(**_entry(row)) for row in connection.execute(query)]
    if not found:
        raise UsageError(
            f"No plan's digest begins with {wanted}. Make a plan first.", next_steps=[["billingsync", "plan"]]
        )
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} plans begin with {wanted}: {', '.join(each.digest[:16] for each in found)}. "
            "Give more digits.",
            next_steps=[["billingsync", "post", each.digest] for each in found],
        )
    return found[0]


def list_plans(connection: Connection, name: str, period: Period | None) -> tuple[PlanEntry, ...]:
    """The plans of a period, or all, without their documents, oldest first."""
    query = select(*_ENTRY).where(plan.c.partner == name).order_by(plan.c.created_at, plan.c.digest)
    if period is not None:
        query = query.where(plan.c.period == str(period))
    return tuple(PlanEntry(**_entry(row)) for row in connection.execute(query))


def _entry(row: Any) -> dict[str, Any]:
    return {
        "digest": row.digest,
        "period": row.period,
        "rules_digest": row.rules_digest,
        "asked": tuple(row.asked),
        "created_at": row.created_at,
    }
