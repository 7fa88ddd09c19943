"""What planning asks the ledger about all periods, and what a run tells it before anything is written [S9] [S10]."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from billingsync.core.bill.bound import bound, fitting, fitting_products, names_in, product_names_in
from billingsync.core.bill.changed import changes
from billingsync.core.bill.parts import sold
from billingsync.core.bill.plan import Plan
from billingsync.core.bill.templates import is_once
from billingsync.core.bill.trueup import invoice_of
from billingsync.core.bill.twins import recognised, reissue_key, twin_key
from billingsync.core.charge import Charge, Source
from billingsync.core.inputs import RunInputs
from billingsync.core.period import Period
from billingsync.core.remembered import Billed, WrittenLine
from billingsync.core.states import SET_ASIDE
from billingsync.errors import NotReady
from billingsync.http import read_json
from billingsync.psa.psa import PSA
from billingsync.run.taken_back import taken_back_of
from billingsync.sources.pax8.wire import read_source
from billingsync.store.ledger import Ledger
from billingsync.store.lookback import Question, SaidCharge
from billingsync.store.sources import Document


def with_memory(ledger: Ledger, inputs: RunInputs, listed: Mapping[str, bool]) -> RunInputs:
    """The inputs with what the ledger remembers of all periods. `listed` are Pax8's invoices, and whether each counts;
    empty where they were not asked for. Reads the ledger only, but for what an upgrade left to be remembered."""
    remember_older(ledger)
    sources, memory = inputs.sources, inputs.memory
    answer = ledger.look_back(_question(sources, inputs))
    known = {*memory.settled, *answer.settled, *(one.charge for one in answer.said)}
    renamed = recognised(sources, dict.fromkeys(known), answer.aliases)
    here = {charge.id for source in renamed for charge in source.charges}
    elsewhere = {charge: each for charge, each in answer.settled.items() if charge in here}
    gone = _gone(ledger, inputs, listed)
    taken_back = taken_back_of(ledger, inputs.period)
    memory = replace(
        memory,
        settled={**elsewhere, **memory.settled},
        said=answer.said,
        twins=answer.twins,
        billed=answer.billed,
        left=answer.left,
        full_prices=answer.full_prices,
        live=ledger.live_of_invoices(gone),
        taken_back=memory.taken_back | taken_back.begun,
        own_credits=memory.own_credits | taken_back.credits,
        undone=taken_back.undone,
        undone_companies=taken_back.companies,
    )
    found = replace(inputs, sources=renamed, memory=memory, credited=inputs.credited | gone)
    if _looks_back_at_this_month(found):
        live = {posting.key: posting for posting in (*memory.live, *ledger.live_postings(inputs.period))}
        found = replace(found, memory=replace(memory, live=tuple(live.values())))
    return found


def with_names(ledger: Ledger, inputs: RunInputs) -> RunInputs:
    """The inputs with names in the rules bound to the companies that they fitted first [C4]."""
    names = {text: one.target for text, one in ledger.rule_names().items() if text in names_in(inputs.rulebook)}
    named = product_names_in(inputs.rulebook)
    products = {text: one.target for text, one in ledger.rule_names("product").items() if text in named}
    memory = replace(inputs.memory, rule_names=names, rule_products=products)
    return replace(inputs, rulebook=bound(inputs.rulebook, names, products), memory=memory)


def remember_names(ledger: Ledger, inputs: RunInputs, now: datetime) -> None:
    """Binds each name in the rules that fits a company or a product now, and was not bound before."""
    rules, memory = inputs.rulebook, inputs.memory
    new = {text: one.id for text, one in fitting(rules, inputs.companies).items() if text not in memory.rule_names}
    if new:
        ledger.bind_names("company", new, now)
    goods = {
        text: id_ for text, id_ in fitting_products(rules, inputs.sources).items() if text not in memory.rule_products
    }
    if goods:
        ledger.bind_names("product", goods, now)


def _gone(ledger: Ledger, inputs: RunInputs, listed: Mapping[str, bool]) -> frozenset[str]:
    """Invoices that a plan once read and that Pax8 lists no more, or as void or credited [R2]."""
    if not listed:
        return frozenset()
    counted = {source.invoice_id for source in inputs.sources}
    return frozenset(id_ for id_ in ledger.known_invoices() if not listed.get(id_, False) and id_ not in counted)


def _looks_back_at_this_month(inputs: RunInputs) -> bool:
    """Whether something of this month is billed from an invoice that is gone, or that says something else now."""
    counted = {source.invoice_id for source in inputs.sources}
    states = ((invoice_of(charge), each.state) for charge, each in inputs.memory.settled.items())
    billed = {invoice for invoice, state in states if state not in SET_ASIDE}
    return not billed <= counted or bool(changes(inputs))


def _question(sources: Sequence[Source], inputs: RunInputs) -> Question:
    period = inputs.period
    charges = [charge for source in sources for charge in source.charges]
    here = {one.company_id for one in charges}
    parts = {sold(one) for one in charges if one.type == "prorate" or one.price < 0}
    return Question(
        charges=[
            name for one in charges for name in (one.id, one.former_id) if name and name not in inputs.memory.settled
        ],
        invoices=[source.invoice_id for source in sources],
        companies=[one.company_id for one in charges if one.company_id],
        left=sorted({line.company_id for line in inputs.memory.written_lines} - here),
        twins=[key for one in charges if (key := twin_key(one, str(period)))],
        reissues=[key for one in charges if (key := reissue_key(one))],
        sold=sorted(parts),
    )


# What a run tells ----------------------------------------------------------------------------------------------------


def to_be_said(sources: Iterable[Source], period: Period) -> list[SaidCharge]:
    """What these invoices say of each charge of a company, as it is to be remembered."""
    return [
        _said(source, charge, period)
        for source in sources
        for charge in source.charges
        if charge.company_id is not None
    ]


def _said(source: Source, charge: Charge, period: Period, name: str = "") -> SaidCharge:
    full = charge.type == "subscription" and charge.price > 0 and charge.unit_price
    return SaidCharge(
        charge=name or charge.id,
        invoice_id=source.invoice_id,
        dated=source.invoice_date,
        period=str(period),
        company_id=charge.company_id or "",
        type=charge.type,
        sold=sold(charge)[1],
        product=charge.product[:80],
        twin=twin_key(charge, str(period)),
        reissue=reissue_key(charge),
        price=charge.price,
        cost=charge.cost,
        currency=charge.currency,
        unit_price=charge.unit_price if full else None,
        name_now=charge.id,
    )


def partner_names(sources: Iterable[Source]) -> dict[str, tuple[str, ...]]:
    """Company id -> whose invoices charge it, as far as they say so, and for more than once: of what was to be billed
    once no line is left to wait for another invoice [B8]."""
    names: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        for charge in source.charges if source.partner_name else ():
            if charge.company_id is not None and charge.type not in ("one-time", "prorate"):
                names[charge.company_id].add(source.partner_name)
    return {company: tuple(sorted(some)) for company, some in names.items()}


def to_be_billed(plan: Plan, names: Mapping[str, tuple[str, ...]]) -> dict[str, Billed]:
    """Whom each company that has lines in this plan is billed to; `names` as of `partner_names`."""
    return {
        client.company_id: Billed(
            client_id=client.client_id,
            client_name=client.client_name,
            period=plan.period,
            partner_names=names.get(client.company_id, ()),
        )
        for client in plan.clients
        if client.company_id and client.client_id is not None and any(line.charges for line in client.lines)
    }


# What an earlier version billed --------------------------------------------------------------------------------------


def remember_older(ledger: Ledger) -> None:
    """Remembers what invoices said that an earlier version billed, from what is kept of them [S3]. What is not kept any
    more stays unknown: it is never guessed."""
    for period, began in ledger.unsaid_periods().items():
        claimed = ledger.memory(period).settled
        found = []
        for source in _kept_sources(ledger.documents_before(period, began)):
            for charge in source.charges:
                if charge.company_id is not None:
                    name = charge.former_id if charge.former_id in claimed else charge.id
                    found.append(_said(source, charge, period, name))
        if found:
            ledger.note_older(found)


def remember_older_lines(ledger: Ledger, psa: PSA, lines: Sequence[WrittenLine]) -> bool:
    """Gives lines on recurring invoices that an earlier version wrote what tells whether they were invoiced since: from
    HaloPSA's own answer, as it was kept. Gives whether there were any; what no answer tells stays unknown [B5]."""
    older = [line for line in lines if line.ordinal < 0 and line.key]
    written = {row.key: row for row in ledger.postings(keys={line.key for line in older})} if older else {}
    found = []
    for line in older:
        row = written.get(line.key)
        there = psa.from_kept(row.answer) if row is not None and row.answer else None
        ordinal = next((one.ordinal for one in row.returned_lines if one.line_id == line.line_id), -1) if row else -1
        if ordinal >= 0:
            told = there if there is not None and abs(there.id) == abs(line.invoice_id) else None
            found.append(
                replace(
                    line,
                    ordinal=ordinal,
                    written_at=told.modified if told is not None else "",
                    last_created=told.last_created if told is not None else None,
                    once=is_once(line.recurring_key),
                )
            )
    if found:
        ledger.note_older_lines(found)
    return bool(found)


