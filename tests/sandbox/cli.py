"""A driver: the CLI as its users run it, in a folder of its own, against a sandbox; and the right bill, computed from
the sandbox's own tables and from nothing of ours."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy import update

from billingsync.sandbox import cast
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox, Services
from billingsync.store.database import Database
from billingsync.store.schema import partner

QUICK = {
    "BILLINGSYNC_RETRY__FIRST_WAIT_S": "0.01",
    "BILLINGSYNC_HALO__ABSENCE_S": "1",
    "BILLINGSYNC_PAX8__CALLS_PER_MINUTE": "100000",
    "BILLINGSYNC_HALO__CALLS_PER_MINUTE": "100000",
}
CALM = SandboxOptions(trouble=False, clients=4, charges=30, history=0)  # quick: four clients, two currencies
TEXT_ONLY = '[products]\nlifecycle = "off"\n'
MARK = re.compile(r"\[bs:([0-9a-f]{20}):([0-9a-f]{8}):(\d+)\]")
EXCLUDED = frozenset({"rebate", "payment-credit", "invoice-credit", "service-credit", "service-charge"})


@dataclass(frozen=True)
class Ran:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """stdout must be exactly one JSON document."""
        return json.loads(self.stdout)

    @property
    def text(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    def must(self, *codes: int) -> Ran:
        assert self.code in (codes or (0,)), self.text
        return self


def lease_is_over(url: str) -> None:
    """As after the wait for the lease of a run that was killed, which PostgreSQL alone asks for."""
    if not url.startswith("postgresql"):
        return
    with contextlib.closing(Database(url)) as database, database.writing() as connection:
        connection.execute(update(partner).values(until=datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)))


@dataclass
class Office:
    """One installation: a folder with rules, a ledger, and the environment that points at a sandbox."""

    folder: Path
    sandbox: Sandbox
    database_url: str = ""
    settings: dict[str, str] = field(default_factory=dict)  # over the sandbox's and QUICK
    invoices_templates: bool = True
    month: str = ""  # the newest that was planned or run

    def rules(self, text: str, name: str = "defaults.toml") -> None:
        path = self.folder / "rules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def environment(self) -> dict[str, str]:
        found = {**self.sandbox.environment(), **QUICK}
        found["BILLINGSYNC_DATABASE_URL"] = self.database_url or f"sqlite:///{self.folder / 'ledger.db'}"
        found |= self.settings
        return {name: value for name, value in found.items() if value != "unset"}

    def _next_month(self, words: tuple[str, ...]) -> None:
        """Before a later month is planned or run for the first time, HaloPSA makes invoices from the recurring ones with
        lines of ours, as it does on schedule."""
        month = next((word for word in words[1:] if re.fullmatch(r"20\d\d-\d\d", word)), "")
        if words[:1] not in (("run",), ("plan",)) or month <= self.month:
            return
        if self.month and self.invoices_templates:
            for row in list(self.sandbox.halo.recurring.values()):
                if not row["disabled"] and any(MARK.search(str(line)) for line in row["lines"]):
                    self.sandbox.make(row["id"])
        self.month = month

    def run(self, *words: str, stdin: str = "") -> Ran:
        """In this process: quick, and all that matters of a command."""
        self._next_month(words)
        from billingsync.cli import main

        here = Path.cwd()
        streams = io.BytesIO(), io.BytesIO()
        with (
            mock.patch.dict(os.environ, self.environment()),
            contextlib.redirect_stdout(io.TextIOWrapper(streams[0], "utf-8", write_through=True)) as out,
            contextlib.redirect_stderr(io.TextIOWrapper(streams[1], "utf-8", write_through=True)) as err,
            mock.patch("sys.stdin", io.StringIO(stdin)),
        ):
            os.chdir(self.folder)
            try:
                code = main(list(words))
            finally:
                os.chdir(here)
                out.flush()
                err.flush()
                texts = [stream.getvalue().decode("utf-8") for stream in streams]
        return Ran(code, *texts)

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """In a process of its own, with pipes."""
        options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options |= more
        return subprocess.Popen(
            [sys.executable, "-m", "billingsync", *words],
            cwd=self.folder,
            env=process_environment(self.environment()),
            text=True,
            encoding="utf-8",
            **options,
        )

    def process(self, *words: str, timeout: float = 60, **more: Any) -> Ran:
        running = self.start(*words, **more)
        try:
            out, err = running.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            running.kill()
            out, err = running.communicate()
            raise AssertionError(f"still running after {timeout} s: {words}\n{out}\n{err}") from None
        return Ran(running.returncode, out or "", err or "")

    def plan(self, *words: str) -> Any:
        return self.run("plan", "--json", *words).must(0, 3).json

    def everything_written(self) -> Iterator[tuple[Path, bytes]]:
        """Every file; of those that are packed, such as a spreadsheet, also what is in them."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()
                if zipfile.is_zipfile(path):
                    with zipfile.ZipFile(path) as packed:
                        for name in packed.namelist():
                            yield path / name, packed.read(name)


def process_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What a process needs of ours, without any of our own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BILLINGSYNC_")}
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), root]))
    return {**kept, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **settings}


# The right bill -------------------------------------------------------------------------------------------------------


def cents(amount: Any) -> Decimal:
    return Decimal(amount).quantize(Decimal("0.01"), ROUND_HALF_UP)


