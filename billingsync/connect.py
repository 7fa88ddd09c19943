"""Settings -> an opened ledger and the two services."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from billingsync.errors import LedgerError
from billingsync.http import Budget, CallRecord, Service, ServiceConfig
from billingsync.http.account_budget import USED_WITHIN_S, AccountBudget
from billingsync.psa.halo.client import Tenant, discover
from billingsync.psa.halo.psa import HaloPsa
from billingsync.psa.halo.takeback import answered_line
from billingsync.psa.psa import PSA
from billingsync.redaction import Redactor
from billingsync.settings import Halo as HaloSettings
from billingsync.settings import PartnerSettings, Settings
from billingsync.settings import Pax8 as Pax8Settings
from billingsync.sources.pax8.client import Pax8, service_config
from billingsync.store.budgets import AccountBlocks, CallsAtOnce, NewLogins
from billingsync.store.ledger import Ledger, open_ledger

TICKET_SCOPE = "read:tickets edit:tickets"
HALO_AT_ONCE = 2  # calls that one run makes at HaloPSA at a time, as a rule
TICKET_CALLS = 8  # a minute: with the 50 for billing within the 60 that hosted tenants allow (reference/halopsa 2.6)
TICKET_TIMEOUT_S = 30.0
_LATE_S = 5.0  # what a call may last beyond its timeout

OnCall = Callable[[CallRecord], None]

__all__ = ["Connections", "OnCall", "answered_line", "connections", "halo_service", "pax8_service", "ticket_service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLimits:
    """What all partners of a fleet may do together, at each service: they all come from few addresses."""

    new_logins_per_s: int
    calls_at_once: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """Everything outside this process that a run talks to; `wait` lets it wait for what may still land there."""

    settings: PartnerSettings
    ledger: Ledger
    pax8: Pax8
    psa: PSA
    tenant: Tenant
    wait: Callable[[float], None] = time.sleep


@contextmanager
def connections(
    settings: Settings,
    redactor: Redactor,
    *,
    on_call: OnCall | None = None,
    wait: Callable[[float], None] = time.sleep,
    needs: Sequence[str] = ("pax8", "halo"),
    opened: Ledger | None = None,
    limits: FleetLimits | None = None,
) -> Iterator[Connections]:
    """Open everything a run needs; checks first that all credentials are set, then that this is the tenant that the
    ledger belongs to, before anything else is read from it [N6] (fault 14). A ledger that belongs to none is tied to
    this one by the first answer that needed a login: an address with a typo lets nobody in.

    `on_call` hears of every call that ends; `wait` is how a run waits, so that a service can stop in the middle of it.
    What is not among `needs` is not asked for anything, and its credentials may be missing. `opened` is the ledger of a
    caller that has it open, and keeps it; `limits` are a fleet's, of all partners together."""
    settings.require_upstreams(needs)
    with ExitStack() as stack:
        ledger = opened or stack.enter_context(
            open_ledger(settings.database_url, partner=settings.partner, lease_s=settings.lease_s)
        )
        share = _shared(settings, ledger, stack, limits) if settings.share_calls else _not_shared
        turn = _login_turns(ledger, limits, wait)
        pax8 = stack.enter_context(
            pax8_service(settings, redactor, on_call=on_call, budget=share("pax8"), before_login=turn("pax8"))
        )
        halo, tenant = halo_service(
            settings, redactor, on_call=on_call, budget=share("halo"), before_login=turn("halo")
        )
        stack.enter_context(halo)
        if not ledger.check_tenant(settings.halo.base_url, tenant.id):
            halo.on_first_answer(lambda: _bind(ledger, settings, tenant))
        yield Connections(
            settings=settings,
            ledger=ledger,
            pax8=Pax8(pax8, settings.pax8.parallel),
            psa=_psa(halo, settings),
            tenant=tenant,
            wait=wait,
        )


def _bind(ledger: Ledger, settings: PartnerSettings, tenant: Tenant) -> None:
    with ledger.database.beside:  # several threads may read at once
        ledger.bind_tenant(settings.halo.base_url, tenant.id, datetime.now(UTC))


def _not_shared(_: str) -> None:
    return None


def _login_turns(
    ledger: Ledger, limits: FleetLimits | None, sleep: Callable[[float], None]
) -> Callable[[str], Callable[[], None] | None]:
    """What to call before a login at a service; None where nothing limits them."""
    if limits is None:
        return lambda name: None
    return lambda name: NewLogins(ledger.database, name, limits.new_logins_per_s, sleep).wait


