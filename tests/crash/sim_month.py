"""The month that is simulated, the right bill for it, and what must hold after every schedule (I1 to I10).

Every charge has a price and a cost that no other charge has, so that a line in HaloPSA's tables names its charge by its
amounts alone: what is counted here knows nothing of our marks, our keys or our ledger.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any

from simulation import CANARY, ROOM, Image, PowerCut, Sim, at_work, forget, freeze, new_world, settings_for, simulated

from billingsync.errors import BillingSyncError
from billingsync.sandbox import cast, products
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.people import Deed
from billingsync.sandbox.seed_charges import Charges
from billingsync.sandbox.world import World
from billingsync.settings import Settings
from billingsync.store.ledger import open_ledger

BEHAVIORS = ("new", "new", "latest", "recurring")  # of the clients, over and over
MONTH, LAST_MONTH, NEXT_MONTH = "2026-11", "2026-10", "2026-12"
Line = tuple[int, Decimal, Decimal]  # client, price, cost: one charge


@dataclass(frozen=True)
class Shape:
    """What a simulated installation is like."""

    clients: int = 4
    charges: int = 2  # of each client and month
    behavior: str = ""  # of all clients; "": one after the other of BEHAVIORS
    lines: str = "replace"  # HaloPSA's semantics
    old_invoices: int = 2  # of the first client: over 50 and a list may be cut
    seed: int = 1
    create_items: bool = True
    sent_as: str = "header"  # HALO__WRITE_LINES
    rules: str = ""  # more of rules/defaults.toml

    def behavior_of(self, index: int) -> str:
        return self.behavior or BEHAVIORS[index % len(BEHAVIORS)]


@dataclass(frozen=True)
class Start:
    """An installation that has billed October, and November's right bill."""

    shape: Shape
    world: World
    folder: Path
    image: Image
    due: frozenset[Line]
    members: Sequence[Any] = field(repr=False, default=())

    def settings(self, folder: Path) -> Settings:
        return _settings(folder, self.folder, self.world, self.shape)

    def sim(self, folder: Path, seed: int = 1) -> Sim:
        """A fresh copy in `folder`."""
        folder.mkdir(exist_ok=True)
        forget(self.world, seed)
        sim = Sim(folder, self.world, self.settings(folder))
        sim.restore(self.image)
        return sim


def _settings(folder: Path, home: Path, world: World, shape: Shape) -> Settings:
    if home not in _loaded:
        _loaded[home] = settings_for(folder, world, home / "rules", BILLINGSYNC_HALO__WRITE_LINES=shape.sent_as)
    return _loaded[home].model_copy(update={"database_url": f"sqlite:///{folder / 'ledger.db'}"})


_loaded: dict[Path, Settings] = {}


def _rules(folder: Path, shape: Shape, members: Sequence[Any]) -> None:
    lifecycle = "automatic" if shape.create_items else "off"
    (folder / "clients").mkdir(parents=True)
    (folder / "defaults.toml").write_text(
        f'[products]\nlifecycle = "{lifecycle}"\n[limits]\nchange_percent_max = 1000\n{shape.rules}'
    )
    for index, member in enumerate(members):
        behavior = shape.behavior_of(index)
        text = f'[client]\npax8_company = "{member.company_id}"\n[invoice]\nbehavior = "{behavior}"\n'
        if behavior == "recurring":
            text += f"recurring_invoice = {_recurring_id(index)}\n"
        (folder / "clients" / f"{index:03d}.toml").write_text(text)


def _recurring_id(index: int) -> int:
    return 700 + index


