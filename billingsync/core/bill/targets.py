"""Where a client's lines go: a new invoice, its latest one, or its recurring one [B1]-[B3]."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from billingsync.core.bill.modifiers import Draft, draft_of, is_azure
from billingsync.core.bill.plan import PlanLine
from billingsync.core.charge import KNOWN_TYPES, Charge
from billingsync.core.inputs import Existing, WrittenLine
from billingsync.core.money import ZERO, multiply, plain, round_money
from billingsync.core.reasons import BILL, EXCLUDE_PRODUCT, Reason
from billingsync.core.rules import InvoiceRules, ModifierRules
from billingsync.core.steps import Step, instruction

# HaloPSA writes "no date" as a date long ago (reference/halopsa 2.7).
_NO_DATE = ("", "1899-12-30", "1900-01-01", "0001-01-01")
_ACCOUNTING_IDS = (
    "xeroid",
    "qboid",
    "intacct_recordno",
    "sage_business_cloud_id",
    "exact_id",
    "dbc_id",
    "kashflowid",
    "snelstart_id",
)
_AUTOMATIC = ("quantity_licences", "quantity_subscriptions", "quantity_users", "quantity_assets")
# HaloPSA keeps quantities and prices as floats (reference/halopsa 2.7); ours have far fewer decimals than this.
_FLOAT_DUST = Decimal("0.000001")
_MARK = re.compile(r"\s*\[bs:[0-9a-f]{20}:[0-9a-f]{8}:\d{1,6}\]\s*$")
_CUT_FROM = 200  # characters: a text that HaloPSA cut is still at least this long


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where lines go. `invoice` is None for a new one; with a `reason` nothing goes anywhere."""

    action: str = "create"  # create | append | update
    invoice: Existing | None = None
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
    left: tuple[str, ...] = ()  # what stays although its charge is gone, in words


def group_of(charge: Charge, rules: InvoiceRules) -> str:
    """What splits a client's new invoices [B1]; Pax8 writes "N/A" for no purchase order."""
    if rules.behavior != "new" or rules.group_by == "client":
        return ""
    if rules.group_by == "distributor_invoice":
        return charge.invoice_id
    order = charge.purchase_order.strip()
    return "" if order.casefold() in ("n/a", "na", "none", "-") else order


def find_target(client_id: int, rules: InvoiceRules, existing: Iterable[Existing]) -> Target:
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
        if invoice.recurring and abs(invoice.id) == abs(rules.recurring_invoice):
            break
    else:
        return Target(
            reason=Reason.RECURRING_MISSING,
            detail=f"HaloPSA has no recurring invoice {abs(rules.recurring_invoice)}",
        )
    if why := unusable_because(invoice.raw, invoice.client_id, client_id):
        return Target(
            reason=Reason.RECURRING_MISSING,
            detail=f"recurring invoice {abs(invoice.id)} {why}",
        )
    return Target(action="update", invoice=invoice)


def unusable_because(raw: Mapping[str, object], owner: object, client_id: int) -> str:
    """Why a recurring invoice must not get a client's lines; "" where it may."""
    if owner != client_id:
        return f"belongs to HaloPSA client {owner}, not {client_id}"
    return "is disabled in HaloPSA" if _flag(raw.get("disabled")) else ""


def _latest(client_id: int, rules: InvoiceRules, existing: Iterable[Existing]) -> Target:
    """[B2]: the most recent by invoice date, then id, closed ones included."""
    mine = [invoice for invoice in existing if invoice.client_id == client_id and not invoice.recurring]
    if not mine:
        why, reason = "the client has no invoice yet", Reason.LATEST_MISSING
    else:
        newest = max(mine, key=lambda invoice: (str(invoice.raw.get("invoice_date") or "")[:10], invoice.id))
        closed = closed_because(newest.raw)
        if not closed:
            return Target(action="append", invoice=newest)
        why, reason = f"the client's latest invoice {_number(newest)} {closed}", Reason.LATEST_CLOSED
    if rules.when_latest_closed == "new":
        return Target()
    return Target(
        reason=reason,
        detail=why,
    )


def _number(invoice: Existing) -> str:
    return str(invoice.raw.get("invoicenumber") or invoice.id)


