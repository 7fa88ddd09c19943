"""Items that are to be created: searched for first, marked by their SKU, read back [P3], so that a lost reply or two
runs at once make one item. Items that exist are used and never changed [P1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from billingsync.core.bill.plan import ItemRef, PlanLine, Posting
from billingsync.core.inputs import Item
from billingsync.core.progress import Progress, Stage
from billingsync.core.states import WriteKind
from billingsync.errors import UpstreamError
from billingsync.http import Answered, NotDone, Sent
from billingsync.run.context import Outcome, RunContext, failed
from billingsync.run.send import still_ours

Wanted = tuple[str, str]  # SKU and name

SENDINGS = 3  # of one creation: each after the first follows a refusal, or a full horizon and two complete searches
NAME_LENGTH = 250  # what `item_body` cuts names to


class NoItem(Exception):
    """An item could not be created, or it is not known whether it was."""


def make_items(context: RunContext, postings: Sequence[Posting]) -> tuple[list[Posting], list[Outcome]]:
    """The postings with every item's id; those whose item could not be had have failed and are not posted."""
    wanted: dict[Wanted, int] = {}
    for posting in postings:
        for line in posting.lines:
            if line.item and line.item.create:
                wanted.setdefault((line.item.sku, line.item.name), posting.client_id)
    if not wanted:
        return list(postings), []
    ids: dict[Wanted, int] = {}
    problems: dict[Wanted, str] = {}
    groups: dict[str, int] = {}
    catalogue: Sequence[Item] | None = None
    for (sku, name), client_id in wanted.items():
        try:
            if catalogue is None:
                _let_land(context)
                catalogue = context.psa.items(context.tax_and_accounts(client_id).item_group)
            there = _find(catalogue, sku, name)
            ids[sku, name] = (
                there.id if there else _item(context, sku, name, _group(context, groups, client_id), client_id)
            )
        except (NoItem, UpstreamError) as trouble:
            problems[sku, name] = str(trouble)
    ready: list[Posting] = []
    failed_outcomes: list[Outcome] = []
    for posting in postings:
        needed = [(line.item.sku, line.item.name) for line in posting.lines if line.item and line.item.create]
        problem = next((problems[each] for each in needed if each in problems), "")
        if problem:
            failed_outcomes.append(failed(posting, problem))
        else:
            ready.append(replace(posting, lines=tuple(_with_id(line, ids) for line in posting.lines)))
    return ready, failed_outcomes


def _let_land(context: RunContext) -> None:
    """Where a process died between sending an item and learning of it, the item may still appear: only after the
    horizon is a search worth anything [P3]."""
    sent = context.ledger.last_open_write()
    left = context.absence_s - (context.now() - sent).total_seconds() if sent is not None else 0
    if left > 0:
        context.say(Progress(stage=Stage.AWAIT_ITEM, seconds=min(left, context.absence_s)))
        context.wait(min(left, context.absence_s))


def _with_id(line: PlanLine, ids: dict[Wanted, int]) -> PlanLine:
    if line.item is None or not line.item.create:
        return line
    item = ItemRef(id=ids[line.item.sku, line.item.name], name=line.item.name, create=False, sku=line.item.sku)
    return replace(line, item=item)


def _find(catalogue: Sequence[Item], sku: str, name: str) -> Item | None:
    """The active item of this SKU, or where there is no SKU of this name; the oldest, should there be several."""
    found = [item for item in catalogue if not item.inactive and _is(item, sku, name)]
    return min(found, key=lambda item: item.id, default=None)


def _is(item: Item, sku: str, name: str) -> bool:
    return item.external_reference.strip() == sku if sku else item.name[: NAME_LENGTH - 1] == name[: NAME_LENGTH - 1]


def _group(context: RunContext, groups: dict[str, int], client_id: int) -> int:
    """The id of the item group that this client's rules name; created where there is none of its name."""
    name = context.tax_and_accounts(client_id).item_group

    def find() -> int | None:
        return min((group_id for group_id, each in context.psa.item_groups() if each == name), default=None)

    def create() -> Sent:
        context.say(Progress(stage=Stage.CREATE_GROUP, about=name))
        return context.psa.new_item_group(name, still_ours(context))

    def made(item_id: int | None, called: str) -> int | None:
        return item_id if called == name else None  # groups are only listed, and a list may be late

    if name not in groups:
        groups[name] = find() or _once(context, _New(kind=WriteKind.ITEM_GROUP, name=name), find, create, made)
    return groups[name]


def _item(context: RunContext, sku: str, name: str, group: int, client_id: int) -> int:
    def find() -> int | None:
        found = _find(context.psa.items(context.tax_and_accounts(client_id).item_group), sku, name)
        return found.id if found else None

    def create() -> Sent:
        context.say(Progress(stage=Stage.CREATE_ITEM, about=name))
        codes = context.tax_and_accounts(client_id)
        return context.psa.new_item(name, sku, group, codes, still_ours(context))

    def made(item_id: int | None, called: str) -> int | None:
        item = context.psa.item(item_id) if item_id else None
        if item is None or not (_is(item, sku, name) or (not item.external_reference and _is(item, "", name))):
            return None
        return item_id  # also where HaloPSA did not keep the SKU: a second one would not have it either

    return _once(context, _New(kind=WriteKind.ITEM, name=name), find, create, made)


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    """What is to be created."""

    kind: WriteKind
    name: str

    def __str__(self) -> str:
        return f"the {'item' if self.kind is WriteKind.ITEM else 'item group'} {self.name!r}"


def _once(
    context: RunContext,
    new: _New,
    find: Callable[[], int | None],
    create: Callable[[], Sent],
    made: Callable[[int | None, str], int | None],
) -> int:
    """Create something of which there must be one; it is known not to be there. Sent again only after a refusal, or
    once it is certainly absent: after the horizon, in two complete searches [N2]. NoItem where it cannot be had."""
    why, what = "", str(new)
    for _ in range(SENDINGS):
        context.ledger.record_write_intended(context.fence, new.kind, what, context.now())
        sent = create()
        if isinstance(sent, NotDone):
            why = f"HaloPSA refused to create {what}: {sent.message}"
            context.wait(1.0)
            there = find()
        else:
            answer = context.psa.made(sent.json) if isinstance(sent, Answered) else None
            there = made(*answer) if answer is not None else None
            there = there or find() or _after_the_horizon(context, what, find)
            why = f"HaloPSA does not have {what} although it was sent: two complete searches found nothing"
        told = f"created, id {there}" if there is not None else why
        context.ledger.record_write_settled(context.fence, new.kind, what, told, context.now())
        if there is not None:
            return there
    raise NoItem(why)


def _after_the_horizon(context: RunContext, what: str, find: Callable[[], int | None]) -> int | None:
    context.say(Progress(stage=Stage.AWAIT_ITEM, about=what, seconds=context.absence_s))
    context.wait(context.absence_s)
    for _ in range(2):
        there = find()
        if there is not None:
            return there
        context.wait(1.0)
    return None
