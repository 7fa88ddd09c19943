"""A month in one process: the real run against the sandbox's own world, without sockets, threads or waiting.

Everything outside the process is here: the wire (`Sim.exchange` in place of the HTTP transport), the time, and SQLite
on a file of its own with the production's pragmas. Each effect - a request before it leaves and after its answer, each
changing statement, each commit before and after - is counted by `Sim.effect`. At any of them the power can be cut: a
`PowerCut` that nothing catches, after which the dead process can neither write nor send, or an image of what a killed
process leaves behind (the database file with its log, and HaloPSA's tables), from which another process goes on.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import json
import random
import re
import sqlite3
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import httpcore2
import httpx2
from sqlalchemy import event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from billingsync import connect
from billingsync.core.progress import Progress
from billingsync.http import budget, calls, exchange, login, service, verdict
from billingsync.redaction import Redactor
from billingsync.report.progress import progress_text
from billingsync.rulebook import load_rulebook
from billingsync.run import context, credit, fetch, plan, result, run, undo
from billingsync.sandbox import world as world_module
from billingsync.sandbox.clock import Clock
from billingsync.sandbox.faults import Fault, Faults
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.tampering import distorted, tampered, told
from billingsync.sandbox.wire import Answer, Request
from billingsync.sandbox.world import Pending, World
from billingsync.settings import Settings, load_settings
from billingsync.sources.pax8 import client as pax8_client
from billingsync.store import database, lock, partners
from billingsync.store.columns import moment
from billingsync.store.ledger import Ledger

EPOCH = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
ADDRESS = "http://127.0.0.1:1"
CANARY = "canary-5f1c9d"
MARK = re.compile(rb"\[bs:([0-9a-f]{20}):([0-9a-f]{8}):(\d+)\]")
NOTE = re.compile(rb"billingsync key=([0-9a-f]{20}) installation=")
ROOM = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
SETTINGS = {
    "BILLINGSYNC_RETRY__FIRST_WAIT_S": "1",
    "BILLINGSYNC_PAX8__CALLS_PER_MINUTE": "100000",
    "BILLINGSYNC_HALO__CALLS_PER_MINUTE": "100000",
    "BILLINGSYNC_TIMEZONE": "UTC",
}


class PowerCut(BaseException):
    """The process is dead. What still unwinds can neither write nor send."""


class Mistake(BaseException):
    """The simulation's own; no run may take it for an upstream's."""


class SimClock(Clock):
    """Time passes only where somebody waits."""

    def now(self) -> float:
        return 1_000.0 + self._moved

    def set(self, moved: float) -> None:
        self._moved = moved

    @property
    def moved(self) -> float:
        return self._moved


class Wire(httpx2.BaseTransport):
    def __init__(self, *_: object, **__: object) -> None:
        pass

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return current().exchange(request)

    def close(self) -> None:
        pass


_current: list[Sim] = []


def current() -> Sim:
    return _current[-1]


@dataclass(frozen=True)
class Image:
    """What is left when the power goes: the database's bytes, HaloPSA's tables, the time."""

    database: Mapping[str, bytes]
    tables: Mapping[str, Any]
    moved: float
    pending: tuple[Pending, ...] = ()

    @functools.cached_property
    def digest(self) -> str:
        """Equal for images that no later process can tell apart, but for the time."""
        found = hashlib.sha256()
        for name, content in sorted(self.database.items()):
            found.update(name.encode() + hashlib.sha256(content).digest())
        found.update(repr(self.tables["ticks"]).encode())
        found.update(repr([(late.request.path, late.due_at) for late in self.pending]).encode())
        return found.hexdigest()


@dataclass
class Trouble:
    """A fault on the way that the sandbox does not know: the request never leaves."""

    error: Callable[[], Exception]


@dataclass
class Sim:
    """One installation and its world. `run()` is one process from start to end."""

    folder: Path
    world: World
    settings: Settings
    number: int = 0  # of effects so far
    cut_at: int | None = None
    dead: bool = False
    trace: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    broken_order: list[str] = field(default_factory=list)  # I4
    watch: Callable[[int, str], None] | None = None
    on_request: Callable[[str, Request, int], Fault | Trouble | None] | None = None
    on_commit: Callable[[str, int], str | None] | None = None
    requests: dict[str, int] = field(default_factory=dict)
    commits: dict[str, int] = field(default_factory=dict)
    began: set[int] = field(default_factory=set)  # connections within a transaction
    writing: str = "other"  # what the transaction under way is about
    check_order: bool = True
    ahead_s: float = 0.0  # this process's own clock, before the database's and everybody else's

    # --- effects -----------------------------------------------------------------------------------------------------

    def effect(self, what: str) -> None:
        if self.dead:
            raise PowerCut(what)
        self.number += 1
        self.trace.append(what)
        if self.watch is not None:
            self.watch(self.number, what)
        if self.number == self.cut_at:
            self.dead = True
            raise PowerCut(what)

    def image(self) -> Image:
        return Image(read_database(self.folder), freeze(self.world), self.world.clock.moved, tuple(self.world.pending))

    def restore(self, image: Image) -> None:
        for old in self.folder.glob("ledger.db*"):
            old.unlink()
        for name, content in image.database.items():
            (self.folder / name).write_bytes(content)
        thaw(self.world, image.tables)
        self.world.clock.set(image.moved)
        self.world.pending[:] = image.pending
        self.dead = False

    def fork(self, image: Image, folder: Path) -> Sim:
        """Another process that finds what is left; the world is the same object, put back."""
        folder.mkdir(exist_ok=True)
        url = f"sqlite:///{folder / 'ledger.db'}"
        sim = Sim(folder, self.world, self.settings.model_copy(update={"database_url": url}))
        sim.restore(image)
        return sim

    # --- processes ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def connected(self) -> Iterator[connect.Connections]:
        self.dead = False
        self.began.clear()
        with at_work(self), connect.connections(self.settings, Redactor(self.settings.secrets())) as opened:
            yield opened

    def say(self, progress: Progress) -> None:
        self.said.append(progress_text(progress))

    def run(self, period: str = "2026-11", **more: Any) -> Any:
        """One process: (planned, result). Whatever it raises is kept in `errors` too."""
        from billingsync.core.period import Period

        try:
            with self.connected() as opened:
                return run.run_period(opened, Period.parse(period), who="the simulation", say=self.say, **more)
        except BaseException as bad:
            self.errors.append(f"{type(bad).__name__}: {bad}")
            _let_go(bad)
            raise

    def trace_hash(self) -> str:
        found = hashlib.sha256("\n".join(self.trace).encode())
        found.update(json.dumps(freeze(self.world), default=str, sort_keys=True).encode())
        return found.hexdigest()

    # --- the wire ----------------------------------------------------------------------------------------------------

    def exchange(self, request: httpx2.Request) -> httpx2.Response:
        under_way = exchange.CURRENT.get()
        service_, asked = addressed(request)
        name = effect_name(service_, asked)
        if self.began:
            self.broken_order.append(f"{name} while a transaction was open")
        if self.check_order:
            try:
                self._check_intent(name, asked)
            except Exception as bad:
                raise Mistake("the order could not be checked") from bad
        self.effect(f"before {name} {asked.method} {asked.path}")
        self.requests[name] = nth = self.requests.get(name, 0) + 1
        trouble = self.on_request(name, asked, nth) if self.on_request else None
        if isinstance(trouble, Trouble):
            raise trouble.error()
        under_way.sent = True
        answer = self._answered(service_, asked, under_way, trouble)
        self.effect(f"after {name} {answer.status}")
        self.world.clock.advance(0.05)
        under_way.status = answer.status
        under_way.date = formatdate(self.true_time().timestamp() + self.world.options.date_offset_s, usegmt=True)
        headers = {"content-type": answer.content_type, "date": under_way.date, **answer.headers}
        return httpx2.Response(answer.status, headers=headers, content=answer.content())

    def _answered(self, service_: str, asked: Request, under_way: exchange.Exchange, chosen: Fault | None) -> Answer:
        """As `sandbox.app.App` does, on a clock that is moved instead of waited for."""
        world = self.world
        call = world.begin(service_, asked)
        hit = (chosen, world.clock.now()) if chosen else world.faults.pick(service_, asked.method, asked.path)
        if hit is None:
            answer = world.answer(service_, asked, call)
            call.status = answer.status
            return answer
        fault, since = hit
        call.fault = fault.kind
        if fault.kind == "late":
            world.postpone(fault, asked, call)
            return self._told(Fault(kind=fault.answer), service_, asked, under_way)
        if fault.instead():
            return self._told(fault, service_, asked, under_way)
        hidden_since = None
        if fault.kind == "stale":
            hidden_since = since if fault.seconds is None else world.clock.now() - fault.seconds
        answer = distorted(fault, world.answer(service_, tampered(fault, asked), call, hidden_since=hidden_since))
        if fault.kind.endswith("_after") and fault.kind != "timeout_after":
            return self._told(fault, service_, asked, under_way)
        if fault.kind == "cut":
            raise httpcore2.RemoteProtocolError("peer closed connection without sending complete message body")
        if fault.kind == "drip":
            self._hold(fault.wait_s() * len(answer.content()), under_way)
        if fault.kind in ("slow", "timeout_after"):
            self._hold(fault.wait_s(), under_way)
        return answer

    def _told(self, fault: Fault, service_: str, asked: Request, under_way: exchange.Exchange) -> Answer:
        kind = fault.base_kind()
        if kind == "reset":
            raise httpcore2.ReadError("[Errno 104] Connection reset by peer")
        if kind == "black_hole":
            self._hold(10_000, under_way)
        if kind == "timeout":
            self._hold(fault.wait_s(), under_way)
        return told(fault, service_, asked.path)

    def _hold(self, seconds: float, under_way: exchange.Exchange) -> None:
        left = under_way.deadline - self.world.clock.now()
        self.pass_time(min(seconds, left))
        if seconds >= left:
            raise httpcore2.ReadTimeout("timed out")

    def wall(self) -> datetime:
        return self.true_time() + timedelta(seconds=self.ahead_s)

    def true_time(self) -> datetime:
        return EPOCH + timedelta(seconds=self.world.clock.moved)

    def wait(self, seconds: float) -> None:
        if self.dead:
            raise PowerCut("waiting")
        assert 0 <= seconds < 10_000, seconds
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        """Late writes land when they are due, not when somebody looks."""
        clock = self.world.clock
        end = clock.now() + seconds
        for late in sorted(self.world.pending, key=lambda late: late.due_at or 0):
            if late.due_at is not None and late.due_at <= end:
                clock.advance(max(late.due_at - clock.now(), 0))
                self.world.land_due()
        clock.advance(max(end - clock.now(), 0))

    # --- the order of things [N1] (I4) -------------------------------------------------------------------------------

    def _check_intent(self, name: str, asked: Request) -> None:
        """A write with marks: is there, in the file and not only in our connection, an intent of just these bytes?"""
        if asked.method != "POST" or name not in ("create", "append", "recurring update"):
            return
        keys = {found[1].decode() for found in NOTE.finditer(asked.body)}
        if not keys:
            keys = {found[1].decode() for found in MARK.finditer(asked.body)}
        open_now = sqlite3.connect(self.folder / "ledger.db")
        try:
            open_now.create_function("unpacked", 1, zlib.decompress)
            query = "SELECT key, state, unpacked(content), target_invoice_id FROM posting"
            rows = open_now.execute(query).fetchall()
        finally:
            open_now.close()
        body = json.loads(asked.body)
        meant = [row for row in rows if row[1] in ("sending", "unknown") and json.loads(row[2]) == body]
        # setting left-over lines to nothing, and undoing, are steps of what is intended already
        follow_up = any(
            row[1] in ("undoing", "sending", "unknown") and body and row[3] in (body[0].get("id"), body[0].get("ihid"))
            for row in rows
        ) or any(row[1] == "undoing" for row in rows)
        if not meant and not follow_up:
            self.broken_order.append(f"{name} of {sorted(keys)} without its intent in the database")

    # --- the database ------------------------------------------------------------------------------------------------

    def listen(self, engine: Any) -> None:
        def begun(connection: Any) -> None:
            self.began.add(id(connection))

        def over(connection: Any) -> None:
            self.began.discard(id(connection))

        def of_the_world(connection: Any, _record: Any) -> None:
            connection.create_function("strftime", 3, self._database_now)

        event.listen(engine, "connect", of_the_world)
        event.listen(engine, "begin", begun)
        event.listen(engine, "rollback", over)
        event.listen(engine, "before_cursor_execute", self._before_statement)
        event.listen(engine, "after_cursor_execute", self._after_statement)
        commit = engine.dialect.do_commit

        def do_commit(connection: Any) -> None:
            about, self.writing = self.writing, "other"
            self.effect(f"before commit {about}")
            self.commits[about] = nth = self.commits.get(about, 0) + 1
            lie = self.on_commit(about, nth) if self.on_commit else None
            if lie == "lost":
                connection.rollback()
            elif lie and lie.startswith("fails:"):
                connection.rollback()
                raise sqlite3.OperationalError(lie.removeprefix("fails:"))
            else:
                commit(connection)
            self.began.clear()
            self.effect(f"after commit {about}")
            if lie and lie.startswith("then:"):
                raise sqlite3.OperationalError(lie.removeprefix("then:"))

        engine.dialect.do_commit = do_commit

    def _database_now(self, form: str, at: str, later: str) -> str:
        """SQLite's strftime, as leases ask it, by the clock of the world."""
        assert at == "now" and form.endswith("%f000Z") and later.endswith(" seconds"), (form, at, later)
        return moment(self.true_time() + timedelta(seconds=float(later.removesuffix(" seconds"))))

    def _before_statement(self, _c: Any, _k: Any, statement: str, values: Any, *_: Any) -> None:
        if self.dead:
            raise PowerCut(statement)
        if statement[:6] in ("INSERT", "UPDATE", "DELETE"):
            if statement.startswith("INSERT INTO journal"):
                text = str(values)
                for about, signs in _ABOUT.items():
                    if any(sign in text for sign in signs):
                        self.writing = about
            self.effect(f"before {' '.join(statement.split()[:3])}")

    def _after_statement(self, _c: Any, _k: Any, statement: str, *_: Any) -> None:
        if statement[:6] in ("INSERT", "UPDATE", "DELETE"):
            self.effect(f"after {' '.join(statement.split()[:3])}")


