"""The partner: which installation we are, and which HaloPSA tenant this ledger belongs to [N6]."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from billingsync.errors import OtherTenant
from billingsync.store.book import Book
from billingsync.store.database import insert
from billingsync.store.fleet_tenants import claim_tenant, refuse_other_address
from billingsync.store.schema import installation, partner, posting


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """`key_name` is what keys [N1] and the journal's hashes are made with: the name that the partner had first, which
    stays when the ledger goes on under another one [F7]. `installation` is made once, 8 hex digits, and travels with
    every marker; `holder` is who last took the lock."""

    name: str
    key_name: str
    installation: str
    epoch: int
    holder: str
    halo_base_url: str | None
    halo_tenant: str | None
    bound_at: datetime | None  # when the first run tied this ledger to a tenant


class PartnerBook(Book):
    def partner(self) -> Partner:
        with self.reading() as connection:
            return find_partner(connection, self.name)

    def check_tenant(self, base_url: str, tenant_id: str | None) -> bool:
        """Whether the ledger is tied to this tenant already. OtherTenant where it belongs to another one and something
        was posted there: before that it may still be tied to any.

        Tenant ids decide where both are known: an address may change. Else the address does."""
        address, tenant = _canonical(base_url, tenant_id)
        with self.reading() as connection:
            refuse_other_address(connection, self.name, address)
            known = find_partner(connection, self.name)
            posted = connection.scalar(select(posting.c.key).where(posting.c.partner == self.name).limit(1)) is not None
        if known.halo_base_url is not None:
            by_id = known.halo_tenant and tenant
            same = known.halo_tenant == tenant if by_id else known.halo_base_url == address
            if not same and posted:
                raise OtherTenant(
                    f"This database belongs to the HaloPSA tenant {_tenant(known.halo_base_url, known.halo_tenant)}, "
                    f"and the settings point at {_tenant(address, tenant)}. Nothing was read or written. Set "
                    "BILLINGSYNC_HALO__BASE_URL back, or give the other tenant a database of its own in "
                    "BILLINGSYNC_DATABASE_URL.",
                    next_steps=[["billingsync", "settings", "show"]],
                )
            if not same:
                return False
        return (known.halo_base_url, known.halo_tenant) == (address, tenant or known.halo_tenant)

    def bind_tenant(self, base_url: str, tenant_id: str | None, now: datetime) -> None:
        """Ties the ledger to the HaloPSA tenant that has just let us in. Raises as `check_tenant`."""
        if self.check_tenant(base_url, tenant_id):
            return
        address, tenant = _canonical(base_url, tenant_id)
        with self.writing() as connection:
            known = find_partner(connection, self.name)
            moved = known.halo_base_url == address or (known.halo_tenant and known.halo_tenant == tenant)
            tenant = tenant or (known.halo_tenant if moved else None)
            set_tenant(connection, self.name, address, tenant, known.bound_at if moved and known.bound_at else now)
            if tenant:
                claim_tenant(connection, self.name, tenant)
            self.note(connection, "tenant", {"base_url": address, "tenant": tenant}, now)

    def installations(self) -> frozenset[str]:
        """Whose markers are ours: this installation's and those it took over."""
        with self.reading() as connection:
            own = find_partner(connection, self.name).installation
            return frozenset({own, *adopted(connection, self.name)})

    def adopt_installation(self, id: str, who: str, now: datetime) -> None:
        """Takes over the markers of an installation whose ledger was lost. A person's decision."""
        with self.writing() as connection:
            add_installation(connection, self.name, id, who, now)
            self.note(connection, "installation.adopted", {"installation": id, "who": who}, now)


def _canonical(base_url: str, tenant_id: str | None) -> tuple[str, str | None]:
    return base_url.strip().rstrip("/").lower(), tenant_id or None


def _tenant(address: str, id: str | None) -> str:
    return f"{id} at {address}" if id else address


def find_partner(connection: Connection, name: str) -> Partner:
    """The partner's row."""
    row = connection.execute(select(partner).where(partner.c.partner == name)).one()
    return Partner(
        name=row.partner,
        key_name=row.key_name,
        installation=row.installation,
        epoch=row.epoch,
        holder=row.holder,
        halo_base_url=row.halo_base_url,
        halo_tenant=row.halo_tenant,
        bound_at=row.bound_at,
    )


def find_key_name(connection: Connection, name: str) -> str | None:
    """What the partner's keys are made with; None where the database does not know the partner."""
    return connection.scalar(select(partner.c.key_name).where(partner.c.partner == name))


def add_partner(connection: Connection, name: str) -> str:
    """A new partner with a new installation id; none where another process was faster. Returns its key name."""
    row = insert(connection, partner).values(
        partner=name, key_name=name, installation=secrets.token_hex(4), epoch=0, token="", holder=""
    )
    connection.execute(row.on_conflict_do_nothing())
    return str(connection.execute(select(partner.c.key_name).where(partner.c.partner == name)).scalar_one())


def add_partners(connection: Connection, names: Iterable[str]) -> None:
    """New partners, each with an installation id of its own; one that is there already stays as it is."""
    rows = [{"partner": name, "key_name": name, "installation": secrets.token_hex(4)} for name in names]
    if rows:
        row = insert(connection, partner).values(epoch=0, token="", holder="")
        connection.execute(row.on_conflict_do_nothing(), rows)


def set_tenant(connection: Connection, name: str, base_url: str, tenant: str | None, bound_at: datetime) -> None:
    """Stores whom this ledger bills."""
    connection.execute(
        update(partner)
        .where(partner.c.partner == name)
        .values(halo_base_url=base_url, halo_tenant=tenant, bound_at=bound_at)
    )


def adopted(connection: Connection, name: str) -> tuple[str, ...]:
    """The installations that were taken over."""
    return tuple(connection.execute(select(installation.c.id).where(installation.c.partner == name)).scalars())


def add_installation(connection: Connection, name: str, id: str, who: str, now: datetime) -> None:
    """Remembers a taken-over installation; once is enough."""
    row = insert(connection, installation).values(partner=name, id=id, who=who, at=now)
    connection.execute(row.on_conflict_do_nothing())