def closed_because(raw: Mapping[str, object]) -> str:
    """Why an invoice must not be written to any more; "" while it is open (reference/halopsa 3.3)."""
    if _flag(raw.get("voided")):
        return "is void"
    if _flag(raw.get("posted")) or _date(raw.get("dateposted")) or _date(raw.get("last_synced")):
        return "is posted to accounting"
    for name in _ACCOUNTING_IDS:
        if raw.get(name) not in (None, "", 0, "0", False):
            return f"is in accounting ({name} is set)"
    if _flag(raw.get("quickbooks_period_closed")):
        return "lies in a closed accounting period"
    if _number_of(raw.get("amountpaid")) != 0 or _number_of(raw.get("paymentstatus")) > 0 or _date(raw.get("datepaid")):
        return "is paid, wholly or in part"
    if _date(raw.get("datesent")):
        return "was sent to the customer"
    if _flag(raw.get("requires_approval")) or _number_of(raw.get("approval_status")) > 0:
        return "is being approved"
    if _number_of(raw.get("invoicetype")) > 0 or _number_of(raw.get("creditlinkedtoinvoiceid")) > 0:
        return "is a credit note"
    return ""


def _flag(value: object) -> bool:
    return value not in (None, False, 0, "", "0", "false", "False")


def _date(value: object) -> bool:
    return isinstance(value, str) and value[:10] not in _NO_DATE


def _number_of(value: object) -> Decimal:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    return ZERO


def recurring_key(draft: Draft) -> str:
    """What a line is recognised by next month: subscription or product, kind, currency [B3]; see `numbered`."""
    return f"{'azure' if draft.collapsed else _what(draft)}|{draft.kind}|{draft.currency}"


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
    invoice: Existing,
    lines: Sequence[PlanLine],
    written: Iterable[WrittenLine],
    *,
    period: str,
    company_id: str | None,
    waiting: frozenset[str],
    currency: str,
) -> LineChanges:
    """New lines -> added, updated and removed ones. `waiting` are the beginnings of the keys of held charges: what
    they wrote before stays as it is until a person has decided."""
    ours = {
        line.recurring_key: line
        for line in written
        if line.invoice_id == invoice.id and (company_id is None or line.company_id == company_id)
    }
    present = _by_id(invoice.raw)
    changes: list[PlanLine] = []
    held: dict[str, Touched] = {}
    left: list[str] = []
    taken = {*ours, *(line.recurring_key for line in lines)}
    for line in lines:
        before = ours.get(line.recurring_key)
        if before is None:
            changes.append(line)
            continue
        if before.period == period:
            # Written in this very period already: this is a late twin, not next month's version of the line.
            key = f"{line.recurring_key}+"
            while key in taken:
                key += "+"
            taken.add(key)
            changes.append(line._replace(recurring_key=key))
            continue
        there = present.get(before.line_id)
        trouble = touched(before, there, line)
        if trouble:
            held[line.recurring_key] = replace(trouble, steps=_way_out(trouble.reason, before, there, line, currency))
            continue
        changes.append(
            line._replace(
                action="update",
                line_id=before.line_id,
                before=f"{before.quantity} x {before.unit_price}",
                before_amount=round_money(multiply(before.quantity, before.unit_price), currency),
            )
        )
    now = {line.recurring_key for line in lines}
    for key, before in ours.items():
        if key in now or before.period >= period or _waits(key, waiting):
            continue
        trouble = touched(before, present.get(before.line_id))
        if trouble and present.get(before.line_id) is not None:
            left.append(
                f"line {before.line_id} ({before.title}) has no charge any more but {trouble.detail}: left as it is"
            )
        elif not trouble:
            changes.append(_removal(before, currency or _currency_of(before.recurring_key)))
    return LineChanges(lines=tuple(changes), held=held, left=tuple(left))


def _currency_of(key: str) -> str:
    """The currency of a numbered recurring key, which may name a part [P5]."""
    return re.sub(r"\|part \d+(?=\|)", "", key).split("|")[-2]


def licence_lines(raw: Mapping[str, object]) -> list[str]:
    """The texts of the lines whose quantity HaloPSA takes from licences or subscriptions (reference/halopsa 4.2)."""
    return [
        str(line.get("item_shortdescription") or "(no text)")
        for line in _by_id(raw).values()
        if line.get("quantity_licences") or line.get("quantity_subscriptions")
    ]


def _by_id(raw: Mapping[str, object]) -> dict[object, Mapping[str, object]]:
    lines = raw.get("lines")
    return {line.get("id"): line for line in (lines if isinstance(lines, list) else []) if isinstance(line, dict)}


def _waits(key: str, waiting: frozenset[str]) -> bool:
    return any(key == one or key.startswith(f"{one}|") for one in waiting)


