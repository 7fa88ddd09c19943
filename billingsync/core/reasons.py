"""Why a charge is not simply billed: every hold, drop and exclusion once, its hop, rules key, title and steps.

To add a reason: a member of `Reason` and a row in `HOLDS`. Report, explain, JSON and docs take all from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

from billingsync.core.steps import Offer, Slot, Step, Word, command, instruction


class Hop(StrEnum):
    """Where on its way from Pax8 to HaloPSA a charge is decided about."""

    READ = "read"
    CLIENT = "client"
    MODIFIERS = "modifiers"
    PRODUCT = "product"
    TARGET = "target"
    LINE = "line"


class Reason(StrEnum):
    """Why a charge waits for a person [A4]. The codes are stable."""

    BAD_AMOUNT = "bad_amount"
    SOURCE_REPLACED = "source_replaced"
    SOURCE_CHANGED = "source_changed"
    SOURCE_DUPLICATE = "source_duplicate"
    SET_ASIDE = "set_aside"
    PRODUCT_RENAMED = "product_renamed"
    NO_COMPANY = "no_company"
    CLIENT_UNMAPPED = "client_unmapped"
    CLIENT_AMBIGUOUS = "client_ambiguous"
    CLIENT_RENAMED = "client_renamed"
    CLIENT_CHANGED = "client_changed"
    CLIENT_INACTIVE = "client_inactive"
    CLIENT_PAYS_THROUGH_OTHER = "client_pays_through_other"
    CLIENT_GUESSED = "client_guessed"
    OTHER_WRITER = "other_writer"
    CURRENCY_MISMATCH = "currency_mismatch"
    UNKNOWN_CHARGE_TYPE = "unknown_charge_type"
    PRICE_COST_SIGN = "price_cost_sign"
    ZERO_PRICE_WITH_COST = "zero_price_with_cost"
    PRODUCT_UNMATCHED = "product_unmatched"
    PRODUCT_AMBIGUOUS = "product_ambiguous"
    FULL_PRICE_UNKNOWN = "full_price_unknown"
    LATEST_CLOSED = "latest_closed"
    LATEST_MISSING = "latest_missing"
    RECURRING_UNMAPPED = "recurring_unmapped"
    RECURRING_MISSING = "recurring_missing"
    RECURRING_LEFT_BEHIND = "recurring_left_behind"
    RECURRING_LATER_PERIOD = "recurring_later_period"
    RECURRING_NOT_INVOICED = "recurring_not_invoiced"
    LINE_EDITED = "line_edited"
    LINE_AUTOMATIC_QUANTITY = "line_automatic_quantity"
    LIMIT_CHANGE = "limit_change"
    LIMIT_MARGIN = "limit_margin"
    LIMIT_AMOUNT = "limit_amount"
    LIMIT_NEGATIVE = "limit_negative"
    LIMIT_NEW_CLIENT = "limit_new_client"
    LIMIT_NEW_PRODUCT = "limit_new_product"
    LIMIT_MISSING_COMPANIES = "limit_missing_companies"
    WRITE_UNKNOWN = "write_unknown"
    WRITE_DIFFERS = "write_differs"

    @property
    def is_limit(self) -> bool:
        return self.startswith("limit_")

    @property
    def is_client(self) -> bool:
        """Whether it is in doubt who pays."""
        return HOLDS[self].hop is Hop.CLIENT and self.startswith("client_")


class Modifier(StrEnum):
    """What drops a charge [M1]-[M3]."""

    AZURE = "azure"
    FAVORABLE_PRORATA = "favorable_prorata"
    ZERO_LINES = "zero_lines"


class Exclusion(StrEnum):
    """The rule that leaves a charge out before anything else is judged [A3]."""

    COMPANY = "company"
    PRODUCT = "product"
    CHARGE_TYPE = "charge_type"
    BILLED_BY_PAX8 = "billed_by_pax8"
    NO_COMPANY = "no_company"


class ApproveAs(StrEnum):
    """What a person decides by `approve --as` [V1]."""

    LIMITS = "limits"
    NO_DUPLICATE = "no-duplicate"
    BILL = "bill"
    ADD_AGAIN = "add-again"
    SOURCE_CHANGED = "source-changed"
    TRUE_UP = "true-up"
    CREDIT_ONLY = "credit-only"


@dataclass(frozen=True, slots=True)
class Why:
    """One row: `hop` is where the charge stopped, `key` the rule that a person could change about it ("" for none),
    `steps` what ends the hold, the most natural first."""

    hop: Hop
    title: str
    key: str = ""
    steps: tuple[Step, ...] = ()


# What may be approved of the holds of each kind.
APPROVABLE: Mapping[ApproveAs, frozenset[Reason]] = {
    ApproveAs.LIMITS: frozenset(reason for reason in Reason if reason.is_limit),
    ApproveAs.NO_DUPLICATE: frozenset({Reason.SOURCE_DUPLICATE}),
    ApproveAs.BILL: frozenset({Reason.UNKNOWN_CHARGE_TYPE, Reason.NO_COMPANY}),
    ApproveAs.ADD_AGAIN: frozenset({Reason.LINE_EDITED}),
    ApproveAs.SOURCE_CHANGED: frozenset({Reason.SOURCE_CHANGED}),
    ApproveAs.TRUE_UP: frozenset(),  # true-ups are approved as such, not by their charges
    ApproveAs.CREDIT_ONLY: frozenset(),
}

BILL, LEAVE_OUT, WAIT = Offer.BILL, Offer.LEAVE_OUT, Offer.WAIT


def approve(kind: ApproveAs, *more: Word, offer: Offer = BILL) -> Step:
    """`approve DIGEST --client NAME ... --as KIND --reason TEXT`; limits are what it lifts by itself."""
    said: tuple[Word, ...] = () if kind is ApproveAs.LIMITS else ("--as", kind.value)
    return command(offer, "approve", Slot.DIGEST, "--client", Slot.CLIENT, *more, *said, "--reason", Slot.REASON)


MAP_COMPANY = command(BILL, "map", "companies", "--set", (Slot.COMPANY, "=", Slot.HALO_CLIENT))
EXCLUDE_COMPANY = command(LEAVE_OUT, "map", "companies", "--exclude", Slot.COMPANY)
# Where the client's rules file says whom it pays through, that file decides, and not a mapping.
MAP_IN_FILE = instruction(BILL, "set client.halo_client = ", Slot.HALO_CLIENT, " in ", Slot.FILE)
MAP_PRODUCT = command(BILL, "map", "products", "--set", (Slot.SKU, "=", Slot.ITEM))
RUN = command(WAIT, "run", Slot.PERIOD)
EXCLUDE_PRODUCT = instruction(
    LEAVE_OUT, "bill it by hand, and set exclude.products = ", Slot.PRODUCTS, " in ", Slot.FILE
)
NEW_INVOICE = instruction(BILL, 'set invoice.when_latest_closed = "new" in ', Slot.FILE)
_LIMITS = (approve(ApproveAs.LIMITS),)
_WHO_PAYS = (MAP_COMPANY, EXCLUDE_COMPANY)

HOLDS: Mapping[Reason, Why] = {
    Reason.BAD_AMOUNT: Why(Hop.READ, "An amount that cannot be used", "exclude.products", steps=(EXCLUDE_PRODUCT,)),
    Reason.SOURCE_REPLACED: Why(
        Hop.READ,
        "Pax8 credited an invoice that is billed",
        steps=(approve(ApproveAs.TRUE_UP), approve(ApproveAs.CREDIT_ONLY, offer=LEAVE_OUT)),
    ),
    Reason.SOURCE_CHANGED: Why(
        Hop.READ, "A billed Pax8 invoice now says something else", steps=(approve(ApproveAs.SOURCE_CHANGED),)
    ),
    Reason.SOURCE_DUPLICATE: Why(
        Hop.READ,
        "Another Pax8 invoice has the same charge",
        steps=(
            approve(ApproveAs.NO_DUPLICATE, Slot.CHARGE_OPTIONS),
            command(WAIT, "set-aside", Slot.CHARGES, "--reason", Slot.REASON),
        ),
    ),
    Reason.SET_ASIDE: Why(Hop.READ, "Set aside by a person", steps=(command(BILL, "put-back", Slot.CHARGES),)),
    Reason.PRODUCT_RENAMED: Why(
        Hop.READ,
        "Another product has the name that the rules leave out",
        "exclude.products",
        steps=(
            instruction(BILL, "set exclude.products = ", Slot.VALUE, " in ", Slot.FILE),
            instruction(LEAVE_OUT, "set exclude.products = ", Slot.PRODUCTS, " in ", Slot.FILE),
        ),
    ),
    Reason.NO_COMPANY: Why(
        Hop.CLIENT,
        "Pax8 names no company for it",
        steps=(
            approve(ApproveAs.BILL, Slot.CHARGE_OPTIONS),
            instruction(
                LEAVE_OUT,
                "find out in Pax8 whose it is and bill it by hand, then set exclude.products = ",
                Slot.PRODUCTS,
                " in rules/defaults.toml",
            ),
        ),
    ),
    Reason.CLIENT_UNMAPPED: Why(
        Hop.CLIENT, "No HaloPSA client is known for the company", "clients.match_percent", steps=_WHO_PAYS
    ),
    Reason.CLIENT_AMBIGUOUS: Why(
        Hop.CLIENT, "More than one HaloPSA client could be meant", "clients.match_percent", steps=_WHO_PAYS
    ),
    Reason.CLIENT_RENAMED: Why(Hop.CLIENT, "The company's name changed since it was matched", steps=_WHO_PAYS),
    Reason.CLIENT_CHANGED: Why(Hop.CLIENT, "Another client would pay than before", steps=_WHO_PAYS),
    Reason.CLIENT_INACTIVE: Why(
        Hop.CLIENT,
        "The HaloPSA client is not to be invoiced",
        steps=(instruction(BILL, "allow invoices for the client in HaloPSA, then plan again"), *_WHO_PAYS),
    ),
    Reason.CLIENT_PAYS_THROUGH_OTHER: Why(Hop.CLIENT, "Another HaloPSA client pays for this one", steps=_WHO_PAYS),
    Reason.CLIENT_GUESSED: Why(
        Hop.CLIENT, "The client is guessed from a similar name", "clients.guessed", steps=_WHO_PAYS
    ),
    Reason.OTHER_WRITER: Why(
        Hop.CLIENT,
        "HaloPSA's own Pax8 sync bills this client",
        steps=(instruction(BILL, "turn off HaloPSA's Pax8 sync for this client"), EXCLUDE_COMPANY),
    ),
    Reason.CURRENCY_MISMATCH: Why(
        Hop.CLIENT,
        "Charged in another currency than the client is billed in",
        "exclude.products",
        steps=(EXCLUDE_PRODUCT, instruction(BILL, "correct the client's currency in HaloPSA, then plan again")),
    ),
    Reason.UNKNOWN_CHARGE_TYPE: Why(
        Hop.MODIFIERS,
        "A kind of charge that billingsync does not know",
        "exclude.types",
        steps=(
            approve(ApproveAs.BILL, Slot.CHARGE_OPTIONS),
            instruction(LEAVE_OUT, "set ", Slot.VALUE, " in ", Slot.FILE),
        ),
    ),
    Reason.PRICE_COST_SIGN: Why(
        Hop.MODIFIERS,
        "Price and cost point in opposite directions",
        "modifiers.favorable_prorata",
        steps=(instruction(BILL, 'set modifiers.favorable_prorata = "keep" in ', Slot.FILE), EXCLUDE_PRODUCT),
    ),
    Reason.ZERO_PRICE_WITH_COST: Why(
        Hop.MODIFIERS,
        "Costs something, yet nothing is charged for it",
        "modifiers.zero_price_with_cost",
        steps=(
            instruction(BILL, 'set modifiers.zero_price_with_cost = "keep" in ', Slot.FILE),
            instruction(LEAVE_OUT, 'set modifiers.zero_price_with_cost = "drop" in ', Slot.FILE),
        ),
    ),
    Reason.PRODUCT_UNMATCHED: Why(
        Hop.PRODUCT,
        "No HaloPSA item is known for the product",
        "products.lifecycle",
        steps=(MAP_PRODUCT, EXCLUDE_PRODUCT),
    ),
    Reason.PRODUCT_AMBIGUOUS: Why(
        Hop.PRODUCT,
        "More than one HaloPSA item could be meant",
        "products.lifecycle",
        steps=(MAP_PRODUCT, EXCLUDE_PRODUCT),
    ),
    Reason.FULL_PRICE_UNKNOWN: Why(
        Hop.PRODUCT,
        "A part has a fixed price, and the price of a full period is not known",
        "products.lifecycle",
        steps=(
            instruction(BILL, "give the parts a share in percent in place of unit_price in ", Slot.FILE),
            EXCLUDE_PRODUCT,
        ),
    ),
    Reason.LATEST_CLOSED: Why(
        Hop.TARGET,
        "The client's latest invoice is closed",
        "invoice.when_latest_closed",
        steps=(
            NEW_INVOICE,
            instruction(BILL, "create an invoice for the client in HaloPSA, then plan again"),
            EXCLUDE_COMPANY,
        ),
    ),
    Reason.LATEST_MISSING: Why(
        Hop.TARGET,
        "The client has no invoice to add to",
        "invoice.when_latest_closed",
        steps=(
            NEW_INVOICE,
            instruction(BILL, "create an invoice for the client in HaloPSA, then plan again"),
            EXCLUDE_COMPANY,
        ),
    ),
    Reason.RECURRING_UNMAPPED: Why(
        Hop.TARGET,
        "No recurring invoice is named for the client",
        "invoice.recurring_invoice",
        steps=(
            instruction(BILL, "set invoice.recurring_invoice = RECURRING_INVOICE_ID in ", Slot.FILE),
            EXCLUDE_COMPANY,
        ),
    ),
    Reason.RECURRING_MISSING: Why(
        Hop.TARGET,
        "The recurring invoice was not found",
        "invoice.recurring_invoice",
        steps=(
            instruction(BILL, "set invoice.recurring_invoice = RECURRING_INVOICE_ID in ", Slot.FILE),
            EXCLUDE_COMPANY,
        ),
    ),
    Reason.RECURRING_LEFT_BEHIND: Why(
        Hop.TARGET,
        "Our lines still stand on another recurring invoice",
        "invoice.recurring_invoice",
        steps=(instruction(BILL, "remove our lines from recurring invoice ", Slot.INVOICE, " in HaloPSA"),),
    ),
    Reason.RECURRING_LATER_PERIOD: Why(
        Hop.TARGET,
        "The recurring invoice carries a later month already",
        "invoice.recurring_invoice",
        steps=(
            instruction(BILL, 'set invoice.behavior = "new" in ', Slot.FILE, " until this month is billed"),
            instruction(
                LEAVE_OUT,
                "bill it by hand, and set exclude.products = ",
                Slot.PRODUCTS,
                " in ",
                Slot.FILE,
                " until this month is run",
            ),
        ),
    ),
    Reason.RECURRING_NOT_INVOICED: Why(
        Hop.TARGET,
        "HaloPSA has not made an invoice of last month's lines yet",
        "invoice.recurring_invoice",
        steps=(
            instruction(
                WAIT,
                "create the invoice from recurring invoice ",
                Slot.INVOICE,
                " in HaloPSA, then run ",
                Slot.PERIOD,
                " again",
            ),
        ),
    ),
    Reason.LINE_EDITED: Why(
        Hop.TARGET,
        "A person edited the line since it was written",
        "invoice.behavior",
        steps=(instruction(BILL, Slot.VALUE), EXCLUDE_PRODUCT),
    ),
    Reason.LINE_AUTOMATIC_QUANTITY: Why(
        Hop.TARGET,
        "HaloPSA computes the line's quantity itself",
        "invoice.behavior",
        steps=(instruction(BILL, "give the line a fixed quantity in HaloPSA"), EXCLUDE_PRODUCT),
    ),
    Reason.LIMIT_CHANGE: Why(
        Hop.TARGET, "The client's amount moved more than its limit allows", "limits.change_percent_max", steps=_LIMITS
    ),
    Reason.LIMIT_MARGIN: Why(Hop.TARGET, "The margin is below its limit", "limits.margin_percent_min", steps=_LIMITS),
    Reason.LIMIT_AMOUNT: Why(
        Hop.TARGET, "More than the limit for one client", "limits.client_amount_max", steps=_LIMITS
    ),
    Reason.LIMIT_NEGATIVE: Why(
        Hop.TARGET, "The new invoice would be negative", "limits.negative_invoice", steps=_LIMITS
    ),
    Reason.LIMIT_NEW_CLIENT: Why(
        Hop.TARGET, "A client that has not been billed before", "limits.new_client", steps=_LIMITS
    ),
    Reason.LIMIT_NEW_PRODUCT: Why(
        Hop.TARGET, "A product that has not been billed before", "limits.new_product", steps=_LIMITS
    ),
    Reason.LIMIT_MISSING_COMPANIES: Why(
        Hop.TARGET,
        "Too many of last period's companies are absent",
        "limits.missing_company_percent_max",
        steps=_LIMITS,
    ),
    Reason.WRITE_UNKNOWN: Why(Hop.LINE, "HaloPSA's answer to a write is not known yet", steps=(RUN,)),
    Reason.WRITE_DIFFERS: Why(
        Hop.LINE,
        "HaloPSA has something else than was sent",
        steps=(
            instruction(BILL, "make it right in HaloPSA, then billingsync run ", Slot.PERIOD),
            command(BILL, "undo", Slot.RUN, "--client", Slot.CLIENT),
        ),
    ),
}

DROPS: Mapping[Modifier, Why] = {
    Modifier.AZURE: Why(Hop.MODIFIERS, "Azure, left out by the rules", "modifiers.azure"),
    Modifier.FAVORABLE_PRORATA: Why(
        Hop.MODIFIERS, "Favorable prorata: a credit that is not passed on", "modifiers.favorable_prorata"
    ),
    Modifier.ZERO_LINES: Why(Hop.MODIFIERS, "Nothing to charge for", "modifiers.zero_lines"),
}

EXCLUSIONS: Mapping[Exclusion, Why] = {
    Exclusion.COMPANY: Why(Hop.CLIENT, "The company is excluded by the rules", "exclude.companies"),
    Exclusion.PRODUCT: Why(Hop.READ, "The product is excluded by the rules", "exclude.products"),
    Exclusion.CHARGE_TYPE: Why(Hop.READ, "A kind of charge that the rules exclude", "exclude.types"),
    Exclusion.BILLED_BY_PAX8: Why(Hop.READ, "Pax8 bills the customer itself", "exclude.billed_by_pax8"),
    Exclusion.NO_COMPANY: Why(Hop.READ, "Pax8 names no company for it"),
}

_ALL: Mapping[str, Why] = dict(chain(EXCLUSIONS.items(), DROPS.items(), HOLDS.items()))


def why(code: str) -> Why | None:
    """The row of a hold, drop or exclusion; None where the code is of another version."""
    return _ALL.get(code)


def title_of(code: str) -> str:
    """The code in plain English. One of another version reads as its name does."""
    row = _ALL.get(code)
    return row.title if row else code.replace("_", " ").capitalize()
