"""Where a client's lines go: a new invoice, its latest one, or its recurring one [B1]-[B3]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from billingsync.core.charge import Charge
from billingsync.core.inputs import Existing, WrittenLine
from billingsync.core.modifiers import Draft
from billingsync.core.money import ZERO, multiply, round_money
from billingsync.core.plan import PlanLine
from billingsync.core.rules import InvoiceRules

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where lines go. `invoice` is None for a new one; with a `reason` nothing goes anywhere."""

    action: str = "create"  # create | append | update
    invoice: Existing | None = None
    reason: str = ""
    detail: str = ""
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChanges:
    """What a recurring invoice's lines become: changes, and lines that a person must look at first."""

    lines: tuple[PlanLine, ...] = ()
    held: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # recurring key -> (reason, detail)
    left: tuple[str, ...] = ()  # what stays although its charge is gone, in words


def group_of(charge: Charge, rules: InvoiceRules) -> str:
    """What splits a client's new invoices [B1]; Pax8 writes "N/A" for no purchase order."""
    if rules.behavior != "new" or rules.group_by == "client":
        return ""
    if rules.group_by == "distributor_invoice":
        return charge.invoice_id
    order = charge.purchase_order.strip()
    return "" if order.casefold() in ("n/a", "na", "none", "-") else order


def find_target(client_id: int, rules: InvoiceRules, existing: Iterable[Existing], rules_file: str) -> Target:
    """[B1]-[B3]: the invoice that this client's lines go to, or why they cannot go anywhere."""
    if rules.behavior == "new":
        return Target()
    if rules.behavior == "latest":
        return _latest(client_id, rules, existing)
    if rules.recurring_invoice is None:
        return Target(
            reason="recurring_unmapped",
            detail="no recurring invoice is named for this client",
            next_step=f"set invoice.recurring_invoice in {rules_file}",
        )
    for invoice in existing:
        if invoice.recurring and abs(invoice.id) == abs(rules.recurring_invoice):
            break
    else:
        return Target(
            reason="recurring_missing",
            detail=f"HaloPSA has no recurring invoice {abs(rules.recurring_invoice)}",
            next_step=f"correct invoice.recurring_invoice in {rules_file}",
        )
    why = ""
    if invoice.client_id != client_id:
        why = f"belongs to HaloPSA client {invoice.client_id}, not {client_id}"
    elif invoice.raw.get("disabled") is True:
        why = "is disabled in HaloPSA"
    if why:
        return Target(
            reason="recurring_missing",
            detail=f"recurring invoice {abs(invoice.id)} {why}",
            next_step=f"correct invoice.recurring_invoice in {rules_file}",
        )
    return Target(action="update", invoice=invoice)


def _latest(client_id: int, rules: InvoiceRules, existing: Iterable[Existing]) -> Target:
    """[B2]: the most recent by invoice date, then id, closed ones included."""
    mine = [invoice for invoice in existing if invoice.client_id == client_id and not invoice.recurring]
    if not mine:
        why, reason = "the client has no invoice yet", "latest_missing"
    else:
        newest = max(mine, key=lambda invoice: (str(invoice.raw.get("invoice_date") or "")[:10], invoice.id))
        closed = closed_because(newest.raw)
        if not closed:
            return Target(action="append", invoice=newest)
        why, reason = f"the client's latest invoice {_number(newest)} {closed}", "latest_closed"
    if rules.when_latest_closed == "new":
        return Target()
    return Target(
        reason=reason,
        detail=why,
        next_step='open or create an invoice in HaloPSA, or set invoice.when_latest_closed = "new"',
    )


def _number(invoice: Existing) -> str:
    return str(invoice.raw.get("invoicenumber") or invoice.id)


