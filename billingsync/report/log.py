"""The journal for people [RA2]: one sentence an entry, and the entries that a person asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from billingsync.report.escape import one_line, shortened
from billingsync.report.labels import matched, plural

_LONGEST = 160  # characters of one value in a sentence
_UNSAID = re.compile(r":? \{(reason|message)\}$")  # what an entry may leave out, at the end of its sentence

# What each kind of entry says; fields in braces come from its body. What is not here is shown field by field.
_SENTENCES: Mapping[str, str] = {
    "source": "Read the sources of {period}",
    "source.forgotten": "Let go of the raw sources before {before}",
    "plan": "Planned {period}: plan {digest}",
    "rules": "Kept the rules of digest {digest}",
    "approval": "Approved {client} in plan {digest}: {reason}",
    "match.company": "Mapped {company_name} to client {client_id} ({how})",
    "match.never": "{company_name} is never billed",
    "decision": "Approved for client {client} in {period} ({kind}): {reason}",
    "decision.ended": "What was approved for {clients} in {period} ended with an undo",
    "set_aside": "Set aside {count} of {period}: {reason}",
    "put_back": "Put {count} back",
    "desk_rules": "Saved the desk's rules for {company_name}, version {version}",
    "snapshot": "Took snapshot {id} of both sides: {state}",
    "snapshot.chosen": "Snapshot {id} stands for {period} from now on",
    "snapshot.confirmed": "Confirmed snapshot {id}",
    "snapshot.forgotten": "Let go of snapshots {ids}",
    "reconciled": "Compared both sides",
    "write.intended": "About to write to HaloPSA: {what}",
    "write.settled": "Writing to HaloPSA, {what}: {outcome}",
    "write.zeroed": "About to set lines to nothing: {what}",
    "match.item": "Mapped SKU {sku} to item {item_id}",
    "run.started": "Started run {run} of {period}",
    "run.ended": "Run {run} ended: {state}",
    "run.true_up": "Run {run} is about to take back what was billed, for what comes instead",
    "settled": "Run {run} dropped or excluded {charges} charges",
    "unsettled": "Freed charges that run {run} had dropped or excluded",
    "posting.intent": "About to {action} an invoice of client {client_id}: {amount} {currency} (posting {key})",
    "posting.sending": "Sent posting {key}, attempt {attempt}",
    "posting.posted": "HaloPSA confirmed posting {key} on invoice {invoice_id}",
    "posting.adopted": "Found posting {key} on invoice {invoice_id}",
    "posting.undoing": "About to undo posting {key}",
    "posting.undone": "Undid posting {key}",
    "posting.kept": "Posting {key} was not undone: {message}",
    "posting.refused": "HaloPSA refused posting {key}: {message}",
    "posting.abandoned": "HaloPSA does not have posting {key}: {message}",
    "posting.unknown": "It is not known whether HaloPSA has posting {key}: {message}",
    "posting.differs": "HaloPSA shows posting {key} other than it was sent: {message}",
    "posting.restored": "Posting {key} bills again: its credit was taken back",
    "card": "Card {card}: {state}{move}{why}",
    "card.intent": "About to set lines of recurring invoice {invoice_id} of client {client_id} (write {key})",
    "card.done": "HaloPSA shows what write {key} set",
    "card.alarm": "HaloPSA shows what write {key} set, and more: {message}",
    "card.unknown": "It is not known whether HaloPSA has write {key}: {message}",
    "card.refused": "HaloPSA refused write {key}: {message}",
    "card.abandoned": "HaloPSA does not have write {key}",
    "card.failed": "Write {key} failed: {message}",
    "pairing": "Paired line {line_id} of client {client_id} with {family}",
    "import": "Imported {file_name} for {period} with profile {profile} (import {import})",
    "import.removed": "Removed import {import}",
    "import.match": "Mapped {kind} {name} of profile {profile} to {targets}",
    "desk.signed_in": "{person} signed in by {how} from {address}",
    "desk.signed_out": "Signed out",
    "desk.sign_in_failed": "A sign-in of {account} from {address} failed",
    "desk.person_added": "Added {person} as {role}",
    "desk.person_disabled": "Disabled {person}",
    "desk.role_changed": "Changed the role of {person} from {before} to {after}",
    "desk.password_set": "Set a password",
    "desk.order": "Asked on the desk: {kind} (order {order})",
    "desk.order_confirmed": "Confirmed order {order} of {asked_by}",
    "desk.order_cancelled": "Sent back order {order}",
    "desk.order_ended": "Order {order} ended: {state}",
    "desk.keys_tried": "Tried keys of {side}",
    "desk.keys_saved": "Saved {variables}",
    "desk.read": "Read {path} as data",
    "fleet.paused": "Paused this partner",
    "fleet.resumed": "Let runs begin again for this partner",
    "fleet.imported": "Took in the ledger of installation {installation} ({rows} rows)",
    "tenant": "Bound this database to {base_url}",
    "installation.adopted": "Took over the lines of installation {installation}",
}


class JournalEntry(Protocol):
    """An entry as the ledger keeps it; `body` is JSON."""

    @property
    def seq(self) -> int: ...
    @property
    def at(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def body(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asks for; "" and None ask for everything. `card` is the beginning of a digest or an id."""

    card: str = ""
    client: str = ""
    who: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One entry in words. `who` is "" where nobody is named."""

    seq: int
    at: str
    kind: str
    who: str
    says: str
    body: Mapping[str, Any]

    def as_dict(self) -> dict[str, object]:
        return {
            "seq": self.seq,
            "at": self.at,
            "kind": self.kind,
            "who": self.who,
            "says": self.says,
            "body": self.body,
        }


@dataclass(frozen=True, slots=True)
class Known:
    """What earlier entries said, where only later ones are told: of a posting's key its client's id, of a posting's
    key or a run who did it."""

    clients: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)


def told(
    entries: Iterable[JournalEntry], wanted: Wanted, names: Mapping[int, str], known: Known | None = None
) -> Iterator[Told]:
    """The wanted entries, in their order, which is oldest first unless they are `known`. `names` are clients by id, so
    that a name finds what only has an id; what later entries say of a posting belongs to the client that its intent
    named."""
    whose = dict(known.clients if known else {})  # a posting's key -> client's id
    by = dict(known.people if known else {})  # a posting's or a run's key -> who
    since = wanted.since.isoformat() if wanted.since else ""
    for entry in entries:
        body = json.loads(entry.body)
        key, run = str(body.get("key") or ""), str(body.get("run") or "")
        if run and body.get("who"):
            by[run] = str(body["who"])
        if key and run:
            by.setdefault(key, by.get(run, ""))
        if key and body.get("client_id") is not None:
            whose[key] = f"{body['client_id']}"
        who = str(body.get("who") or by.get(key) or by.get(run) or "")
        if since and entry.at < since:
            continue
        if wanted.who and wanted.who.casefold() not in who.casefold():
            continue
        if wanted.client and not _is_about(body, whose.get(key), wanted.client, names):
            continue
        if wanted.card and not _names_card(body, wanted.card):
            continue
        yield Told(seq=entry.seq, at=entry.at, kind=entry.kind, who=who, says=_sentence(entry.kind, body), body=body)


def _is_about(body: Mapping[str, Any], client_id: str | None, asked: str, names: Mapping[int, str]) -> bool:
    """Whether an entry is about that client, given by id or by whole name (case aside)."""
    said = {str(body[name]) for name in ("client_id", "client_name", "company_name", "client") if body.get(name)}
    said |= {client_id} if client_id else set()
    said |= {name for id_, name in names.items() if str(id_) in said}
    return asked.strip().casefold() in {one.casefold() for one in said}


def _names_card(body: Mapping[str, Any], asked: str) -> bool:
    return any(str(body.get(name) or "").startswith(asked.strip().lower()) for name in ("card", "digest", "id"))


def _sentence(kind: str, body: Mapping[str, Any]) -> str:
    body = {name: value for name, value in body.items() if value not in (None, "", [])}
    if kind == "match.company" and "client_id" not in body:
        kind = "match.never"
    pattern = _SENTENCES.get(kind)
    if pattern is None:
        said = ", ".join(f"{name} {_value(value)}" for name, value in body.items())
        return shortened(f"{kind}: {said}", 2 * _LONGEST)
    text = pattern
    if kind == "match.company":
        body["how"] = matched(str(body.get("how") or ""))
    elif kind == "desk_rules":
        body.setdefault("company_name", "all clients")
    elif kind in ("set_aside", "put_back"):
        count = len(body.get("charges", ()))
        body["count"] = f"{count} {plural(count, 'charge')}"
    for name, value in body.items():
        text = text.replace(f"{{{name}}}", _value(value))
    if kind == "card":
        why = f" ({_value(body['reason'])})" if body.get("reason") else ""
        text = text.replace("{move}", _move(body)).replace("{why}", why)
    return _UNSAID.sub("", text)


def _move(body: Mapping[str, Any]) -> str:
    """Which numbers of a line a card changes: ", quantity 9 -> 11"; "" for an entry of an older version."""
    before, after = body.get("before") or {}, body.get("after") or {}
    moved = [
        f"{name.replace('_', ' ')} {before.get(name) or 'nothing'} -> {after.get(name) or 'nothing'}"
        for name in ("quantity", "unit_price", "unit_cost")
        if before.get(name) != after.get(name)
    ]
    return "".join(f", {one}" for one in moved)


def _value(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value[:5])) + (f" and {len(value) - 5} more" if len(value) > 5 else "")
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value)
    is_hash = len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)
    return text[:12] if is_hash else shortened(one_line(text), _LONGEST)
