"""The charge account: every charge in exactly one state, to the cent [A1] [A2]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from billingsync.core.bill.company import Work
from billingsync.core.bill.plan import Account, CurrencyAccount, Excluded, Hold
from billingsync.core.bill.templates import amount_of, cost_of, currency_of
from billingsync.core.charge import Charge
from billingsync.core.inputs import RunInputs
from billingsync.core.money import ZERO, round_money
from billingsync.core.states import ChargeState, PostingAction


def accounts_of(
    charges: Sequence[Charge],
    works: Sequence[Work],
    unassigned: Sequence[Excluded],
    inputs: RunInputs,
    unassigned_holds: Sequence[Hold] = (),
) -> tuple[CurrencyAccount, ...]:
    """The equation [A2], proved charge by charge: each in exactly one state, and lines that sum to their charges."""
    state: dict[str, str] = {}

    def put(charge_id: str, name: str) -> None:
        assert charge_id not in state, f"charge {charge_id} is {state[charge_id]} and {name}"
        state[charge_id] = name

    for excluded in unassigned:
        put(excluded.charge, "excluded")
    for waiting in unassigned_holds:
        put(waiting.charge, "held")
    for work in works:
        for item in work.excluded:
            put(item.charge, "excluded")
        for gone in work.dropped:
            put(gone.charge, "dropped")
        for held in work.holds:
            if not held.no_charge:
                put(held.charge, "held")
        for charge_id in {charge for line in work.lines for charge in line.charges}:
            put(charge_id, "posted")
    sums: dict[str, dict[str, list[Decimal]]] = defaultdict(lambda: defaultdict(lambda: [ZERO, ZERO]))
    for charge in charges:
        name = state.get(charge.id, "")
        if not name and (settled := inputs.memory.settled.get(charge.id)) is not None:
            name = "already_posted" if settled.state == ChargeState.POSTED else settled.state
        assert name, f"charge {charge.id} has no state"
        sums_of = sums[charge.currency]
        for both in (sums_of["charges"], sums_of[name]):
            both[0] += charge.price
            both[1] += charge.cost
    standing = _on_templates(works, inputs)
    for sums_of in sums.values():
        for which, already in enumerate(sums_of["already_posted"]):
            sums_of["posted"][which] += already
    accounts = []
    for currency in sorted(sums):
        price, cost = (_account(sums[currency], which, currency) for which in (0, 1))
        lines = [line for work in works if work.currency == currency for line in work.lines]
        for account, total in ((price, [line.amount for line in lines]), (cost, [line.cost for line in lines])):
            assert account.charges == account.posted + account.dropped + account.excluded + account.held, currency
            assert account.posted - account.already_posted == sum(total, ZERO), currency
        if found := standing.get(currency):
            price, cost = replace(price, waiting=found[0]), replace(cost, waiting=found[1])
        accounts.append(CurrencyAccount(currency=currency, price=price, cost=cost))
    return tuple(accounts)


def _on_templates(works: Sequence[Work], inputs: RunInputs) -> dict[str, tuple[Decimal, Decimal]]:
    """By currency, what of this month is on templates, or will be, and is on no invoice that HaloPSA made of them."""
    found: dict[str, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for work in works:
        if work.target.action == PostingAction.UPDATE:
            found[work.currency] += [(line.amount, line.cost) for line in work.lines]
        for line in work.written:
            if line.live and line.period == str(inputs.period):
                done = work.made.of(line).done
                both = (ZERO, ZERO) if done else (amount_of(line), cost_of(line))
                found[currency_of(line.recurring_key)].append(both)
    return {
        currency: (sum((price for price, _ in sums), ZERO), sum((cost for _, cost in sums), ZERO))
        for currency, sums in found.items()
        if sums
    }


def _account(sums: dict[str, list[Decimal]], which: int, currency: str) -> Account:
    zero = round_money(ZERO, currency)
    return Account(
        **{
            name: sums[name][which] + zero
            for name in ("charges", "posted", "dropped", "excluded", "held", "already_posted")
        }
    )
