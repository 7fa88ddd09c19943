"""What HaloPSA has of a plan although the ledger does not know it, as after a backup was put back [N6]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, combinations, islice, product

from billingsync.core.bill.plan import Plan, PlanLine, Posting
from billingsync.core.bill.postings import Place, base_key, elsewhere, key_of
from billingsync.core.bill.targets import removal
from billingsync.core.bill.templates import currency_of
from billingsync.core.invoice import Invoice, InvoiceLine, Mark
from billingsync.core.money import ZERO
from billingsync.core.period import Period
from billingsync.core.states import PostingAction
from billingsync.errors import OtherInstallation
from billingsync.run.context import RunContext
from billingsync.run.forgotten_credits import MOST_GENERATIONS, Credited, credited_in
from billingsync.run.tenant import Tenant
from billingsync.store.postings import ARRIVED

MOST_CHOICES = 100  # of equal lines that are tried for one posting
MOST_FORGOTTEN = 24  # months before last month that a ledger is asked for
MOST_GONE = 6  # lines of which each set is tried as what a posting took off a template


@dataclass(slots=True, kw_only=True)
class AlreadyThere:
    """`postings` are the plan's, each as it was posted where HaloPSA has it. `found` is by key; `forgotten` says, by
    client, why nothing may be sent for it: HaloPSA has postings of ours that neither this plan nor the ledger knows.
    `older` says, by client, which earlier month the ledger has forgotten. `credited` is what was billed and credited;
    its posting is None where the ledger has it. `made`, by key: the invoice that HaloPSA made of a posting on a
    template that a later one, which was forgotten too, has written over since; `copies`: those of all that are on
    templates."""

    postings: list[Posting]
    found: dict[str, Invoice] = field(default_factory=dict)
    made: dict[str, Invoice] = field(default_factory=dict)
    copies: dict[str, Invoice] = field(default_factory=dict)
    forgotten: dict[int, str] = field(default_factory=dict)
    older: dict[int, str] = field(default_factory=dict)
    credited: list[tuple[Posting | None, Credited]] = field(default_factory=list)


def already_there(context: RunContext, plan: Plan, targets: Iterable[Invoice], tenant: Tenant) -> AlreadyThere:
    """Searches the whole tenant, whoever was billed. A marker of another installation stops everything."""
    seen = {(one.id, one.template): one for one in (*tenant.templates, *targets, *tenant.invoices)}
    no_strangers(context, seen.values())
    search = _Search(context=context, plan=plan, tenant=tenant, there=AlreadyThere(postings=list(plan.postings)))
    search.leave_out_credited(credited_in(seen.values()))
    for invoice in seen.values():
        if invoice.void or invoice.client_id is None:
            continue
        for mark in marks_of(invoice):
            search.sort_in(invoice, mark)
    return search.finish()


def marks_of(invoice: Invoice) -> list[Mark]:
    """All marks on an invoice and on its lines that bill somebody."""
    return [*([invoice.mark] if invoice.mark else []), *invoice.live_marks]


def no_strangers(context: RunContext, invoices: Iterable[Invoice]) -> None:
    """Raises OtherInstallation where another billingsync writes to this tenant [N6]."""
    ours = context.ledger.installations()
    strangers: dict[str, list[int]] = defaultdict(list)
    for invoice in invoices:
        if not invoice.void:
            for mark in marks_of(invoice):
                if mark.installation not in ours:
                    strangers[mark.installation].append(invoice.id)
    if strangers:
        installation, found = next(iter(strangers.items()))
        raise OtherInstallation(
            f"HaloPSA invoice {found[0]} carries {len(found)} marks of another billingsync installation, "
            f"{installation}. If that one is gone, take it over; if not, stop it first: two of them bill twice.",
            next_steps=[["billingsync", "adopt", installation]],
        )


class _Search:
    def __init__(self, *, context: RunContext, plan: Plan, tenant: Tenant, there: AlreadyThere) -> None:
        self.context, self.plan, self.there = context, plan, there
        self._templates = {abs(one.id): one for one in tenant.templates}
        self._own = {posting.key: posting for posting in plan.postings}
        self._known = {*context.ledger.states(period=context.period), *context.ledger.card_keys()}
        self._again = {
            key_of(one.base_key, generation): (one, generation)
            for one in plan.postings
            for generation in range(one.generation + 1, one.generation + 1 + MOST_GENERATIONS)
        }
        self._later: dict[str, str] = {}  # a posting's key in the plan -> the one under which it was found
        self._settled: set[str] = set()  # keys of what was credited, and of its credits
        self._seen: set[str] = set()  # keys of the plan's postings that HaloPSA has
        self._earlier: dict[int, str] = {}  # by client, the oldest month that a forgotten posting is known to be of
        self._made_of_forgotten: dict[int, set[int]] = defaultdict(set)  # by client, invoices made of what is unknown
        self._unknown: dict[int, str] = {}  # by client, why nothing that HaloPSA does not have may be sent
        self._unfound: set[tuple[int, str]] = set()  # invoices with keys on them that no posting was found for

    def leave_out_credited(self, found: Iterable[Credited]) -> None:
        """What was billed and credited before the ledger was put back bills nobody, whatever it was made of."""
        ledger = self.context.ledger
        for one in found:
            if ledger.find_posting(one.credit_key) is not None:
                continue
            known, posting = ledger.find_posting(one.key), None
            if known is None:
                posting = self._own.get(one.key) or self._of_generation(one.key)
                posting = posting or self._posted_elsewhere(one.invoice, one.key)
            if posting is not None or (known is not None and known.state in ARRIVED):
                self.there.credited.append((posting, one))
            elif known is not None or not one.whole:
                continue
            self._settled |= {one.key, one.credit_key}

    def _of_generation(self, key: str) -> Posting | None:
        if key not in self._again:
            return None
        posting, generation = self._again[key]
        return replace(posting, key=key, generation=generation)

    def sort_in(self, invoice: Invoice, mark: Mark) -> None:
        if mark.key in self._settled:
            return
        if mark.key in self._own:
            self._is_there(mark.key, invoice)
        elif mark.key in self._known or mark.of_card:
            return
        elif self.context.ledger.find_posting(mark.key) is not None:
            self._known.add(mark.key)
        elif mark.key in self._again:
            self._posted_again(invoice, *self._again[mark.key], mark.key)
        elif (invoice.id, mark.key) in self._unfound:
            return
        elif (found := self._posted_elsewhere(invoice, mark.key)) is not None:
            self._adopt(found, invoice)
        else:
            self._unfound.add((invoice.id, mark.key))
            self._forgotten(invoice, mark.key)

    def _posted_again(self, invoice: Invoice, posting: Posting, generation: int, key: str) -> None:
        """The posting as it was posted once more after an undo; with two of these a person must look."""
        if posting.key in self._later:
            self._twice(posting.client_id, key)
            return
        found = replace(posting, key=key, generation=generation)
        self._replace([posting], found)
        self._later[posting.key] = key
        self._own[key] = found
        self._is_there(key, invoice)

    def _is_there(self, key: str, invoice: Invoice) -> None:
        # An invoice that HaloPSA made from a template has copies of its marks: what we wrote is the template. And of an
        # existing invoice a list does not show all: it is read by itself before it is compared.
        action = self._own[key].action
        if invoice.is_copy and action == PostingAction.UPDATE:
            self.there.made[key] = self.there.copies[key] = invoice
        if invoice.is_copy or invoice.template is not (action == PostingAction.UPDATE):
            return
        self._seen.add(key)
        if action == PostingAction.CREATE:
            self.there.found[key] = invoice

    def finish(self) -> AlreadyThere:
        """What was found; a client that has a posting in two generations waits for a person."""
        for key in self._later.keys() & self.there.found.keys():
            self._twice(self._own[key].client_id, self._later[key])
        self.there.made = {key: one for key, one in self.there.made.items() if key not in self._seen}
        for posting in self.there.postings:
            client = posting.client_id
            if (made := self.there.made.get(posting.key)) is not None:
                # Nothing is sent, and it has its place before what stands there now; behind what was made before it.
                if any(one < made.id for one in self._made_of_forgotten[client]):
                    self.there.forgotten[client] = self._unknown[client]
                else:
                    self.there.older.pop(client, None)
                continue
            # Who is sent nothing is not billed twice; but on a template an earlier month has no place behind a later.
            safe = posting.key in self.there.made or (
                posting.key in self._seen and (posting.action != PostingAction.UPDATE or client not in self.there.older)
            )
            if not safe and (why := self._unknown.get(client)):
                self.there.forgotten[client] = why
            for was, credited in self.there.credited:
                if was is not None and posting.key not in self._seen and set(was.charges) & set(posting.charges):
                    self.there.forgotten[posting.client_id] = (
                        f"it was billed on invoice {credited.invoice.id} and credited by invoice {credited.credit.id}, "
                        "which this ledger did not know any more. Both are noted now; run again to bill it anew"
                    )
        return self.there

    def _twice(self, client_id: int, key: str) -> None:
        self.there.forgotten[client_id] = (
            f"HaloPSA has posting {key} of this client twice, as it was posted first and as it was posted again after "
            "an undo. Take one out in HaloPSA, and run again"
        )

    def _posted_elsewhere(self, invoice: Invoice, key: str) -> Posting | None:
        """The posting of this key, made of this plan's charges: for another client, or on another invoice."""
        assert invoice.client_id is not None
        template = invoice if invoice.template else self._template_of(invoice)
        actions = (PostingAction.UPDATE,) if template else (PostingAction.CREATE, PostingAction.APPEND)
        target = template.id if template else invoice.id
        gone = self._taken_off(template)
        own_first = sorted(self.there.postings, key=lambda one: one.client_id != invoice.client_id)
        choices = chain(
            _alike(own_first, [line for line in invoice.lines if line.mark and line.mark.key == key]),
            ((one, self._in_order(lines)) for one, lines in _choices(self.there.postings, invoice.client_id)),
        )
        for posting, lines in choices:
            for action in actions:
                place = Place(
                    key_name=self.context.ledger.key_name,
                    period=self.plan.period,
                    client_id=invoice.client_id,
                    client_name=self._name(invoice),
                    action=action,
                    invoice_id=None if action is PostingAction.CREATE else target,
                )
                for removed in gone:
                    made = elsewhere(posting, lines, place, removed)
                    for generation in range(MOST_GENERATIONS + 1):
                        if key_of(made.base_key, generation) == key:
                            return replace(made, key=key, generation=generation)
        return None

    def _template_of(self, invoice: Invoice) -> Invoice | None:
        """The template that HaloPSA made the invoice from, as far as it says."""
        named = [invoice.made_from, *(line.made_from[0] for line in invoice.lines)]
        return next((self._templates.get(abs(one)) for one in named if one), None)

    def _taken_off(self, template: Invoice | None) -> list[tuple[PlanLine, ...]]:
        """What a posting may have removed from this template: the sets of our lines that bill nobody there any more,
        nothing first and then the largest. Which lines it took off is part of its key."""
        if template is None:
            return [()]
        present = template.by_id
        gone = []
        for line in self.context.ledger.written_lines():
            there = present.get(line.line_id)
            if line.invoice_id == template.id and (there is None or there.is_zeroed):
                gone.append(removal(line, currency_of(line.recurring_key)))
        sizes = range(len(gone), 0, -1) if len(gone) <= MOST_GONE else [len(gone)]
        return [(), *chain.from_iterable(combinations(gone, size) for size in sizes)]

    def _name(self, invoice: Invoice) -> str:
        client = self.context.clients.get(invoice.client_id or 0)
        return client.name if client is not None else invoice.client_name

    def _in_order(self, lines: Sequence[PlanLine]) -> list[PlanLine]:
        order = {client.company_id: nth for nth, client in enumerate(self.plan.clients)}
        return sorted(lines, key=lambda line: order.get(line.company_id, 0))

    def _adopt(self, found: Posting, invoice: Invoice) -> None:
        self._replace(self.there.postings, found)
        self._own[found.key] = found
        self._is_there(found.key, invoice)

    def _replace(self, among: Sequence[Posting], found: Posting) -> None:
        """The postings without the charges of `found`, and it itself."""
        taken = set(found.charges)
        left = []
        for one in self.there.postings:
            if not any(one is other for other in among) or taken.isdisjoint(one.charges):
                left.append(one)
                continue
            lines = tuple(line for line in one.lines if taken.isdisjoint(line.charges))
            if any(line.charges for line in lines):
                left.append(self._rest(one, lines))
        self.there.postings = [*left, found]

    def _rest(self, posting: Posting, lines: tuple[PlanLine, ...]) -> Posting:
        invoice = "" if posting.invoice_id is None else str(posting.invoice_id)
        target = f"{posting.action}:{invoice}:{self.plan.period}"
        base = base_key(self.context.ledger.key_name, posting.client_id, target, lines)
        return replace(
            posting,
            key=base,
            base_key=base,
            generation=0,
            lines=lines,
            amount=sum((line.amount for line in lines), ZERO),
            cost=sum((line.cost for line in lines), ZERO),
        )

    def _forgotten(self, invoice: Invoice, key: str) -> None:
        assert invoice.client_id is not None
        period = invoice.mark.period if invoice.mark is not None and invoice.mark.key == key else ""
        if period > self.plan.period:
            return  # it bills a later month's charges; that month's run takes it over
        if invoice.is_copy:
            self._made_of_forgotten[invoice.client_id].add(invoice.id)
        first = self._earlier.get(invoice.client_id, "")
        before = str(self.context.period.previous)
        earlier = (period if period < self.plan.period else "") if period else self._not_known_since(invoice)
        if first and (not earlier or first < earlier):
            return
        self._earlier[invoice.client_id] = earlier
        of = f" of {period}" if period else ""
        why = (
            f"HaloPSA invoice {invoice.id} carries posting {key}{of}, which this ledger does not know: perhaps it was "
            "put back to an older state. Nothing was sent for this client, as it may be billed already. "
        )
        if earlier:
            why += f"First run that month, which takes over what is there: billingsync run {earlier}"
        elif period:
            why += "Put the newest backup in place, or take those lines out in HaloPSA, and run again"
        else:
            why += (
                f"If an earlier month wrote it, run that one first, which takes over what is there: billingsync run "
                f"{before}. Else put the newest backup in place, or take those lines out in HaloPSA, and run again"
            )
        self._unknown[invoice.client_id] = why
        if earlier:
            self.there.older[invoice.client_id] = why

    def _not_known_since(self, invoice: Invoice) -> str:
        """The oldest month of which the ledger knows no posting and that may have written to this invoice: of lines
        nothing says which month wrote them. Empty where it knows each of them."""
        month = self.context.period.previous
        first = month
        oldest = month.months_before(MOST_FORGOTTEN)
        if not invoice.template and invoice.date and invoice.date[:7] < str(month):
            # A person may have written any date, and HaloPSA writes "no date" as one long ago.
            first = Period.parse(invoice.date[:7]) if str(oldest) < invoice.date[:7] else oldest
        while first <= month and str(first) in self._posted_periods:
            first = first.next
        return str(first) if first <= month else ""

    @cached_property
    def _posted_periods(self) -> frozenset[str]:
        return self.context.ledger.posted_periods()


