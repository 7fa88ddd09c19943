"""What ends, as days in a calendar (RFC 5545): one event a subscription, without money."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta

from billingsync.core.money import plain
from billingsync.core.reconcile.expiring import Expiring, Renews
from billingsync.report.comparison.renewals import Renewals
from billingsync.report.escape import one_line, shortened

_LONGEST = 300  # characters of one text
_OCTETS = 74  # of one line; what is longer goes on in the next one, which begins with a space
_RENEWS = {
    Renews.YES: "It renews by default.",
    Renews.NO: "It ends.",
    Renews.NOT_KNOWN: "Whether it renews is not known.",
}


def renewals_calendar(found: Renewals) -> str:
    """A calendar to import or to subscribe to. A later one says the same event by the same UID, so nothing doubles."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//billingsync//renewals//EN",
        "X-WR-CALNAME:Subscriptions that end",
    ]
    stamp = f"{found.whole.as_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    for one in found.expiry.subscriptions:
        lines += _event(one, stamp)
    return "".join(f"{part}\r\n" for line in [*lines, "END:VCALENDAR"] for part in _folded(line))


def _event(one: Expiring, stamp: str) -> list[str]:
    """Nothing where it is not known when it ends."""
    if one.end is None:
        return []
    held = one.one.subscription
    seats = "" if held.quantity is None else f", {plain(held.quantity)} seats"
    said = f"{_RENEWS[one.renews]} Subscription {held.id}."
    return [
        "BEGIN:VEVENT",
        f"UID:{_text(held.id)}@billingsync",
        f"DTSTAMP:{stamp}",
        f"DTSTART;VALUE=DATE:{one.end:%Y%m%d}",
        f"DTEND;VALUE=DATE:{one.end + timedelta(days=1):%Y%m%d}",
        f"SUMMARY:{_text(f'{one.one.company.name}: {one.one.ref.name}{seats} end')}",
        f"DESCRIPTION:{_text(said)}",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _text(text: str) -> str:
    """One line without what has a meaning there."""
    quiet = shortened(one_line(text), _LONGEST)
    for sign in ("\\", ";", ","):
        quiet = quiet.replace(sign, f"\\{sign}")
    return quiet


def _folded(line: str) -> Iterator[str]:
    """Never within a character."""
    part, size = "", 0
    for sign in line:
        octets = len(sign.encode("utf-8", "replace"))
        if size + octets > _OCTETS:
            yield part
            part, size = " ", 1
        part, size = part + sign, size + octets
    yield part
