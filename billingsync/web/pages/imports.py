"""Vendors' files: what was imported, and the wizard that imports one, step by step; leaving it keeps the draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from starlette.datastructures import UploadFile
from starlette.responses import Response

from billingsync.core.desk import Role
from billingsync.core.period import Period
from billingsync.core.schedule import local_day
from billingsync.core.tables.cells import inert_cell
from billingsync.core.tables.profile import Profile, TableKind
from billingsync.errors import ImportRefused, NoSnapshot, StalePlan, UsageError
from billingsync.reconcile.counts import match_accounts, match_services, set_match
from billingsync.reconcile.imports import ImportOptions, import_usage, remove_import
from billingsync.reconcile.wizard import COLUMNS, NAME, beside, profile_of, profile_text, save_profile
from billingsync.report.html import clean
from billingsync.sources.csvfile.checking import Check, check_usage, problem_document
from billingsync.sources.csvfile.kept import KeptFile, Unreadable, keep_stream
from billingsync.sources.csvfile.profiles import find_profile, load_profiles
from billingsync.sources.csvfile.propose import Proposal, propose
from billingsync.store.drafts import Draft
from billingsync.store.imports import MatchKind
from billingsync.web.ask import Ask, NotFound, Page, Shown, see
from billingsync.web.views.money import View
from billingsync.web.views.reconcile import quantity
from billingsync.web.views.sheets import plain_table
from billingsync.web.views.times import moment

AT = "/imports"
KEPT = timedelta(days=7)
MOST_NAMES = 200  # accounts or services that are shown as open
_WORDS = {
    "account": "Account (the client)",
    "service": "Service (the product)",
    "quantity": "Quantity",
    "sku": "SKU",
    "unit_price": "Unit price",
    "unit_cost": "Unit cost",
    "currency": "Column with the currency",
    "period": "Column with the month",
    "subscription": "Subscription",
    "vendor": "Column with the vendor",
}
_SHEET = (
    ("import", "Import"),
    ("profile", "Profile"),
    ("period", "Month"),
    ("state", "State"),
    ("counted", "Rows"),
    ("bad", "Bad"),
    ("at", "On"),
    ("by", "By"),
    ("file", "File"),
)


def show(ask: Ask) -> Shown:
    zone = ask.desk.settings.zone
    rows = [
        {
            "import": one.id,
            "profile": one.profile,
            "period": one.period,
            "month": ask.desk.figures.month(one.period),
            "state": one.state,
            "current": one.is_current,
            "counted": ask.desk.figures.count(one.rows.get("counted", 0)),
            "bad": ask.desk.figures.count(one.rows["bad"]) if one.rows.get("bad") else "",
            "at": moment(one.at, zone),
            "by": clean(one.who.partition(" (desk")[0], 120),
            "file": clean(inert_cell(one.file_name), 120),
        }
        for one in reversed(ask.ledger.imports())
    ]
    drafts = [
        {
            "id": one.id,
            "file": clean(inert_cell(one.file_name), 120),
            "at": moment(one.at, zone),
            "by": clean(one.who.partition(" (desk")[0], 120),
            "until": moment(one.at + KEPT, zone),
        }
        for one in ask.ledger.drafts()
        if one.at > ask.now - KEPT
    ]
    view = {"rows": rows[:1000], "drafts": drafts}
    return Shown(
        template="imports",
        title="Imports",
        view=view,
        twin=lambda: {"imports": rows},
        tables=lambda: [plain_table("Imports", rows, _SHEET)],
    )


def begin(ask: Ask) -> Shown:
    """The first step: the file, its month, and how to read it."""
    profiles = load_profiles(ask.desk.settings.rules_dir)
    names = sorted(one.name for one in profiles.values() if one.kind is TableKind.USAGE)
    period = str(Period.of(local_day(ask.now, ask.desk.settings.zone)))
    return Shown(template="import_new", title="Import a file", view={"profiles": names, "period": period})


def take(ask: Ask) -> Response:
    """Keeps the file as a draft. Nothing of it counts yet."""
    file = ask.form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        raise UsageError("Choose a file. Nothing was taken.")
    period = str(_period(ask.text("period")))
    name = ask.text("profile")
    if name:
        find_profile(load_profiles(ask.desk.settings.rules_dir), name)
    try:
        kept = keep_stream(file.file, file.filename.replace("\\", "/").rpartition("/")[2][-200:] or "file.csv")
    except Unreadable as wrong:
        raise ImportRefused(f"The file was not taken: {wrong.problem}.", [problem_document(wrong.problem)]) from None
    ask.ledger.forget_drafts(ask.now - KEPT)
    id = ask.ledger.keep_draft(kept, {"profile": name, "period": period}, ask.who, ask.now)
    return see(f"{AT}/drafts/{id}")


def _period(text: str) -> Period:
    try:
        return Period.parse(text)
    except ValueError:
        raise UsageError(f"{text!r:.40} is no month; write it like 2026-11.") from None


def _draft(ask: Ask) -> tuple[Draft, KeptFile]:
    draft = next((one for one in ask.ledger.drafts() if one.id == ask.path("id")), None)
    if draft is None:
        raise NotFound("There is no such draft any more: it was imported, left, or is older than 7 days.")
    return draft, keep_stream(ask.ledger.draft_file(draft.id), draft.file_name)


def _profile(ask: Ask, draft: Draft) -> Profile:
    """The known profile, or the one that was put together."""
    known = load_profiles(ask.desk.settings.rules_dir)
    name = str(draft.choices.get("profile", ""))
    return find_profile(known, name) if name else profile_of(draft.choices)


def columns(ask: Ask) -> Shown | Response:
    """How the file is read: of a known profile as it says, else as proposed, each guess marked as one."""
    draft, file = _draft(ask)
    try:
        proposal = propose(file)
    except Unreadable as wrong:
        raise ImportRefused(f"The file cannot be read: {wrong.problem}.", [problem_document(wrong.problem)]) from None
    known = str(draft.choices.get("profile", ""))
    view = {
        **_head(draft),
        "known": known,
        "header": [clean(inert_cell(one), 120) for one in proposal.header],
        "rows": [[clean(cell, 80) for cell in row] for row in proposal.rows],
        "guesses": _guesses(proposal),
        "columns": [] if known else _columns(draft, proposal),
        "chosen": _chosen(draft, proposal),
        "period": str(draft.choices.get("period", "")),
    }
    return Shown(template="import_columns", title="How the file is read", view=view)


def _head(draft: Draft) -> View:
    return {"id": draft.id, "file": clean(inert_cell(draft.file_name), 120), "sha": draft.sha256[:12]}


def _guesses(proposal: Proposal) -> list[View]:
    named = {
        "Encoding": proposal.encoding,
        "Delimiter": proposal.delimiter,
        "Header": proposal.header_line,
        "Decimal mark": proposal.decimal,
    }
    shown = {"\t": "tab", ";": "semicolon", ",": "comma", "|": "bar"}
    return [
        {
            "name": name,
            "value": f"line {guess.value}" if name == "Header" else shown.get(guess.value, clean(guess.value, 40)),
            "why": clean(guess.why, 200),
        }
        for name, guess in named.items()
    ]


def _columns(draft: Draft, proposal: Proposal) -> list[View]:
    said = dict(draft.choices.get("columns", {}))
    found = []
    for ours in COLUMNS:
        guess = proposal.columns.get(ours)
        chosen = said.get(ours, guess.value if guess else "")
        found.append(
            {
                "name": ours,
                "words": _WORDS[ours],
                "needed": ours in ("account", "service", "quantity"),
                "why": clean(guess.why, 200) if guess and ours not in said else "",
                "sure": bool(guess and not guess.why and ours not in said),
                "options": [
                    {"value": one, "words": clean(inert_cell(one), 80), "here": one == chosen}
                    for one in dict.fromkeys(proposal.header)
                    if one
                ],
            }
        )
    return found


def _chosen(draft: Draft, proposal: Proposal) -> View:
    stem = draft.file_name.lower().partition(".")[0].split("-")[0].split("_")[0]
    name = "".join(one for one in stem if one.isascii() and one.isalnum())[:40]
    first = {
        "name": name if NAME.fullmatch(name) else "",
        "vendor": name.capitalize(),
        "encoding": proposal.encoding.value,
        "delimiter": "tab" if proposal.delimiter.value == "\t" else proposal.delimiter.value,
        "decimal": proposal.decimal.value,
        "same_service": "sum",
        "currency": "",
        "total_rows": ", ".join(proposal.total_rows),
    }
    return {key: str(draft.choices.get(key, value)) for key, value in first.items()}


def choose(ask: Ask) -> Response:
    """Keeps what was chosen, and goes on to the check."""
    draft, _ = _draft(ask)
    choices: dict[str, Any] = dict(draft.choices) | {"period": str(_period(ask.text("period")))}
    if not draft.choices.get("profile"):
        choices |= {name: ask.text(name)[:200] for name in ("name", "vendor", "currency", "total_rows")}
        for name, allowed in _ALLOWED.items():
            value = ask.text(name)
            if value not in allowed:
                raise UsageError(f"{value!r:.40} is no {name.replace('_', ' ')}.")
            choices[name] = value
        choices["columns"] = {ours: ask.text(f"column_{ours}")[:500] for ours in COLUMNS}
        profile_of(choices)
    ask.ledger.choose_draft(draft.id, choices)
    return see(f"{AT}/drafts/{draft.id}/check")


_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "encoding": ("auto", "utf-8", "windows-1252", "utf-16"),
    "delimiter": ("auto", ",", ";", "tab", "|"),
    "decimal": ("auto", ".", ","),
    "same_service": ("sum", "error", "separate"),
}


def check(ask: Ask) -> Shown:
    """Every row in exactly one state, every mistake at once, old and new side by side, and who is not known yet."""
    draft, file = _draft(ask)
    profile, period = _profile(ask, draft), _period(str(draft.choices["period"]))
    found = check_usage(file, profile, period)
    figures = ask.desk.figures
    bad_rows = bool(found.mistakes) and not found.refused
    view = {
        **_head(draft),
        "period": str(period),
        "month": figures.month(str(period)),
        "profile": profile.name,
        "digest": profile.digest,
        "sha256": draft.sha256,
        "states": [(state, figures.count(count)) for state, count in found.as_rows().items() if count],
        "problems": [
            {
                "line": str(one.line or ""),
                "column": clean(inert_cell(one.column), 80),
                "cell": clean(one.cell, 120),
                "says": clean(one.expected, 300),
            }
            for one in found.problems
        ],
        "more": figures.count(found.mistakes - len(found.problems)) if found.mistakes > len(found.problems) else "",
        "mistakes": figures.count(found.mistakes),
        "refused": found.refused,
        "bad_rows": bad_rows,
        "beside": [] if found.refused else _beside(ask, found, period),
        "same": _same(ask, draft, profile, period),
        "accounts": figures.count(len(found.accounts)),
        "services": figures.count(len(found.services)),
        "open": [] if found.refused else _open(ask, found),
        "text": "" if draft.choices.get("profile") else profile_text(profile),
    }
    return Shown(template="import_check", title="Check the file", view=view)


def _beside(ask: Ask, found: Check, period: Period) -> list[View]:
    figures = ask.desk.figures
    return [
        {
            "service": clean(inert_cell(one.service), 120),
            "before": "–" if one.before is None else quantity(one.before, figures),
            "after": "–" if one.after is None else quantity(one.after, figures),
            "moves": one.before != one.after,
        }
        for one in beside(ask.ledger, found, period)[:500]
    ]


def _same(ask: Ask, draft: Draft, profile: Profile, period: Period) -> str:
    """Where this very file counts already."""
    imports = ask.ledger.imports(profile=profile.name, period=period)
    one = next((each for each in imports if each.is_current and each.sha256 == draft.sha256), None)
    if one is None:
        return ""
    who = clean(one.who.partition(" (desk")[0], 120)
    return f"This file was imported {moment(one.at, ask.desk.settings.zone)} by {who}: nothing changes."


def _open(ask: Ask, found: Check) -> list[View]:
    """Accounts and services that nobody knows yet, by the newest snapshot's clients and items."""
    try:
        ground = ask.desk.comparisons.ground(local_day(ask.now, ask.desk.settings.zone))
    except NoSnapshot:
        return []
    snapshot, rulebook = ground.inputs.snapshot, ground.inputs.rulebook
    name = found.profile.name
    accounts = match_accounts(ask.ledger, name, found.accounts, snapshot.clients, rulebook)
    services = match_services(ask.ledger, name, found.services, snapshot.items)
    kinds = ((MatchKind.ACCOUNT, "HaloPSA client", accounts), (MatchKind.SERVICE, "HaloPSA item", services))
    return [
        {
            "kind": kind.value,
            "target": target,
            "name": one.name,
            "shown": clean(inert_cell(one.name), 120),
            "near": clean(one.suggestions, 200),
        }
        for kind, target, names in kinds
        for one in [each for each in names.values() if each.is_open][:MOST_NAMES]
    ]


