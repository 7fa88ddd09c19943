"""The plan: everything one run would write, drop, exclude and hold, as one value with a digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from billingsync.core.bill.decided import DecidedCompany
from billingsync.core.reasons import Exclusion, Modifier, Reason
from billingsync.core.states import LineAction, PostingAction, SourceChange, TrueUpState, WriteKind
from billingsync.core.steps import Slot, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRef:
    """The HaloPSA item of a line. `id` is None where the item would be created."""

    id: int | None
    name: str
    create: bool = False
    sku: str = ""  # what a created item is found by again [P3]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """One line change on one HaloPSA invoice. `amount` is what HaloPSA makes of quantity x unit_price [L1]."""

    action: LineAction
    line_id: int | None
    title: str
    description: str
    item: ItemRef | None
    quantity: Decimal
    unit_price: Decimal
    unit_cost: Decimal
    amount: Decimal
    cost: Decimal
    charges: tuple[str, ...]
    company_id: str = ""
    group: str = ""  # what group_by split by: "", a distributor invoice id or a purchase order
    recurring_key: str = ""  # how the line is recognised next month [B3]
    before: str = ""  # for an update: what it was, e.g. "9 x 22.00"
    before_amount: Decimal | None = None

    @property
    def stays(self) -> bool:
        """Whether only the text of the line moves on, to the next month, and its amount stays."""
        return self.action == LineAction.UPDATE and self.before_amount == self.amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    charge: str
    modifier: Modifier
    amount: Decimal
    cost: Decimal
    product: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    charge: str
    rule: Exclusion
    amount: Decimal
    cost: Decimal
    product: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What waits for a person [A4]: `detail` says why in words; each of `steps` is one way to end it."""

    charge: str
    reason: Reason
    amount: Decimal
    cost: Decimal
    product: str
    currency: str
    detail: str
    steps: tuple[Step, ...]
    no_charge: bool = False  # of a line of ours that stays where it is; no charge of the month waits

    @property
    def ways(self) -> tuple[Step, ...]:
        """The steps for this charge alone."""
        return steps_for(self.steps, (self.charge,))

    @property
    def next_step(self) -> str:
        """The first of them as text."""
        return first_text(self.ways)


def steps_for(steps: tuple[Step, ...], charges: tuple[str, ...]) -> tuple[Step, ...]:
    """Steps with these charges in them."""
    fill = {Slot.CHARGES: charges, Slot.CHARGE_OPTIONS: charges}
    return tuple(step.filled(fill) for step in steps)


