"""What becomes of one company's charges: excluded, held, dropped, or lines on a target [A3] [C1] [M1] [P1] [B1]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from billingsync.core.bill.company import IN_DOUBT, Work, as_list, excluded_by, held_by, products_with
from billingsync.core.bill.decided import DecidedDraft, KeptBy
from billingsync.core.bill.lines import Numbered, draft_lines, line_text
from billingsync.core.bill.modifiers import Draft, Verdict, apply_modifiers, is_azure
from billingsync.core.bill.parts import Items, as_shares, full_prices, needs_full_price, sold
from billingsync.core.bill.plan import Dropped, Excluded, Hold, PlanLine, TrueUp
from billingsync.core.bill.products import Catalogue, resolve
from billingsync.core.bill.take_off import comes_off, is_stranded, may_come_yet, steps_of
from billingsync.core.bill.targets import (
    Target,
    find_target,
    group_of,
    recurring_changes,
    recurring_key,
    waiting_keys,
)
from billingsync.core.bill.twins import Waiting
from billingsync.core.charge import KNOWN_TYPES, Charge
from billingsync.core.decisions import SetAside, approved_charges
from billingsync.core.inputs import RunInputs
from billingsync.core.reasons import BILL, EXCLUDE_COMPANY, HOLDS, MAP_COMPANY, ApproveAs, Exclusion, Reason
from billingsync.core.rules import ModifierRules, Rules
from billingsync.core.states import GONE_SINCE, VOIDED_SINCE, PostingAction, SourceChange
from billingsync.core.steps import NOTHING, Fill, Slot, Step, instruction


def judge(
    work: Work,
    inputs: RunInputs,
    catalogue: Catalogue,
    waiting: Mapping[str, Waiting] = MappingProxyType({}),
    waits_for: TrueUp | None = None,
) -> None:
    """One company: exclude, match, modify, find items, find the target, in this order [A3] [C1] [M1] [P1] [B1]. What
    another invoice bills is `waiting` [S10]; all that would be billed or dropped waits for a true-up that nobody has
    allowed yet [R2]."""
    if not work.all_charges and (why := may_come_yet(work, inputs)):
        work.left = (why,)
        return
    rest: list[Charge] = []
    kept_back = _set_aside(work, inputs)
    for charge in work.charges:
        if settled := inputs.memory.settled.get(charge.id):
            reason, detail = IN_DOUBT[settled.state]
            nobodys = settled.detail.endswith((VOIDED_SINCE, GONE_SINCE))
            steps = tuple(step for step in HOLDS[reason].steps if step.words) if nobodys else ()
            fill = {Slot.RUN: settled.run} if settled.run else NOTHING
            work.hold(charge, reason, settled.detail or detail, fill, steps)
        elif work.renamed and work.is_excluded:
            detail = f"the rules leave it out as {work.renamed!r:.80}, and Pax8 now calls it {work.company.name!r:.80}"
            work.hold(charge, Reason.CLIENT_RENAMED, detail, steps=_confirm_or_bill(work))
        elif rule := Exclusion.COMPANY if work.is_excluded else exclusion(charge, work.rules):
            work.excluded.append(excluded_by(charge, rule))
        elif meant := _another_product(charge, work, inputs):
            detail = (
                f"the rules leave out {charge.product_name!r:.80}, which was product {meant}; this one has its name"
            )
            where = work.rules.origins.get("exclude.products", work.where)
            work.hold(charge, Reason.PRODUCT_RENAMED, detail, {Slot.VALUE: _by_its_id(meant, work), Slot.FILE: where})
        elif aside := kept_back.get(charge.id):
            because = f": {aside.reason}" if aside.reason else ""
            work.hold(charge, Reason.SET_ASIDE, f"{aside.who} set it aside{because}")
        else:
            rest.append(charge)
    if work.match.reason:
        for charge in rest:
            work.hold(charge, work.match.reason, work.match.detail, work.match.fill, work.match.steps)
        return
    client = work.match.client
    if client is None:
        return
    if other := client.pax8_monthly_invoice or client.pax8_annual_invoice:
        detail = f"HaloPSA's own Pax8 sync bills {client.name} already (invoice {other})"
        for charge in rest:
            work.hold(charge, Reason.OTHER_WRITER, detail)
        return
    if work.match.how == "similarity" and work.rules.clients.guessed == "hold":
        fill = {Slot.HALO_CLIENT: str(client.id)}
        for charge in rest:
            work.hold(charge, Reason.CLIENT_GUESSED, f"only similar to {client.name}, not confirmed", fill)
        return
    excluded = {gone.charge for gone in work.excluded}
    drafts, verdicts = apply_modifiers(
        _usable(work, rest, waiting, waits_for),
        work.rules.modifiers,
        lambda charge: group_of(charge, work.rules.invoice),
        [charge for charge in work.all_charges if charge.type == "prorate" and charge.id not in excluded],
        _billed_as_said(work, inputs),
    )
    for verdict in verdicts:
        if verdict.modifier:
            charge = verdict.charge
            work.dropped.append(
                Dropped(
                    charge=charge.id,
                    modifier=verdict.modifier,
                    amount=charge.price,
                    cost=charge.cost,
                    product=charge.product,
                    currency=charge.currency,
                )
            )
        elif verdict.reason:
            work.hold(verdict.charge, verdict.reason, verdict.detail, _left_out_by(verdict, work))
    _draw(work, drafts, inputs, catalogue)


def _confirm_or_bill(work: Work) -> tuple[Step, ...]:
    """For a company that the rules leave out under a name of before: leave it out for good, or bill it from now on."""
    where = work.rules.origins.get("exclude.companies", work.where)
    by_file = work.file is not None and work.file.exclude
    first = f"set client.exclude = false in {work.where}" if by_file else f"take it out of exclude.companies in {where}"
    step = MAP_COMPANY.filled({Slot.COMPANY: work.called})
    return (EXCLUDE_COMPANY, instruction(BILL, f"{first}, then {step.text}"))


def _another_product(charge: Charge, work: Work, inputs: RunInputs) -> str:
    """The id of the product that the rules leave out by this charge's name, where that is another one [C4]."""
    meant = inputs.memory.rule_products.get(charge.product_name, "")
    is_another = meant and charge.product_id and charge.product_id != meant
    return meant if is_another and meant in work.rules.exclude.products else ""


