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

_READING = tuple(stage for stage in Stage if stage.value.startswith(("read_", "list_", "look_")))
_WORTH_SAYING = 5  # seconds
_WHOLE = {  # a stage of counted steps, as it is told once
    Stage.POST: "posting {of} {invoices}",
    Stage.PREVIEW_UNDO: "checking {of} {invoices}",
    Stage.UNDO: "undoing {of} {invoices}",
}


def progress_text(progress: Progress) -> str:
    """One sentence without a full stop. Names in it are as the vendors gave them: not made inert for a terminal."""
    return _filled(_WORDS[progress.stage], progress)


def stage_text(progress: Progress) -> str:
    """The whole stage in words, for a log that tells of each stage once."""
    return _filled(_WHOLE.get(progress.stage, _WORDS[progress.stage]), progress)


def estimate_text(progress: Progress, seconds: float | None, calls: int, waits: tuple[str, float] | None) -> str:
    """What stands beside a step: how long the stage still takes, or how many calls were made, or what it waits for
    (a service, and seconds). "" where there is nothing to say."""
    if waits is not None and waits[1] >= 1 and seconds is None:
        return f"({waits[0]}'s calls of this minute are used up: next in {waits[1]:.0f} s)"
    if seconds is not None:
        return f"({_duration(seconds)} left)" if seconds >= _WORTH_SAYING else ""
    return f"({calls} {plural(calls, 'call', 'calls')})" if calls and progress.stage in _READING else ""


def _duration(seconds: float) -> str:
    """`about 40 s`, `about 3 min`, `about 2 h 10 min`."""
    if seconds < 90:
        return f"about {max(round(seconds / 5) * 5, 5)} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 100 else f"about {minutes // 60} h {minutes % 60:02} min"


def _filled(words: str, progress: Progress) -> str:
    return words.format(
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
