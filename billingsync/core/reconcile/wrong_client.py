"""Seats that nobody bills here, and just as many too many of the same product elsewhere: the match may be wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from billingsync.core.reconcile.findings import Confidence, Finding, Kind, Side, finding_id

_SURPLUS = (Kind.BILLED_NOT_BOUGHT, Kind.OVER_BILLED, Kind.CHANGED_SINCE_INVOICE, Kind.DUPLICATE)


def with_wrong_clients(findings: Sequence[Finding]) -> list[Finding]:
    """All findings, with a `wrong_client` for each product that is not billed at one client and is billed too much, by
    the same seats, at others. It has no money of its own, and is related to both."""
    elsewhere: dict[tuple[str, Decimal], list[Finding]] = defaultdict(list)
    for one in findings:
        if one.kind in _SURPLUS and one.seats < 0:
            elsewhere[one.key, -one.seats].append(one)
    added: list[Finding] = []
    related: dict[str, list[str]] = defaultdict(list)
    for one in findings:
        if one.kind is not Kind.NOT_BILLED:
            continue
        others = [other for other in elsewhere[one.key, one.seats] if other.client_id != one.client_id]
        if not others:
            continue
        made = _wrong_client(one, others)
        added.append(made)
        for other in (one, *others):
            related[other.id].append(made.id)
    told = [replace(one, related=tuple(related[one.id])) if one.id in related else one for one in findings]
    return [*told, *added]


def _wrong_client(here: Finding, others: Sequence[Finding]) -> Finding:
    return replace(
        here,
        id=finding_id(here.client_id, f"{here.group}|{here.key}", Kind.WRONG_CLIENT),
        kind=Kind.WRONG_CLIENT,
        side=Side.NONE,
        month=None,
        once=None,
        confidence=Confidence.LOOK,
        since=None,
        note="billed at " + ", ".join(dict.fromkeys(other.client_name for other in others)),
        related=(here.id, *(other.id for other in others)),
    )