def _by_its_id(product: str, work: Work) -> str:
    """exclude.products with a product's id in place of its name, which is another's now."""
    listed = work.rules.exclude.products
    return as_list(one if one == product else work.called_products.get(one, one) for one in listed)


def _left_out_by(verdict: Verdict, work: Work) -> Fill:
    """What the rules must say so that such a charge is left out: a list replaces the one of the layer below."""
    charge = verdict.charge
    if verdict.reason is not Reason.UNKNOWN_CHARGE_TYPE:
        return verdict.fill
    if charge.type:
        return {Slot.VALUE: f"exclude.types = {as_list([*work.rules.exclude.types, charge.type])}"}
    listed = [work.called_products.get(one, one) for one in work.rules.exclude.products]
    return {Slot.VALUE: f"exclude.products = {products_with(charge, listed).get(Slot.PRODUCTS, Slot.PRODUCTS)}"}


def _set_aside(work: Work, inputs: RunInputs) -> Mapping[str, SetAside]:
    """What a person set aside of this company; of charges that share one line, all."""
    aside = {charge.id: inputs.set_aside[charge.id] for charge in work.charges if charge.id in inputs.set_aside}
    if aside and work.rules.modifiers.azure == "collapse":
        together = [charge for charge in work.charges if is_azure(charge, work.rules.modifiers)]
        first = {charge.currency: aside[charge.id] for charge in together if charge.id in aside}
        aside |= {charge.id: first[charge.currency] for charge in together if charge.currency in first}
    return aside


def _billed_as_said(work: Work, inputs: RunInputs) -> frozenset[str]:
    """Charges of unknown type, or that had no company, that a person lets be billed as Pax8 says, at the price that was
    shown [V1]."""
    approved = approved_charges(inputs.memory.approvals, ApproveAs.BILL)
    return (
        frozenset(charge.id for charge in work.charges if approved.get(charge.id) == charge.price)
        if approved
        else frozenset()
    )


def exclusion(charge: Charge, rules: Rules) -> Exclusion | None:
    """The rule that leaves a charge out [A3], in the order of the rule."""
    exclude = rules.exclude
    if charge.company_id is not None and (
        charge.company_id in exclude.companies or charge.company_name in exclude.companies
    ):
        return Exclusion.COMPANY
    if any(name and name in exclude.products for name in (charge.sku, charge.product_name, charge.product_id)):
        return Exclusion.PRODUCT
    if charge.type in exclude.types:
        return Exclusion.CHARGE_TYPE
    if charge.billed_by_pax8 and exclude.billed_by_pax8:
        return Exclusion.BILLED_BY_PAX8
    return Exclusion.NO_COMPANY if charge.company_id is None else None


_USAGE = frozenset({"subscription", "prorate", "one-time"})


def without_company(charges: Iterable[Charge], rules: Rules) -> tuple[list[Excluded], list[Hold]]:
    """Charges that Pax8 assigns to nobody: credits and fees are the partner's own, usage is somebody's and waits until
    a person has found out whose [A3]."""
    excluded, holds = [], []
    for charge in charges:
        rule = exclusion(charge, rules)
        is_usage = charge.type in _USAGE or charge.type not in KNOWN_TYPES
        if rule is Exclusion.NO_COMPANY and is_usage and (charge.price or charge.cost or charge.problem):
            detail = "Pax8 charges it without saying for which company"
            known = products_with(charge, rules.exclude.products)
            steps = tuple(step.filled(known) for step in HOLDS[Reason.NO_COMPANY].steps)
            holds.append(held_by(charge, Reason.NO_COMPANY, detail, steps))
        else:
            excluded.append(excluded_by(charge, rule or Exclusion.NO_COMPANY))
    return excluded, holds


