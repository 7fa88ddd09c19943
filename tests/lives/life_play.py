"""Plays a life month by month, and compares its end with the model."""

from __future__ import annotations

import gc
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from life_model import Difference, differences, must_pay, standing, was_invoiced
from life_office import Office, Said, fresh_world
from life_person import Person, earlier_months
from life_script import Event, Script
from life_world import CREATION_DAY, HAND, Scene, period

from billingsync.sandbox.wire import Row

RULES = """[products]
lifecycle = "off"
[limits]
change_percent_max = 1000000
missing_company_percent_max = 100
negative_invoice = "post"
"""
LAST = ("Zenith Group", "zenith00-0000-4000-8000-000000000000", 399)


@dataclass(frozen=True)
class Outcome:
    script: Script
    wrong: tuple[str, ...]
    history: tuple[Said, ...]
    trace: str
    invoiced: Decimal

    def __str__(self) -> str:
        return f"seed {self.script.seed}: " + "; ".join(self.wrong) + f"\n{self.script}"


class Play:
    def __init__(self, folder: Path, script: Script) -> None:
        self.script = script
        self.world = fresh_world(**dict(script.switches))
        self.scene = Scene(self.world, script)
        self.office = Office(folder, self.world)
        self.person = Person(self.office, self.scene)
        self.wrong: list[str] = []
        self.hands: dict[tuple[int, int], Decimal] = {}
        self.backups: list[dict[str, bytes]] = []
        self.doubled: list[tuple[int, bool]] = []  # second invoices of a template; whether something is billed once
        self.bills: dict[int, str] = {}  # month -> Pax8's invoice
        random.seed(script.seed)

    def whole(self) -> Outcome:
        for month in range(self.script.months):
            self.play_month(month)
        self._last_month()
        self._compare()
        total = sum((price for price, _ in was_invoiced(self.world.halo.tables.invoices.values()).values()), Decimal(0))
        found = hashlib.sha256(repr([(said.words, said.code) for said in self.office.history]).encode())
        found.update(repr(sorted(self.world.halo.tables.invoices.items())).encode())
        return Outcome(self.script, tuple(self.wrong), tuple(self.office.history), found.hexdigest()[:16], total)

    # --- a month -----------------------------------------------------------------------------------------------------

    def play_month(self, month: int) -> None:
        scene = self.scene
        scene.month = month
        scene.until(1, 8)
        self.backups = [*self.backups[-1:], self.office.backup()]
        self._events(month, "begin")
        for n in range(len(scene.clients)):
            if scene.behaviors[n] == "latest":
                scene.hand_invoice(n)
        scene.close_older()
        self._payers()
        self._write_rules()
        self.bills[month] = scene.release()
        self._events(month, "unbilled")
        scene.until(5)
        self._bill(month)
        self._events(month, "billed")
        scene.until(CREATION_DAY, 7)
        self._events(month, "schedule")
        if self.person.wait:
            self.person.wait.clear()
            self._bill(month)
        self._events(month, "made")
        self._told(month)

    def _bill(self, month: int) -> Said:
        said = self.person.run(month)
        if said.code == 137:
            said = self.person.run(month)
        self._doubles(said)
        if said.code == 3 or (said.code == 1 and earlier_months(said)):
            said = self.person.answer(month)
        self._well(said)
        return said

    def _well(self, said: Said) -> None:
        if said.code == 4 and not self.scene.counted(said.words[1]):
            return  # all that it was billed from is void, and settled: there is nothing to bill
        if said.code not in (0, 3):
            self.wrong.append(f"month {self.scene.month}: {said}")

    def _doubles(self, said: Said) -> None:
        """What HaloPSA invoiced twice must be told where a charge is billed once; then a person takes the second."""
        for invoice_id, once in self.doubled:
            if once and said.code != 3:
                self.wrong.append(f"month {self.scene.month}: nobody tells that {invoice_id} bills something again")
            self.scene.person("delete", invoice_id)
        self.doubled.clear()

    def _told(self, month: int) -> None:
        """Where the money is not where it must be, the last run of some month has said that something waits."""
        codes = {said.words[1]: said.code for said in self.office.history if said.words[0] == "run"}
        if any(codes.values()) or self.doubled or self.wrong:
            return
        position = self._position()
        self.wrong += [f"month {month}, exit 0, and {each}" for each in position]

    def _position(self) -> list[Difference]:
        """Where what is invoiced and what waits on a template is not what must be paid so far."""
        pax8, tables = self.world.pax8, self.world.halo.tables
        was = dict(was_invoiced(tables.invoices.values()))
        for row in tables.recurring.values():
            # What comes off after HaloPSA has made its invoice makes the rest wait for nothing.
            live = {line["id"] for line in row["lines"] if Decimal(line["qty_order"]) and not line.get("isinactive")}
            written = max(
                (one["datetime"] for one in tables.changes
                 if one["invoice_id"] == row["id"] and one["who"] == "billing API agent"
                 and one["invoice_line_id"] in live), default="",
            )  # fmt: skip
            if written > row["lastcreated"]:
                waits, before = standing(row), was.get(row["client_id"], (Decimal(0), Decimal(0)))
                was[row["client_id"]] = (before[0] + waits[0], before[1] + waits[1])
        must = must_pay(pax8.invoices, pax8.items, self.scene.decisions.payer)
        return differences(must, was, self.scene.decisions.spoilt)

    def _payers(self) -> None:
        scene = self.scene
        for n, company in enumerate(scene.companies):
            payer = None if n in scene.excluded else scene.clients[scene.owner[n]]
            scene.decisions.payer[(company, period(scene.month))] = payer

    def _write_rules(self) -> None:
        scene = self.scene
        self.office.rules(RULES)
        for n, client in enumerate(scene.clients):
            text = f'[client]\nhalo_client = {client}\n[invoice]\nbehavior = "{scene.behaviors[n]}"\n'
            if scene.behaviors[n] == "recurring":
                text += f"recurring_invoice = {-scene.template(n)}\n"
            self.office.rules(text, f"clients/{n}.toml")

    # --- the end -----------------------------------------------------------------------------------------------------

    def _last_month(self) -> None:
        """Everybody leaves and somebody else comes: what stands on templates comes off, what waits is invoiced."""
        scene = self.scene
        scene.month = self.script.months
        scene.until(1, 8)
        scene.gone |= set(range(len(scene.companies)))
        name, company, client = LAST
        tables, pax8 = self.world.halo.tables, self.world.pax8
        tables.clients[client] = tables.clients[scene.clients[0]] | {"id": client, "name": f"{name} Ltd"}
        pax8.companies.append(pax8.companies[0] | {"id": company, "name": f"{name} Ltd"})
        scene.companies.append(company)
        scene.names.append(name)
        scene.clients.append(client)
        scene.behaviors.append("new")
        scene.owner.append(len(scene.clients) - 1)
        scene.extra.append(scene.charge(len(scene.companies) - 1, "one-time", 1, Decimal("9.99"), Decimal("7.77")))
        self._payers()
        self._write_rules()
        scene.release()
        scene.until(5)
        for _ in range(3):
            for month in (self.script.months - 1, self.script.months):
                said = self._bill(month)
            if said.code == 0:
                break
        scene.until(CREATION_DAY, 7)

    def _compare(self) -> None:
        if self.wrong:
            return
        pax8, tables = self.world.pax8, self.world.halo.tables
        must = must_pay(pax8.invoices, pax8.items, self.scene.decisions.payer)
        was = was_invoiced(tables.invoices.values())
        self.wrong += [str(each) for each in differences(must, was, self.scene.decisions.spoilt)]
        for row in tables.recurring.values():
            if standing(row) != (0, 0):
                self.wrong.append(f"{standing(row)[0]} still stand on template {row['id']}")
        lines = {
            (row["id"], line["id"]): Decimal(line["qty_order"])
            for rows in (tables.invoices, tables.recurring)
            for row in rows.values()
            for line in row["lines"]
        }
        for place, quantity in self.hands.items():
            if place in lines and lines[place] != quantity:
                self.wrong.append(f"a person's line {place} has {lines[place]} and must have {quantity}")

    # --- events ------------------------------------------------------------------------------------------------------

    def _events(self, month: int, phase: str) -> None:
        for event in self.script.of(month, phase):
            DEEDS[event.kind](self, event)

    def company(self, event: Event) -> int:
        return event.who % len(self.scene.companies)

    def present(self, event: Event) -> str | None:
        """Pax8's invoice of this month, as long as it counts."""
        bill = self.bills.get(event.month)
        return bill if bill in self.scene.counted(period(event.month)) else None


