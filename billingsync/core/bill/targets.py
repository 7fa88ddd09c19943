"""Where a client's lines go: a new invoice, its latest one, or its recurring one [B1]-[B3]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from billingsync.core.bill.modifiers import Draft, draft_of, is_azure
from billingsync.core.bill.plan import PlanLine, Stays
from billingsync.core.bill.templates import YEARLY, MadeInvoices, currency_of, not_invoiced
from billingsync.core.charge import KNOWN_TYPES, Charge
from billingsync.core.invoice import Invoice, InvoiceLine
from billingsync.core.money import ZERO, multiply, plain, round_money
from billingsync.core.reasons import BILL, EXCLUDE_PRODUCT, LEAVE_OUT, ApproveAs, Reason, approve
from billingsync.core.remembered import WrittenLine
from billingsync.core.rules import InvoiceRules, ModifierRules
from billingsync.core.states import LineAction, PostingAction
from billingsync.core.steps import Slot, Step, instruction

# HaloPSA keeps quantities and prices as floats (reference/halopsa 2.7); ours have far fewer decimals than this.
_FLOAT_DUST = Decimal("0.000001")
_CUT_FROM = 200  # characters: a text that HaloPSA cut is still at least this long


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where lines go. `invoice` is None for a new one; with a `reason` nothing goes anywhere."""

    action: PostingAction = PostingAction.CREATE
    invoice: Invoice | None = None
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A line of ours that a person, or HaloPSA by itself, has changed since we wrote it."""

    reason: Reason
    detail: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChanges:
    """What a recurring invoice's lines become: changes, and lines that a person must look at first."""

    lines: tuple[PlanLine, ...] = ()
    held: Mapping[str, Touched] = field(default_factory=dict)  # by recurring key
    left: tuple[Stays, ...] = ()  # what stays although its charge is gone
    waits: Stays | None = None  # why none of it may be done: what HaloPSA has not billed yet would be overwritten [B6]


def group_of(charge: Charge, rules: InvoiceRules) -> str:
    """What splits a client's new invoices [B1]; Pax8 writes "N/A" for no purchase order."""
    if rules.behavior != "new" or rules.group_by == "client":
        return ""
    if rules.group_by == "distributor_invoice":
        return charge.invoice_id
    order = charge.purchase_order.strip()
    return "" if order.casefold() in ("n/a", "na", "none", "-") else order


def find_target(client_id: int, rules: InvoiceRules, existing: Iterable[Invoice]) -> Target:
    """[B1]-[B3]: the invoice that this client's lines go to, or why they cannot go anywhere."""
    if rules.behavior == "new":
        return Target()
    if rules.behavior == "latest":
        return _latest(client_id, rules, existing)
    if rules.recurring_invoice is None:
        return Target(
            reason=Reason.RECURRING_UNMAPPED,
            detail="no recurring invoice is named for this client",
        )
    for invoice in existing:
        if invoice.template and abs(invoice.id) == abs(rules.recurring_invoice):
            break
    else:
        return Target(
            reason=Reason.RECURRING_MISSING,
            detail=f"HaloPSA has no recurring invoice {abs(rules.recurring_invoice)}",
        )
    if why := unusable_because(invoice, client_id):
        return Target(
            reason=Reason.RECURRING_MISSING,
            detail=f"recurring invoice {abs(invoice.id)} {why}",
        )
    return Target(action=PostingAction.UPDATE, invoice=invoice)


def unusable_because(invoice: Invoice, client_id: int) -> str:
    """Why a recurring invoice must not get a client's lines; "" where it may."""
    if invoice.client_id != client_id:
        return f"belongs to HaloPSA client {invoice.client_id}, not {client_id}"
    return "is disabled in HaloPSA" if invoice.disabled else ""