def _let_go(bad: BaseException | None) -> None:
    """A dead process holds no cursor; here the frames of its exception would, and with it SQLite's lock."""
    seen: set[int] = set()
    while bad is not None and id(bad) not in seen:
        seen.add(id(bad))
        traceback.clear_frames(bad.__traceback__)
        bad = bad.__cause__ or bad.__context__
    gc.collect(1)


_ABOUT = {
    "intent": ("posting.intent", "posting.undoing"),
    "receipt": (
        "posting.posted", "posting.adopted", "posting.differs", "posting.unknown", "posting.refused",
        "posting.abandoned", "posting.undone", "posting.kept",
    ),
}  # fmt: skip


def read_database(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.glob("ledger.db*") if not path.name.endswith(("-shm", ".lock"))
    }


def freeze(world: World) -> dict[str, Any]:
    """HaloPSA's tables; rows are replaced and never changed in place, so the tables alone are copied."""
    tables = world.halo.tables
    found: dict[str, Any] = {name: dict(tables.table(name)) for name in _TABLES}
    return {
        **found,
        "changes": list(tables.changes),
        "next_ids": dict(tables.next_ids),
        "ticks": tables._ticks,
        "journal": list(tables.journal),
    }


_TABLES = (
    "clients",
    "sites",
    "items",
    "groups",
    "taxes",
    "suppliers",
    "currencies",
    "lookups",
    "invoices",
    "recurring",
)


