"""Where charges come from. Pax8 is the first source (`pax8/`); another one is a folder of its own beside it.

A charge's id names its source: those of every source but Pax8 begin with `name/`, so that two sources never make one
id. Pax8's have no such beginning, as the keys of what was posted depend on them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Protocol

from billingsync.core.charge import Source
from billingsync.core.inputs import Company
from billingsync.core.period import Period

PAX8 = "pax8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One page of JSON exactly as Pax8 sent it [S3]. `kind`: invoice (a list page with that invoice on it) | items."""

    kind: str
    invoice_id: str
    page: int  # from 0
    packed: bytes  # a month's pages are held together until all are there, and are much the same
    sha256: str
    source: str = PAX8

    @property
    def body(self) -> bytes:
        return zlib.decompress(self.packed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An invoice of the period that is not taken [S1]."""

    invoice_id: str
    status: str
    total: Decimal | None
    invoice_date: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Everything of one period. `sources` is empty where all its invoices are void or credited."""

    sources: tuple[Source, ...]
    skipped: tuple[Skipped, ...]
    documents: tuple[Document, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A month with at least one invoice; `invoices` counts those that are taken, `skipped` the others. `ids` are the
    taken ones', sorted; `content` is another where the list says anything else of the month."""

    period: Period
    invoices: int
    skipped: int
    ids: tuple[str, ...] = field(default=(), compare=False)
    content: str = field(default="", compare=False)


class ChargeSource(Protocol):
    """`name` is what the ledger keeps its invoices under. Reading raises UpstreamError where the source cannot be
    reached, NotReady where what it says is not complete, and NotReleased where it has nothing of a period."""

    @property
    def name(self) -> str: ...
    def released(self) -> tuple[Released, ...]: ...
    def fetch(self, period: Period) -> Fetched: ...
    def companies(self) -> tuple[Company, ...]: ...


def charge_id(source: str, identity: str) -> str:
    """The id of a charge of this source [S5]."""
    return identity if source == PAX8 else f"{source}/{identity}"