def _latest(client_id: int, rules: InvoiceRules, existing: Iterable[Invoice]) -> Target:
    """[B2]: the most recent by invoice date, then id, closed ones included."""
    mine = [invoice for invoice in existing if invoice.client_id == client_id and not invoice.template]
    if not mine:
        why, reason = "the client has no invoice yet", Reason.LATEST_MISSING
    else:
        newest = max(mine, key=lambda invoice: (invoice.date, invoice.id))
        closed = newest.closed or ("is a credit of ours" if _is_our_credit(newest) else "")
        if not closed:
            return Target(action=PostingAction.APPEND, invoice=newest)
        why, reason = f"the client's latest invoice {newest.number or newest.id} {closed}", Reason.LATEST_CLOSED
    if rules.when_latest_closed == "new":
        return Target()
    return Target(
        reason=reason,
        detail=why,
    )


def _is_our_credit(invoice: Invoice) -> bool:
    """Whether we wrote it and it takes money back: what is appended to a credit would be lost in it [B2]."""
    ours = invoice.mark is not None or any(line.mark is not None for line in invoice.lines)
    amounts = (multiply(line.quantity, line.unit_price) for line in invoice.lines if not line.inactive)
    return ours and sum(amounts, ZERO) < 0


def recurring_key(draft: Draft) -> str:
    """What a line is recognised by next month: subscription or product, kind, currency [B3]; see `numbered`."""
    yearly = draft.kind == "subscription" and _SPELLING.sub("", draft.term.lower()) in _YEARLY_TERMS
    kind = YEARLY if yearly else draft.kind
    return f"{'azure' if draft.collapsed else _what(draft)}|{kind}|{draft.currency}"


_SPELLING = re.compile(r"[^a-z0-9]")  # Pax8 writes terms with and without spaces and hyphens
_YEARLY_TERMS = ("annual", "yearly", "1year", "2year", "3year")


def _what(draft: Draft) -> str:
    return draft.subscription_id or draft.sku or draft.product_id or draft.product_name


def waiting_keys(charge: Charge, rules: ModifierRules) -> frozenset[str]:
    """The beginnings of the keys under which a charge that waits may have stood on the invoice last month."""
    draft = draft_of(charge)
    keys = {recurring_key(draft) if charge.type in KNOWN_TYPES else _what(draft)}
    if rules.azure == "collapse" and is_azure(charge, rules):
        keys.add(f"azure|azure|{charge.currency}")
    return frozenset(keys)


def recurring_changes(
    invoice: Invoice,
    lines: Sequence[PlanLine],
    written: Iterable[WrittenLine],
    *,
    period: str,
    company_id: str | None,
    waiting: frozenset[str],
    currency: str,
    made: MadeInvoices | None = None,
) -> LineChanges:
    """New lines -> added, updated and removed ones. `waiting` are the beginnings of the keys of held charges: what
    they wrote before stays as it is until a person has decided. `made` tells what HaloPSA has billed: what it has not
    is never overwritten [B6]; None where nothing of earlier months is to be judged so."""
    ours = {
        line.recurring_key: line
        for line in written
        if line.invoice_id == invoice.id and (company_id is None or line.company_id == company_id)
    }
    present = invoice.by_id
    changes: list[PlanLine] = []
    held: dict[str, Touched] = {}
    left: list[Stays] = []
    taken = {*ours, *(line.recurring_key for line in lines)}
    for line in lines:
        before = ours.get(line.recurring_key)
        if before is None:
            changes.append(line)
            continue
        if before.period == period and before.live:
            # Written in this very period already: this is a late twin, not next month's version of the line.
            key = f"{line.recurring_key}+"
            while key in taken:
                key += "+"
            taken.add(key)
            changes.append(replace(line, recurring_key=key))
            continue
        there = present.get(before.line_id)
        if made is not None and _charged_for_good(before, there, made):
            changes += [removal(before, currency), line] if there is not None else [line]
            continue
        trouble = None if _written_anew(before, there) else touched(before, there, line)
        if trouble:
            held[line.recurring_key] = replace(trouble, steps=_way_out(trouble.reason, before, there, line, currency))
            continue
        changes.append(
            replace(
                line,
                action=LineAction.UPDATE,
                line_id=before.line_id,
                before=f"{before.quantity} x {before.unit_price}",
                before_amount=round_money(multiply(before.quantity, before.unit_price), currency),
            )
        )
    now = {line.recurring_key for line in lines}
    for key, before in ours.items():
        if key in now or _stays(before, period, made) or _waits(key, waiting):
            continue
        trouble = touched(before, present.get(before.line_id))
        if trouble and present.get(before.line_id) is not None:
            why = f"line {before.line_id} ({before.title}) has no charge any more but {trouble.detail}: left as it is"
            left.append(stays(before, Reason.RECURRING_LEFT_BEHIND, why))
        elif not trouble:
            changes.append(removal(before, currency or currency_of(before.recurring_key)))
    mine = {line.line_id: line for line in ours.values()}
    touching = [mine[line.line_id] for line in changes if line.line_id is not None and line.line_id in mine]
    earlier = [line for line in touching if line.period < period]
    why = not_invoiced(earlier, made) if made is not None else ""
    waits = stays(earlier[0], Reason.RECURRING_NOT_INVOICED, why) if why else None
    return LineChanges(lines=tuple(changes), held=held, left=tuple(left), waits=waits)


