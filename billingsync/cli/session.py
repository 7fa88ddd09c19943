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


@contextmanager
def connected() -> Iterator[Connections]:
    from billingsync.connect import connections

    settings, redactor = load()
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

    settings, _ = load(local=local)
    with open_ledger(settings.database_url, partner=settings.partner) as ledger:
        yield settings, ledger