def _people(world: World, shape: Shape, members: Sequence[Any]) -> None:
    """What people have in HaloPSA: fewer old invoices than the sandbox sows, each client's last one open, and a
    recurring invoice for each."""
    tables = world.halo.tables
    by_client: dict[int, list[int]] = {}
    for invoice_id, row in tables.invoices.items():
        by_client.setdefault(row["client_id"], []).append(invoice_id)
    wanted = {member.client_id: 2 for member in members}
    if members:
        wanted[members[0].client_id] = shape.old_invoices
    for client_id, ids in by_client.items():
        for invoice_id in sorted(ids)[: -wanted.get(client_id, 0) or None]:
            del tables.invoices[invoice_id]
    template = next(row for row in tables.recurring.values() if not row["contains_calculated_quantity"])
    tables.recurring.clear()
    opened = next(row for row in tables.invoices.values() if not row["posted"] and not row["voided"])
    for index, member in enumerate(members):
        mine = max((i for i, row in tables.invoices.items() if row["client_id"] == member.client_id), default=None)
        if mine is not None:
            keep = {name: opened[name] for name in (
                "posted", "dateposted", "xeroid", "thirdpartyinvoicenumber", "last_synced", "datesent", "emailstatus",
                "paymentstatus", "amountpaid", "datepaid", "voided", "invoicetype", "creditlinkedtoinvoiceid",
            )}  # fmt: skip
            row = tables.invoices[mine] | keep
            for line in row["lines"]:  # a credit's minus signs
                line |= {name: abs(line[name]) for name in ("qty_order", "net_amount", "tax_amount", "total_price")}
            tables.invoices[mine] = row
        lines = [
            line | {"id": 60_000 + 10 * index + n, "ihid": -_recurring_id(index)}
            for n, line in enumerate(template["lines"][:1])
        ]
        tables.recurring[-_recurring_id(index)] = template | {
            "id": -_recurring_id(index), "client_id": member.client_id, "client_name": member.client, "lines": lines,
            **_currency(world, member.client_id),
        }  # fmt: skip


def _currency(world: World, client_id: int) -> dict[str, Any]:
    """An invoice is in its client's currency: what is charged in another one is held."""
    client = world.halo.tables.clients[client_id]
    return {
        "currency_code": client["default_currency_code"], "currency_code_name": client["default_currency_code_name"],
    }  # fmt: skip


def _pax8(world: World, shape: Shape, members: Sequence[Any]) -> None:
    """October and November: each client has one subscription in both months with another quantity, one that ends and
    one that begins; of the products one has no item yet."""
    pax8 = world.pax8
    pax8.invoices.clear()
    pax8.items.clear()
    cents = 0
    for month, day in (
        (LAST_MONTH, date(2026, 10, 1)), (MONTH, date(2026, 11, 1)), (NEXT_MONTH, date(2026, 12, 1)),
    ):  # fmt: skip
        charges = Charges(shape.seed, day)
        for index, member in enumerate(members):
            for n in range(shape.charges):
                cents += 1
                stays = n % 2 == 0
                product = products.COMMON[(index + (n if stays else n + 4 * (month == MONTH))) % 9]
                if month == MONTH and n == shape.charges - 1 and shape.create_items and index in (0, 2):
                    product = products.UNKNOWN if index == 0 else products.SETUP
                subscription = (
                    f"{index:04d}{n if stays else n + 500 * (month == MONTH):04d}-0000-4000-8000-000000000000"
                )
                charges.add(
                    member, product, 1 + n % 3, price=Decimal(10) + Decimal(cents) / 100,
                    cost=Decimal(5) + Decimal(cents) / 100, subscriptionId=subscription,
                )  # fmt: skip
        parts: dict[str, list[Any]] = {"USD": [], "EUR": []}
        currency = {member.company_id: member.currency for member in members}
        for row in charges.rows:
            parts[currency[row["companyId"]]].append(row)
        for code, rows in parts.items():
            if rows:
                invoice_id = f"00000000-0000-4000-8000-{month.replace('-', '')}{len(pax8.invoices):06d}"
                total = sum((row["costTotal"] for row in rows), Decimal(0))
                pax8.items[invoice_id] = rows
                pax8.invoices.append(
                    {"id": invoice_id, "total": total, "currencyCode": code, "balance": total, "carriedBalance": 0,
                     "status": "Unpaid", "invoiceDate": day.isoformat(), "dueDate": day.isoformat(),
                     "partnerName": "Harbor Street IT"}
                )  # fmt: skip


