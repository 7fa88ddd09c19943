"""One run: fetch, recover, plan, record, post, verify."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from billingsync.connect import Connections
from billingsync.core.bill.plan import Plan
from billingsync.core.charge import Charged, charged
from billingsync.core.inputs import Client
from billingsync.core.money import ZERO, plain
from billingsync.core.period import Period
from billingsync.core.progress import Progress, Say, Stage
from billingsync.core.rules import ProductRules, Rulebook
from billingsync.core.states import PostingState, RunState, TrueUpState, UndoOutcome
from billingsync.errors import BillingSyncError, MarkerLost, StalePlan
from billingsync.report.result import RunResult
from billingsync.rulebook import load_rulebook
from billingsync.run.card_writes import resolve_cards
from billingsync.run.changes import changes_since
from billingsync.run.context import RunContext, context_of, now
from billingsync.run.fetch import Beside, Upstream, fetch
from billingsync.run.from_file import refuse_from_file
from billingsync.run.late import look_for_late
from billingsync.run.plan import Planned, make_plan
from billingsync.run.post import Carried, carry_out, read_back
from billingsync.run.recover import resolve
from billingsync.run.remember import partner_names, to_be_billed, to_be_said
from billingsync.run.reread import reread
from billingsync.run.result import result_of, settle_charges
from billingsync.run.tenant import Tenant, read_tenant
from billingsync.run.undo import take_back
from billingsync.run.undone import UndonePosting
from billingsync.store.book import Fence
from billingsync.store.lookback import SaidCharge
from billingsync.store.postings import ARRIVED, FREE


def run_period(
    connected: Connections,
    period: Period,
    *,
    who: str,
    asked: Sequence[str] = (),
    say: Say,
    confirm: Callable[[Planned], bool] = lambda planned: True,
) -> tuple[Planned, RunResult | None]:
    """Fetch, recover, plan, post, verify. `who` acts; `confirm` is shown the plan; where it says no, nothing is posted
    (None)."""
    rulebook = load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules())
    with connected.ledger.run_lock(who) as fence:
        connected.ledger.assert_durable()
        beside = Beside.NOTHING if _left_open(connected) else Beside.TENANT
        upstream = fetch(connected, period, rulebook, say, beside)
        recovered = _recover(connected, fence, period, upstream, rulebook, say)
        if upstream.tenant is None:
            upstream = replace(upstream, tenant=read_tenant(connected, period, say))
        seen = _late(connected, fence, period, upstream, rulebook, say)
        planned = make_plan(connected, period, asked=asked, say=say, rulebook=rulebook, upstream=upstream)
        if months := connected.settings.keep_sources_months:
            connected.ledger.forget_sources(period.months_before(months), now())
        if not confirm(planned):
            return planned, None
        ready = _ready(planned, upstream)
        del planned, upstream
        return ready.planned, _post(connected, fence, ready, recovered, seen, say)


def post_digest(connected: Connections, prefix: str, *, who: str, say: Say) -> tuple[Planned, RunResult]:
    """Post exactly the plan that was shown, or refuse with StalePlan and what changed since."""
    refuse_from_file(connected.ledger, prefix)
    shown = connected.ledger.find_plan(prefix)
    period = Period.parse(shown.period)
    rulebook = load_rulebook(connected.settings.rules_dir, connected.ledger.desk_rules())
    with connected.ledger.run_lock(who) as fence:
        connected.ledger.assert_durable()
        upstream = fetch(connected, period, rulebook, say, Beside.TENANT)
        planned = make_plan(connected, period, asked=shown.asked, say=say, rulebook=rulebook, upstream=upstream)
        if planned.plan.digest != shown.digest:
            recovered = _recover(connected, fence, period, upstream, rulebook, say)
            upstream = replace(upstream, tenant=read_tenant(connected, period, say))
            planned = make_plan(connected, period, asked=shown.asked, say=say, rulebook=rulebook, upstream=upstream)
            changes = changes_since(shown.document, planned)
            begun = any(run.digest == shown.digest for run in connected.ledger.runs(period))
            # Only the rest of a posting of this very plan that was interrupted may go on without being shown again.
            if changes or not begun or planned.plan.rules_digest != shown.rules_digest:
                raise StalePlan(
                    f"The plan {shown.digest[:12]} is not what would be posted now. What changed:\n"
                    + "\n".join(f"  {change}" for change in changes or ["the rules, or what HaloPSA's items are"]),
                    next_steps=[
                        ["billingsync", "plan", str(period)],
                        ["billingsync", "post", planned.plan.digest[:12]],
                    ],
                )
        else:
            recovered = _recover(connected, fence, period, upstream, rulebook, say)
        seen = _late(connected, fence, period, upstream, rulebook, say)
        ready = _ready(planned, upstream)
        del planned, upstream
        return ready.planned, _post(connected, fence, ready, recovered, seen, say)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A plan, and what carrying it out needs of the month's charges. The charges themselves are let go, as they take
    most of the room; not where a true-up must be planned once more [R2]."""

    planned: Planned
    charges: Mapping[str, Charged]
    said: Sequence[SaidCharge]
    partner_names: Mapping[str, tuple[str, ...]]
    upstream: Upstream | None
    tenant: Tenant


