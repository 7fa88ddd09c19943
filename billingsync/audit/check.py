"""Whether what the ledger holds is what its journal says was written; the first entry that was altered, by name.

The journal's hashes prove its own entries. Everything else that is kept (sources, plans, postings, claims, decisions,
mappings, approvals, runs) is compared with the entry that speaks of it, so that no table can change unseen either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from billingsync.core.states import PostingState, RunState
from billingsync.store import schema
from billingsync.store.columns import from_json
from billingsync.store.journal import FIRST as NO_HASH
from billingsync.store.journal import Entry, entries, hash_of
from billingsync.store.ledger import Ledger
from billingsync.store.postings import FREE, RecordedPosting, find_postings, lines_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """`seq` is the journal entry that was altered, or that something else contradicts; None where none speaks of it."""

    seq: int | None
    kind: str
    at: str
    says: str

    def __str__(self) -> str:
        where = f"entry {self.seq} ({self.kind}, {self.at})" if self.seq is not None else f"no entry ({self.kind})"
        return f"{where}: {self.says}"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    problems: tuple[Problem, ...]  # by entry, those of no entry last
    checked: Mapping[str, int]


@dataclass(slots=True)
class _Story:
    """What the journal says, by what it speaks of: the entries as they followed."""

    by_kind: dict[str, list[tuple[Entry, dict[str, Any]]]] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[tuple[Entry, dict[str, Any]]]:
        found = [each for kind in kinds for each in self.by_kind.get(kind, [])]
        return sorted(found, key=lambda each: each[0].seq)

    def last(self, kinds: Iterable[str], **wanted: object) -> tuple[Entry, dict[str, Any]] | None:
        found = [each for each in self.of(*kinds) if all(each[1].get(name) == value for name, value in wanted.items())]
        return found[-1] if found else None


def verify(ledger: Ledger) -> Verdict:
    """Reads everything the partner has, in one consistent view."""
    name = ledger.name
    with ledger.reading() as connection:
        journal = entries(connection, name)
        problems = list(_chain(journal, ledger.key_name))
        story = _Story()
        for entry in journal:
            try:
                body = from_json(entry.body)
            except ValueError:
                continue  # its hash has told already
            if isinstance(body, dict):
                story.by_kind.setdefault(entry.kind, []).append((entry, body))
        postings = find_postings(connection, name)
        documents = list(_documents(connection, name, story))
        problems += [problem for problem in documents if problem is not None]
        for check in (_plans, _approvals, _matches, _decisions, _runs):
            problems += check(connection, name, story)
        problems += _postings(connection, name, story, postings)
    problems.sort(key=lambda problem: (problem.seq is None, problem.seq or 0))
    checked = {"journal entries": len(journal), "source documents": len(documents), "postings": len(postings)}
    return Verdict(problems=tuple(problems), checked=checked)


def _chain(journal: Iterable[Entry], key_name: str) -> Iterator[Problem]:
    """The entries that are not what was written, or that do not follow the one before."""
    previous = NO_HASH
    for place, entry in enumerate(journal, start=1):
        true = hash_of(key_name, entry.seq, entry.at, entry.kind, entry.body, entry.previous)
        if entry.hash != true:
            yield _at(entry, "its content does not give its hash")
        elif entry.seq != place:
            yield _at(entry, f"entry {place} is missing before it")
            return
        elif entry.previous != previous:
            yield _at(entry, "it does not follow the entry before it")
        previous = entry.hash


def _at(entry: Entry, says: str) -> Problem:
    return Problem(seq=entry.seq, kind=entry.kind, at=entry.at, says=says)


def _alone(kind: str, says: str) -> Problem:
    return Problem(seq=None, kind=kind, at="", says=says)


def _documents(connection: Connection, name: str, story: _Story) -> Iterator[Problem | None]:
    """One value for each source document: None where it is well; then those that are missing."""
    told = {sha: entry for entry, body in story.of("source") for sha in body.get("sha256", [])}
    table = schema.source_document
    seen = set()
    for row in connection.execute(select(table).where(table.c.partner == name)):
        seen.add(row.sha256)
        what = f"the source {row.kind} {row.invoice_id} page {row.page} of {row.period}".replace("  ", " ")
        true = hashlib.sha256(row.body).hexdigest()
        if true != row.sha256:
            entry = told.get(row.sha256)
            says = f"{what} is not what Pax8 sent: SHA-256 {true[:16]}… instead of {row.sha256[:16]}…"
            yield _at(entry, says) if entry else _alone("source", says)
        elif row.sha256 not in told:
            yield _alone("source", f"{what} was never read from Pax8")
        else:
            yield None
    forgotten = {sha: entry.seq for entry, body in story.of("source.forgotten") for sha in body.get("sha256", [])}
    for sha, entry in told.items():
        if sha not in seen and forgotten.get(sha, -1) < entry.seq:  # retention let it go, after it was read
            yield _at(entry, f"the source document {sha[:16]}… is gone")


def _plans(connection: Connection, name: str, story: _Story) -> Iterator[Problem]:
    table = schema.plan
    told = {body["digest"]: (entry, body) for entry, body in story.of("plan")}
    seen = set()
    for row in connection.execute(select(table).where(table.c.partner == name)):
        seen.add(row.digest)
        if row.digest not in told:
            yield _alone("plan", f"the plan {row.digest[:12]} was never made")
            continue
        entry, body = told[row.digest]
        if body["rules_digest"] != row.rules_digest or body["period"] != row.period:
            yield _at(entry, f"the plan {row.digest[:12]} is of another month or other rules")
        if body.get("document_sha256") not in (None, hashlib.sha256(row.document).hexdigest()):
            yield _at(entry, f"the document of plan {row.digest[:12]} is not what was shown")
    yield from (
        _at(entry, f"the plan {digest[:12]} is gone") for digest, (entry, _) in told.items() if digest not in seen
    )


def _approvals(connection: Connection, name: str, story: _Story) -> Iterator[Problem]:
    table = schema.approval
    yield from _compared(
        connection, story, table, name, kind="approval", key=("digest", "client"), fields=("reason", "who")
    )
    key = ("digest", "client", "currency", "kind")
    fields = ("period", "facts", "reason", "who")
    yield from _compared(connection, story, schema.decision, name, kind="decision", key=key, fields=fields)


def _matches(connection: Connection, name: str, story: _Story) -> Iterator[Problem]:
    fields = ("client_id", "how", "company_name", "confirmed", "who")
    yield from _compared(
        connection, story, schema.company_match, name, kind="match.company", key=("company_id",), fields=fields
    )
    yield from _compared(
        connection, story, schema.item_match, name, kind="match.item", key=("sku",), fields=("item_id", "who")
    )
    table = schema.installation
    yield from _compared(
        connection,
        story,
        table,
        name,
        kind="installation.adopted",
        key=("id",),
        fields=("who",),
        names={"id": "installation"},
    )


def _compared(
    connection: Connection,
    story: _Story,
    table: Any,
    name: str,
    *,
    kind: str,
    key: tuple[str, ...],
    fields: tuple[str, ...],
    names: Mapping[str, str] | None = None,
) -> Iterator[Problem]:
    """Rows against the last entry of their kind that speaks of them, and the other way round."""
    names = names or {}
    told = {tuple(body.get(names.get(one, one)) for one in key): (entry, body) for entry, body in story.of(kind)}
    seen = set()
    for row in connection.execute(select(table).where(table.c.partner == name)):
        values = row._mapping
        which = tuple(values[one] for one in key)
        seen.add(which)
        what = f"{table.name} {' '.join(map(str, which))}"
        if which not in told:
            yield _alone(kind, f"{what} was made by nobody")
            continue
        entry, body = told[which]
        wrong = [one for one in fields if one in body and body[one] != values[one]]
        if wrong:
            yield _at(entry, f"{what} has another {', '.join(wrong)} than was decided")
    yield from (
        _at(entry, f"{table.name} {' '.join(map(str, which))} is gone")
        for which, (entry, _) in told.items()
        if which not in seen
    )


def _decisions(connection: Connection, name: str, story: _Story) -> Iterator[Problem]:
    """What was dropped or excluded: the first decision about a charge counts, until it is forgotten."""
    told: dict[str, tuple[Entry, list[str]]] = {}
    lists = True
    for entry, body in story.of("settled", "unsettled"):
        if entry.kind == "unsettled":
            for charge in body["charges"]:
                told.pop(charge, None)
            continue
        lists = lists and "decisions" in body
        for said in body.get("decisions", []):
            told.setdefault(said[0], (entry, said))
    table = schema.settled
    seen = set()
    for row in connection.execute(select(table).where(table.c.partner == name)):
        seen.add(row.charge)
        if row.charge not in told:
            if lists:  # entries of old versions name no charges
                yield _alone("settled", f"the charge {row.charge} was never {row.state}")
            continue
        entry, said = told[row.charge]
        if [*said[1:3], *map(Decimal, said[3:])] != [row.state, row.by, row.price, row.cost]:
            yield _at(
                entry, f"the charge {row.charge} is {row.state} by {row.by} at {row.price}, which was not decided"
            )
    yield from (
        _at(entry, f"the decision about charge {charge} is gone")
        for charge, (entry, _) in told.items()
        if charge not in seen
    )


def _runs(connection: Connection, name: str, story: _Story) -> Iterator[Problem]:
    started = {body["run"]: (entry, body) for entry, body in story.of("run.started")}
    ended = {body["run"]: (entry, body) for entry, body in story.of("run.ended")}
    table = schema.run
    seen = set()
    for row in connection.execute(select(table).where(table.c.partner == name)):
        seen.add(row.id)
        if row.id not in started:
            yield _alone("run.started", f"the run {row.id} never began")
            continue
        entry, body = started[row.id]
        if (body["period"], body["digest"], body["who"]) != (row.period, row.digest, row.who):
            yield _at(entry, f"the run {row.id} has another month, plan or person than it began with")
        if row.id in ended and (ended[row.id][1]["state"], ended[row.id][1]["summary"]) != (row.state, row.summary):
            yield _at(ended[row.id][0], f"the run {row.id} is {row.state}, and did not end so")
        elif row.id not in ended and row.state not in (RunState.RUNNING, RunState.INTERRUPTED):
            yield _at(entry, f"the run {row.id} is {row.state}, and never ended")
    yield from (_at(entry, f"the run {id} is gone") for id, (entry, _) in started.items() if id not in seen)


# Postings and claims --------------------------------------------------------------------------------------------------

_KEPT = "kept"  # an undo that did not happen
_RESTORED = "restored"  # it was credited, and its credit is taken back
_LATER = (*PostingState, _KEPT, _RESTORED)


def _postings(
    connection: Connection, name: str, story: _Story, postings: Iterable[RecordedPosting]
) -> Iterator[Problem]:
    claims = _claims(connection, name)
    intents = {body["key"]: (entry, body) for entry, body in story.of("posting.intent")}
    later: dict[str, list[tuple[Entry, dict[str, Any]]]] = {}
    for entry, body in story.of(*(f"posting.{state}" for state in _LATER)):
        if body["key"] in intents and entry.seq > intents[body["key"]][0].seq:
            later.setdefault(body["key"], []).append((entry, body))
    seen = set()
    for row in postings:
        seen.add(row.key)
        if row.key not in intents:
            yield _alone("posting.intent", f"the posting {row.key} to {row.client_name} was never intended")
            continue
        yield from _intent(row, *intents[row.key], claims.get(row.key, []))
        yield from _receipt(row, intents[row.key][0], later.get(row.key, []), claims.get(row.key, []))
    yield from (_at(entry, f"the posting {key} is gone") for key, (entry, _) in intents.items() if key not in seen)


def _claims(connection: Connection, name: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    table = schema.claim
    for row in connection.execute(select(table).where(table.c.partner == name)):
        found.setdefault(row.key, []).append(row)
    return found


def _intent(row: RecordedPosting, entry: Entry, body: Mapping[str, Any], claims: list[Any]) -> Iterator[Problem]:
    what = f"the posting {row.key}"
    if hashlib.sha256(row.content.encode()).hexdigest() != body["content_sha256"]:
        yield _at(entry, f"{what} has another content than was sent")
    for name, text in (("before_sha256", row.before), ("lines_sha256", lines_text(row.lines))):
        true = hashlib.sha256(text.encode()).hexdigest() if text is not None else None
        if name in body and body[name] != true:  # entries of old versions have neither
            yield _at(entry, f"{what} has other {'lines' if name.startswith('lines') else 'snapshots'} than it had")
    facts = {
        "run": row.run,
        "client_id": row.client_id,
        "action": row.action,
        "target": row.target_invoice_id,
        "amount": format(row.amount, "f"),
        "cost": format(row.cost, "f"),
        "currency": row.currency,
    }
    wrong = [name for name, value in facts.items() if body[name] != value]
    if wrong:
        yield _at(entry, f"{what} has another {', '.join(wrong)} than was intended")
    shares = sorted(
        (share.charge, line.ordinal, share.price, share.cost) for line in row.lines for share in line.shares
    )
    claimed = sorted((claim.charge, claim.line, claim.price, claim.cost) for claim in claims)
    if shares != claimed or sorted({claim.charge for claim in claims}) != body["charges"]:
        yield _at(entry, f"the charges claimed by {what} are not those that were intended")
    if sum((line.amount for line in row.lines), start=0) != row.amount:
        yield _at(entry, f"the lines of {what} do not come to its amount")


def _receipt(
    row: RecordedPosting, intent: Entry, later: list[tuple[Entry, dict[str, Any]]], claims: list[Any]
) -> Iterator[Problem]:
    """The state that the entries lead to, HaloPSA's answer, and which charges are still on lines."""
    state, entry = PostingState.SENDING, intent
    taken: set[int] = set()
    answer = price = cost = None
    whole = free = False
    for said, body in later:
        what = said.kind.removeprefix("posting.")
        entry = said
        state = PostingState(body["state"] if what in (_KEPT, _RESTORED) else what)
        if what == PostingState.UNDONE and not body.get("lines"):
            whole = True
        if what == _RESTORED:
            taken -= set(body["lines"])
        elif what != PostingState.UNDOING:
            taken |= set(body.get("lines", []))
        free = what in FREE or (free and what in (_KEPT, PostingState.UNDOING))
        answer = body.get("answer_sha256", None if what in (PostingState.UNKNOWN, PostingState.REFUSED) else answer)
        price, cost = body.get("returned_price", price), body.get("returned_cost", cost)
    what = f"the posting {row.key}"
    if state != row.state:
        yield _at(entry, f"{what} is {row.state}, and became {state}")
    true = hashlib.sha256(row.answer.encode("utf-8", "surrogatepass")).hexdigest() if row.answer is not None else None
    if true != answer:
        yield _at(entry, f"the answer to {what} is not what HaloPSA said")
    returned = [None if each is None else format(each, "f") for each in (row.returned_price, row.returned_cost)]
    if returned != [price, cost]:
        yield _at(entry, f"what HaloPSA returned for {what} is not what it said")
    live = {claim.line for claim in claims if claim.live}
    all_lines = {claim.line for claim in claims}
    none = whole or free or row.state in (*FREE, PostingState.UNDONE)
    if live != (set() if none else all_lines - taken):
        yield _at(entry, f"the charges on lines of {what} are not those that its entries leave there")
