"""Items that are to be created: searched for first, marked by their SKU, read back [P3], so that a lost reply or two
runs at once make one item. Items that exist are used and never changed [P1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from billingsync.core.inputs import Item
from billingsync.core.plan import ItemRef, PlanLine, Posting
from billingsync.desk import Desk, Outcome, failed
from billingsync.errors import UpstreamError
from billingsync.halo.client import one_object
from billingsync.halo.wire import item_body, item_group_body, read_item
from billingsync.http import Answered, NotDone

Wanted = tuple[str, str]  # SKU and name

SEARCHES = 3  # after a creation of unknown outcome, before its postings wait for the next run


class NoItem(Exception):
    """An item could not be created, or it is not known whether it was."""


def make_items(desk: Desk, postings: Sequence[Posting]) -> tuple[list[Posting], list[Outcome]]:
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
    catalogue = list(desk.halo.items())
    group = None
    for (sku, name), client_id in wanted.items():
        try:
            there = _find(catalogue, sku, name)
            if there is None:
                if group is None:
                    group = _group(desk, desk.tax_and_accounts(client_id).item_group)
                there = _create(desk, sku, name, group, client_id)
            ids[sku, name] = there.id
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


def _with_id(line: PlanLine, ids: dict[Wanted, int]) -> PlanLine:
    if line.item is None or not line.item.create:
        return line
    item = ItemRef(id=ids[line.item.sku, line.item.name], name=line.item.name, create=False, sku=line.item.sku)
    return replace(line, item=item)


def _find(catalogue: Sequence[Item], sku: str, name: str) -> Item | None:
    """The item of this SKU, or where there is no SKU of this name."""
    for item in catalogue:
        if (item.external_reference == sku) if sku else (item.name == name):
            return item
    return None


def _group(desk: Desk, name: str) -> int:
    """The id of our item group; created where there is none of its name."""
    for _ in range(SEARCHES):
        for group_id, group_name in desk.halo.item_groups():
            if group_name == name:
                return group_id
        sent = desk.halo.create_item_group(item_group_body(name))
        if isinstance(sent, NotDone):
            raise NoItem(f"HaloPSA refused to create the item group {name!r}: {sent.message}")
        if not isinstance(sent, Answered):
            desk.wait(min(desk.absence_s, 30.0))
    for group_id, group_name in desk.halo.item_groups():
        if group_name == name:
            return group_id
    raise NoItem(f"the item group {name!r} was created, yet HaloPSA does not list it")


def _create(desk: Desk, sku: str, name: str, group: int, client_id: int) -> Item:
    desk.say(f"creating the item {name}")
    codes = desk.tax_and_accounts(client_id)
    sent = desk.halo.create_item(item_body(name=name, sku=sku, group=group, codes=codes))
    if isinstance(sent, NotDone):
        raise NoItem(f"HaloPSA refused to create the item {name!r}: {sent.message}")
    if isinstance(sent, Answered) and (answer := one_object(sent.json)) is not None:
        item = read_item(answer)
        back = desk.halo.item(item.id)
        if back is not None and (back.external_reference == sku if sku else back.name == name):
            return back
    # Not known, or HaloPSA kept something else: only a search tells, and it is never created a second time here.
    for _ in range(SEARCHES):
        there = _find(list(desk.halo.items()), sku, name)
        if there is not None:
            return there
        desk.wait(min(desk.absence_s, 30.0))
    raise NoItem(f"whether HaloPSA created the item {name!r} is not known yet; run again")
