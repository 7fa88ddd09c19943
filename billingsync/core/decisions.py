"""What people decided: approvals, which hold as long as what was shown is the same [V1], charges set aside, and lines
paired with products."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from billingsync.core.money import plain
from billingsync.core.reasons import ApproveAs, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A charge that a person keeps from the next posting, until it is put back."""

    who: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One approval, with what was shown to whoever gave it. `client` is a HaloPSA client's id as text, or a Pax8
    company's where it had no client. `amount` is what the client would be billed in `currency` this period (of a
    true-up: what comes instead); `limits` the limits that it was over, with their numbers; `charges` the held charges
    with their amounts; `taken` the keys of the postings that a true-up takes back, which come to `take_back`."""

    kind: ApproveAs
    digest: str
    client: str
    currency: str
    amount: Decimal
    limits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    charges: Mapping[str, Decimal] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    take_back: Decimal = Decimal(0)
    who: str = ""
    at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What approvals make of a question: `by` answers it; else `lapsed` says why an earlier answer ended."""

    by: Approval | None = None
    lapsed: str = ""


def lifted(
    approvals: Iterable[Approval], client: str, currency: str, amount: Decimal, limits: Mapping[Reason, tuple[str, ...]]
) -> Ruling:
    """Whether a person let this very bill of a client through every limit that it is over."""
    lapsed = ""
    for one in approvals:
        if (one.kind, one.client, one.currency) != (ApproveAs.LIMITS, client, currency):
            continue
        if one.amount == amount and all(one.limits.get(reason) == numbers for reason, numbers in limits.items()):
            return Ruling(by=one)
        if one.amount != amount:
            now = f"now it is {plain(amount, currency)}"
        elif set(limits) - set(one.limits):
            now = "now it is over another limit too"
        else:
            now = "now the numbers of its limits are others"
        lapsed = f"{one.who} approved {plain(one.amount, currency)} {currency}, and {now}"
    return Ruling(lapsed=lapsed)


def swapped(
    approvals: Iterable[Approval],
    kind: ApproveAs,
    client: tuple[str, str],
    sums: tuple[Decimal, Decimal],
    taken: Iterable[str],
) -> Ruling:
    """Whether a person agreed to take just these postings back with just this in their place [R2]. `client` is its id
    and the currency, `sums` what is taken back and what is added; `kind` is a credit only where nothing comes."""
    keys, lapsed, currency = frozenset(taken), "", client[1]
    for one in approvals:
        if one.kind is not kind or (one.client, one.currency) != client:
            continue
        if keys == one.taken and (one.take_back, one.amount) == sums:
            return Ruling(by=one)
        back, add = plain(one.take_back, currency), plain(one.amount, currency)
        lapsed = f"{one.who} approved to take back {back} and add {add} {currency}, which is not this"
    return Ruling(lapsed=lapsed)


def approved_charges(approvals: Iterable[Approval], kind: ApproveAs) -> dict[str, Decimal]:
    """The charges that people decided about in this way, with the price that they saw."""
    return {charge: price for one in approvals if one.kind is kind for charge, price in one.charges.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """A person said that this line carries this client's family. `family` is a SKU, or a product's name."""

    client_id: int
    family: str
    line_id: int