def thaw(world: World, frozen: Mapping[str, Any]) -> None:
    tables = world.halo.tables
    for name in _TABLES:
        table = tables.table(name)
        table.clear()
        table.update(frozen[name])
    tables.changes[:] = frozen["changes"]
    tables.next_ids = dict(frozen["next_ids"])
    tables._ticks = frozen["ticks"]
    tables.journal[:] = frozen["journal"]


# What a request is for: the effects of the fault matrix --------------------------------------------------------------

_PREFIXES = (("/pax8/v1", "pax8", ""), ("/halo/api", "halo", ""), ("/halo/auth", "halo", "/auth"))


def addressed(request: httpx2.Request) -> tuple[str, Request]:
    path = request.url.path
    for prefix, service_, stem in _PREFIXES:
        if path.lower().startswith(f"{prefix}/"):
            headers = {name.lower(): value for name, value in request.headers.items()}
            query = dict(request.url.params)
            return service_, Request(
                method=request.method, path=stem + path[len(prefix) :], query=query, headers=headers,
                body=request.read(),
            )  # fmt: skip
    raise AssertionError(path)


def effect_name(service_: str, asked: Request) -> str:
    path, method = asked.path.lower().rstrip("/"), asked.method
    if service_ == "pax8":
        if path == "/token":
            return "pax8 token"
        return "companies" if path == "/companies" else "item page" if path.endswith("/items") else "invoice list"
    entity, _, rest = path.strip("/").partition("/")
    if entity in ("auth", "authinfo"):
        return "halo token"
    if entity in ("client",):
        return "clients"
    if entity in ("item", "assetgroup"):
        return "item create" if method == "POST" else "item search"
    if entity == "recurringinvoice":
        return "recurring update" if method == "POST" else "invoice read" if rest else "invoice search"
    assert entity == "invoice", path
    if method == "DELETE":
        return "delete"
    if method == "POST":
        return "append" if rest or b'"id":' in asked.body[:40] else "create"
    return "invoice read" if rest else "invoice search"