def first_text(steps: tuple[Step, ...]) -> str:
    return steps[0].text if steps else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPlan:
    """What happens to one company's charges. `held` is the reason where every charge of it waits."""

    company_id: str | None
    company_name: str
    client_id: int | None
    client_name: str
    matched_by: str | None  # rules | person | external_id | name | similarity
    behavior: str
    target_invoice_id: int | None
    amount: Decimal
    cost: Decimal
    currency: str
    held: Reason | None
    lines: tuple[PlanLine, ...]
    dropped: tuple[Dropped, ...]
    excluded: tuple[Excluded, ...]
    holds: tuple[Hold, ...]
    guessed: str = ""  # e.g. "93.3 % similar": a match that no person has confirmed
    last_period: str = ""  # the client's last posted period and what it came to
    last_amount: Decimal | None = None
    limits: Mapping[Reason, tuple[str, ...]] = field(default_factory=dict)  # those that it is over, with the numbers
    would_bill: Decimal | None = None  # what its client would be billed this period, where a limit holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One currency's equation for price or for cost [A2]: charges = posted + dropped + excluded + held.

    `already_posted` is the part of `posted` that earlier runs wrote; the rest is what this plan would write. `waiting`
    is the part of `posted` that stands on recurring invoices of which HaloPSA has not made an invoice yet [B5]; None
    where nothing of the month stands on one.
    """

    charges: Decimal
    posted: Decimal
    dropped: Decimal
    excluded: Decimal
    held: Decimal
    already_posted: Decimal
    waiting: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyAccount:
    currency: str
    price: Account
    cost: Account


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """One distributor invoice in the plan, with the header check [S8]: a difference there is a warning only."""

    invoice_id: str
    status: str
    charges: int
    price: Decimal
    cost: Decimal
    sales_tax: Decimal
    currency: str
    header_total: Decimal | None  # the header's total less its carried balance
    price_rounding: Decimal
    cost_rounding: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One write to one HaloPSA invoice, with its derived key [N1]."""

    key: str
    base_key: str
    generation: int
    action: PostingAction
    client_id: int
    client_name: str
    invoice_id: int | None
    group: str
    currency: str
    amount: Decimal
    cost: Decimal
    lines: tuple[PlanLine, ...]
    kind: WriteKind = WriteKind.POSTING

    @property
    def charges(self) -> tuple[str, ...]:
        """Ids of all charges on its lines, each once."""
        return tuple(sorted({charge for line in self.lines for charge in line.charges}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What modifiers kept from one client [M4]: credits withheld (dropped negative prices) and cost absorbed."""

    company_name: str
    currency: str
    credits_withheld: Decimal
    price_dropped: Decimal
    cost_absorbed: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What stands on a recurring invoice of which HaloPSA has not made an invoice yet [B5]: nobody is billed for it.

    `next_creation` is an ISO text, "" where HaloPSA does not say."""

    invoice_id: int
    client_id: int
    client_name: str
    period: str
    currency: str
    amount: Decimal
    cost: Decimal
    next_creation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stays:
    """A line of ours that should come off a recurring invoice and stays: `text` says why, with the money."""

    text: str
    reason: Reason
    invoice_id: int
    line_id: int
    currency: str
    steps: tuple[Step, ...] = ()  # what ends it, where the reason alone does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """One posting that a true-up takes back: in place, or where its invoice is `closed` (why) by a credit."""

    key: str
    invoice_id: int | None
    closed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueUp:
    """What Pax8's credit of a billed invoice means for one client in one currency [R2]. `state`: held (a person may
    approve it) | approved | blocked (`detail` says why). Amounts are what the client pays, costs the partner's."""

    client_id: int
    client_name: str
    companies: tuple[str, ...]  # Pax8 company ids
    currency: str
    credited: tuple[str, ...]  # Pax8's invoices
    postings: tuple[TakenBack, ...]
    take_back: Decimal
    take_back_cost: Decimal
    add: Decimal
    add_cost: Decimal
    state: TrueUpState
    detail: str = ""
    replaced: bool = False  # whether anything comes in its place
    approved_by: str = ""  # who; "" where the rules allow it
    steps: tuple[Step, ...] = ()  # while it is held; `approve` settles it
    period: str = ""  # of the postings
    older: bool = False  # of another period than the plan's
    kind: SourceChange = SourceChange.CREDITED
    waits: frozenset[str] = frozenset()  # of an older period: this period's charges that come in its place [S10]
    called: str = ""  # how commands name the client: by name where nobody else has it, else by id

    @property
    def next_step(self) -> str:
        return first_text(self.steps)

    @property
    def net(self) -> Decimal:
        return self.add - self.take_back

    @property
    def net_cost(self) -> Decimal:
        return self.add_cost - self.take_back_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTarget:
    """An existing invoice as the plan saw it [V3]: `lines` by id, each as its text, quantity, unit price and amount."""

    invoice_id: int
    client_name: str
    closed: str
    lines: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    digest: str
    partner: str
    period: str
    rules_digest: str
    sources: tuple[SourceSummary, ...]
    accounts: tuple[CurrencyAccount, ...]
    clients: tuple[ClientPlan, ...]
    unassigned_excluded: tuple[Excluded, ...]
    unassigned_holds: tuple[Hold, ...]
    postings: tuple[Posting, ...]
    kept: tuple[Kept, ...]
    warnings: tuple[str, ...]
    clients_asked: tuple[str, ...] = ()  # --client: where not empty, the plan covers these only
    true_ups: tuple[TrueUp, ...] = ()
    targets: tuple[PlannedTarget, ...] = ()  # the invoices in HaloPSA that it would write to, as they are
    decided: tuple[DecidedCompany, ...] = ()  # every company that the plan covers, for `explain`
    waiting: tuple[Waiting, ...] = ()  # on templates, of earlier runs
    alarms: tuple[str, ...] = ()  # what is wrong in HaloPSA now, a sentence each
    left: tuple[str, ...] = ()  # lines of ours that stay on a template although nothing stands behind them any more

    @property
    def empty(self) -> bool:
        """Nothing to post and nothing held."""
        return not self.writes and not self.held

    @property
    def writes(self) -> bool:
        """Whether carrying it out would change anything in HaloPSA."""
        return bool(self.postings) or any(up.state == TrueUpState.APPROVED for up in self.true_ups)

    @property
    def held(self) -> bool:
        waiting = any(up.state != TrueUpState.APPROVED for up in self.true_ups)
        if self.left or self.alarms:
            return True
        return waiting or bool(self.unassigned_holds) or any(client.holds for client in self.clients)