def due(sandbox: Services, month: str = "") -> dict[int, list[tuple[Decimal, Decimal]]]:
    """Client id -> sorted (price, cost) of each charge that it must pay, from Pax8's own tables, for calm months and
    rules that keep everything: no knowledge of any of our code, only of who is who in the sandbox."""
    options = sandbox.options
    owner = {one.company_id: one.client_id for one in cast.members(options.seed, options.clients, trouble=False)}
    found: dict[int, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for invoice in sandbox.pax8.invoices:
        taken = invoice["invoiceDate"].startswith(month or options.month) and invoice["id"] not in sandbox.pax8.hidden
        if not taken or invoice["status"] in ("Void", "Credited"):
            continue
        for row in sandbox.pax8.items[invoice["id"]]:
            if row["type"] in EXCLUDED or row["companyId"] not in owner or row.get("billedByPax8"):
                continue
            found[owner[row["companyId"]]].append((cents(row["total"]), cents(row["costTotal"])))
    return {client: sorted(amounts) for client, amounts in found.items()}


def written(sandbox: Services, before: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """HaloPSA's invoices that carry our note or marks, or that were not there before; with their live lines only."""
    known = {row["id"] for row in before["halo"]["invoices"]} if before else set()
    found = []
    for row in list(sandbox.halo.invoices.values()):  # which may grow meanwhile
        ours = "billingsync key=" in row["internal_note"] or any(
            MARK.search(line["item_longdescription"]) for line in row["lines"]
        )
        if (ours or (before and row["id"] not in known)) and not row["voided"]:
            found.append(row)
    return found


def billed(sandbox: Services, before: Mapping[str, Any] | None = None) -> dict[int, list[tuple[Decimal, Decimal]]]:
    """Client id -> sorted (price, cost) of each live line, as HaloPSA's tables have it."""
    found: dict[int, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for row in written(sandbox, before):
        for line in row["lines"]:
            if not line["isinactive"]:
                quantity = Decimal(line["qty_order"])
                found[row["client_id"]].append(
                    (cents(quantity * Decimal(line["unit_price"])), cents(quantity * Decimal(line["unit_cost"])))
                )
    return {client: sorted(amounts) for client, amounts in found.items()}


def marks(sandbox: Services) -> list[tuple[str, str]]:
    """(key, ordinal) of every mark on every line in HaloPSA: none may be there twice."""
    found = []
    for row in sandbox.halo.invoices.values():
        for line in row["lines"]:
            places = [line["item_longdescription"], line["productnumber"]]
            places += [str(one["value"]) for one in line["customfields"]]
            found += [(mark[1], mark[3]) for text in places for mark in MARK.finditer(text)]
    return found


def foreign(state: Mapping[str, Any]) -> dict[str, Any]:
    """All of HaloPSA's rows that are not ours, to be compared byte for byte [B4]."""
    halo = state["halo"]
    ours = {row["id"] for row in halo["invoices"] if "billingsync key=" in row["internal_note"]}
    invoices = [row for row in halo["invoices"] if row["id"] not in ours]
    tables = {name: halo[name] for name in ("clients", "sites", "taxes", "suppliers", "recurring")}
    return {**tables, "invoices": invoices}


def end_state(sandbox: Services) -> list[tuple[Any, ...]]:
    """Our invoices as they must be whatever happened on the way: without ids, marks and times."""
    found = []
    for row in written(sandbox):
        lines = [
            (
                MARK.sub("", line["item_longdescription"]).strip(),
                Decimal(line["qty_order"]),
                Decimal(line["unit_price"]),
                Decimal(line["unit_cost"]),
                line["_itemid"],
            )
            for line in row["lines"]
        ]
        found.append((row["client_id"], row["order_number"], tuple(sorted(lines))))
    return sorted(found)


def plan_lines(plan: Mapping[str, Any]) -> dict[int, list[tuple[Decimal, Decimal]]]:
    """The same from a plan's JSON."""
    found: dict[int, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for client in plan["clients"]:
        for line in client["lines"]:
            found[client["client_id"]].append((Decimal(line["amount"]), Decimal(line["cost"])))
    return {client: sorted(amounts) for client, amounts in found.items()}


def balanced(document: Mapping[str, Any], *, returned: bool = False) -> None:
    """[A2] by other means than ours: from the printed strings alone."""
    for currency, account in document["equation"].items():
        for side in ("price", "cost"):
            told = {name: Decimal(value) for name, value in account[side].items()}
            right = told["posted"] + told["dropped"] + told["excluded"] + told["held"]
            assert told["charges"] == right, (currency, side, told)
            if returned:
                assert told["returned"] == told["posted"], (currency, side, told)


# Time that passes at once ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def quick_time(sandbox: Sandbox) -> Iterator[list[float]]:
    """In-process runs wait in no time, and the sandbox's clock moves with them. Gives the waits."""
    from billingsync.run import context

    true_context = context.RunContext

    waits: list[float] = []
    moved = [0.0]

    def wait(seconds: float) -> None:
        waits.append(seconds)
        moved[0] += seconds
        sandbox.clock.advance(seconds)

    def now() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=moved[0])

    with mock.patch.object(context, "RunContext", lambda **given: true_context(**{**given, "wait": wait, "now": now})):
        yield waits
