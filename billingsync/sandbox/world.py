"""Both services, their faults, their time, and what was noticed: everything a sandbox is, apart from the server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from billingsync.sandbox import pax8, seed
from billingsync.sandbox.clock import Clock
from billingsync.sandbox.faults import Fault, Faults
from billingsync.sandbox.halo import Halo
from billingsync.sandbox.notes import Call, Notes
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.pax8 import Pax8
from billingsync.sandbox.people import Deed, People, act
from billingsync.sandbox.wire import Answer, Request, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A late write: it lands at `due_at` on the clock or before call number `due_call`, whichever comes first."""

    request: Request
    call: Call
    due_at: float | None
    due_call: int | None


class World:
    def __init__(self, options: SandboxOptions) -> None:
        self.url = ""
        self.reset(options)

    def reset(self, options: SandboxOptions) -> None:
        """Everything as it was just after the seed of these options was sown."""
        self.options = options
        self.clock = Clock()
        self.notes = Notes()
        self.faults = Faults(options.seed, self.clock)
        self.pending: list[Pending] = []
        self.people = People()
        self.pax8 = Pax8(options, self.clock, self.notes)
        self.halo = Halo(options, self.clock, self.notes)
        self.listening(self.url)
        seed.sow(self.pax8, self.halo, options)
        for text in options.faults:
            self.faults.add(text)

    def change(self, **switches: Any) -> None:
        """Other switches from now on; what is stored stays."""
        self.options = replace(self.options, **switches)
        self.pax8.options = self.options
        self.halo.change(self.options)

    def advance(self, seconds: float) -> None:
        """Time passes; what falls due meanwhile is done."""
        self.clock.advance(seconds)
        self.land_due()
        self.halo.make_due()

    def person(self, deed: Deed) -> Row | None:
        """A person's deed, now or before a call: the row that came of it, if any. Raises NotFound, Refused."""
        if deed.before:
            self.people.plan(deed)
            return None
        return act(self.halo, deed)

    def listening(self, url: str) -> None:
        self.url = url
        self.halo.auth_url = f"{url}/halo/auth"

    def environment(self) -> dict[str, str]:
        """What a user exports to work against this sandbox."""
        tenant = {"BILLINGSYNC_HALO__TENANT": self.options.account} if self.options.account else {}
        return {
            "BILLINGSYNC_PAX8__BASE_URL": f"{self.url}/pax8/v1",
            "BILLINGSYNC_PAX8__TOKEN_URL": f"{self.url}/pax8/v1/token",
            "BILLINGSYNC_PAX8__AUDIENCE": pax8.AUDIENCE,
            "BILLINGSYNC_PAX8__CLIENT_ID": self.pax8.client_id,
            "BILLINGSYNC_PAX8__CLIENT_SECRET": self.pax8.client_secret,
            "BILLINGSYNC_PAX8__CALLS_PER_MINUTE": "60000",
            "BILLINGSYNC_HALO__BASE_URL": f"{self.url}/halo",
            "BILLINGSYNC_HALO__CLIENT_ID": self.halo.client_id,
            "BILLINGSYNC_HALO__CLIENT_SECRET": self.halo.client_secret,
            "BILLINGSYNC_HALO__CALLS_PER_MINUTE": "60000",
            **tenant,
        }

    # --- calls -------------------------------------------------------------------------------------------------------

    def begin(self, service: str, request: Request) -> Call:
        """Notes the call, after what was due before it: late writes, invoices of a schedule, a person's deeds."""
        self.land_due()
        self.halo.make_due()
        self.people.before(self.halo, service, request)
        secret = request.path.rstrip("/").endswith("/token")
        call = Call(
            number=len(self.notes.calls) + 1,
            service=service,
            method=request.method,
            path=request.path,
            query=dict(request.query),
            at=self.clock.now(),
            body_size=len(request.body),
            body=b"" if secret else request.body,
        )
        self.notes.calls.append(call)
        return call

    def answer(self, service: str, request: Request, call: Call, *, hidden_since: float | None = None) -> Answer:
        """Carries the call out."""
        if service == "pax8":
            return self.pax8.answer(request)
        answer = self.halo.answer(request, hidden_since=hidden_since)
        call.effect = answer.effect
        return answer

    def postpone(self, fault: Fault, request: Request, call: Call) -> None:
        """Keeps a write for later."""
        due_at = None if fault.seconds is None else self.clock.now() + fault.seconds
        due_call = None if fault.calls is None else call.number + fault.calls + 1
        self.pending.append(Pending(request=request, call=call, due_at=due_at, due_call=due_call))

    def land_due(self) -> None:
        now, number = self.clock.now(), len(self.notes.calls) + 1
        for late in list(self.pending):
            if (late.due_at is not None and late.due_at <= now) or (
                late.due_call is not None and late.due_call <= number
            ):
                self._land(late)

    def land(self) -> int:
        """All late writes land now. Returns how many took effect."""
        return sum(self._land(late) for late in list(self.pending))

    def _land(self, late: Pending) -> bool:
        self.pending.remove(late)
        late.call.effect = self.halo.answer(late.request, landed=True).effect
        return late.call.effect

    # --- state -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """HaloPSA's tables and what is still to land, as JSON can hold it. Nothing that calls do changes Pax8."""
        self.land_due()
        pending = [
            {
                "method": late.request.method,
                "path": late.request.path,
                "query": dict(late.request.query),
                "content_type": late.request.content_type,
                "body": late.request.body.decode(),
            }
            for late in self.pending
        ]
        return {"halo": self.halo.tables.state(), "pending": pending}

    def restore(self, state: dict[str, Any]) -> None:
        """The tables of a state. Its late writes wait for `land()`."""
        self.halo.tables.restore(state["halo"])
        self.pending.clear()
        for late in state.get("pending", []):
            request = Request(
                method=late["method"],
                path=late["path"],
                query=late["query"],
                headers={"content-type": late["content_type"]},
                body=late["body"].encode(),
            )
            call = Call(number=0, service="halo", method=request.method, path=request.path, query={}, at=0, body_size=0)
            self.pending.append(Pending(request=request, call=call, due_at=None, due_call=None))

    def counts(self) -> dict[str, Any]:
        tables = self.halo.tables
        return {
            "calls": len(self.notes.calls),
            "pending": len(self.pending),
            "faults_fired": len(self.faults.fired),
            "pax8": {
                "invoices": len(self.pax8.invoices),
                "items": sum(map(len, self.pax8.items.values())),
                "companies": len(self.pax8.companies),
                "hidden": len(self.pax8.hidden),
            },
            "halo": {"clients": len(tables.clients), "items": len(tables.items), "invoices": len(tables.invoices),
                     "recurring": len(tables.recurring)},
        }  # fmt: skip