def match(ask: Ask) -> Response:
    """A person says what an account or a service is."""
    draft, _ = _draft(ask)
    kind, target = ask.text("kind"), ask.text("target")
    if kind not in tuple(MatchKind) or not (target.isascii() and target.isdigit() and len(target) < 13):
        raise UsageError("Write the id of the client or item in HaloPSA. Nothing was changed.")
    name = str(ask.form.get("name", ""))[:2000]
    profile = _profile(ask, draft)
    set_match(ask.ledger, profile.name, MatchKind(kind), name, [int(target)], who=ask.who, now=ask.now)
    return see(f"{AT}/drafts/{draft.id}/check")


def save(ask: Ask) -> Response:
    """Imports exactly the file and the profile that were checked [DK2]."""
    draft, file = _draft(ask)
    profile, period = _profile(ask, draft), _period(str(draft.choices["period"]))
    if (ask.text("sha256"), ask.text("digest"), ask.text("period")) != (draft.sha256, profile.digest, str(period)):
        raise StalePlan("The file, its profile or its month is another one since you looked. Nothing was imported.")
    options = ImportOptions(
        append=bool(ask.text("append")), skip_bad=bool(ask.text("skip_bad")), unchanged=bool(ask.text("unchanged"))
    )
    found = check_usage(file, profile, period)
    if found.refused or (found.mistakes and not options.skip_bad):
        raise found.error()
    if not draft.choices.get("profile"):
        known = load_profiles(ask.desk.settings.rules_dir)
        if profile.name in known:
            raise UsageError(f"There is a profile {profile.name} already. Name this one otherwise.")
        if save_profile(ask.desk.settings.rules_dir, profile):
            profile = find_profile(load_profiles(ask.desk.settings.rules_dir), profile.name)
            found = replace(found, profile=profile)
    import_usage(ask.ledger, found, options, who=ask.who, now=ask.now)
    ask.ledger.forget_draft(draft.id)
    return see(AT)


def leave(ask: Ask) -> Response:
    draft, _ = _draft(ask)
    ask.ledger.forget_draft(draft.id)
    return see(AT)


def remove(ask: Ask) -> Response:
    """An import counts no longer; it is kept."""
    number = ask.text("import")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise UsageError("There is no such import.")
    remove_import(ask.ledger, int(number), who=ask.who, now=ask.now)
    return see(AT)


PAGES = (
    Page(path=AT, show=show, role=Role.FINANCIAL, twin=True, sheets=True),
    Page(path=f"{AT}/new", show=begin, role=Role.FINANCIAL),
    Page(path=f"{AT}/new", show=take, role=Role.FINANCIAL, post=True, upload=True),
    Page(path=f"{AT}/remove", show=remove, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/drafts/{{id}}", show=columns, role=Role.FINANCIAL),
    Page(path=f"{AT}/drafts/{{id}}", show=choose, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/drafts/{{id}}/check", show=check, role=Role.FINANCIAL),
    Page(path=f"{AT}/drafts/{{id}}/match", show=match, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/drafts/{{id}}/save", show=save, role=Role.FINANCIAL, post=True),
    Page(path=f"{AT}/drafts/{{id}}/leave", show=leave, role=Role.FINANCIAL, post=True),
)
