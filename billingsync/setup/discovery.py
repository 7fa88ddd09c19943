"""What HaloPSA has that rules can name, as lines for `rules/` to take over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from billingsync.core.bill.names import normalise
from billingsync.core.bill.targets import licence_lines
from billingsync.core.inputs import Client
from billingsync.psa.halo.catalogue import Named, read_catalogue
from billingsync.psa.halo.psa import HaloPsa
from billingsync.redaction import Redactor
from billingsync.settings import Settings


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
    def count(self) -> int:
        """How many things the lists have."""
        lists = (self.taxes, self.income_accounts, self.expense_accounts, self.item_groups, self.suppliers)
        return sum(map(len, lists)) + len(self.recurring)

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
        halo = HaloPsa(service)
        return discover(halo, halo.clients().rows)


def discover(halo: HaloPsa, clients: Sequence[Client]) -> Discovery:
    """What HaloPSA's lists show; a list that a role may not see does not keep the others back."""
    found = read_catalogue(halo)
    names = {client.id: client.name for client in clients}
    recurring = [
        Recurring(
            id=abs(one.id),
            client_id=one.client_id,
            client_name=names.get(one.client_id) or one.client_name.strip(),
            reference=one.reference,
            disabled=one.disabled,
            counted=tuple(licence_lines(one)) if one.counts_licences else (),
        )
        for one in found.templates
        if one.client_id is not None
    ]
    return Discovery(
        taxes=found.taxes,
        income_accounts=found.income_accounts,
        expense_accounts=found.expense_accounts,
        item_groups=found.item_groups,
        suppliers=found.suppliers,
        recurring=tuple(sorted(recurring, key=lambda one: (one.client_name.casefold(), one.client_id, one.id))),
        problems=found.problems,
    )