def _seats(play: Play, event: Event) -> None:
    subs = play.scene.subscriptions[play.company(event)]
    subs[event.n % len(subs)].seats = 1 + event.n % 17


def _price(play: Play, event: Event) -> None:
    sub = play.scene.subscriptions[play.company(event)][0]
    sub.price, sub.cost = sub.price + Decimal(event.n) / 100, sub.cost + Decimal(event.n) / 200


def _extra(kind: str, sign: int) -> Callable[[Play, Event], None]:
    def add(play: Play, event: Event) -> None:
        n = play.company(event)
        if n in play.scene.gone:
            return
        price, cost = Decimal(30 + event.n) + Decimal("0.37"), Decimal(20 + event.n) + Decimal("0.19")
        sub = play.scene.subscriptions[n][0]
        more: dict[str, Any] = {"product": f"Setup {event.n}"}
        if kind == "prorate":
            more = {"product": sub.product, "subscription": sub.id}
            price, cost = sub.price / 2, sub.cost / 2
        play.scene.extra.append(play.scene.charge(n, kind, sign * (1 + event.n % 3), price, cost, **more))

    return add


def _rename_company(play: Play, event: Event) -> None:
    n = play.company(event)
    name = play.scene.names[n]
    play.scene.rename_company(n, f"{name.split(' No')[0]} No{event.month}")