# Patches: the smallest set that takes threads, sockets, time and chance away -----------------------------------------


def _time() -> SimpleNamespace:
    return SimpleNamespace(
        monotonic=lambda: current().world.clock.now(),
        time=lambda: current().wall().timestamp(),
        sleep=lambda seconds: current().wait(seconds),
    )


def _context(**given: Any) -> context.RunContext:
    sim = current()
    return _true_context(**{**given, "now": sim.wall, "wait": sim.wait, "today": sim.wall().date()})


def _wait(seconds: float) -> None:
    current().wait(seconds)


_rulebooks: dict[str, Any] = {}


def _rulebook(folder: Path, desk: Any = ()) -> Any:
    text = repr(desk) + "".join(f"{path}\n{path.read_text()}" for path in sorted(Path(folder).rglob("*.toml")))
    key = hashlib.sha256(text.encode()).hexdigest()
    if key not in _rulebooks:
        _rulebooks[key] = load_rulebook(folder, desk)
    return _rulebooks[key]


def _make_engine(self: database.Database, **options: Any) -> Any:
    engine = _true_make_engine(self, **options)
    engine._compiled_cache = _compiled  # statements are the same in each process: compiled once for all
    current().listen(engine)
    return engine


_compiled = LRUCache(1_000)
_true_make_engine = database.Database._make_engine
_true_budget = budget.Budget
_true_context = context.RunContext
_true_service = service.Service
_numbers = [0]