def _way_out(
    reason: Reason, before: WrittenLine, there: Mapping[str, object] | None, line: PlanLine, currency: str
) -> tuple[Step, ...]:
    """How such a line may be mended; empty for what the reason says anyway."""
    if reason is not Reason.LINE_EDITED:
        return ()
    if there is None:
        return (EXCLUDE_PRODUCT,)
    now = f'{plain(line.quantity)} x {plain(line.unit_price, currency)} "{line.description:.80}"'
    mend = (
        f"change the line in HaloPSA to what this month says, {now}, "
        f"or back to {plain(before.quantity)} x {plain(before.unit_price, currency)}"
    )
    return (instruction(BILL, mend), EXCLUDE_PRODUCT)


def left_behind(
    company_id: str, target: Existing | None, written: Iterable[WrittenLine], existing: Iterable[Existing]
) -> list[WrittenLine]:
    """A company's lines that still stand on a recurring invoice which is not its target any more: HaloPSA would bill
    them beside whatever the target gets [B3]."""
    elsewhere = [
        line for line in written if line.company_id == company_id and (target is None or line.invoice_id != target.id)
    ]
    if not elsewhere:
        return []  # asked for every company, and true for almost all
    live = {invoice.id: _by_id(invoice.raw) for invoice in existing if invoice.recurring}
    return [
        line
        for line in elsewhere
        if (there := live.get(line.invoice_id, {}).get(line.line_id)) is not None
        and not (_flag(there.get("isinactive")) or there.get("qty_order") == 0)
    ]


def _removal(before: WrittenLine, currency: str) -> PlanLine:
    return PlanLine(
        action="remove",
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


def touched(before: WrittenLine, line: Mapping[str, object] | None, now: PlanLine | None = None) -> Touched | None:
    """Whether somebody or something else has had its hands on a line of ours since we wrote it [B3]. A line that a
    person changed to just what this month says (`now`) has had what it needs."""
    if line is None:
        return Touched(reason=Reason.LINE_EDITED, detail=f"line {before.line_id} was removed by hand")
    if any(line.get(name) for name in _AUTOMATIC) or _number_of(line.get("recurring_invoice_quantity_type")) > 0:
        detail = f"HaloPSA computes the quantity of line {before.line_id} itself"
        return Touched(reason=Reason.LINE_AUTOMATIC_QUANTITY, detail=detail)
    changed = _edits(before, line)
    if changed and not (now and not _edits(_as_written(before, now), line)):
        detail = f"line {before.line_id} was edited by hand: {', '.join(changed)}"
        return Touched(reason=Reason.LINE_EDITED, detail=detail)
    return None


def _as_written(before: WrittenLine, now: PlanLine) -> WrittenLine:
    return replace(before, description=now.description, quantity=now.quantity, unit_price=now.unit_price)


def _edits(before: WrittenLine, line: Mapping[str, object]) -> list[str]:
    """What a line says other than what we wrote, in words."""
    changed = []
    if _apart(line.get("qty_order"), before.quantity):
        changed.append(f"quantity {line.get('qty_order')} instead of {before.quantity}")
    price = line.get("unit_price", line.get("baseprice"))
    if _apart(price, before.unit_price):
        changed.append(f"price {price} instead of {before.unit_price}")
    cost = line.get("unit_cost")  # a role that may not see costs gets none back
    if cost is not None and _apart(cost, before.unit_cost):
        changed.append(f"cost {cost} instead of {before.unit_cost}")
    if _number_of(line.get("discount_perc")) != 0:
        changed.append(f"a discount of {line.get('discount_perc')} %")
    if _flag(line.get("isinactive")):
        changed.append("set inactive")
    item = _number_of(line.get("_itemid"))
    if before.item_id is not None and item > 0 and item != before.item_id:
        changed.append(f"item {item} instead of {before.item_id}")
    ours = before.description.strip()
    text = str(line.get("item_shortdescription") or "").strip()
    long, marked = _MARK.subn("", str(line.get("item_longdescription") or ""))
    if text != ours and not _cut_of(ours, text):
        changed.append("another text")
    elif marked and not any(long.strip() == one or _cut_of(one, long) for one in (ours, before.title)):
        changed.append("another long text")
    return changed


def _apart(value: object, wanted: Decimal) -> bool:
    return abs(_number_of(value) - wanted) >= _FLOAT_DUST


def _cut_of(whole: str, part: str) -> bool:
    """Whether `part` is `whole` with its end cut off, as HaloPSA's columns and our own limit do."""
    part = part.strip().removesuffix("\u2026")
    return len(part) >= _CUT_FROM and whole.strip().startswith(part)