def _charged_for_good(before: WrittenLine, there: InvoiceLine | None, made: MadeInvoices) -> bool:
    """Whether HaloPSA charged the line once by itself, and took it off or never charges it again."""
    known = there is None or there.one_time_invoice_id is not None
    return before.once and known and made.of(before).done


def stays(line: WrittenLine, reason: Reason, text: str) -> Stays:
    """A line of ours that is left where it is, and why."""
    currency = currency_of(line.recurring_key)
    return Stays(text=text, reason=reason, invoice_id=line.invoice_id, line_id=line.line_id, currency=currency)


def _stays(before: WrittenLine, period: str, made: MadeInvoices | None) -> bool:
    """Whether a line that has no charge any more stays on the template: it is of this month, and not used up [B7]."""
    if before.period != period:
        return before.period > period
    return before.live and not (before.once and made is not None and made.of(before).done)


def licence_lines(invoice: Invoice) -> list[str]:
    """The texts of the lines whose quantity HaloPSA takes from licences or subscriptions (reference/halopsa 4.2)."""
    return [line.title or "(no text)" for line in invoice.lines if line.counts_licences]


def _waits(key: str, waiting: frozenset[str]) -> bool:
    return any(key == one or key.startswith(f"{one}|") for one in waiting)


_REMOVED = (approve(ApproveAs.ADD_AGAIN, Slot.CHARGE_OPTIONS), EXCLUDE_PRODUCT)


def _way_out(
    reason: Reason, before: WrittenLine, there: InvoiceLine | None, line: PlanLine, currency: str
) -> tuple[Step, ...]:
    """How such a line may be mended. Whoever leaves it out takes it off too, else it would be left behind."""
    if there is None:
        return _REMOVED
    now = f'{plain(line.quantity)} x {plain(line.unit_price, currency)} "{line.description:.80}"'
    was = f"{plain(before.quantity)} x {plain(before.unit_price, currency)}"
    if reason is Reason.LINE_EDITED:
        mend = f"change the line in HaloPSA to what this month says, {now}, or back to {was}"
    else:
        mend = f"give the line a fixed quantity in HaloPSA: what this month says, {now}, or as it was, {was}"
    where = f"line {before.line_id} of recurring invoice {abs(before.invoice_id)}"
    take_off = f"take {where} off in HaloPSA, bill it by hand, and set exclude.products = "
    return (instruction(BILL, mend), instruction(LEAVE_OUT, take_off, Slot.PRODUCTS, " in ", Slot.FILE))