def _token_hex(size: int) -> str:
    _numbers[0] += 1
    return f"{_numbers[0]:0{2 * size}x}"


@contextlib.contextmanager
def simulated() -> Iterator[None]:
    """While this holds, every run is a simulated one. Entered once for many."""
    time = _time()
    sync = mock.patch.object
    with contextlib.ExitStack() as stack:
        gc.collect()
        gc.freeze()  # worlds are large and stay: looking for garbage in them takes longer than the runs
        stack.callback(gc.unfreeze)
        for module in (calls, login, exchange, verdict):
            stack.enter_context(sync(module, "time", time))
        stack.enter_context(sync(service, "Transport", Wire))
        stack.enter_context(
            sync(service, "Budget", lambda limit, **_: _true_budget(limit, now=time.monotonic, sleep=_wait))
        )
        stack.enter_context(sync(connect, "Service", lambda *given, **more: _true_service(*given, **more, sleep=_wait)))
        stack.enter_context(sync(connect, "_log_call", lambda call: current().said.append(repr(call))))
        stack.enter_context(
            sync(fetch, "in_parallel", lambda work, arguments, threads: [work(each) for each in arguments])
        )
        stack.enter_context(sync(context, "RunContext", _context))
        for module in (run, plan, fetch, result, undo, credit):
            stack.enter_context(sync(module, "now", lambda: current().wall()))
        for module in (run, plan):
            stack.enter_context(sync(module, "load_rulebook", _rulebook))
        stack.enter_context(
            sync(pax8_client, "in_parallel", lambda work, numbers, _: [work(number) for number in numbers])
        )
        stack.enter_context(sync(database.Database, "_make_engine", _make_engine))
        stack.enter_context(sync(SQLiteDialect_pysqlite, "__hash__", lambda _: 7))
        stack.enter_context(sync(SQLiteDialect_pysqlite, "__eq__", lambda one, other: type(one) is type(other)))
        # No thread renews the lease; each write does where it runs out.
        stack.enter_context(sync(lock.LockBook, "_renewed", lambda *_: contextlib.nullcontext()))
        for module in (lock, partners):
            stack.enter_context(sync(module, "secrets", SimpleNamespace(token_hex=_token_hex)))
        yield