def _ready(planned: Planned, upstream: Upstream) -> _Ready:
    again = any(up.state == TrueUpState.APPROVED for up in planned.plan.true_ups)
    charges = charged(planned.inputs.sources)
    said = to_be_said(planned.inputs.sources, planned.inputs.period)
    names = partner_names(planned.inputs.sources)
    if not again:
        planned = replace(planned, inputs=replace(planned.inputs, sources=()))
    assert upstream.tenant is not None  # read before anything is written [N6]
    return _Ready(
        planned=planned,
        charges=charges,
        said=said,
        partner_names=names,
        upstream=upstream if again else None,
        tenant=upstream.tenant,
    )


def _context(
    connected: Connections,
    fence: Fence,
    run: str,
    period: Period,
    clients: Sequence[Client],
    codes: Callable[[int], ProductRules],
    say: Say,
) -> RunContext:
    return replace(
        context_of(connected, fence, period, say=say),
        run=run,
        clients={client.id: client for client in clients},
        tax_and_accounts=codes,
    )


def _left_open(connected: Connections) -> bool:
    """Whether an earlier run or card left a write of which the outcome must be found out first."""
    return bool(connected.ledger.unresolved() or connected.ledger.open_card_writes())


def _recover(
    connected: Connections, fence: Fence, period: Period, upstream: Upstream, rulebook: Rulebook, say: Say
) -> int:
    """Find out what became of postings that an earlier run left open, whatever their period. Gives their number."""
    context = _context(connected, fence, "", period, upstream.clients, lambda _: rulebook.base.products, say)
    resolve_cards(context)  # a card that lands late would put back the lines that we write now
    left = connected.ledger.unresolved()
    if left:
        say(Progress(stage=Stage.RECOVER, of=len(left)))
        for month in sorted({row.period for row in left}):
            context = _context(
                connected, fence, "", Period.parse(month), upstream.clients, lambda _: rulebook.base.products, say
            )
            resolve(context, [row for row in left if row.period == month])
    return len(left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What looking back showed before anything new was written: alarms, a sentence each, and what was read back."""

    alarms: tuple[str, ...]
    read_back: tuple[str, ...]  # keys
    changed: tuple[str, ...] = ()  # what a person has changed of this period's invoices since they were read back


def _late(
    connected: Connections, fence: Fence, period: Period, upstream: Upstream, rulebook: Rulebook, say: Say
) -> Seen:
    """What of this period and the one before landed late, or was never read back and is not as it was sent [N5]."""
    context = _context(connected, fence, "", period, upstream.clients, lambda _: rulebook.base.products, say)
    ledger = connected.ledger
    months = (period.previous, period)
    known = {key for month in months for run in ledger.runs(month) for key in run.summary.get("read_back", ())}
    rows = [row for month in months for row in ledger.heads(period=month)]
    unread = [row for row in rows if row.state in ARRIVED and row.key not in known]
    failed = read_back(context, unread)
    assert upstream.tenant is not None
    changed = reread(context, upstream.tenant, known)
    keys = frozenset(row.key for row in unread)
    rows = [row for month in months for row in ledger.heads(period=month)]
    alarms = [
        f"{row.client_name}: {row.message}" for row in rows if row.key in keys and row.state == PostingState.DIFFERS
    ]
    late = look_for_late(context, rows)
    alarms += [sentence for sentence in late if sentence not in (*alarms, *changed)]
    return Seen(
        alarms=(*alarms, *([failed] if failed else [])),
        read_back=() if failed else tuple(sorted(keys)),
        changed=changed,
    )


def _post(
    connected: Connections,
    fence: Fence,
    ready: _Ready,
    recovered: int,
    seen: Seen,
    say: Say,
) -> RunResult:
    """Post a plan and settle what it dropped or excluded. The run ends recorded, whatever happens."""
    planned, charges = ready.planned, ready.charges
    plan, ledger = planned.plan, connected.ledger
    period = planned.inputs.period
    _marker_known_lost(connected, plan)
    run = ledger.start_run(fence, period=period, digest=plan.digest, who=fence.holder, now=now())
    context = _context(connected, fence, run, period, planned.inputs.clients, _codes(planned), say)
    taken: tuple[UndonePosting, ...] = ()
    try:
        if ready.upstream is not None:
            taken, planned = _true_up(connected, fence, run, planned, ready, say)
            plan = planned.plan
        if plan.postings:
            ledger.note_said(fence, ready.said, to_be_billed(plan, ready.partner_names))
        carried = (
            carry_out(context, plan, charges, planned.inputs.existing, ready.tenant) if plan.postings else Carried()
        )
    except BaseException as stopped:
        state = RunState.FAILED if isinstance(stopped, BillingSyncError) else RunState.INTERRUPTED
        if ledger.fence_holds(fence):
            ended: dict[str, object] = {
                "stopped": type(stopped).__name__,
                "marker": context.marker,
                "read_back": list(seen.read_back),
            }
            ledger.finish_run(fence, run, state, ended, now())
        written = [row.client_name for row in ledger.heads(run=run, states=ARRIVED)]
        names = f": {', '.join(written[:5])}{', ...' if len(written) > 5 else ''}" if written else ""
        stopped.add_note(f"{len(written)} of {len(plan.postings)} invoices were written to HaloPSA{names}.")
        raise
    settle_charges(connected, fence, run, plan, charges, carried.outcomes)
    alarms = (*seen.alarms, *([carried.unread] if carried.unread else []))
    result = result_of(connected, run, plan, charges, carried.outcomes, alarms, taken, (*seen.changed, *carried.told))
    written = [key for key, state in ledger.states(run=run).items() if state in ARRIVED]
    summary: dict[str, object] = {
        "digest": plan.digest,
        "recovered": recovered,
        "postings": len(written),
        "read_back": [*seen.read_back, *([] if carried.unread else written)],
    }
    ledger.finish_run(fence, run, result.state, summary, now())
    return result


def _true_up(
    connected: Connections, fence: Fence, run: str, planned: Planned, ready: _Ready, say: Say
) -> tuple[tuple[UndonePosting, ...], Planned]:
    """Take back what was allowed to be [R2], and plan what comes instead. A process that dies in between leaves charges
    that are on no line and wait for the next run, never such that are on two."""
    shown = planned.plan
    ups = [up for up in shown.true_ups if up.state == TrueUpState.APPROVED]
    keys = {posting.key for up in ups for posting in up.postings}
    taken: tuple[UndonePosting, ...] = ()
    connected.ledger.note_true_up(fence, run, keys, now())
    for period in sorted({up.period or shown.period for up in ups}):
        taken += take_back(connected, fence, period, keys, who=fence.holder, say=say)
    stuck = {each.client_id for each in taken if each.outcome not in (UndoOutcome.UNDONE, UndoOutcome.NOTHING)}
    well = {up.client_id for up in ups} - stuck
    assert ready.upstream is not None  # kept where a true-up was approved
    fresh = make_plan(
        connected,
        planned.inputs.period,
        asked=shown.clients_asked,
        say=say,
        rulebook=planned.inputs.rulebook,
        upstream=replace(ready.upstream, tenant=None, templates=None),  # templates have changed
        approved=well,
        not_taken_back=stuck,
        taken_back={up.client_id for up in ups if not up.older} - stuck,
        own_credits={each.credit_invoice for each in taken if each.credit_invoice is not None},
    )
    for up in ups:
        mine = (up.client_id, up.currency)
        before, after = _bill(shown, *mine), _bill(fresh.plan, *mine)
        if up.client_id in well and before != after:
            raise StalePlan(
                f"What was billed of {up.client_name} was taken back, and what would be billed instead is now "
                f"{plain(after, up.currency)} {up.currency}, not {plain(before, up.currency)} as the plan said. "
                "Nothing was posted.",
                next_steps=[["billingsync", "plan", shown.period]],
            )
    return taken, fresh


def _bill(plan: Plan, client_id: int, currency: str) -> Decimal:
    return sum((one.amount for one in plan.postings if (one.client_id, one.currency) == (client_id, currency)), ZERO)


def _marker_known_lost(connected: Connections, plan: Plan) -> None:
    """One invoice without its marker may be an accident; after two runs in a row it is how this tenant works, and each
    further run would bill one more client that nobody recognises [N7]. Once those invoices are out of HaloPSA, or
    undone, the same setting may be tried again."""
    last = connected.ledger.runs()[-2:]
    setting = connected.settings.halo.marker
    lost = [run for run in last if (run.summary.get("stopped"), run.summary.get("marker")) == ("MarkerLost", setting)]
    if plan.postings and len(lost) == 2:
        gone = (*FREE, PostingState.UNDONE)
        left = [row for row in connected.ledger.heads(run=lost[-1].id) if row.state not in gone]
        if left:
            raise MarkerLost(
                f"HaloPSA did not keep the marker in {setting!r} on the invoices that the last two "
                f"runs wrote, {left[0].client_name}'s among them. Nothing was posted now. Set "
                "BILLINGSYNC_HALO__MARKER to another place, or take those invoices out of HaloPSA.",
                next_steps=[["billingsync", "show", lost[-1].id], ["billingsync", "doctor"]],
            )


def _codes(planned: Planned) -> Callable[[int], ProductRules]:
    """A client's account and tax codes: those of its file, else the shared ones."""
    rulebook = planned.inputs.rulebook
    by_client: dict[int, ProductRules] = {}
    for client in planned.plan.clients:
        if client.client_id is not None:
            file = rulebook.file_for(
                company_id=client.company_id, company_name=client.company_name, client_id=client.client_id
            )
            by_client.setdefault(client.client_id, file.rules.products if file else rulebook.base.products)
    return lambda client_id: by_client.get(client_id, rulebook.base.products)
