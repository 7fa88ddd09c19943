"""One cycle: look at every month that is due, oldest first; plan, post what the rules allow, and say what became of it.

The ledger is the truth, and everything here may happen twice: a cycle that is killed anywhere is simply done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from billingsync import __version__
from billingsync.connect import Connections
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.rules import Rulebook, Rules
from billingsync.core.schedule import Polling, is_overdue, local_day, months_due
from billingsync.core.states import CycleState, MonthState, OutcomeState, PostingState, RunState, TrueUpState
from billingsync.errors import BillingSyncError, Locked, NotReady, NotReleased, RulesError
from billingsync.report.result import RunResult
from billingsync.report.waiting import together
from billingsync.rulebook import load_rulebook
from billingsync.run.plan import Planned, make_plan
from billingsync.run.run import run_period
from billingsync.run.waiting import open_holds
from billingsync.service import cards, daily, messages
from billingsync.service.month import CLOSED, Month, counted
from billingsync.sources.source import Released
from billingsync.store.notices import Thing

MOST_SKEW_S = 300  # beyond it the day, and with it the period, may be wrong (fault 13)
WARNED_DAYS = 14  # before a secret ends: time for whoever makes new ones to be back from a holiday
PLANNED_AGAIN = timedelta(hours=24)  # a month that waits for a person, where nothing that we see has changed
WATCHED = 2  # closed months that are looked at once more, for invoices that came late or were replaced [S1] [R2]

_WELL = (OutcomeState.POSTED, OutcomeState.ADOPTED)


@dataclass(slots=True)
class Look:
    """One cycle at work: what it was given, and what it has found so far."""

    connected: Connections
    now: datetime
    polling: Polling
    who: str  # acts
    say: Say
    since: Period | None = None
    fresh: bool = False  # somebody asked for a look: what waits is planned again too
    services: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # as the cycle before left them
    months: dict[Period, Month] = field(default_factory=dict)
    things: list[Thing] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)  # beginnings of keys: what lasted and is not found is over
    problems: list[BillingSyncError] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)  # those that this cycle made
    locked: bool = False

    # The cycle -------------------------------------------------------------------------------------------------------

    def everything(self) -> None:
        """Every month that is due. What goes wrong is kept in `problems` and `things`; only a stop, or a mistake of
        our own, is raised."""
        self._credentials()
        try:
            self._months()
            self.checked += ["failed:login:", "failed:upstream:", "failed:refused:"]
        except Locked as busy:
            self.locked = True
            structlog.get_logger().info("another run is under way", says=busy.message)
        except (NotReleased, NotReady) as later_on:  # a list that does not fit together: soon it will
            for period in self._due() if self.since else ():
                month = self.months.get(period, Month())
                state = MonthState.UNREADABLE if month.state == MonthState.WAITING else month.state
                self._not_there(period, replace(month, state=state, problem=later_on.message))
        except BillingSyncError as failed:
            self.failed(failed)
        if not self.problems:
            self.checked.append("failed:cycle:")

    def failed(self, failed: BillingSyncError) -> None:
        self.problems.append(failed)
        self.things.append(messages.failure(failed))

    def _months(self) -> None:
        self.say(Progress(stage=Stage.LIST_MONTHS))
        released = {one.period: one for one in self.connected.pax8.released() if one.invoices}
        self.connected.psa.service.login()  # while resting, too: a credential that expired is noticed before the day
        well = self._clock_is_right()
        if self.since is None:
            if not well:
                return  # with a wrong clock nobody knows which month is the first
            self.since = Period.of(local_day(self.now, self.connected.settings.zone))
        try:
            rulebook = load_rulebook(self.connected.settings.rules_dir, self.connected.ledger.desk_rules())
            self.checked.append("failed:rules")
        except RulesError as wrong:
            self.failed(wrong)
            rulebook = None
        self._reopen(released, rulebook)
        if rulebook is not None and self.connected.ledger.unresolved():
            self._recover()
        for period in self._due():
            if not self._look_at(period, released, rulebook):
                break  # what failed there would fail for the next month, too; and months are posted in order
        self._differences()
        if well:
            self.things += cards.carry_out(self.connected, self.now, self.who, self.say)

    def _due(self) -> tuple[Period, ...]:
        assert self.since is not None
        closed = {period for period, month in self.months.items() if month.state in CLOSED}
        zone = self.connected.settings.zone
        return months_due(self.now, zone=zone, polling=self.polling, since=self.since, closed=closed)

    def _reopen(self, released: Mapping[Period, Released], rulebook: Rulebook | None) -> None:
        """The newest closed months are due again where Pax8 has other invoices for them than they were closed with, and
        where something of them was undone since."""
        closed = sorted(period for period, month in self.months.items() if month.state in CLOSED)
        done = [period for period in closed if self.months[period].state == MonthState.DONE][-WATCHED:]
        for period in sorted({*done, *closed[-WATCHED:]}):
            now = released[period].ids if period in released else ()
            if period in done and now != self.months[period].invoices:
                structlog.get_logger().info("the month has other invoices now", period=str(period))
            elif rulebook is None or not self._undone_since(period, released.get(period), rulebook):
                continue
            self.months[period] = replace(self.months[period], state=MonthState.WAITING)

    def _undone_since(self, period: Period, listed: Released | None, rulebook: Rulebook) -> bool:
        if not self.connected.ledger.heads(period=period, states=(PostingState.UNDONE,)):
            return False
        return self._made_from(period, listed, rulebook) != self.months[period].made_from

    def _recover(self) -> None:
        """What an earlier run left open is found out about before anything is planned [N5]."""
        period = Period.parse(self.connected.ledger.unresolved()[0].period)
        run_period(self.connected, period, who=self.who, say=self.say, confirm=lambda planned: False)

    # One month -------------------------------------------------------------------------------------------------------

    def _look_at(self, period: Period, released: Mapping[Period, Released], rulebook: Rulebook | None) -> bool:
        """Whether the next month may follow."""
        before = self.months.get(period, Month())
        if period not in released and not self.connected.ledger.looks_after(period):
            later = any(one > period for one in released)
            self._not_there(
                period, replace(before, state=MonthState.ABSENT if later else MonthState.WAITING, problem="")
            )
            return True
        if rulebook is None:
            self.months[period] = replace(before, state=MonthState.FAILED, problem="the rules are wrong")
            return False
        made_from = self._made_from(period, released.get(period), rulebook)  # before it is read: a change may come now
        if self._unchanged(period, before, made_from):
            self.months[period] = before
            self.checked.append(f"overdue:{period}")
            return True
        try:
            self._bill(period, rulebook, made_from)
        except (NotReleased, NotReady) as later_on:
            self._not_there(period, replace(before, state=MonthState.UNREADABLE, problem=later_on.message))
            return True
        except Locked:
            self.months.setdefault(period, before)
            raise
        except BillingSyncError as failed:
            self.months[period] = replace(before, state=MonthState.FAILED, problem=failed.message)
            self.failed(failed)
            return False
        self.checked.append(f"overdue:{period}")
        return True

    def _made_from(self, period: Period, listed: Released | None, rulebook: Rulebook) -> str:
        """What a plan of the month depends on, as far as it costs no call: Pax8's list, the rules, what was decided and
        posted, and this version."""
        decided, currency = self.connected.ledger.last_decided(), self.connected.settings.halo.currency
        parts = [__version__, str(period), listed.content if listed else "", rulebook.digest, decided, currency]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _unchanged(self, period: Period, month: Month, made_from: str) -> bool:
        """Whether planning again would show the same: what waits for a person is planned once a day, and at once when
        something changed. What changed in HaloPSA alone is seen by the daily plan, or by anybody's `plan`."""
        if self.fresh or month.state not in (MonthState.HELD, MonthState.READY) or month.made_from != made_from:
            return False
        age = self.now - datetime.fromisoformat(month.planned_at)
        same_plan = self.connected.ledger.newest_digest(period) == month.digest
        return same_plan and timedelta(0) <= age < PLANNED_AGAIN

    def _not_there(self, period: Period, month: Month) -> None:
        self.months[period] = month
        if month.state == MonthState.ABSENT:
            return
        self.checked.append(f"overdue:{period}")
        if is_overdue(self.now, period, zone=self.connected.settings.zone, polling=self.polling):
            self.things.append(messages.overdue(period, month))

    def _bill(self, period: Period, rulebook: Rulebook, made_from: str) -> None:
        """Plan; post what may be posted without a person; plan again, which shows what is left."""
        planned = make_plan(self.connected, period, say=self.say, rulebook=rulebook)
        daily.snapshot_of_month(self.connected, period, self.now, self.say)
        result = self._post(period, planned) if allowed(planned) and self._clock_is_right() else None
        if result is not None:
            planned = make_plan(self.connected, period, say=self.say, rulebook=rulebook)
        plan = planned.plan
        holds = open_holds(self.connected.ledger, plan, planned.created_at)
        locale = self.connected.settings.locale
        postings = result.postings if result else ()
        problem = next((one.problem for one in postings if one.state == OutcomeState.FAILED), "")
        # What may be posted by itself and was not, or came out otherwise, is tried again in the next cycle.
        settled = not (allowed(planned) or any(one.state not in _WELL for one in postings))
        open_state = MonthState.HELD if plan.held else MonthState.READY if plan.writes else MonthState.DONE
        self.months[period] = Month(
            state=MonthState.FAILED if problem else open_state,
            invoices=tuple(sorted(source.invoice_id for source in plan.sources)),
            digest=plan.digest,
            problem=problem,
            made_from=made_from if settled else "",
            planned_at=self.now.isoformat(),
            **counted(plan, plan.accounts, holds),
        )
        self.checked += [
            f"held:{period}:",
            f"undone:{period}:",
            f"failed:posting:{period}:",
            f"failed:returned:{period}:",
        ]
        self.things.append(messages.released(planned, locale))
        self.things += [messages.held(period, wait, locale) for wait in together(holds)]
        waiting = {client.client_id for client in plan.clients if client.holds}
        alone = [up for up in plan.true_ups if up.state != TrueUpState.APPROVED and up.client_id not in waiting]
        self.things += [messages.credited(period, up) for up in alone]
        self.things += [messages.undone(period, *client) for client in left_to_people(planned)]
        if result is not None:
            self.things += messages.trouble(result, locale)
        undone = self.connected.ledger.undone_runs()  # nobody is told that they wrote what is there no more
        runs = self.connected.ledger.runs(period)
        written = [run for run in runs if run.summary.get("postings") and run.id not in undone]
        ended = [run for run in written if run.state in (RunState.COMPLETE, RunState.HELD, RunState.FAILED)]
        self.things += [messages.posted(run, planned, locale) for run in ended]

    def _post(self, period: Period, planned: Planned) -> RunResult | None:
        """Post what may be posted. Everything is read, planned and judged again behind the lock; where that is not
        what was judged here, nothing is posted and the next cycle looks again."""
        companies = allowed(planned)
        billable = {client.company_id for client in planned.plan.clients if client.lines or client.dropped}
        charged = {charge.company_id for source in planned.inputs.sources for charge in source.charges}
        asked = () if billable <= companies else tuple(sorted(companies & charged))
        if billable - companies and not asked:
            return None

        def confirm(fresh: Planned) -> bool:
            same_rules = fresh.plan.rules_digest == planned.plan.rules_digest
            mine = {client.company_id for client in fresh.plan.clients if client.lines or client.dropped}
            return same_rules and mine <= allowed(fresh) and self._clock_is_right()

        _, result = run_period(self.connected, period, who=self.who, asked=asked, say=self.say, confirm=confirm)
        if result is not None:
            self.runs.append(result.run)
        return result

    def _credentials(self) -> None:
        """Those that end soon, as far as somebody noted it: neither service says so itself."""
        settings = self.connected.settings
        today = local_day(self.now, settings.zone)
        self.checked.append("expiring:")
        for name, ends in (("Pax8", settings.pax8.expires_on), ("HaloPSA", settings.halo.expires_on)):
            if ends is not None and (ends - today).days <= WARNED_DAYS:
                self.things.append(messages.expiring(name, ends, today))

    # What else must be well ------------------------------------------------------------------------------------------

    def _clock_is_right(self) -> bool:
        """Whether our clock agrees with those of both services, as far as they have answered (fault 13)."""
        skews = {
            service.name: service.clock_skew_s
            for service in (self.connected.pax8.service, self.connected.psa.service)
            if service.clock_skew_s is not None
        }
        wrong = {name: skew for name, skew in skews.items() if abs(skew) > MOST_SKEW_S}
        whose = "This machine's"
        if not wrong and skews and (ahead := self.connected.ledger.clock_ahead_s()) is not None:
            wrong = {name: skew - ahead for name, skew in skews.items() if abs(skew - ahead) > MOST_SKEW_S}
            whose = "The database's"  # which a fleet's leases and due times go by
        if not wrong:
            self.checked.append("failed:clock")
            return True
        if not any(thing.key == "failed:clock" for thing in self.things):
            self.things.append(messages.clock(wrong, whose))
        return False

    def _differences(self) -> None:
        """Postings that HaloPSA has otherwise than they were sent: an alarm each [N5]."""
        self.checked.append("failed:differs:")
        for period in self.months:
            for row in self.connected.ledger.heads(period=period, states=(PostingState.DIFFERS,)):
                self.things.append(messages.differs(row))

    # The result ------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> CycleState:
        """What the cycle came to."""
        states = {month.state for month in self.months.values()}
        if (
            self.problems
            or MonthState.FAILED in states
            or any(thing.key.startswith("failed:") for thing in self.things)
        ):
            return CycleState.FAILED
        if states & {MonthState.HELD, MonthState.READY}:
            return CycleState.HELD
        waiting = self.locked or states & {MonthState.WAITING, MonthState.UNREADABLE}
        return CycleState.WAITING if waiting else CycleState.WELL

    def summary(self) -> dict[str, Any]:
        """What `status` and the metrics show of the cycle."""
        services = (self.connected.pax8.service, self.connected.psa.service)
        known = self.services
        first = self.problems[0] if self.problems else None
        failures = [thing for thing in self.things if thing.key.startswith("failed:")]
        cause = messages.cause_of(messages.failure(first) if first else failures[0]) if first or failures else ""
        return {
            "cause": cause,
            "problem": {"code": first.code, "message": first.message} if first else None,
            "runs": list(self.runs),
            "services": {
                service.name: {
                    **known.get(service.name, {}),
                    "calls": service.calls_made,
                    "budget_left": service.budget_left(),
                    "budget": service.config.calls_per_minute,
                }
                for service in services
            },
        }


