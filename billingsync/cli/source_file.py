"""`--source FILE`: a distributor invoice's file in the place of Pax8's API [IM11]."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from billingsync.cli.session import load_for_partner
from billingsync.cli.terminal import say
from billingsync.errors import UsageError

if TYPE_CHECKING:
    from billingsync.connect import Connections
    from billingsync.core.reconcile.compare import Reconciliation
    from billingsync.run.plan import Planned
    from billingsync.settings import Settings
    from billingsync.sources.csvfile.source import FileSource


def opened_source(settings: Settings, file: str, reading: tuple[str, str | None], period: str | None) -> FileSource:
    """The file as a source; `reading` is its profile's name and its currency."""
    from billingsync.core.period import Period
    from billingsync.reconcile.imports import take_file
    from billingsync.sources.csvfile.profiles import find_profile, load_profiles, with_currency
    from billingsync.sources.csvfile.source import file_source

    try:
        month = None if period is None else Period.parse(period)
    except ValueError as wrong:
        raise UsageError(f"{str(wrong).capitalize()}.") from wrong
    name, currency = reading
    profile = with_currency(find_profile(load_profiles(settings.rules_dir), name), currency)
    return file_source(take_file(Path(file)), profile, month)


@contextmanager
def planned_from_file(
    file: str, reading: tuple[str, str | None], period: str | None, asked: Sequence[str]
) -> Iterator[tuple[Connections, Planned]]:
    """The plan of a file, with HaloPSA's connection; nothing is asked of Pax8."""
    from billingsync.connect import connections
    from billingsync.run.from_file import plan_from_file

    settings, redactor = load_for_partner()
    source = opened_source(settings, file, reading, period)
    with connections(settings, redactor, needs=("halo",)) as opened:
        yield opened, plan_from_file(opened, source, asked=asked, say=say)


@contextmanager
def compared_with_file(
    file: str, reading: tuple[str, str | None], period: str | None
) -> Iterator[tuple[Connections, Reconciliation]]:
    """A file's charges beside the snapshot of their month; nothing is asked of Pax8."""
    from billingsync.connect import connections
    from billingsync.reconcile.from_file import reconcile_file

    settings, redactor = load_for_partner()
    source = opened_source(settings, file, reading, period)
    with connections(settings, redactor, needs=("halo",)) as opened:
        yield opened, reconcile_file(opened, source, say=say)


def refuse_plan_from_file(digest: str) -> None:
    """Refused where the plan was made from a file, before any service must be reachable."""
    from billingsync.run.from_file import refuse_from_file
    from billingsync.settings import load_settings
    from billingsync.store.ledger import open_ledger

    settings = load_settings().settings
    with open_ledger(settings.database_url, partner=settings.partner) as ledger:
        refuse_from_file(ledger, digest)