def _shared(
    settings: Settings, ledger: Ledger, stack: ExitStack, limits: FleetLimits | None
) -> Callable[[str], Budget]:
    """The budget of one of our accounts, together with every other process on this database."""
    pax8, halo = settings.pax8, settings.halo
    ways: dict[str, tuple[Pax8Settings | HaloSettings, list[tuple[int, float]]]] = {
        "pax8": (pax8, [(pax8.calls_per_minute, 60)]),
        "halo": (halo, [(halo.calls_per_minute, 60), (halo.calls_in_5_minutes, 300)]),
    }

    def share(name: str) -> Budget:
        of, windows = ways[name]
        account = hashlib.sha256(f"{of.base_url}\n{of.client_id}".encode()).hexdigest()
        held_s = USED_WITHIN_S + of.timeout_s + _LATE_S
        room = None
        if limits is not None:
            at_once = {"pax8": pax8.parallel, "halo": HALO_AT_ONCE}[name]
            room = CallsAtOnce(ledger.database, name, limits.calls_at_once, at_once)
            stack.callback(_give_back, room)
        budget = AccountBudget(
            of.calls_per_minute,
            AccountBlocks(ledger.database, account, name, windows, held_s=held_s),
            may_call=room.may_call if room is not None else None,
        )
        stack.callback(_give_back, budget)
        return budget

    return share


def _give_back(budget: AccountBudget | CallsAtOnce) -> None:
    with suppress(LedgerError):  # then it counts as spent for a little longer
        budget.close()


def _psa(halo: Service, settings: PartnerSettings) -> HaloPsa:
    ways = settings.halo
    return HaloPsa(halo, marker=ways.marker, write_lines=ways.write_lines, one_time=ways.one_time)


def pax8_service(
    settings: PartnerSettings,
    redactor: Redactor,
    *,
    on_call: OnCall | None = None,
    budget: Budget | None = None,
    before_login: Callable[[], None] | None = None,
) -> Service:
    pax8 = settings.pax8
    config = service_config(
        client_id=pax8.client_id,
        client_secret=pax8.client_secret.get_secret_value(),
        base_url=pax8.base_url,
        token_url=pax8.token_url,
        audience=pax8.audience,
        calls_per_minute=pax8.calls_per_minute,
        at_once=pax8.parallel,
        timeout_s=pax8.timeout_s,
        first_wait_s=settings.retry.first_wait_s,
    )
    hint = "Check BILLINGSYNC_PAX8__CLIENT_ID and BILLINGSYNC_PAX8__CLIENT_SECRET."
    config = replace(config, login_hint=hint, before_login=before_login)
    return Service(config, redactor=redactor, on_call=_told(on_call), budget=budget)


def halo_service(
    settings: PartnerSettings,
    redactor: Redactor,
    *,
    on_call: OnCall | None = None,
    budget: Budget | None = None,
    before_login: Callable[[], None] | None = None,
) -> tuple[Service, Tenant]:
    """The service and what HaloPSA says of itself; asked once, before the first login."""
    halo = settings.halo
    found: list[Tenant] = []

    def token_url(service: Service) -> str:
        if not found:
            found.append(discover(service, halo.base_url, halo.tenant))
        return halo.token_url or found[0].token_url

    config = replace(_halo_config(settings, token_url), before_login=before_login)
    service = Service(config, redactor=redactor, on_call=_told(on_call), budget=budget)
    try:
        found.append(discover(service, halo.base_url, halo.tenant))
    except BaseException:
        service.close()
        raise
    return service, found[0]


def ticket_service(settings: PartnerSettings, redactor: Redactor) -> Service:
    """HaloPSA for notices alone: a login, a budget and connections of its own, so that nothing of it is in the way of
    a bill, and a token that can do nothing but tickets. Nothing is asked before the first call."""
    halo = settings.halo

    def token_url(service: Service) -> str:
        return halo.token_url or discover(service, halo.base_url, halo.tenant).token_url

    config = replace(
        _halo_config(settings, token_url),
        token_fields={"scope": TICKET_SCOPE},
        calls_per_minute=TICKET_CALLS,
        timeout_s=min(halo.timeout_s, TICKET_TIMEOUT_S),
    )
    return Service(config, redactor=redactor, on_call=_log_call)


def _halo_config(settings: PartnerSettings, token_url: Callable[[Service], str]) -> ServiceConfig:
    halo = settings.halo
    return ServiceConfig(
        name="HaloPSA",
        base_url=f"{halo.base_url}/api",
        token_url=token_url,
        token_style="form",  # noqa: S106
        token_fields={"scope": halo.scope},
        client_id=halo.client_id,
        client_secret=halo.client_secret.get_secret_value(),
        calls_per_minute=halo.calls_per_minute,
        timeout_s=halo.timeout_s,
        first_wait_s=settings.retry.first_wait_s,
        headers=halo.header_values(),
        login_hint="Check BILLINGSYNC_HALO__CLIENT_ID and BILLINGSYNC_HALO__CLIENT_SECRET.",
    )


def _told(on_call: OnCall | None) -> OnCall:
    """The log, and whoever else wants to know of calls."""
    if on_call is None:
        return _log_call

    def both(call: CallRecord) -> None:
        on_call(call)
        _log_call(call)

    return both


def _log_call(call: CallRecord) -> None:
    structlog.get_logger("http").debug(
        "call",
        service=call.service,
        method=call.method,
        path=call.path,
        status=call.status,
        seconds=round(call.seconds, 3),
        attempt=call.attempt,
    )
