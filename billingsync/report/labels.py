"""The words for people behind the stable names of reasons, modifiers, rules and targets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from billingsync.core.partner import SINGLE
from billingsync.core.states import PostingAction

if TYPE_CHECKING:
    from billingsync.core.bill.plan import ClientPlan, Plan, TakenBack, TrueUp

_MATCHED = {
    "rules": "named in the client's rules file",
    "person": "matched by a person",
    "external_id": "matched by Pax8's external id",
    "name": "matched by name",
    "similarity": "guessed from a similar name",
}


def spoken(name: str) -> str:
    """A stable name as words: `favorable_prorata` -> `favorable prorata`."""
    return name.replace("_", " ")


def matched(how: str | None) -> str:
    return _MATCHED.get(how or "", spoken(how or "not matched"))


def likeness(guessed: str) -> str:
    """A guess in whole percent: `94.1176 % similar` -> `94 % similar`. Rounded down: nothing but equal reads 100."""
    number, point, rest = guessed.partition(".")
    return number + rest.lstrip("0123456789") if point and number.isdigit() else guessed


def taken_back_from(up: TrueUp) -> str:
    """How a true-up takes back what was billed: in place, or by a credit where the invoice is closed [R2]."""
    open_ = [_invoice(one) for one in up.postings if not one.closed]
    closed = [f"{_invoice(one)}, which {one.closed}" for one in up.postings if one.closed]
    parts = [f"from {listed(open_, 4)}"] if open_ else []
    parts += [f"by a credit on a new invoice for {listed(closed, 3)}"] if closed else []
    return "; ".join(parts)


def _invoice(one: TakenBack) -> str:
    return "an invoice" if one.invoice_id is None else f"invoice {abs(one.invoice_id)}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 line`, `3 lines`; the number itself is put in front by whoever localises it."""
    return one if number == 1 else many or f"{one}s"


class Targeted(Protocol):
    """Whose lines go to an invoice, or to a new one where there is none."""

    @property
    def target_invoice_id(self) -> int | None: ...
    @property
    def behavior(self) -> str: ...


def target(client: Targeted, new_invoices: int = 1) -> str:
    """Where a client's lines go: `recurring invoice 237`, `invoice 90211`, `new invoice`, `3 new invoices`."""
    if client.target_invoice_id is None:
        return "new invoice" if new_invoices < 2 else f"{new_invoices} new invoices"
    # Recurring invoices have negative ids in the API (reference/halopsa 0.6); people know them without the sign.
    number = abs(client.target_invoice_id)
    return f"recurring invoice {number}" if client.behavior == "recurring" else f"invoice {number}"


def new_invoice_counts(plan: Plan) -> dict[tuple[int, str], int]:
    """How many invoices a plan creates for each client and currency: `group_by` may split them [B1]."""
    counts: dict[tuple[int, str], int] = {}
    for posting in plan.postings:
        if posting.action == PostingAction.CREATE:
            where = (posting.client_id, posting.currency)
            counts[where] = counts.get(where, 0) + 1
    return counts


def client_target(client: ClientPlan, counts: dict[tuple[int, str], int]) -> str:
    """`target` of a client that has something to post; "" for one that has not."""
    if client.held or not client.lines:
        return ""
    return target(client, counts.get((client.client_id, client.currency), 1) if client.client_id is not None else 1)


def listed(names: Sequence[str], most: int, where: str = "use --format html") -> str:
    """Names with commas; a long list ends in `... and N more`. For names only, never for amounts."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} ... and {len(names) - most} more ({where})"


_ID_SHOWN = 12  # characters of an item's id; Pax8's are random, so that the first of them tell charges apart
_IDS_SHOWN = 3


def short_charge(charge: str) -> str:
    """As much of a charge's id as people need to type: the beginning of the item's, without the invoice's."""
    item = charge.rpartition(":")[2]
    return item if len(item) <= _ID_SHOWN else item[:_ID_SHOWN].rstrip("-")


def short_charges(charges: Sequence[str]) -> str:
    """A few of them, and how many more there are."""
    more = f" and {len(charges) - _IDS_SHOWN} more" if len(charges) > _IDS_SHOWN else ""
    return ", ".join(map(short_charge, charges[:_IDS_SHOWN])) + more


def charges_beside(charges: Sequence[str]) -> str:
    """What stands behind a line of a plan: the first charge, short, and how many more there are; "" where none is."""
    more = f" +{len(charges) - 1}" if len(charges) > 1 else ""
    return f"  [{short_charge(charges[0])}{more}]" if charges else ""


def partner_name(partner: str) -> str:
    """The partner's name for people; "" for the one of a single installation, which has none."""
    return "" if partner == SINGLE else partner


def local_time(moment: str, zone: ZoneInfo) -> str:
    """An ISO moment as a clock in the partner's zone shows it, to the minute."""
    return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M")


def person(who: str) -> str:
    """Who did it, for people: without the process that the ledger notes too."""
    return who.partition(" (process ")[0]