def _rename_client(play: Play, event: Event) -> None:
    n = event.who % len(play.scene.clients)
    name = play.world.halo.tables.clients[play.scene.clients[n]]["name"]
    play.scene.rename_client(n, f"{name.split(' Site')[0]} Site{event.month}")


def _leave(play: Play, event: Event) -> None:
    n = play.company(event)
    if len(play.scene.gone) + 1 < len(play.scene.companies):
        play.scene.gone.add(n)
        play.scene.extra = [row for row in play.scene.extra if row["companyId"] != play.scene.companies[n]]


def _return(play: Play, event: Event) -> None:
    play.scene.gone.discard(play.company(event))


def _move(play: Play, event: Event) -> None:
    """A company is sold to another client; the person says so."""
    n, scene = play.company(event), play.scene
    owner = event.n % len(scene.clients)
    pair = f"{scene.companies[n]}={scene.clients[owner]}"
    if n not in scene.excluded and play.office.run("map", "companies", "--set", pair).code == 0:
        scene.owner[n] = owner


def _behavior(play: Play, event: Event) -> None:
    scene, n = play.scene, event.who % len(play.scene.clients)
    scene.behaviors[n] = ("new", "latest", "recurring")[event.n % 3]
    if scene.behaviors[n] == "recurring":
        row = play.world.halo.tables.recurring[scene.template(n)]
        if row["disabled"]:
            scene.schedule(n, disabled=False, nextcreationdate=f"{period(event.month)}-{CREATION_DAY}T06:00:00")


def _exclude(play: Play, event: Event) -> None:
    n, scene = play.company(event), play.scene
    if n in scene.excluded or len(scene.excluded) + 1 >= len(scene.companies):
        return
    if play.office.run("map", "companies", "--exclude", scene.companies[n]).code == 0:
        scene.excluded.add(n)


def _reissue_early(play: Play, event: Event) -> None:
    if bill := play.present(event):
        play.bills[event.month] = play.scene.reissue(bill, _dearer(event), ("Void", "Credited")[event.n % 2])


def _reissue_late(play: Play, event: Event) -> None:
    _reissue_early(play, event)
    play._bill(event.month)


def _dearer(event: Event) -> Callable[[Row], None]:
    def change(row: Row) -> None:
        if event.n % 3 == 0 and row["type"] == "subscription":
            row |= {"quantity": row["quantity"] + 1, "total": row["total"] + row["price"],
                    "subTotal": row["subTotal"] + row["price"], "costTotal": row["costTotal"] + row["cost"]}  # fmt: skip

    return change


