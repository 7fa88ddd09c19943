"""What most commands begin with: settings, logging, the ledger, both services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from billingsync.cli.progress_line import LINE, STAGES, Stderr
from billingsync.cli.terminal import FLAGS, note

if TYPE_CHECKING:
    from billingsync.connect import Connections
    from billingsync.redaction import Redactor
    from billingsync.settings import Settings
    from billingsync.store.ledger import Ledger


def load(*, local: bool = False) -> tuple[Settings, Redactor]:
    """Settings, checked, with logging set up so that no secret can reach it; `local` as for `ledger_only`."""
    from billingsync.log import set_up_logging, set_up_logging_later
    from billingsync.redaction import Redactor
    from billingsync.settings import load_settings

    loaded = load_settings(calls=not local)
    settings = loaded.settings
    redactor = Redactor(settings.secrets())
    level = "debug" if FLAGS.debug else "warning" if FLAGS.quiet else settings.log.level
    (set_up_logging_later if local else set_up_logging)(
        format=settings.log.format,
        level=level,
        redact=redactor.text,
        debug=FLAGS.debug,
        color=not FLAGS.no_color,
        stream=Stderr(),
    )
    for warning in loaded.warnings:
        note(f"warning: {warning}")
    return settings, redactor


def load_for_partner(*, local: bool = False, secrets: bool = True) -> tuple[Settings, Redactor]:
    """As `load`; in a fleet's database the settings and rules that are published for the partner, whatever the
    machine's own say. UsageError for a partner that the fleet does not know."""
    settings, redactor = load(local=local)
    if not settings.database_url.startswith("postgresql"):  # which a fleet needs
        return settings, redactor
    from billingsync.store.fleet import open_fleet
    from billingsync.store.fleet_due import newest_version
    from billingsync.store.fleet_gate import refuse_strangers

    with open_fleet(settings.database_url) as fleet:
        version = newest_version(fleet)
        if not version:
            return settings, redactor
        import atexit
        import shutil
        import tempfile
        from pathlib import Path

        from billingsync.fleet.published import published_files, published_settings, write_rules

        with fleet.database.reading() as connection:
            refuse_strangers(connection, settings.partner)
        files = published_files(fleet, settings.partner, version)
    settings = published_settings(files, settings.partner, settings, secrets=secrets)
    folder = Path(tempfile.mkdtemp(prefix="billingsync-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    rules = folder / write_rules(files, settings.partner, folder)
    for secret in settings.secrets():
        redactor.add(secret)
    return settings.model_copy(update={"rules_dir": rules}), redactor


def is_published(settings: Settings) -> bool:
    """Whether these settings are a fleet's, whose files nobody can write from here."""
    return settings.rules_dir.parent.parent.name == "partners"


@contextmanager
def connected() -> Iterator[Connections]:
    from billingsync.connect import connections

    settings, redactor = load_for_partner()
    with connections(settings, redactor) as opened:
        STAGES.last = None
        LINE.services = (opened.pax8.service, opened.psa.service)
        try:
            yield opened
        finally:
            LINE.clear()
            LINE.services = ()


@contextmanager
def ledger_only(*, local: bool = False) -> Iterator[tuple[Settings, Ledger]]:
    """For commands that need no upstream; `local` for those that call nobody at all and log nothing: they are quick."""
    from billingsync.store.ledger import open_ledger

    settings, _ = load_for_partner(local=local, secrets=False)
    check = False if local else None  # what only reads tells of damage where it finds it
    with open_ledger(settings.database_url, partner=settings.partner, check=check) as ledger:
        yield settings, ledger