def _alike(postings: Sequence[Posting], written: Sequence[InvoiceLine]) -> Iterator[tuple[Posting, Sequence[PlanLine]]]:
    """Sets of planned lines that say what these lines of an invoice say, in their order: a month may have been billed
    in several runs. Only the key tells which of them it was."""
    planned: dict[object, list[tuple[Posting, PlanLine]]] = defaultdict(list)
    for posting in postings:
        for line in posting.lines:
            if line.charges:
                for name in (line.description, (line.quantity, line.unit_price)):
                    planned[name].append((posting, line))
    places: dict[object, list[int]] = defaultdict(list)
    for there in written:
        names = (there.text, there.title, (there.quantity, there.unit_price))
        places[next((name for name in names if name in planned), "")].append(there.mark.ordinal if there.mark else -1)
    # `product` takes all of a pool before it gives anything: of fifty equal lines there are millions of sets.
    pools = [
        list(islice(combinations(planned.get(name, ()), len(ordinals)), MOST_CHOICES))
        for name, ordinals in places.items()
    ]
    ordinals = [ordinal for some in places.values() for ordinal in sorted(some)]
    for chosen in islice(product(*pools), MOST_CHOICES):
        each = dict(zip(ordinals, chain.from_iterable(chosen), strict=True))
        lines = [each[ordinal] for ordinal in sorted(each)]
        if lines and len({id(line) for _, line in lines}) == len(written):
            yield lines[0][0], [line for _, line in lines]


def _choices(postings: Sequence[Posting], client_id: int) -> Iterator[tuple[Posting, Sequence[PlanLine]]]:
    """Sets of lines that may have been one posting of this client when mappings were others: a posting as it is, one
    company of it, it without one company, and what the client has now together with another posting or company."""
    mine = [line for one in postings if one.client_id == client_id for line in one.lines]
    for one in postings:
        companies: dict[str, list[PlanLine]] = defaultdict(list)
        for line in one.lines:
            companies[line.company_id].append(line)
        yield one, one.lines
        if mine and one.client_id != client_id:
            yield one, [*mine, *one.lines]
        if len(companies) > 1:
            for company, lines in companies.items():
                yield one, lines
                yield one, [line for line in one.lines if line.company_id != company]
                if mine and one.client_id != client_id:
                    yield one, [*mine, *lines]