def _reissue_next(play: Play, event: Event) -> None:
    """Last month's invoice is credited, and comes again on one that is dated this month."""
    _reissue_of(play, event, event.month - 1)


def _reissue_old(play: Play, event: Event) -> None:
    _reissue_of(play, event, event.month - 2 - event.n % 4)


def _reissue_of(play: Play, event: Event, month: int) -> None:
    bill = play.bills.get(month)
    if bill in play.scene.counted(period(month)):
        play.scene.reissue(bill, _dearer(event))


def _ids(play: Play, event: Event) -> None:
    def others(rows: list[Row]) -> list[Row]:
        for row in rows:
            play.scene.other_id(row)
        return rows

    _rewritten(play, event, others)


def _amount(play: Play, event: Event) -> None:
    def dearer(rows: list[Row]) -> list[Row]:
        row = rows[event.n % len(rows)]
        for name, by in (("total", 5), ("subTotal", 5), ("price", Decimal(5) / row["quantity"]), ("costTotal", 3)):
            row[name] += by
        return rows

    _rewritten(play, event, dearer)


def _gone_item(play: Play, event: Event) -> None:
    def fewer(rows: list[Row]) -> list[Row]:
        if len(rows) > 1:
            del rows[event.n % len(rows)]
        return rows

    _rewritten(play, event, fewer)


def _rewritten(play: Play, event: Event, change: Callable[[list[Row]], list[Row]]) -> None:
    if bill := play.present(event):
        play.scene.rewrite(bill, change)
        play._bill(event.month)


def _void(play: Play, event: Event) -> None:
    if bill := play.present(event):
        play.scene.bill(bill)["status"] = "Void"
        play._bill(event.month)


def _second(play: Play, event: Event) -> None:
    n, scene = play.company(event), play.scene
    if n not in scene.gone:
        price = Decimal(11 + event.n) + Decimal("0.43")
        scene.invoice([scene.charge(n, "one-time", 1, price, price - 4, product=f"Child {event.n}")], partner="Child")
        play._bill(event.month)


def _last_run(play: Play, month: int) -> str | None:
    """The newest run that posted something of this month."""
    for said in reversed(play.office.history):
        if said.words[:2] == ("run", period(month)) and said.json.get("postings"):
            return str(said.json["run"])
    return None


def _undo(play: Play, event: Event) -> None:
    if run := _last_run(play, event.month):
        play.office.run("undo", run, "--yes", "--json")
        play._bill(event.month)


def _undo_closed(play: Play, event: Event) -> None:
    if run := _last_run(play, event.month):
        for n in range(len(play.scene.clients)):
            for row in play.scene.open_invoices(n):
                play.scene.person("close", row["id"], how=("posted", "sent", "paid")[event.n % 3])
        play.office.run("undo", run, "--yes", "--credit", "--json")
        for n, behavior in enumerate(play.scene.behaviors):
            if behavior == "latest":
                play.scene.hand_invoice(n)
        play._bill(event.month)


def _again(play: Play, event: Event) -> None:
    play._bill(event.month)


def _kill(play: Play, event: Event) -> None:
    play.office.cut_at = 20 + 3 * event.n


def _restore(play: Play, event: Event) -> None:
    """The ledger is as it was at the beginning of this month."""
    _restored(play, event, play.backups[-1])


def _restore_old(play: Play, event: Event) -> None:
    """The ledger is as it was at the beginning of last month. Where HaloPSA's invoices do not say which lines of a
    template they were made from, or do not carry their marks, what was billed from it cannot be known, and the client
    is held: no step of ours ends that."""
    options = play.world.options
    if options.made_line_ids and options.made_fields_copied:
        _restored(play, event, play.backups[0])


def _restored(play: Play, event: Event, image: dict[str, bytes]) -> None:
    play.office.restore(image)
    scene = play.scene  # what a person said since must be said again
    for n, owner in enumerate(scene.owner):
        if owner != n and n not in scene.excluded:
            play.office.run("map", "companies", "--set", f"{scene.companies[n]}={scene.clients[owner]}")
    for n in sorted(scene.excluded):
        play.office.run("map", "companies", "--exclude", scene.companies[n])
    play._bill(event.month)