def _usable(
    work: Work, charges: Sequence[Charge], waiting: Mapping[str, Waiting], waits_for: TrueUp | None
) -> list[Charge]:
    """The charges that modifiers may judge; the others wait: for a true-up, for a twin, unreadable, of another
    currency."""
    readable = []
    for charge in charges:
        if waits_for is not None:
            reason = Reason.SOURCE_CHANGED if waits_for.kind == SourceChange.CHANGED else Reason.SOURCE_REPLACED
            work.hold(charge, reason, waits_for.detail, steps=waits_for.steps)
        elif twin := waiting.get(charge.id):
            work.hold(charge, Reason.SOURCE_DUPLICATE, twin.detail, steps=twin.steps)
        elif charge.problem:
            work.hold(charge, Reason.BAD_AMOUNT, charge.problem)
        else:
            readable.append(charge)
    if not work.currency and work.one_currency and len({charge.currency for charge in readable}) == 1:
        work.currency = readable[0].currency
    usable = []
    for charge in readable:
        if charge.currency == work.currency:
            usable.append(charge)
        else:
            said = f"its HaloPSA client in {work.currency}"
            theirs = said if work.currency else "HaloPSA does not say its client's currency"
            work.hold(charge, Reason.CURRENCY_MISMATCH, f"charged in {charge.currency}, {theirs}")
    return usable


def _draw(work: Work, drafts: list[Draft], inputs: RunInputs, catalogue: Catalogue) -> None:
    """Drafts -> lines on a target, or holds."""
    assert work.client_id is not None
    work.target = find_target(
        work.client_id,
        work.rules.invoice,
        inputs.invoices_for(work.client_id, work.rules.invoice.recurring_invoice),
    )
    if work.target.reason is Reason.LATEST_CLOSED and work.client_id in inputs.memory.taken_back:
        work.target = Target()  # the credit is an invoice of our own, and so is what comes instead [R2]
    # The order of lines on an invoice, and with it the ordinals of equal ones, must not hang on Pax8's page order.
    drafts.sort(key=lambda draft: (draft.label.casefold(), draft.start, draft.price, draft.charges[0].id))
    subscriptions: dict[str, set[str]] = defaultdict(set)
    for draft in drafts:
        subscriptions[draft.product_name].add(draft.subscription_id)
    period, recurring = str(inputs.period), work.target.action == PostingAction.UPDATE
    lines: list[PlanLine] = []
    numbered = Numbered()
    prices = full_prices(work.all_charges, inputs.memory.full_prices)
    for draft in drafts:
        resolved = resolve(draft, work.rules, catalogue, inputs.memory.items_by_sku)
        work.drafts.append(_decided_draft(draft, work.rules.modifiers, resolved.by))
        if resolved.reason:
            if resolved.reason is Reason.PRODUCT_UNMATCHED and work.rules.products.lifecycle == "manual":
                work.hold_all(resolved.reason, resolved.detail, resolved.fill, resolved.steps)
                return
            for charge in draft.charges:
                work.hold(charge, resolved.reason, resolved.detail, resolved.fill, resolved.steps)
            continue
        items: Items = resolved.items
        if needs_full_price(draft, items):
            full_price = prices.get(sold(draft.charges[0]))
            if not full_price:
                _hold_without_full_price(work, draft, resolved.by)
                continue
            items = as_shares(items, full_price)
        text = line_text(
            work.rules.lines.text,
            draft,
            company=work.company.name,
            period=period,
            several=len(subscriptions[draft.product_name]) > 1,
        )
        keys: list[str] = []
        if recurring:
            key = recurring_key(draft)
            keys = [numbered(f"{key}|part {part}" if part else key) for part in range(len(items))]
        lines += draft_lines(draft, items, text, work.company.id, keys)
        work.products.update(charge.sku or charge.product_name for charge in draft.charges)
    if work.target.reason:
        if lines:  # a client with nothing to bill needs no invoice to bill it on
            work.hold_all(work.target.reason, work.target.detail)
        return
    there = work.target.invoice
    if there is not None and there.currency and there.currency != work.currency:
        detail = f"it is charged in {work.currency}, and invoice {there.number or abs(there.id)} is in {there.currency}"
        work.hold_all(Reason.CURRENCY_MISMATCH, detail)
        return
    if _left_behind(work, inputs):
        return
    if recurring and _beside_a_later_month(work, inputs):
        work.lines.extend(replace(line, recurring_key="") for line in lines)  # on an invoice that is made once
    elif recurring:
        _onto_recurring(work, lines, inputs)
    else:
        work.lines.extend(lines)