def cents(amount: Any) -> Decimal:
    return Decimal(amount).quantize(Decimal("0.01"), ROUND_HALF_UP)


def due(world: World, members: Sequence[Any], month: str = MONTH) -> frozenset[Line]:
    owner = {member.company_id: member.client_id for member in members}
    lines = [
        (owner[row["companyId"]], cents(row["total"]), cents(row["costTotal"]))
        for invoice in world.pax8.invoices
        if invoice["invoiceDate"].startswith(month)
        for row in world.pax8.items[invoice["id"]]
    ]
    assert len(set(lines)) == len(lines), "each charge must have amounts of its own"
    return frozenset(lines)


@cache
def start(shape: Shape) -> Start:
    """Made once for each shape: the world is sown, October is billed by a real run, and HaloPSA has made its invoices of
    what that put on recurring ones: until then November would wait [B6]."""
    options = SandboxOptions(
        clients=shape.clients, trouble=False, history=0, seed=shape.seed, charges=1, secret=CANARY,
        lines_semantics=shape.lines,  # type: ignore[arg-type]
    )  # fmt: skip
    world = new_world(options)
    members = cast.members(shape.seed, shape.clients, trouble=False)
    _people(world, shape, members)
    _pax8(world, shape, members)
    folder = Path(tempfile.mkdtemp(prefix="start-", dir=folder_of_all()))
    _rules(folder / "rules", shape, members)
    with simulated():
        sim = Sim(folder, world, _settings(folder, folder, world, shape))
        world.clock.advance(-22 * 86_400)
        with at_work(sim):
            open_ledger(sim.settings.database_url, partner="default").close()
        _, result = sim.run(LAST_MONTH)
        assert result.state == "complete", result
        assert not world.notes.alarms, world.notes.alarms
        make_invoices(world)
        world.clock.set(0)
        world.halo.tables.journal.clear()
        return Start(shape, world, folder, sim.image(), due(world, members), members)


def make_invoices(world: World) -> None:
    """Between two months: HaloPSA makes an invoice of each recurring one with lines of ours, as it does on schedule."""
    for invoice_id, row in list(world.halo.tables.recurring.items()):
        if any("[bs:" in line["item_longdescription"] for line in row["lines"]):
            world.person(Deed(do="make", id=invoice_id))


_folders: list[tempfile.TemporaryDirectory[str]] = []


def folder_of_all() -> Path:
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="bs-sim-", dir=ROOM, ignore_cleanup_errors=True))
    return Path(_folders[0].name)


# What HaloPSA has now -------------------------------------------------------------------------------------------------


def live(line: Mapping[str, Any]) -> bool:
    return not line["isinactive"] and Decimal(line["qty_order"]) != 0


