"""What the sandbox noticed about its callers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Call:
    """One HTTP call. `status` is None where the connection broke instead; `effect`: a write was carried out."""

    number: int
    service: str  # pax8 | halo
    method: str
    path: str  # relative to the service, as in the vendor's documents
    query: dict[str, str]
    at: float  # seconds on the sandbox's clock
    body_size: int
    body: bytes = b""  # of writes; a token call's body holds secrets and is not kept
    status: int | None = None
    effect: bool = False
    fault: str | None = None  # the kind of the fault that hit it

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"body": self.body.decode(errors="replace")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something that a billing program must never do."""

    kind: str  # command_property | price_push | ignore_change_seq | process | automatic_quantity | pax8_write
    path: str
    detail: str


@dataclass(slots=True)
class Notes:
    calls: list[Call] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)  # (path, property) that was sent and has no meaning
    alarms: list[Alarm] = field(default_factory=list)

    def ignore(self, path: str, name: str) -> None:
        if (path, name) not in self.ignored:
            self.ignored.append((path, name))

    def alarm(self, kind: str, path: str, detail: str) -> None:
        self.alarms.append(Alarm(kind=kind, path=path, detail=detail))
