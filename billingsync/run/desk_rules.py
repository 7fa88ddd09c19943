"""Rules written without a file: set, with the whole rulebook checked first [DR3]; and pulled into files again."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path

from billingsync.core.rules import ClientFile, DeskRules, Rulebook
from billingsync.errors import Refused, RulesError, UsageError
from billingsync.rulebook import effective, load_rulebook
from billingsync.rulebook.edit import as_client_file, edited, file_of, keys_in, locked_keys, needs_reason
from billingsync.rulebook.effective import block_name
from billingsync.run.find import find_payer, payers_of
from billingsync.store.desk_rules import DeskText
from billingsync.store.ledger import Ledger

ALL = "pax8"  # whom `rules set` names to mean every client: the integration's name


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesAsked:
    """What somebody wants to be so. `client` is an id or whole name, or `ALL`; `values` as `edited` takes them; `base`
    is the digest of the text that was edited, "" where none was shown [DK2]."""

    client: str
    values: Mapping[str, str]
    reason: str = ""
    base: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesDraft:
    """What would count once it was saved, and the texts that would change."""

    name: str
    companies: tuple[str, ...]  # Pax8 companies it is about; empty means all
    rules: tuple[DeskRules, ...]
    texts: tuple[DeskText, ...]
    before: Mapping[str, str] = field(default_factory=dict)  # company -> text as it is


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def draft_of(ledger: Ledger, rules_dir: Path, asked: RulesAsked, who: str, now: datetime) -> RulesDraft:
    """Everything is looked at, nothing saved: the keys, who they are about, what is locked, the whole rulebook.
    UsageError, Refused or RulesError says what is wrong."""
    if not asked.values:
        raise UsageError("Nothing was to be set. Give KEY=VALUE.", next_steps=[["billingsync", "rules", "show"]])
    name, found = _about(ledger, asked.client)
    known = {one.company_id: one for one in ledger.desk_rules()}
    texts, drafts = [], dict(known)
    for company, company_name, client_id in found:
        before = known[company].text if company in known else ""
        if asked.base and asked.base != text_digest(before):
            raise Refused(
                f"The rules of {name} were changed since your page was made. Nothing was saved.\nNow they are:\n"
                f"{before or '(nothing)'}"
            )
        text = edited(before, asked.values)
        one = DeskRules(
            company_id=company,
            company_name=company_name,
            client_id=client_id,
            version=ledger.desk_rules_version(company),
            text=text,
            who=who,
            at=now,
            other_names=known[company].other_names if company in known else (),
        )
        for key, where in locked_keys(rules_dir, one).items():
            if asked.values.get(key):
                raise Refused(f"{key} stands in {where}, and a client's file is never beaten. Change it there.")
        drafts[company] = one
        texts.append(
            DeskText(company_id=company, company_name=company_name, client_id=client_id, version=one.version, text=text)
        )
    rules = tuple(one for _, one in sorted(drafts.items()) if one.text)
    load_rulebook(rules_dir, rules)
    return RulesDraft(
        name=name,
        companies=tuple(company for company, _, _ in found if company),
        rules=rules,
        texts=tuple(texts),
        before={company: one.text for company, one in known.items()},
    )


def set_rules(ledger: Ledger, rules_dir: Path, asked: RulesAsked, *, who: str, now: datetime) -> RulesDraft:
    """Saves it as the next version. Nothing is planned or posted by that [DK4]."""
    draft = draft_of(ledger, rules_dir, asked, who, now)
    wanting = [key for key in asked.values if needs_reason(key)]
    if wanting and not asked.reason.strip():
        raise UsageError(f"{wanting[0]} needs a reason: say why. Nothing was saved.")
    if not ledger.save_desk_rules(draft.texts, who=who, reason=asked.reason.strip(), now=now):
        raise Refused(f"Somebody else changed the rules of {draft.name} at the same moment. Nothing was saved.")
    return draft


def _about(ledger: Ledger, text: str) -> tuple[str, list[tuple[str, str, int | None]]]:
    """The name, and (company id, company name, client id) of whom a text means: as the newest plan knows them."""
    if text.strip().casefold() == ALL:
        return "all clients", [("", "", None)]
    periods = ledger.planned_periods()
    head = ledger.newest_plan(periods[-1]) if periods else None
    if head is None:
        raise UsageError(
            "No plan was made yet, so no client is known. Plan first.", next_steps=[["billingsync", "plan"]]
        )
    rows = {row.company_id: row for row in ledger.client_rows(head.digest) if row.company_id}
    if text in rows:
        row = rows[text]
        return row.name, [(row.company_id, row.company_name, row.client_id)]
    payers = payers_of((row.company_id, row.company_name, row.client_id, row.client_name) for row in rows.values())
    payer = find_payer(payers, text)
    return payer.name, [(id_, rows[id_].company_name, rows[id_].client_id) for id_ in payer.companies]


# Into files -----------------------------------------------------------------------------------------------------------


def pull_rules(ledger: Ledger, rules_dir: Path, *, who: str, now: datetime) -> tuple[str, ...]:
    """Writes the desk's rules into the files, checks them as a whole, and empties the desk's layer. Returns the files
    that were written. Where the files would be wrong, or would decide other than now of a company that is known, they
    are put back, and RulesError or Refused says why."""
    desk = ledger.desk_rules()
    files = load_rulebook(rules_dir)
    known = _known_companies(ledger, desk)
    now_decided = _decided(load_rulebook(rules_dir, desk), known)
    new: dict[Path, str] = {}
    for one in desk:
        path = _file_for(rules_dir, file_of(files, one), one)
        if path not in new:
            new[path] = path.read_text("utf-8") if path.exists() else as_client_file(one) if one.company_id else ""
        _same_for_all_of(one, desk, files, known)
        beaten = locked_keys(rules_dir, one)  # what the file says itself counts already, and stays
        new[path] = edited(new[path], {key: value for key, value in keys_in(one.text).items() if key not in beaten})
    before = {path: path.read_bytes() if path.exists() else None for path in new}
    try:
        for path, text in new.items():
            _write(path, text.encode())
        _decides_the_same(now_decided, _decided(load_rulebook(rules_dir), known))
    except (RulesError, Refused, OSError):
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            else:
                _write(path, content)
        raise
    empty = [
        DeskText(
            company_id=one.company_id,
            company_name=one.company_name,
            client_id=one.client_id,
            version=one.version,
            text="",
        )
        for one in desk
    ]
    if not ledger.save_desk_rules(empty, who=who, reason="pulled into the files", now=now):
        raise Refused("Somebody changed the rules on the desk meanwhile. The files were written; pull once more.")
    return tuple(path.as_posix() for path in new)


def _file_for(rules_dir: Path, known: str | None, one: DeskRules) -> Path:
    if not one.company_id:
        return rules_dir / "integrations" / "pax8.toml"
    if known is not None:
        return Path(known)
    stem = re.sub(r"[^a-z0-9]+", "-", one.company_name.casefold()).strip("-")[:60] or "client"
    path = rules_dir / "clients" / f"{stem}.toml"
    return path if not path.exists() else rules_dir / "clients" / f"{stem}-{one.company_id[:8]}.toml"


def _known_companies(ledger: Ledger, desk: Sequence[DeskRules]) -> dict[str, tuple[str, int | None]]:
    """Name and HaloPSA client of every company that was matched, that the newest plan has, or that the desk knows."""
    found = {one.company_id: (one.company_name, one.client_id) for one in desk if one.company_id}
    found |= {id_: (match.company_name, match.client_id) for id_, match in ledger.company_matches().items()}
    periods = ledger.planned_periods()
    digest = ledger.newest_digest(periods[-1]) if periods else None
    rows = ledger.client_rows(digest) if digest else ()
    return found | {row.company_id: (row.company_name, row.client_id) for row in rows if row.company_id}


def _same_for_all_of(
    one: DeskRules, desk: Sequence[DeskRules], files: Rulebook, known: Mapping[str, tuple[str, int | None]]
) -> None:
    """A file that names a HaloPSA client, or a company's name alone, is about every company that fits: what the desk
    says of one of them may go into it only where the desk says the same of all."""
    file = file_of(files, one)
    texts = {each.company_id: each.text for each in desk}
    for company, (name, client_id) in known.items():
        theirs = files.file_for(company_id=company, company_name=name, client_id=client_id)
        if file is None or theirs is None or theirs.path != file or texts.get(company, "") == one.text:
            continue
        client = one.client_id if one.client_id is not None else one.company_name
        raise Refused(
            f"{file} is about several Pax8 companies, and the desk says of {one.company_name or one.company_id} what "
            f"it does not say of {name or company}. Nothing was written. Set the same for all of {client}, or give "
            f"{one.company_name or one.company_id} a file of its own with client.pax8_company.",
            next_steps=[["billingsync", "rules", "set", str(client), "KEY=VALUE"]],
        )


def _decided(rulebook: Rulebook, known: Mapping[str, tuple[str, int | None]]) -> dict[str, object]:
    """What the rules say, by company, and "" of all: the values, wherever they come from."""
    found: dict[str, object] = {"": _values(rulebook, None)}
    for company, (name, client_id) in known.items():
        file = rulebook.file_for(company_id=company, company_name=name, client_id=client_id)
        found[company] = (file is not None and file.exclude, _values(rulebook, file))
    return found


def _values(rulebook: Rulebook, file: ClientFile | None) -> object:
    rows = [(key, value) for key, value, _ in effective(rulebook, file) if not key.startswith(("client.", "product."))]
    blocks = (file.rules if file else rulebook.base).product_blocks
    # SKUs are exact, so the order of such blocks decides nothing; beside blocks of another kind it does.
    runs = [sorted(run, key=block_name) for _, run in groupby(blocks, key=lambda block: block.pax8_sku is None)]
    return rows, runs


def _decides_the_same(before: Mapping[str, object], after: Mapping[str, object]) -> None:
    """Refused where a company that is known would be billed by other values than now."""
    other = next((company for company in before if before[company] != after.get(company)), None)
    if other is not None:
        raise Refused(
            f"With the desk's rules in the files, {other or 'all clients'} would be billed by other rules than now. "
            "Nothing was written. Write these rules into the files yourself, and take them out of the desk.",
            next_steps=[["billingsync", "rules", "show", other or ALL]],
        )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_bytes(content)
    os.replace(beside, path)
