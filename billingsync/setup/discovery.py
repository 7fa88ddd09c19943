"""What HaloPSA has that rules can name: tax codes, accounts in use, item groups, suppliers, recurring invoices.

Account codes have no list of their own in HaloPSA (reference/halopsa 6), so those that items and item groups use are
shown, the most used first.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field

from billingsync.core.bill.clients import normalise
from billingsync.core.bill.targets import licence_lines
from billingsync.core.inputs import Client
from billingsync.errors import LoginFailed, UpstreamError
from billingsync.psa.halo.client import Halo
from billingsync.psa.halo.invoice import Raw, id_of, number
from billingsync.redaction import Redactor
from billingsync.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Something with an id and a name; `detail` is a percentage, or how often an account is used."""

    id: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """One recurring invoice. `id` as the screens show it, without the minus sign."""

    id: int
    client_id: int
    client_name: str
    reference: str
    disabled: bool = False
    counted: tuple[str, ...] = ()  # lines whose quantity HaloPSA takes from licences: its own Pax8 sync works so


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    taxes: tuple[Named, ...] = ()
    income_accounts: tuple[Named, ...] = ()
    expense_accounts: tuple[Named, ...] = ()
    item_groups: tuple[Named, ...] = ()
    suppliers: tuple[Named, ...] = ()
    recurring: tuple[Recurring, ...] = ()
    problems: tuple[str, ...] = field(default=())  # what HaloPSA did not show, and why

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "toml": self.toml}

    @property
    def toml(self) -> str:
        """Lines for `rules/`, each commented out: taking one is taking its "# " away."""
        return "\n".join([*self._defaults(), *self._clients()]) + "\n"

    def _defaults(self) -> Iterable[str]:
        yield "# rules/defaults.toml"
        yield "# [products]"
        for title, key, rows in (
            ("item groups", "item_group", [(group.name, group) for group in self.item_groups]),
            ("income accounts in use", "income_account", [(one.id, one) for one in self.income_accounts]),
            ("expense accounts in use", "expense_account", [(one.id, one) for one in self.expense_accounts]),
            ("tax codes", "tax_code", [(one.id, one) for one in self.taxes]),
        ):
            if not rows:
                yield f"# (no {title} found)"
            for value, row in rows:
                said = " ".join(
                    filter(None, [f"{row.id} {row.name}".strip() if value != row.id else row.name, row.detail])
                )
                yield f"# {key} = {_quoted(value)}  # {_inert(said)}".rstrip(" #")
        if self.suppliers:
            yield f"# suppliers: {_inert(', '.join(f'{one.name} ({one.id})' for one in self.suppliers))}"

    def _clients(self) -> Iterable[str]:
        by_client: dict[int, list[Recurring]] = {}
        for one in self.recurring:
            by_client.setdefault(one.client_id, []).append(one)
        taken: set[str] = set()
        for client_id, mine in by_client.items():
            name = _file_name(mine[0].client_name, client_id)
            name = f"{name}-{client_id}" if name in taken else name
            taken.add(name)
            yield ""
            yield f"# rules/clients/{name}.toml"
            yield "# [client]"
            yield f"# halo_client = {client_id}  # {_inert(mine[0].client_name)}"
            yield "# [invoice]"
            yield '# behavior = "recurring"'
            for one in mine:
                notes = [one.reference, "disabled" if one.disabled else ""]
                notes += [f"HaloPSA counts licences on it: {', '.join(one.counted[:3])}" if one.counted else ""]
                yield f"# recurring_invoice = {one.id}  # {_inert('; '.join(filter(None, notes)))}".rstrip(" #")


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are TOML's too, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inert(text: str) -> str:
    """One line, whatever HaloPSA's texts hold: a line end in a name must not begin a rule."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _file_name(name: str, client_id: int) -> str:
    return re.sub(r"[^a-z0-9]+", "-", normalise(name)).strip("-") or str(client_id)


def look_around(settings: Settings, redactor: Redactor) -> Discovery:
    """Everything that can be listed; what cannot is named in `problems`. UpstreamError where the login fails."""
    from billingsync.connect import halo_service

    service, _ = halo_service(settings, redactor)
    with service:
        halo = Halo(service)
        return discover(halo, halo.clients().rows)


def discover(halo: Halo, clients: Sequence[Client]) -> Discovery:
    """Reads the lists one after the other; one that a role may not see does not keep the others back."""
    problems: list[str] = []

    def rows(path: str, key: str = "") -> tuple[Raw, ...]:
        return _read(lambda: halo.rows(path, key), path, problems)

    items, groups = rows("/Item", "items"), rows("/AssetGroup")
    taxes, suppliers = rows("/Tax"), rows("/Supplier", "suppliers")
    recurring = _read(halo.recurring_invoices, "/RecurringInvoice", problems)
    return Discovery(
        taxes=tuple(
            Named(id=str(id_of(row)), name=_text(row, "name"), detail=_percent(row)) for row in taxes if id_of(row)
        ),
        income_accounts=_in_use([*items, *groups], "nominalcode"),
        expense_accounts=_in_use(items, "purchasenominalcode", groups, "nominalcodepurchase"),
        item_groups=_named(row for row in groups if row.get("showasitem") is not False),
        suppliers=_named(row for row in suppliers if not row.get("inactive")),
        recurring=tuple(_recurring(halo, recurring, clients, problems)),
        problems=tuple(problems),
    )


def _read(read: Callable[[], tuple[Raw, ...]], path: str, problems: list[str]) -> tuple[Raw, ...]:
    try:
        return read()
    except LoginFailed:
        raise
    except UpstreamError as failed:
        problems.append(f"{path} cannot be listed: {failed.message}")
        return ()


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


def _recurring(halo: Halo, rows: Iterable[Raw], clients: Sequence[Client], problems: list[str]) -> Iterable[Recurring]:
    names = {client.id: client.name for client in clients}
    found = []
    for row in rows:
        invoice_id, owner = id_of(row), number(row.get("client_id"))
        if invoice_id is None or owner is None:
            continue
        whole: tuple[Raw, ...] = ()
        if row.get("contains_calculated_quantity"):
            whole = _read(lambda: _one(halo, invoice_id), f"/RecurringInvoice/{invoice_id}", problems)  # noqa: B023
        found.append(
            Recurring(
                id=abs(invoice_id),
                client_id=int(owner),
                client_name=names.get(int(owner)) or _text(row, "client_name"),
                reference=_text(row, "reference"),
                disabled=row.get("disabled") is True,
                counted=tuple(text for one in whole for text in licence_lines(one)),
            )
        )
    return sorted(found, key=lambda one: (one.client_name.casefold(), one.client_id, one.id))


def _one(halo: Halo, invoice_id: int) -> tuple[Raw, ...]:
    raw = halo.invoice(invoice_id, recurring=True)
    return (raw,) if raw is not None else ()
