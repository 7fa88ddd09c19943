"""Faults on request: which call goes wrong, how, and how often.

A kind without a suffix happens instead of the call; with `_after` the call is carried out first and then told wrongly.
"""

from __future__ import annotations

import difflib
import random
import re
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

from billingsync.sandbox.clock import Clock

STATUSES = ("200", "400", "401", "403", "404", "405", "408", "409", "415", "422", "429", "500", "502", "503", "504")

INSTEAD = {
    **{status: f"answered with status {status}" for status in STATUSES},
    "400_object": "400 with an object of lists, as HaloPSA's binding errors have it",
    "reset": "the connection is reset",
    "timeout": "no answer for `seconds`, then 504",
    "black_hole": "no answer at all",
    "not_json": "200 with an HTML login page",
    "empty": "200 with an empty body",
    "error_inside": "200 with an error in the body",
    "redirect": "308 to `to`",
}
KINDS: dict[str, str] = {
    **INSTEAD,
    **{f"{kind}_after": f"carried out, then: {what}" for kind, what in INSTEAD.items() if kind != "redirect"},
    "timeout_after": "carried out, the answer held for `seconds`",
    "cut": "carried out, the body cut in the middle and the connection closed",
    "slow": "answered after `seconds`",
    "drip": "answered one byte every `seconds`",
    "late": "carried out only `seconds` or `calls` later (or by `land()`), meanwhile told `answer`",
    "fewer_lines": "carried out without the last line",
    "drop_marker": "carried out without what `fields` hold",
    "cut_text": "carried out with texts cut at `length`",
    "round_amounts": "carried out with prices rounded to whole units",
    "list_for_object": "an object is answered as a list of one",
    "stale": "a list does not show what was written since the fault was set, or in the last `seconds`",
    "cut50": "a list has at most 50 rows; its count tells the truth unless count=cut",
    "repeat_pages": "every page of a list is the first",
    "no_rows": "a list is empty",
}
_DEFAULT_SECONDS = {"timeout": 120.0, "timeout_after": 120.0, "slow": 2.0, "drip": 1.0}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Hits the calls number `nth` to `nth + times - 1` that match (counted from when it was added), or each matching
    call with `probability` until it was hit `times` times. `times=None`: without end.

    `path` is relative to the service and may hold `*`; case does not matter. HaloPSA's token is at `/auth/token`.
    """

    service: str = "*"  # pax8 | halo | *
    method: str = "*"
    path: str = "*"
    nth: int = 1
    times: int | None = 1
    probability: float | None = None
    kind: str
    seconds: float | None = None
    calls: int | None = None  # late: lands when this many later calls were answered
    answer: str = "504"  # late: 504 | timeout | reset
    retry_after: str | None = None  # of a 429, as it is written into the header
    body: str | None = None  # of an answered status, instead of the usual one
    length: int = 4_000
    fields: tuple[str, ...] = ("item_longdescription", "productnumber", "customfields", "internal_note")
    count: str = "true"  # cut50: true | cut
    to: str = "https://elsewhere.invalid/"

    def __post_init__(self) -> None:
        if self.service not in ("pax8", "halo", "*"):
            raise ValueError(f"a fault's service is pax8, halo or *, not {self.service!r}")
        if self.kind not in KINDS:
            near = difflib.get_close_matches(self.kind, KINDS, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(f"no such kind of fault: {self.kind!r}{hint}. Known kinds: {', '.join(KINDS)}")
        if self.nth < 1:
            raise ValueError("a fault's calls are counted from 1")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError("a fault's probability lies between 0 and 1")
        if self.answer not in ("504", "timeout", "reset"):
            raise ValueError(f"what a late write is told is 504, timeout or reset, not {self.answer!r}")
        object.__setattr__(self, "method", self.method.upper())

    def matches(self, service: str, method: str, path: str) -> bool:
        return (
            self.service in ("*", service)
            and self.method in ("*", method.upper())
            and fnmatchcase(path.lower().rstrip("/") or "/", self.path.lower())
        )

    def wait_s(self) -> float:
        return self.seconds if self.seconds is not None else _DEFAULT_SECONDS.get(self.kind, 0.0)

    def base_kind(self) -> str:
        """The kind without `_after`."""
        return self.kind.removesuffix("_after")

    def instead(self) -> bool:
        return self.kind in INSTEAD


_NUMBERED = {"seconds": float, "calls": int, "length": int}


def parse_fault(text: str) -> Fault:
    """`service:METHOD:path:which:kind[:name=value]...`, e.g. `halo:POST:/Invoice:1:timeout_after`.

    `which` is a call's number (`1`), that and all later ones (`2+`), every call (`*`), or a share of them (`10%`).
    Raises ValueError, which names the known kinds where the kind is wrong.
    """
    parts = text.split(":", 5)
    if len(parts) < 5:
        raise ValueError(f"a fault is written service:METHOD:path:which:kind, not {text!r}")
    service, method, path, which, kind = (part.strip() for part in parts[:5])
    given: dict[str, Any] = {"service": service.lower(), "method": method, "path": path, "kind": kind}
    if which == "*":
        given |= {"nth": 1, "times": None}
    elif match := re.fullmatch(r"(\d+(?:\.\d+)?)%", which, re.ASCII):
        given |= {"probability": float(match[1]) / 100, "times": None}
    elif match := re.fullmatch(r"(\d+)(\+?)", which, re.ASCII):
        given |= {"nth": int(match[1]), "times": None if match[2] else 1}
    else:
        raise ValueError(f"which calls a fault hits is written 1, 2+, * or 10%, not {which!r}")
    return Fault(**given | _parameters(parts[5] if len(parts) > 5 else ""))


def _parameters(text: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    known = {field.name for field in fields(Fault)} - {"service", "method", "path", "kind", "nth", "probability"}
    # a value may hold colons (to=http://...), so only a colon before the next `name=` separates
    for piece in re.split(r":(?=[a-z_]+=)", text) if text else []:
        name, equals, value = piece.partition("=")
        if not equals or name not in known:
            raise ValueError(f"a fault has no {name!r}. Known: {', '.join(sorted(known))}")
        if name == "times":
            given[name] = None if value == "*" else int(value)
        elif name == "fields":
            given[name] = tuple(value.split(","))
        else:
            given[name] = _NUMBERED[name](value) if name in _NUMBERED else value
    return given


@dataclass(slots=True)
class _Set:
    fault: Fault
    at: float
    seen: int = 0
    hits: int = 0


class Faults:
    """The faults that are set. At most one hits a call: the first that was added."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._clock = clock
        self._set: list[_Set] = []
        self._chance = random.Random(f"{seed}:faults")  # noqa: S311  # repeatable is the point
        self.fired: list[Fault] = []

    def add(self, fault: Fault | str) -> Fault:
        """A fault, or its text as `parse_fault` reads it."""
        fault = parse_fault(fault) if isinstance(fault, str) else fault
        self._set.append(_Set(fault, self._clock.now()))
        return fault

    def clear(self) -> None:
        self._set.clear()

    def __len__(self) -> int:
        return len(self._set)

    def pick(self, service: str, method: str, path: str) -> tuple[Fault, float] | None:
        """The fault that hits this call, and when it was added."""
        chosen = None
        for entry in self._set:
            if not entry.fault.matches(service, method, path):
                continue
            entry.seen += 1
            if chosen is None and self._hits(entry):
                entry.hits += 1
                chosen = entry
        if chosen is None:
            return None
        self.fired.append(chosen.fault)
        return chosen.fault, chosen.at

    def _hits(self, entry: _Set) -> bool:
        fault = entry.fault
        if fault.times is not None and entry.hits >= fault.times:
            return False
        if fault.probability is not None:
            return self._chance.random() < fault.probability
        return entry.seen >= fault.nth