def _hold_without_full_price(work: Work, draft: Draft, by: str) -> None:
    for charge in draft.charges:
        work.hold(
            charge,
            Reason.FULL_PRICE_UNKNOWN,
            f"{by}: a part has a fixed price for a full period, and what Pax8 charges for a full period is not known",
            {Slot.FILE: by.rpartition(" in ")[2]},
        )


def _left_behind(work: Work, inputs: RunInputs) -> bool:
    """Holds a company whose lines still stand on a recurring invoice that the rules no longer name for it, and may not
    come off: HaloPSA would bill them beside this. Those that may come off do so in the same run [B8]."""
    if not any(is_stranded(work, line) for line in work.written) or not (left := comes_off(work, inputs).left):
        return False
    first = next((one for one in left if one.reason is Reason.RECURRING_NOT_INVOICED), left[0])
    why = "; ".join(one.text for one in left)
    work.hold_all(Reason.RECURRING_LEFT_BEHIND, why, {Slot.INVOICE: str(abs(first.invoice_id))}, steps_of(left))
    return True


def _added_again(by_id: Mapping[str, Charge], lines: Sequence[PlanLine], inputs: RunInputs) -> frozenset[str]:
    """The recurring keys of lines that a person removed and now wants back, at the prices that were shown [V1]."""
    approved = approved_charges(inputs.memory.approvals, ApproveAs.ADD_AGAIN)
    return frozenset(
        line.recurring_key
        for line in lines
        if line.charges and all(approved.get(charge) == by_id[charge].price for charge in line.charges)
    )


def _beside_a_later_month(work: Work, inputs: RunInputs) -> bool:
    """Whether the lines go on an invoice of their own: they come in the place of what is taken back of this month [R2],
    and the recurring invoice carries a later month by now."""
    assert work.target.invoice is not None
    written = inputs.memory.written_on.get(work.target.invoice.id, ())
    if work.client_id not in inputs.memory.taken_back or not any(one.period > str(inputs.period) for one in written):
        return False
    work.target = Target()
    return True


def _onto_recurring(work: Work, lines: list[PlanLine], inputs: RunInputs) -> None:
    """Lines -> additions, updates and removals on the client's recurring invoice [B3]."""
    invoice = work.target.invoice
    assert invoice is not None
    written = inputs.memory.written_on.get(invoice.id, ())
    later = max((line.period for line in written), default="")
    if later > str(inputs.period):
        work.hold_all(Reason.RECURRING_LATER_PERIOD, f"its recurring invoice already carries {later}")
        return
    by_id = {charge.id: charge for charge in work.charges}
    anew = _added_again(by_id, lines, inputs)
    changes = recurring_changes(
        invoice,
        lines,
        [one for one in written if one.recurring_key not in anew or invoice.line(one.line_id) is not None],
        period=str(inputs.period),
        company_id=work.company.id,
        waiting=frozenset(key for hold in work.holds for key in waiting_keys(by_id[hold.charge], work.rules.modifiers)),
        currency=work.currency,
        made=work.made,
    )
    if changes.waits:
        work.left = (changes.waits,)
        work.hold_all(changes.waits.reason, changes.waits.text, {Slot.INVOICE: str(abs(invoice.id))})
        return
    touched = {
        charge: changes.held[line.recurring_key]
        for line in lines
        if line.recurring_key in changes.held
        for charge in line.charges
    }
    for charge_id, trouble in touched.items():
        work.hold(by_id[charge_id], trouble.reason, trouble.detail, steps=trouble.steps)
    # A charge is posted whole or not at all: where one part's line waits, the lines of its other parts wait too.
    work.lines.extend(line for line in changes.lines if not touched.keys() & set(line.charges))
    work.left = changes.left


def _decided_draft(draft: Draft, rules: ModifierRules, item_by: str) -> DecidedDraft:
    charges = tuple(charge.id for charge in draft.charges)
    return DecidedDraft(charges=charges, collapsed=draft.collapsed, kept_by=_kept_by(draft, rules), item_by=item_by)


def _kept_by(draft: Draft, rules: ModifierRules) -> KeptBy:
    if draft.collapsed or (rules.azure == "keep" and is_azure(draft.charges[0], rules)):
        return KeptBy.AZURE
    if draft.kind == "prorate" and draft.price < 0:
        return KeptBy.FAVORABLE_PRORATA
    if draft.price == 0:
        nothing_at_all = rules.zero_lines == "keep" or draft.cost == 0
        return KeptBy.ZERO_LINES if nothing_at_all else KeptBy.ZERO_PRICE_WITH_COST
    return KeptBy.NONE
