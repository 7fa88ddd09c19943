"""`map accounts` and `map services`: what the names in imported files are in HaloPSA [IM10]."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from billingsync.cli.terminal import console, document, note, out
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.connect import Connections
    from billingsync.reconcile.counts import Named
    from billingsync.store.imports import MatchKind


def map_files(
    what: str, profile: str | None, pairs: Sequence[str], excluded: Sequence[str], *, auto: bool, json: bool
) -> int:
    """Lists the accounts or services of a profile's current imports, unmapped first, after mapping what was asked."""
    from billingsync.cli.roles import require
    from billingsync.cli.session import load_for_partner
    from billingsync.connect import connections
    from billingsync.sources.csvfile.profiles import find_profile, load_profiles
    from billingsync.store.imports import MatchKind

    kind = MatchKind.ACCOUNT if what == "accounts" else MatchKind.SERVICE
    if profile is None:
        step = ["billingsync", "map", what, "--profile", "NAME"]
        raise UsageError(f"map {what} needs --profile: whose files.", next_steps=[step])
    settings, redactor = load_for_partner()
    name = find_profile(load_profiles(settings.rules_dir), profile).name
    if pairs or excluded or auto:
        require(settings, "financial", "map accounts and services")
    with connections(settings, redactor, needs=("halo",)) as connected:
        mapper = _Mapper(connected, name, kind)
        rows = mapper.rows()
        for pair in pairs:
            mapper.set(pair, rows)
        for text in excluded:
            mapper.put(_named(text, rows), ())
            note(f"{text} is none of ours")
        if auto:
            mapper.confirm(rows)
        if pairs or excluded or auto:
            rows = mapper.rows()
    if json:
        document({what: [row.as_dict() for row in rows]}, [["billingsync", "imports"]])
        return 0
    _show(rows, what, name)
    return 0


class _Mapper:
    """One profile's accounts or services while they are mapped."""

    def __init__(self, connected: Connections, profile: str, kind: MatchKind) -> None:
        from billingsync.rulebook import load_rulebook
        from billingsync.store.imports import MatchKind

        self.ledger, self.profile, self.kind = connected.ledger, profile, kind
        self.is_account = kind is MatchKind.ACCOUNT
        self.rulebook = load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules())
        self.clients = connected.psa.clients().rows if self.is_account else ()
        self.items = () if self.is_account else connected.psa.items()

    def rows(self) -> list[Named]:
        from billingsync.reconcile.counts import listed

        return listed(self.ledger, self.profile, self.kind, self.clients, self.items, self.rulebook)

    def put(self, row: Named, targets: Sequence[int]) -> None:
        from billingsync.reconcile.counts import set_match
        from billingsync.store.lock import who

        now = datetime.datetime.now(datetime.UTC)
        set_match(self.ledger, self.profile, self.kind, row.name, targets, who=who(), now=now)

    def set(self, pair: str, rows: Sequence[Named]) -> None:
        """`NAME=214`, for a service also `NAME=1502,1602`; the ids must be HaloPSA's."""
        left, mark, right = pair.rpartition("=")
        ids = [part.strip() for part in right.split(",")]
        if (
            not mark
            or not left.strip()
            or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in ids)
        ):
            example = "NAME=214" if self.is_account else "NAME=1502,1602"
            raise UsageError(f"--set takes {example}, not {pair!r:.80}.")
        row = _named(left.strip(), rows)
        names = {one.id: one.name for one in (self.clients if self.is_account else self.items)}
        targets = [int(part) for part in ids]
        for target in targets:
            if target not in names:
                noun = "client" if self.is_account else "item"
                raise UsageError(f"HaloPSA has no {noun} {target}.")
        self.put(row, targets)
        note(f"{row.name} -> {', '.join(f'{names[target]} ({target})' for target in targets)}")

    def confirm(self, rows: Sequence[Named]) -> None:
        """Every guess that is listed becomes this person's word."""
        guessed = [row for row in rows if row.is_guess]
        for row in guessed:
            self.put(row, row.targets)
            note(f"confirmed: {row.name} -> {', '.join(row.target_names)}")
        if not guessed:
            note("no guessed match waits to be confirmed")


def _named(text: str, rows: Sequence[Named]) -> Named:
    """The account or service of that name, case aside. UsageError with the nearest."""
    from billingsync.rulebook.wording import nearest

    found = [row for row in rows if row.name == text] or [row for row in rows if row.name.casefold() == text.casefold()]
    if len(found) == 1:
        return found[0]
    guess = nearest(text, [row.name for row in rows])
    hint = f" Did you mean {guess!r}?" if guess else ""
    raise UsageError(f"No imported file of this profile names {text!r:.80}.{hint}")


def _show(rows: Sequence[Named], what: str, profile: str) -> None:
    from billingsync.report.layout import table

    if not rows:
        out(f"No file of the profile {profile} is imported. Begin with:  billingsync import FILE --profile {profile}")
        return
    shown = [
        (
            row.name,
            str(row.rows),
            ", ".join(map(str, row.targets)),
            ", ".join(row.target_names),
            row.how,
            row.suggestions,
            f"{row.who} {row.at[:10]}".strip(),
        )
        for row in rows
    ]
    table(console(), (what[:-1].capitalize(), "Rows", "HaloPSA id", "HaloPSA name", "How", "Suggestions", "By"), shown)
