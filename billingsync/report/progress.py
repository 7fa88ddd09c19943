"""A step of the work in words, for the terminal, the log and the desk."""

from __future__ import annotations

from billingsync.core.progress import Progress, Stage
from billingsync.report.labels import plural

_WORDS = {
    Stage.CYCLE: "starting a cycle",
    Stage.DAILY: "starting the daily snapshot",
    Stage.ORDER: "carrying out an order from the desk",
    Stage.IDLE: "waiting until {about} for the next cycle",
    Stage.LIST_MONTHS: "asking Pax8 which months are released",
    Stage.READ_MONTH: "reading {about} from Pax8 and HaloPSA",
    Stage.READ_PSA: "reading HaloPSA for {about}",
    Stage.READ_SUBSCRIPTIONS: "reading subscriptions from Pax8",
    Stage.READ_SNAPSHOT: "reading subscriptions from Pax8 and recurring invoices from HaloPSA",
    Stage.READ_INVOICE: "reading the invoice of {about} from Pax8",
    Stage.READ_HISTORIES: "reading the history of {of} {subscriptions}",
    Stage.READ_COMMITMENTS: "reading the commitments from Pax8",
    Stage.COMPARE: "comparing with snapshot {about}",
    Stage.AWAIT_RUN: "waiting: another run is under way",
    Stage.PLAN: "planning",
    Stage.RECOVER: "finding out about {of} {postings} of an interrupted run",
    Stage.LOOK_FOR_LATE: "checking whether {of} {postings} arrived late",
    Stage.LOOK_FOR_OURS: "checking what is in HaloPSA already",
    Stage.CREATE_GROUP: "creating item group {about}",
    Stage.CREATE_ITEM: "creating item {about}",
    Stage.POST: "posting {nth} of {of}: {client}",
    Stage.READ_BACK: "reading back {of} {invoices}",
    Stage.PREVIEW_UNDO: "checking {nth} of {of}: {client}",
    Stage.UNDO: "undoing {nth} of {of}: {client}",
    Stage.SET_LINES: "writing cards of {client}",
    Stage.AWAIT_POSTING: "waiting {seconds:.0f} s: HaloPSA may still show what was sent for {client}",
    Stage.AWAIT_UNDO: "waiting {seconds:.0f} s: HaloPSA may still carry out the undo for {client}",
    Stage.AWAIT_ITEM: "waiting {seconds:.0f} s: HaloPSA may still show {item}",
    Stage.TROUBLE: "{about}",
}


def progress_text(progress: Progress) -> str:
    """One sentence without a full stop. Names in it are as the vendors gave them: not made inert for a terminal."""
    return _WORDS[progress.stage].format(
        nth=progress.nth,
        of=progress.of,
        client=progress.client,
        about=progress.about,
        seconds=progress.seconds,
        item=progress.about or "an item that an interrupted run created",
        postings=plural(progress.of, "posting", "postings"),
        invoices=plural(progress.of, "invoice", "invoices"),
        subscriptions=plural(progress.of, "subscription", "subscriptions"),
    )