def allowed(planned: Planned) -> frozenset[str]:
    """The companies that may be billed without a person: those whose rules say `within_limits`, whose lifecycle is not
    `manual` [P2], and whose HaloPSA client gets nothing from a company of which that is not true. What a person undid
    is left to people [R5]."""
    rulebook = planned.inputs.rulebook
    may: dict[str, bool] = {}
    barred: set[int] = {client_id for client_id, _ in left_to_people(planned)}
    for client in planned.plan.clients:
        if client.company_id is None:
            continue
        file = rulebook.file_for(
            company_id=client.company_id, company_name=client.company_name, client_id=client.client_id
        )
        may[client.company_id] = _posts_itself(file.rules if file else rulebook.base)
        if not may[client.company_id] and client.client_id is not None and client.lines:
            barred.add(client.client_id)
    return frozenset(
        client.company_id
        for client in planned.plan.clients
        if client.company_id is not None
        and may[client.company_id]
        and client.client_id not in barred
        and (client.lines or client.dropped)
    )


def left_to_people(planned: Planned) -> tuple[tuple[int, str], ...]:
    """(id, name) of HaloPSA clients whose bill of this month a person undid, or that pay now for a company of which it
    was, and that would be billed again now [R5]. Lines that only come off a recurring invoice bill nobody again."""
    memory = planned.inputs.memory
    return tuple(
        sorted(
            {
                (client.client_id, client.client_name)
                for client in planned.plan.clients
                if client.client_id is not None
                and (client.client_id in memory.undone or client.company_id in memory.undone_companies)
                and (client.dropped or any(line.charges for line in client.lines))
            }
        )
    )


def _posts_itself(rules: Rules) -> bool:
    return rules.approval.auto_post == "within_limits" and rules.products.lifecycle != "manual"
