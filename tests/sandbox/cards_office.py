"""What the tests of written cards share: an office with differences, and what HaloPSA was sent."""

from __future__ import annotations

import dataclasses
import shutil

from cli import CALM, TEXT_ONLY, Office

SOLD = dataclasses.replace(CALM, charges=None, clients=8, hand_kept=3)


_ledgers: dict[object, bytes] = {}  # with a snapshot in it: the same options make the same tenant


def new_office(sandbox, sqlite_template, folder, options=SOLD):
    sandbox.reset(options)
    office = Office(folder, sandbox)
    office.rules(TEXT_ONLY)
    known = (sandbox.url, options)
    if known not in _ledgers:
        shutil.copy(sqlite_template, folder / "ledger.db")
        office.run("snapshot").must(0, 3)
        _ledgers[known] = (folder / "ledger.db").read_bytes()
        sandbox.reset(options)
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (folder / name).unlink(missing_ok=True)
    (folder / "ledger.db").write_bytes(_ledgers[known])
    return office


def dealt(office, *words):
    return office.run("cards", *words, "--json").must(0, 3).json["cards"]


def approvable(office, *, kind="changed"):
    return next(
        card
        for card in dealt(office, "--kind", kind)
        if not card["lacks"] and not card["limits"] and card["state"] == "open"
    )


def invoice(sandbox, card):
    return sandbox.halo.table("recurring")[card["invoice_id"]]


def line_of(sandbox, card):
    return next(line for line in invoice(sandbox, card)["lines"] if line["id"] == card["line_id"])


def posts(sandbox):
    """The writes that HaloPSA carried out."""
    return [call for call in sandbox.calls if call.service == "halo" and call.method == "POST" and call.effect]


def approve(office, *words):
    return office.run("cards", "approve", *words, "--json")


def one(ran, code=0):
    return ran.must(code).json["results"][0]