@contextlib.contextmanager
def at_work(sim: Sim) -> Iterator[None]:
    _current.append(sim)
    try:
        yield
    finally:
        _current.pop()


def new_world(options: SandboxOptions) -> World:
    with mock.patch.object(world_module, "Clock", SimClock):
        world = World(options)
    world.listening(ADDRESS)
    return world


def settings_for(folder: Path, world: World, rules: Path, **more: str) -> Settings:
    environment = {**world.environment(), **SETTINGS, **more}
    environment["BILLINGSYNC_DATABASE_URL"] = f"sqlite:///{folder / 'ledger.db'}"
    environment["BILLINGSYNC_RULES_DIR"] = str(rules)
    return load_settings(environment, folder, run_secrets=folder / "none").settings


def forget(world: World, seed: int = 1) -> None:
    """What callers did is forgotten: faults, notes, tokens, time."""
    world.faults._set.clear()
    world.faults.fired.clear()
    world.faults._chance = random.Random(f"{seed}:faults")
    world.notes.calls.clear()
    world.notes.ignored.clear()
    world.notes.alarms.clear()
    world.pending.clear()
    for tokens in (world.pax8.tokens, world.halo.tokens):
        tokens.void_all()
        tokens._count = tokens._checks = 0


__all__ = [
    "CANARY", "EPOCH", "ROOM", "Fault", "Faults", "Image", "Ledger", "PowerCut", "Sim", "Trouble", "at_work", "forget",
    "freeze", "new_world", "settings_for", "simulated", "thaw",
]  # fmt: skip