def billed(start_: Start, now: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> list[Line]:
    """Every live line of HaloPSA's that is new or was changed since October, by client, price and cost; on invoices that
    it made from recurring ones without the copies of people's own lines."""
    before = before or start_.image.tables
    people = {
        line["id"] for row in before["recurring"].values() for line in row["lines"]
        if "[bs:" not in line["item_longdescription"]
    }  # fmt: skip
    old = {
        line["id"]: line for name in ("invoices", "recurring") for row in before[name].values() for line in row["lines"]
    }
    found: list[Line] = []
    for name in ("invoices", "recurring"):
        for row in now[name].values():
            if row["voided"]:
                continue
            for line in row["lines"]:
                was = old.get(line["id"])
                if line.get("recurring_invoice_line_id") in people:
                    continue
                if live(line) and (was is None or _bill(was) != _bill(line)):
                    found.append((row["client_id"], *_bill(line)))
    return found


def _bill(line: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    quantity = Decimal(line["qty_order"])
    return cents(quantity * Decimal(line["unit_price"])), cents(quantity * Decimal(line["unit_cost"]))


COMPUTED = {"change_seq", "last_modified", "revenue", "total", "tax_total", "amountdue", "lines"}


def strangers(start_: Start, now: Mapping[str, Any], edited: Mapping[str, Any] | None = None) -> list[str]:
    """I3: what is not ours and is not as it was."""
    before = edited or start_.image.tables
    wrong = [
        f"{name} changed"
        for name in ("clients", "sites", "taxes", "suppliers", "currencies")
        if before[name] != now[name]
    ]
    wrong += [f"item {one} changed" for one, row in before["items"].items() if now["items"].get(one) != row]
    for name in ("invoices", "recurring"):
        for one, row in before[name].items():
            after = now[name].get(one)
            if after is None:
                if not all("[bs:" in line["item_longdescription"] for line in row["lines"]):
                    wrong.append(f"{name} {one} is gone")
                continue
            wrong += [f"{name} {one}: {key}" for key in row if key not in COMPUTED and row[key] != after[key]]
            lines = {line["id"]: line for line in after["lines"]}
            for line in row["lines"]:
                if "[bs:" not in line["item_longdescription"] and lines.get(line["id"]) != line:
                    wrong.append(f"{name} {one}: line {line['id']} is not as it was")
    return wrong


# Cycles and invariants ------------------------------------------------------------------------------------------------


@dataclass
class End:
    """Where a schedule ended."""

    cycles: int = 0
    results: list[Any] = field(default_factory=list)
    planned: Any = None
    errors: list[str] = field(default_factory=list)

    @property
    def result(self) -> Any:
        return self.results[-1] if self.results else None


def cycle(sim: Sim, end: End, period: str = MONTH) -> None:
    """One process, whatever becomes of it."""
    end.cycles += 1
    try:
        end.planned, result = sim.run(period)
        end.results.append(result)
    except BillingSyncError as stopped:
        end.errors.append(f"{stopped.code}: {stopped}")
        end.results.append(None)
    except (PowerCut, OSError) as died:
        end.errors.append(f"{type(died).__name__}: {died}")
        end.results.append(None)


def until_done(sim: Sim, most: int = 3, pause_s: float = 60.0) -> End:
    """Runs until everything is billed or nothing moves any more."""
    end = End()
    while end.cycles < most:
        cycle(sim, end)
        if end.result is not None and end.result.state == "complete":
            break
        sim.world.clock.advance(pause_s)
    return end


@dataclass(frozen=True)
class Account:
    """The bill against HaloPSA's tables."""

    missing: frozenset[Line]
    twice: Mapping[Line, int]
    wrong: frozenset[Line]  # amounts that no charge has

    def __bool__(self) -> bool:
        return not (self.missing or self.twice or self.wrong)


def account(start_: Start, sim: Sim, wanted: frozenset[Line] | None = None) -> Account:
    sim.world.land_due()
    counted = Counter(billed(start_, freeze(sim.world)))
    wanted = start_.due if wanted is None else wanted
    return Account(
        missing=wanted - counted.keys(),
        twice={line: times for line, times in counted.items() if times > 1 and line in wanted},
        wrong=frozenset(counted.keys() - wanted),
    )


def named(start_: Start, sim: Sim, end: End) -> frozenset[Line]:
    """The charges that our output says are not simply billed: held, failed or unknown, with the reason."""
    ids: set[str] = set()
    if end.planned is not None:
        for hold in (*(h for c in end.planned.plan.clients for h in c.holds), *end.planned.plan.unassigned_holds):
            assert hold.reason
            assert hold.detail
            assert hold.next_step, hold  # I6
            ids.add(hold.charge)
    with sim.connected() as opened:
        for row in opened.ledger.postings(period=MONTH):
            if row.state in ("differs", "unknown", "refused", "abandoned"):
                assert row.message, row
                ids |= {share.charge for line in row.lines for share in line.shares}
    if end.result is not None:
        for posting in end.result.postings:
            assert posting.state in ("posted", "adopted") or posting.problem, posting
    amounts = amounts_by_id(start_)
    return frozenset(amounts[one] for one in ids if one in amounts)


def amounts_by_id(start_: Start) -> dict[str, Line]:
    owner = {member.company_id: member.client_id for member in start_.members}
    return {
        f"{invoice}:{row['id']}": (owner[row["companyId"]], cents(row["total"]), cents(row["costTotal"]))
        for invoice, rows in start_.world.pax8.items.items()
        for row in rows
    }


def check(
    start_: Start,
    sim: Sim,
    end: End,
    *,
    complete: bool = True,
    damaged: bool = False,
    edited: Mapping[str, Any] | None = None,
) -> list[str]:
    """What is broken of I1 to I6 and I9, in words; empty is as it must be. `damaged`: HaloPSA stored something else
    than was sent, which must be named, and may stand there until a person has looked."""
    complete = complete and not damaged
    wrong: list[str] = []
    found = account(start_, sim)
    if found.twice:
        wrong.append(f"I1 billed twice: {dict(found.twice)}")
    if found.wrong and not (damaged and found.missing):
        wrong.append(f"I1 not what was charged: {sorted(found.wrong)}")
    if not damaged:  # what the fault itself did to others' lines is told as a difference
        wrong += [f"I3 {what}" for what in strangers(start_, freeze(sim.world), edited)]
    wrong += [f"I4 {what}" for what in sim.broken_order]
    if found.missing:
        told = named(start_, sim, end)
        if complete:
            wrong.append(f"I5 not billed after {end.cycles} cycles: {sorted(found.missing)}; {end.errors}")
        elif found.missing - told:
            wrong.append(f"I6 not billed and not named: {sorted(found.missing - told)}")
    result = end.result
    if complete and (result is None or result.state != "complete"):
        wrong.append(f"I5 ended {result.state if result else end.errors}: {_problems(result)}")
    if result is not None and result.state == "complete":
        for one in result.accounts:
            returned = result.returned[one.currency]
            if returned != (one.price.posted, one.cost.posted):
                wrong.append(f"I2 {one.currency}: {returned} returned of {one.price.posted}, {one.cost.posted}")
    if sim.world.notes.alarms:
        wrong.append(f"the sandbox's alarms: {sim.world.notes.alarms}")
    text = " ".join([*sim.said, *end.errors, *map(str, sim.errors)])
    if CANARY in text:
        wrong.append("I9 a secret in what people see")
    return wrong


def _problems(result: Any) -> list[str]:
    return [posting.problem for posting in result.postings if posting.problem] if result else []


def nothing_more(start_: Start, sim: Sim) -> list[str]:
    """I7: run again, and nothing is planned, sent or changed."""
    before = freeze(sim.world)
    end = End()
    writes = sum(call.method != "GET" and not call.path.endswith("/token") for call in sim.world.notes.calls)
    cycle(sim, end)
    wrong = []
    if end.result is None or end.planned.plan.postings:
        wrong.append(f"I7 a second run plans {end.planned and len(end.planned.plan.postings)}: {end.errors}")
    if sum(call.method != "GET" and not call.path.endswith("/token") for call in sim.world.notes.calls) != writes:
        wrong.append("I7 a second run writes")
    after = freeze(sim.world)
    if before["invoices"] != after["invoices"] or before["recurring"] != after["recurring"]:
        wrong.append("I7 a second run changes HaloPSA")
    return wrong


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder for one campaign, within a simulated world."""
    with simulated(), tempfile.TemporaryDirectory(prefix="campaign-", dir=folder_of_all()) as folder:
        yield Path(folder)


__all__ = ["Shape", "Start", "account", "billed", "check", "cycle", "nothing_more", "replace", "start", "until_done"]
