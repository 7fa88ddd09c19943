"""One charge, hop by hop, with the rule, the key and the file that decided each: the way through `plan_run`, told for
people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from billingsync.connect import Connections
from billingsync.core.bill.decided import DecidedCompany, DecidedDraft, KeptBy
from billingsync.core.bill.plan import ClientPlan, Hold, PlanLine
from billingsync.core.bill.products import ItemBy
from billingsync.core.charge import Charge
from billingsync.core.inputs import RunInputs
from billingsync.core.money import plain
from billingsync.core.period import Period
from billingsync.core.progress import Say
from billingsync.core.reasons import DROPS, EXCLUSIONS, HOLDS, ApproveAs, Exclusion, Hop, Reason, why
from billingsync.core.remembered import Settled
from billingsync.core.rules import ClientFile, Rules
from billingsync.core.states import SET_ASIDE, LineAction, PostingAction
from billingsync.errors import UsageError
from billingsync.run.fetch import newest_released
from billingsync.run.matches import ChargeRow, charges_like, rows_of
from billingsync.run.plan import Planned, make_plan
from billingsync.store.ledger import Ledger
from billingsync.store.postings import PostedLine, RecordedPosting

HOPS = ("1 read", "2 client", "3 modifiers", "4 product", "5 target", "6 line")
MOST_MONTHS = 6  # to look into where the text names no invoice

Told = tuple[str, str]  # a hop, and what is said of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    charge: str
    hops: tuple[Told, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Several:
    """A text that means more than one charge of a month."""

    period: Period
    rows: tuple[ChargeRow, ...]


def explanation(connections: Connections, text: str, *, say: Say) -> Explanation | Several:
    """Looks in the months whose source may have it, newest first, for a charge by its id, or for charges by a part of
    it, an invoice, a client or a product. UsageError where there is none."""
    wanted = text.strip()
    searched: list[Period] = []
    for period in _months(connections, wanted):
        planned = make_plan(connections, period, say=say)
        searched.append(period)
        found = charges_like(planned, wanted)
        if len(found) > 1:
            return Several(period=period, rows=tuple(rows_of(planned, found)))
        if found:
            return Explanation(charge=found[0].id, hops=tuple(Way(connections.ledger, found[0], planned).hops()))
    where = " or ".join(map(str, searched))
    raise UsageError(
        f"No charge of {where} matches {text!r:.80}. Give a charge (INVOICE:ITEM or a part of it), an invoice, a "
        "client or a product.",
        next_steps=[["billingsync", "plan", str(searched[0]), "--lines"]],
    )


def _months(connections: Connections, wanted: str) -> list[Period]:
    """The months to look into: that of the invoice where the text names one, else those that were read before."""
    seen = connections.ledger.source_invoices()
    named = {row.period for row in seen if row.invoice_id == wanted.partition(":")[0]}
    if named:
        return [Period.parse(max(named))]
    newest = newest_released(connections)
    others = sorted({row.period for row in seen} - {str(newest)}, reverse=True)
    return [newest, *map(Period.parse, others)][:MOST_MONTHS]


class Way:
    """The way of one charge. Each `hopN` says what happened there; a charge that stopped has no later hops."""

    def __init__(self, ledger: Ledger, charge: Charge, planned: Planned) -> None:
        self.ledger, self.charge, self.planned = ledger, charge, planned
        self.inputs: RunInputs = planned.inputs
        plan, rulebook = planned.plan, self.inputs.rulebook
        self.company: DecidedCompany | None = next(
            (one for one in plan.decided if one.company_id == charge.company_id), None
        )
        path = self.company.rules_file if self.company else ""
        self.file: ClientFile | None = next((file for file in rulebook.clients if path and file.path == path), None)
        self.rules: Rules = self.file.rules if self.file else rulebook.base
        drafts = self.company.drafts if self.company else ()
        self.draft: DecidedDraft | None = next((one for one in drafts if charge.id in one.charges), None)
        mine = [one for one in plan.clients if one.company_id == charge.company_id and charge.company_id is not None]
        self.client: ClientPlan | None = mine[0] if mine else None
        self.settled: Settled | None = self.inputs.memory.settled.get(charge.id)
        self.held: Hold | None = next((hold for one in mine for hold in one.holds if hold.charge == charge.id), None)
        self.lines: list[PlanLine] = [line for one in mine for line in one.lines if charge.id in line.charges]
        self.posted = list(self._posted())

    def hops(self) -> Iterator[Told]:
        row = HOLDS[self.held.reason] if self.held else None
        stop, key = (list(Hop).index(row.hop) + 1, row.key) if row else (0, "")
        gone = self._gone()
        if gone and not stop:
            stop = 3
        ways = (self._read, self._client, self._modifiers, self._product, self._target, self._line)
        for number, (name, says) in enumerate(zip(HOPS, ways, strict=True), 1):
            if stop and number > stop:
                yield name, "not reached"
            elif number != stop:
                yield name, says()
            elif self.held:
                before = f"{says()}; " if number in (1, 2, 5) and self.held.reason is not Reason.CLIENT_UNMAPPED else ""
                yield name, f"{before}held, {self.held.reason}: {self.held.detail}{self._said(key)}"
            else:
                yield name, gone
        for posting, _ in self.posted:
            yield "posted", f"{posting.state} by run {posting.run}, invoice {posting.invoice_id}, key {posting.key}"
        if self.held:
            for step in self.held.ways:
                yield "next", f"{step.offer}: {step.text}"

    # The six

    def _read(self) -> str:
        charge = self.charge
        money = f"price {plain(charge.price, charge.currency)}, cost {plain(charge.cost, charge.currency)}"
        problem = f"; an amount cannot be used: {charge.problem}" if charge.problem else ""
        kind = charge.type or "no type"
        return f"Pax8 invoice {charge.invoice_id}, {kind}: {charge.product}; {money} {charge.currency}{problem}"

    def _client(self) -> str:
        company = self.company
        if company is None:
            return "it belongs to no company"
        if company.never_billed:
            return f"{company.company_name}: never billed{self._by_person()}"
        if company.client_id is None:
            return f"{company.company_name}: no HaloPSA client"
        how = {
            "rules": f"as {self.file.path if self.file else 'the rules'} says (client.halo_client)",
            "person": f"mapped by hand{self._by_person()}",
            "external_id": "Pax8's externalId is its HaloPSA id",
            "name": "their names are equal",
            "similarity": f"their names are {_percent(company.percent)} similar{self._said('clients.match_percent')}",
        }
        who = f"{company.company_name} is HaloPSA client {company.client_name} ({company.client_id})"
        return f"{who}: {how.get(company.matched_by or '', '')}"

    def _by_person(self) -> str:
        known = self.ledger.company_matches().get(self.charge.company_id or "")
        return f" by {known.who} on {known.at:%Y-%m-%d}" if known and known.how == "person" else ""

    def _modifiers(self) -> str:
        for posting, line in self.posted:
            if len(line.shares) > 1:
                return f"summed with {len(line.shares) - 1} other Azure charges by run {posting.run}"
            return "kept as it is"
        draft = self.draft
        if draft is None or draft.kept_by is KeptBy.NONE:
            return "kept as it is: no modifier is about it"
        what = _KEPT[draft.kept_by]
        if draft.collapsed:
            others = len(draft.charges) - 1
            what = f"summed with {f'{others} other Azure charges' if others else 'no other Azure charge'} on one line"
        return f"{what}{self._said(draft.kept_by)}"

    def _gone(self) -> str:
        """Why it is neither billed nor held: excluded or dropped, now or by an earlier run."""
        if self.settled and self.settled.state in SET_ASIDE:
            row = why(self.settled.by)
            key = row.key if row else ""
            now = f"; today {key} is {self._value(key)}{self._from(key)}" if key else ""
            return f"{self.settled.state} by {self.settled.by} in an earlier run, which stays so [R3]{now}"
        plan = self.planned.plan
        for entry in [*plan.unassigned_excluded, *(self.client.excluded if self.client else ())]:
            if entry.charge == self.charge.id:
                if entry.rule is Exclusion.NO_COMPANY:
                    return "excluded by rule no_company: there is nobody to bill [A3]"
                if entry.rule is Exclusion.COMPANY and self.company and self.company.never_billed:
                    return f"excluded by rule company: a person said so{self._by_person()}"
                if entry.rule is Exclusion.COMPANY and self.file and self.file.exclude:
                    return f"excluded by rule company (client.exclude = true in {self.file.path})"
                return f"excluded by rule {entry.rule}{self._said(EXCLUSIONS[entry.rule].key)}"
        for gone in self.client.dropped if self.client else ():
            if gone.charge == self.charge.id:
                return f"dropped by {gone.modifier}{self._said(DROPS[gone.modifier].key)}"
        return ""

    def _product(self) -> str:
        if self.posted:
            items = [f"item {line.item_id}" if line.item_id is not None else "text only" for _, line in self.posted]
            return f"{', '.join(items)}, as it was posted"
        found_by = self.draft.item_by if self.draft else ""
        sku = self.charge.sku.strip()
        words: dict[str, str] = {
            ItemBy.LIFECYCLE_OFF: "",
            ItemBy.CREATED: f"no item has its SKU or name, so one is made in {self.rules.products.item_group}"
            f"{self._from('products.item_group')}",
            ItemBy.SKU: f"has the SKU {sku}",
            ItemBy.NAME: "has the product's name",
            ItemBy.PERSON: f"mapped by hand{self._item_by_person(sku)}",
        }
        by = words.get(found_by, found_by)
        shown = ["text only" if line.item is None else _item(line) for line in self.lines]
        return f"{', '.join(shown)}{': ' if by else ''}{by}{self._said('products.lifecycle')}"

    def _item_by_person(self, sku: str) -> str:
        known = self.ledger.item_matches().get(sku)
        return f" by {known.who} on {known.at:%Y-%m-%d}" if known else ""

    def _target(self) -> str:
        if self.posted:
            row = self.posted[0][0]
            return f"{_DONE[row.action]} {abs(row.invoice_id or 0)} of {row.client_name}"
        said = self._said("invoice.behavior")
        behavior = self.rules.invoice.behavior
        target = self.client.target_invoice_id if self.client else None
        if behavior == "recurring":
            where = f"recurring invoice {abs(target)}" if target is not None else "its recurring invoice"
            said += self._said("invoice.recurring_invoice")
        elif target is not None:
            where = f"the client's latest invoice, {target}"
        elif behavior == "latest" and self.lines:
            where = "a new invoice, as the latest is closed or missing"
            said += self._said("invoice.when_latest_closed")
        else:
            where = "the client's latest invoice" if behavior == "latest" else "a new invoice"
            said += self._said("invoice.group_by") if any(line.group for line in self.lines) else ""
        actions = {LineAction.ADD: "added to", LineAction.UPDATE: "updates its line on"}
        verb = actions.get(self.lines[0].action, "on") if self.lines else "on"
        return f"{verb} {where}{said}{self._approved()}"

    def _approved(self) -> str:
        client = str(self.client.client_id) if self.client else ""
        for one in self.inputs.memory.approvals:
            if one.client == client and one.kind is ApproveAs.LIMITS and self.lines:
                return f"; let through its limits by {one.who}: {one.reason}"
        return ""

    def _line(self) -> str:
        lines: list[PlanLine] | list[PostedLine] = [line for _, line in self.posted] or self.lines
        currency = self.charge.currency
        told = [
            f"{plain(line.quantity)} x {plain(line.unit_price)} = {plain(line.amount, currency)} {currency}: "
            f"{line.description}"
            for line in lines
        ]
        return "; ".join(told) + ("" if self.posted else self._said("lines.text"))

    # What they need

    def _posted(self) -> Iterator[tuple[RecordedPosting, PostedLine]]:
        """The live lines that the ledger has of it: several where its product is split over items [P5]."""
        for claim in self.ledger.claims_of(self.charge.id):
            if claim.live:
                row = self.ledger.posting(claim.key)
                yield row, row.lines[claim.line]

    def _value(self, key: str) -> str:
        section, _, name = key.partition(".")
        value = getattr(getattr(self.rules, section), name)
        if isinstance(value, Decimal):
            return plain(value)
        shown = json.dumps(value, ensure_ascii=False)
        return shown if len(shown) < 60 else f"{shown[:57]}..."

    def _from(self, key: str) -> str:
        return f" in {self.rules.origins[key]}" if key in self.rules.origins else " by default"

    def _said(self, key: str) -> str:
        """' (modifiers.azure = "collapse" in rules/clients/contoso.toml)', or that it is the default."""
        return f" ({key} = {self._value(key)}{self._from(key)})" if key else ""


_DONE = {
    PostingAction.CREATE: "new invoice",
    PostingAction.APPEND: "appended to invoice",
    PostingAction.UPDATE: "on recurring invoice",
}
_KEPT = {
    KeptBy.AZURE: "Azure, kept as it is",
    KeptBy.FAVORABLE_PRORATA: "a favorable prorate, kept",
    KeptBy.ZERO_LINES: "a price of nothing, kept",
    KeptBy.ZERO_PRICE_WITH_COST: "a price of nothing, kept",
}


def _item(line: PlanLine) -> str:
    assert line.item is not None
    return f"item {line.item.name} ({'to be created' if line.item.create else line.item.id})"


def _percent(percent: Decimal | None) -> str:
    return f"{plain(percent)} %" if percent is not None else "very"