def _edit_own(play: Play, event: Event) -> None:
    """A person changes a line of their own."""
    n = event.who % len(play.scene.clients)
    rows = [*play.scene.open_invoices(n), play.world.halo.tables.recurring[play.scene.template(n)]]
    row = rows[event.n % len(rows)]
    for line in row["lines"]:
        if line["item_shortdescription"] == HAND:
            play.scene.person("edit", row["id"], line=line["id"], set={"qty_order": 1 + event.n})
            play.hands[(row["id"], line["id"])] = Decimal(1 + event.n)
            return


def _edit_ours(play: Play, event: Event) -> None:
    """A person changes the price of a line of ours on an invoice; that is what the client pays."""
    n = event.who % len(play.scene.clients)
    for row in play.scene.open_invoices(n):
        for line in row["lines"]:
            if line["item_shortdescription"] != HAND and not line["isinactive"] and line["qty_order"]:
                before = was_invoiced([row])[row["client_id"]]
                changed = play.scene.person("edit", row["id"], line=line["id"], set={"unit_price": 1, "baseprice": 1})
                assert changed is not None
                after = was_invoiced([changed])[row["client_id"]]
                spoilt = play.scene.decisions.spoilt.setdefault(row["client_id"], [Decimal(0), Decimal(0)])
                spoilt[0] += after[0] - before[0]
                return


def _close(play: Play, event: Event) -> None:
    for row in play.scene.open_invoices(event.who % len(play.scene.clients)):
        play.scene.person("close", row["id"], how=("posted", "sent", "paid")[event.n % 3])


def _recurring(play: Play, event: Event) -> int | None:
    chosen = [n for n, behavior in enumerate(play.scene.behaviors) if behavior == "recurring"]
    return chosen[event.who % len(chosen)] if chosen else None


def _never(play: Play, event: Event) -> None:
    """A month passes without HaloPSA's invoice: a person had put its date off."""
    # the creation of this month is at six on CREATION_DAY and was made a moment ago: the next one is put off
    if (n := _recurring(play, event)) is not None:
        play.scene.schedule(n, nextcreationdate=f"{period(event.month + 2)}-{CREATION_DAY}T06:00:00")
        if event.n % 2:
            play.person.wait.add(n)


def _twice(play: Play, event: Event) -> None:
    if (n := _recurring(play, event)) is None:
        return
    row = play.world.halo.tables.recurring[play.scene.template(n)]
    once = any(line["item_shortdescription"].startswith("Setup") and not line["isinactive"] for line in row["lines"])
    due = f"{period(event.month)}-{CREATION_DAY}"
    first = row["lastcreated"] < due  # a person had put the schedule off: this is the only invoice, not a second one
    made = play.scene.person("make", row["id"], moves=False)
    if made is not None and not first:
        play.doubled.append((made["id"], once))


def _undo_made(play: Play, event: Event) -> None:
    """Undone after HaloPSA made invoices of the templates: what was invoiced stays so."""
    _undo(play, event)


DEEDS: dict[str, Callable[[Play, Event], None]] = {
    "seats": _seats, "price": _price, "one_time": _extra("one-time", 1), "prorate": _extra("prorate", 1),
    "credit": _extra("one-time", -1), "rename_company": _rename_company, "rename_client": _rename_client,
    "leave": _leave, "return": _return, "move": _move, "behavior": _behavior, "exclude": _exclude,
    "reissue_early": _reissue_early, "reissue_late": _reissue_late, "reissue_next": _reissue_next,
    "reissue_old": _reissue_old, "ids": _ids, "amount": _amount, "gone_item": _gone_item, "void": _void,
    "second": _second, "undo": _undo, "undo_closed": _undo_closed, "again": _again, "kill": _kill, "restore": _restore, "restore_old": _restore_old,
    "edit_own": _edit_own, "edit_ours": _edit_ours, "close": _close, "never": _never,
    "twice": _twice, "undo_made": _undo_made,
}  # fmt: skip


def play(folder: Path, script: Script) -> Outcome:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return Play(folder, script).whole()
    finally:
        gc.collect()
