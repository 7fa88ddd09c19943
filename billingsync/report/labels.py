"""The words for people behind the stable names of reasons, modifiers, rules and targets."""

from __future__ import annotations

from collections.abc import Sequence

from billingsync.core.bill.plan import ClientPlan, Plan, TakenBack, TrueUp

# What each hold reason means, as a heading [A4]. New reasons may come: they read as their name does.
_REASONS = {
    "unknown_charge_type": "A kind of charge that billingsync does not know",
    "bad_amount": "An amount that cannot be used",
    "client_unmapped": "No HaloPSA client is known for the company",
    "client_ambiguous": "More than one HaloPSA client could be meant",
    "client_renamed": "The company's name changed since it was matched",
    "client_inactive": "The HaloPSA client is not to be invoiced",
    "client_pays_through_other": "Another HaloPSA client pays for this one",
    "currency_mismatch": "Charged in another currency than the client is billed in",
    "price_cost_sign": "Price and cost point in opposite directions",
    "zero_price_with_cost": "Costs something, yet nothing is charged for it",
    "product_unmatched": "No HaloPSA item is known for the product",
    "product_ambiguous": "More than one HaloPSA item could be meant",
    "latest_closed": "The client's latest invoice is closed",
    "latest_missing": "The client has no invoice to add to",
    "recurring_unmapped": "No recurring invoice is named for the client",
    "recurring_missing": "The recurring invoice was not found",
    "line_edited": "A person edited the line since it was written",
    "line_automatic_quantity": "HaloPSA computes the line's quantity itself",
    "limit_change": "The client's amount moved more than its limit allows",
    "limit_margin": "The margin is below its limit",
    "limit_amount": "More than the limit for one client",
    "limit_negative": "The new invoice would be negative",
    "limit_new_client": "A client that has not been billed before",
    "limit_new_product": "A product that has not been billed before",
    "limit_missing_companies": "Too many of last period's companies are absent",
    "source_replaced": "Pax8 replaced an invoice that was already posted",
    "write_unknown": "HaloPSA's answer to a write is not known yet",
    "other_writer": "Somebody else wrote this to HaloPSA",
}

_WHY_NOT_BILLED = {
    "azure": "Azure, left out by the rules",
    "favorable_prorata": "Favorable prorata: a credit that is not passed on",
    "zero_lines": "Nothing to charge for",
    "company": "The company is excluded by the rules",
    "product": "The product is excluded by the rules",
    "charge_type": "A kind of charge that the rules exclude",
    "billed_by_pax8": "Pax8 bills the customer itself",
    "no_company": "Pax8 names no company for it",
}

_MATCHED = {
    "rules": "named in the client's rules file",
    "person": "matched by a person",
    "external_id": "matched by Pax8's external id",
    "name": "matched by name",
    "similarity": "guessed from a similar name",
}


def spoken(name: str) -> str:
    """A stable name as words: `favorable_prorata` -> `favorable prorata`."""
    return name.replace("_", " ")


def reason_title(reason: str) -> str:
    return _REASONS.get(reason) or spoken(reason).capitalize()


def why_not_billed(name: str) -> str:
    """Why a modifier dropped, or a rule excluded, a charge."""
    return _WHY_NOT_BILLED.get(name) or spoken(name).capitalize()


def matched(how: str | None) -> str:
    return _MATCHED.get(how or "", spoken(how or "not matched"))


def taken_back_from(up: TrueUp) -> str:
    """How a true-up takes back what was billed: in place, or by a credit where the invoice is closed [R2]."""
    open_ = [_invoice(one) for one in up.postings if not one.closed]
    closed = [f"{_invoice(one)}, which {one.closed}" for one in up.postings if one.closed]
    parts = [f"from {listed(open_, 4)}"] if open_ else []
    parts += [f"by a credit on a new invoice for {listed(closed, 3)}"] if closed else []
    return "; ".join(parts)


def _invoice(one: TakenBack) -> str:
    return "an invoice" if one.invoice_id is None else f"invoice {abs(one.invoice_id)}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 line`, `3 lines`; the number itself is put in front by whoever localises it."""
    return one if number == 1 else many or f"{one}s"


def target(client: ClientPlan, new_invoices: int = 1) -> str:
    """Where a client's lines go: `recurring invoice 237`, `invoice 90211`, `new invoice`, `3 new invoices`."""
    if client.target_invoice_id is None:
        return "new invoice" if new_invoices < 2 else f"{new_invoices} new invoices"
    # Recurring invoices have negative ids in the API (reference/halopsa 0.6); people know them without the sign.
    number = abs(client.target_invoice_id)
    return f"recurring invoice {number}" if client.behavior == "recurring" else f"invoice {number}"


def new_invoice_counts(plan: Plan) -> dict[tuple[int, str], int]:
    """How many invoices a plan creates for each client and currency: `group_by` may split them [B1]."""
    counts: dict[tuple[int, str], int] = {}
    for posting in plan.postings:
        if posting.action == "create":
            where = (posting.client_id, posting.currency)
            counts[where] = counts.get(where, 0) + 1
    return counts


def client_target(client: ClientPlan, counts: dict[tuple[int, str], int]) -> str:
    """`target` of a client that has something to post; "" for one that has not."""
    if client.held or not client.lines:
        return ""
    return target(client, counts.get((client.client_id, client.currency), 1) if client.client_id is not None else 1)


def listed(names: Sequence[str], most: int, where: str = "use --format html") -> str:
    """Names with commas; a long list ends in `... and N more`. For names only, never for amounts."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} ... and {len(names) - most} more ({where})"