def kept_charges(ledger: Ledger) -> Iterator[Charge]:
    """Every charge of every month of which the source is kept, the newest month first [S3]."""
    now = datetime.now(UTC)
    for month in sorted(set(ledger.known_invoices().values()), reverse=True):
        for source in _kept_sources(ledger.documents_before(Period.parse(month), now)):
            yield from source.charges


def _kept_sources(documents: Sequence[Document]) -> list[Source]:
    """The invoices as they were when they were billed: of each page the newest reading; documents come in order."""
    pages = {(document.kind, document.invoice_id, document.page): document for document in documents}
    found = []
    for kind, invoice_id, page in sorted(pages):
        if kind != "invoice":
            continue
        header = _row_of(pages[kind, invoice_id, page], invoice_id)
        mine = [pages[key] for key in sorted(pages) if key[:2] == ("items", invoice_id)]
        items = [row for document in mine for row in _rows(document)]
        try:
            source = read_source(header, items) if header else None
        except NotReady:
            source = None
        if source is not None:
            found.append(source)
    return list({source.invoice_id: source for source in found}.values())


def _rows(document: Document) -> list[object]:
    try:
        content = read_json(document.body, odd_numbers=True)
    except ValueError:
        return []
    rows = content.get("content") if isinstance(content, dict) else None
    return rows if isinstance(rows, list) else []


def _row_of(document: Document, invoice_id: str) -> dict[str, object] | None:
    return next((row for row in _rows(document) if isinstance(row, dict) and str(row.get("id")) == invoice_id), None)
