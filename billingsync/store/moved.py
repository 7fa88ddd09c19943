"""A ledger that went on elsewhere, or that is only a copy: it says so itself, and writes nothing any more."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from billingsync.errors import Moved


class How(StrEnum):
    MOVING = "moving"  # the fleet may have it already, or not yet
    MOVED = "moved"  # the fleet has it
    EXPORT = "export"  # it is a copy of a fleet's partner


def mark(how: How, *, name: str, where: str, ledger: str, at: str, stopped: bool = True) -> dict[str, Any]:
    """What `partner.moved` says: `name` is the partner's in the fleet, `where` the fleet's database in words, `ledger`
    this ledger as it is typed, `at` when, in ISO 8601. `stopped`: whether the partner was taken out of the fleet whose
    export this is."""
    return {"how": how.value, "name": name, "where": where, "ledger": ledger, "at": at, "stopped": stopped}


def refuse_moved(said: Mapping[str, Any] | None) -> None:
    """Moved where the ledger has such a mark."""
    if said is None:
        return
    name, where, day = said["name"], said["where"], said["at"][:10]
    again = ["billingsync", "fleet", "import", name, said["ledger"]]
    if said["how"] == How.EXPORT:
        raise Moved(
            f"This is an export of {name}, made on {day} from {where}: it is only read. Nothing was written. A fleet "
            "takes it in, and goes on with it.",
            next_steps=[again],
        )
    if said["how"] == How.MOVING:
        raise Moved(
            f"This ledger is being moved into the fleet in {where}, as {name}. Nothing was written, and it is not "
            "billed here any more. If that move was broken off, the same command finishes it.",
            next_steps=[again],
        )
    raise Moved(
        f"This ledger went into the fleet in {where} on {day}, as {name}, which bills since. Nothing was written. Turn "
        "this installation off, and work there.",
        next_steps=[["billingsync", "fleet", "status", "--partner", name]],
    )