def removal(before: WrittenLine, currency: str) -> PlanLine:
    """What takes a line of ours off its template."""
    return PlanLine(
        action=LineAction.REMOVE,
        line_id=before.line_id,
        title=before.title,
        description=before.description,
        item=None,
        quantity=ZERO,
        unit_price=ZERO,
        unit_cost=ZERO,
        amount=ZERO,
        cost=ZERO,
        charges=(),
        recurring_key=before.recurring_key,
        before=f"{before.quantity} x {before.unit_price}",
        before_amount=round_money(multiply(before.quantity, before.unit_price), currency),
    )


def touched(before: WrittenLine, line: InvoiceLine | None, now: PlanLine | None = None) -> Touched | None:
    """Whether somebody or something else has had its hands on a line of ours since we wrote it [B3]. A line that a
    person changed to just what this month says (`now`) has had what it needs; so has a line that is to be removed (no
    `now`) and was set to nothing, as we do ourselves where HaloPSA keeps lines that are left out."""
    if line is None:
        return Touched(reason=Reason.LINE_EDITED, detail=f"line {before.line_id} was removed by hand")
    if line.automatic:
        detail = f"HaloPSA computes the quantity of line {before.line_id} itself"
        return Touched(reason=Reason.LINE_AUTOMATIC_QUANTITY, detail=detail)
    if now is None and line.is_zeroed:
        return None
    changed = _edits(before, line)
    if changed and not (now and any(not _edits(one, line) for one in _as_written(before, now))):
        detail = f"line {before.line_id} was edited by hand: {', '.join(changed)}"
        return Touched(reason=Reason.LINE_EDITED, detail=detail)
    return None


def _written_anew(before: WrittenLine, there: InvoiceLine | None) -> bool:
    """Whether another posting of ours wrote the line since, of which a ledger that was put back knows nothing: no
    person's edit. Before anything is sent that posting is looked for, and without it nothing is [N6]."""
    mark = there.mark if there is not None else None
    return mark is not None and bool(before.key) and mark.key != before.key and not mark.of_card


def _as_written(before: WrittenLine, now: PlanLine) -> tuple[WrittenLine, WrittenLine]:
    """The line as this month writes it; a person who changed its price need not have changed what it costs."""
    asked = replace(before, description=now.description, quantity=now.quantity, unit_price=now.unit_price)
    return asked, replace(asked, unit_cost=now.unit_cost)


def _edits(before: WrittenLine, line: InvoiceLine) -> list[str]:
    """What a line says other than what we wrote, in words."""
    changed = []
    if _apart(line.quantity, before.quantity):
        changed.append(f"quantity {line.quantity} instead of {before.quantity}")
    if _apart(line.unit_price, before.unit_price):
        changed.append(f"price {line.unit_price} instead of {before.unit_price}")
    if line.unit_cost is not None and _apart(line.unit_cost, before.unit_cost):
        changed.append(f"cost {line.unit_cost} instead of {before.unit_cost}")
    if line.discount_percent != 0:
        changed.append(f"a discount of {line.discount_percent} %")
    if line.inactive:
        changed.append("set inactive")
    if before.item_id is not None and line.item_id is not None and line.item_id != before.item_id:
        changed.append(f"item {line.item_id} instead of {before.item_id}")
    ours, text, long = before.description.strip(), line.title.strip(), line.text.strip()
    if text != ours and not _cut_of(ours, text):
        changed.append("another text")
    elif line.marked_text and not any(long == one or _cut_of(one, long) for one in (ours, before.title)):
        changed.append("another long text")
    return changed


def _apart(value: Decimal, wanted: Decimal) -> bool:
    return abs(value - wanted) >= _FLOAT_DUST


def _cut_of(whole: str, part: str) -> bool:
    """Whether `part` is `whole` with its end cut off, as HaloPSA's columns and our own limit do."""
    part = part.strip().removesuffix("\u2026")
    return len(part) >= _CUT_FROM and whole.strip().startswith(part)