def closed_because(raw: Mapping[str, object]) -> str:
    """Why an invoice must not be written to any more; "" while it is open (reference/halopsa 3.3)."""
    if raw.get("voided") is True:
        return "is void"
    if raw.get("posted") is True or _date(raw.get("dateposted")) or _date(raw.get("last_synced")):
        return "is posted to accounting"
    for name in _ACCOUNTING_IDS:
        if raw.get(name) not in (None, "", 0, "0", False):
            return f"is in accounting ({name} is set)"
    if raw.get("quickbooks_period_closed") is True:
        return "lies in a closed accounting period"
    if _number_of(raw.get("amountpaid")) != 0 or _number_of(raw.get("paymentstatus")) > 0 or _date(raw.get("datepaid")):
        return "is paid, wholly or in part"
    if _date(raw.get("datesent")):
        return "was sent to the customer"
    if raw.get("requires_approval") is True or _number_of(raw.get("approval_status")) > 0:
        return "is being approved"
    if _number_of(raw.get("invoicetype")) > 0 or _number_of(raw.get("creditlinkedtoinvoiceid")) > 0:
        return "is a credit note"
    return ""


def _date(value: object) -> bool:
    return isinstance(value, str) and value[:10] not in _NO_DATE


def _number_of(value: object) -> Decimal:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    return ZERO


def recurring_key(draft: Draft) -> str:
    """What a line is recognised by next month: subscription or product, kind, currency [B3]; see `numbered`."""
    what = draft.subscription_id or draft.sku or draft.product_id or draft.product_name
    return f"{what if not draft.collapsed else 'azure'}|{draft.kind}|{draft.currency}"


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
    """New lines -> added, updated and removed ones. `waiting` are the keys (without ordinal) of held charges: what
    they wrote before stays as it is until a person has decided."""
    ours = {
        line.recurring_key: line
        for line in written
        if line.invoice_id == invoice.id and (company_id is None or line.company_id == company_id)
    }
    raw_lines = invoice.raw.get("lines")
    present = {
        line.get("id"): line for line in (raw_lines if isinstance(raw_lines, list) else []) if isinstance(line, dict)
    }
    changes: list[PlanLine] = []
    held: dict[str, tuple[str, str]] = {}
    left: list[str] = []
    for line in lines:
        before = ours.get(line.recurring_key)
        if before is None:
            changes.append(line)
            continue
        if before.period == period:
            # Written in this very period already: this is a late twin, not next month's version of the line.
            changes.append(replace(line, recurring_key=f"{line.recurring_key}+"))
            continue
        trouble = touched(before, present.get(before.line_id))
        if trouble:
            held[line.recurring_key] = trouble
            continue
        changes.append(
            replace(
                line,
                action="update",
                line_id=before.line_id,
                before=f"{before.quantity} x {before.unit_price}",
                before_amount=round_money(multiply(before.quantity, before.unit_price), currency),
            )
        )
    now = {line.recurring_key for line in lines}
    for key, before in ours.items():
        if key in now or before.period >= period or key.rsplit("|", 1)[0] in waiting:
            continue
        trouble = touched(before, present.get(before.line_id))
        if trouble and present.get(before.line_id) is not None:
            left.append(
                f"line {before.line_id} ({before.title}) has no charge any more but {trouble[1]}: left as it is"
            )
        elif not trouble:
            changes.append(_removal(before, currency))
    return LineChanges(lines=tuple(changes), held=held, left=tuple(left))


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


def touched(before: WrittenLine, line: Mapping[str, object] | None) -> tuple[str, str] | None:
    """Whether somebody or something else has had its hands on a line of ours since we wrote it [B3]."""
    if line is None:
        return "line_edited", f"line {before.line_id} was removed by hand"
    if any(line.get(name) for name in _AUTOMATIC) or _number_of(line.get("recurring_invoice_quantity_type")) > 0:
        return "line_automatic_quantity", f"HaloPSA computes the quantity of line {before.line_id} itself"
    changed = []
    if _number_of(line.get("qty_order")) != before.quantity:
        changed.append(f"quantity {line.get('qty_order')} instead of {before.quantity}")
    price = line.get("unit_price", line.get("baseprice"))
    if _number_of(price) != before.unit_price:
        changed.append(f"price {price} instead of {before.unit_price}")
    if str(line.get("item_shortdescription") or "").strip()[:200] != before.description.strip()[:200]:
        changed.append("another text")
    if changed:
        return "line_edited", f"line {before.line_id} was edited by hand: {', '.join(changed)}"
    return None
