"""What HaloPSA has that rules can name: tax codes, accounts in use, item groups, suppliers, recurring invoices.

Account codes have no list of their own in HaloPSA (reference/halopsa 6), so those that items and item groups use are
shown, the most used first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from billingsync.core.invoice import Invoice
from billingsync.errors import LoginFailed, UpstreamError
from billingsync.psa.halo.psa import HaloPsa
from billingsync.psa.halo.wire import Raw, id_of, number

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Something with an id and a name; `detail` is a percentage, or how often an account is used."""

    id: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """`templates` with their lines, where HaloPSA counts licences on them. `problems`: what was not shown, and why."""

    taxes: tuple[Named, ...]
    income_accounts: tuple[Named, ...]
    expense_accounts: tuple[Named, ...]
    item_groups: tuple[Named, ...]
    suppliers: tuple[Named, ...]
    templates: tuple[Invoice, ...]
    problems: tuple[str, ...]


def read_catalogue(halo: HaloPsa) -> Catalogue:
    """Reads the lists one after the other; one that a role may not see does not keep the others back."""
    problems: list[str] = []

    def rows(path: str, key: str = "") -> tuple[Raw, ...]:
        return tuple(_read(lambda: halo.rows(path, key), path, problems))

    items, groups = rows("/Item", "items"), rows("/AssetGroup")
    taxes, suppliers = rows("/Tax"), rows("/Supplier", "suppliers")
    listed = tuple(_read(halo.templates, "/RecurringInvoice", problems))
    return Catalogue(
        taxes=tuple(
            Named(id=str(id_of(row)), name=_text(row, "name"), detail=_percent(row)) for row in taxes if id_of(row)
        ),
        income_accounts=_in_use([*items, *groups], "nominalcode"),
        expense_accounts=_in_use(items, "purchasenominalcode", groups, "nominalcodepurchase"),
        item_groups=_named(row for row in groups if row.get("showasitem") is not False),
        suppliers=_named(row for row in suppliers if not row.get("inactive")),
        templates=tuple(_whole(halo, one, problems) for one in listed),
        problems=tuple(problems),
    )


def _read(read: Callable[[], Iterable[T]], path: str, problems: list[str]) -> Iterable[T]:
    try:
        return read()
    except LoginFailed:
        raise
    except UpstreamError as failed:
        problems.append(f"{path} cannot be listed: {failed.message}")
        return ()


def _whole(halo: HaloPsa, one: Invoice, problems: list[str]) -> Invoice:
    """With its lines, where they tell something that a list does not show."""
    if not one.counts_licences or one.lines_shown:
        return one
    found = _read(lambda: (halo.read(one.id, template=True),), f"/RecurringInvoice/{one.id}", problems)
    return next((each for each in found if each is not None), one)


def _text(row: Raw, name: str) -> str:
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""


def _percent(row: Raw) -> str:
    value = number(row.get("value"))
    return f"{value.normalize():f} %" if value is not None else ""


def _named(rows: Iterable[Raw]) -> tuple[Named, ...]:
    found = [Named(id=str(id_of(row)), name=_text(row, "name")) for row in rows if id_of(row)]
    return tuple(sorted(found, key=lambda one: one.name.casefold()))


def _in_use(rows: Iterable[Raw], name: str, more: Iterable[Raw] = (), other_name: str = "") -> tuple[Named, ...]:
    """Distinct codes, the most used first, with the name that HaloPSA shows beside them."""
    uses: Counter[str] = Counter()
    names: dict[str, str] = {}
    for row, key in [*((row, name) for row in rows), *((row, other_name) for row in more)]:
        if code := _text(row, key):
            uses[code] += 1
            names.setdefault(code, _text(row, f"{key}_name"))
    return tuple(
        Named(id=code, name=names[code], detail=f"used {count} time{'s' if count > 1 else ''}")
        for code, count in sorted(uses.items(), key=lambda pair: (-pair[1], pair[0]))
    )
