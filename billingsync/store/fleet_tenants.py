"""Which partner of a fleet bills which HaloPSA tenant: one tenant is one partner's, unless all of them say that they
share it. The database holds it too (see `schema.fleet_claim`)."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, select, update

from billingsync.errors import OtherTenant
from billingsync.store.database import insert
from billingsync.store.isolation import as_fleet
from billingsync.store.schema import fleet_claim, fleet_partner, fleet_tenant

Claims = Mapping[tuple[str, str], bool]  # (partner, tenant) -> whether it says that the tenant is shared
PUBLISH_LOCK = 0x666C6565  # PostgreSQL's advisory locks are numbers: "flee"


def claim_tenant(connection: Connection, name: str, tenant_id: str) -> None:
    """Notes that the partner bills the HaloPSA tenant of that id. OtherTenant where another one does, unless both say
    that they share it. Nothing outside of a fleet."""
    with as_fleet(connection):
        _claim(connection, name, tenant_id)


def _claim(connection: Connection, name: str, tenant_id: str) -> None:
    mine = connection.scalar(select(fleet_partner.c.shared_tenant).where(fleet_partner.c.partner == name))
    if mine is None:
        return
    tenant = f"id {tenant_id}"
    if connection.dialect.name == "postgresql":  # never beside a publication, which writes all claims anew
        connection.execute(select(func.pg_advisory_xact_lock_shared(PUBLISH_LOCK)))
    # Whoever comes second waits here until the first one's transaction is over, and then sees its claim.
    connection.execute(insert(connection, fleet_tenant).values(tenant=tenant, shared=mine).on_conflict_do_nothing())
    others = connection.execute(
        select(fleet_claim).where(fleet_claim.c.tenant == tenant, fleet_claim.c.partner != name)
    ).all()
    for other in others:
        if not (mine and other.shared):
            raise OtherTenant(
                f"{name} and {other.partner} bill the same HaloPSA tenant, {tenant_id}. Nothing was read or written. "
                "Give each its own, or write shared_tenant = true in [halo] of both, and publish that.",
                next_steps=[["billingsync", "fleet", "apply", "--dry-run"]],
            )
    # Of another tenant it may have billed before, as long as nothing was posted there.
    earlier = (
        (fleet_claim.c.partner == name) & fleet_claim.c.tenant.startswith("id ") & (fleet_claim.c.tenant != tenant)
    )
    connection.execute(delete(fleet_claim).where(earlier))
    if not others:
        connection.execute(update(fleet_tenant).where(fleet_tenant.c.tenant == tenant).values(shared=mine))
    row = {"partner": name, "tenant": tenant, "shared": mine}
    connection.execute(insert(connection, fleet_claim).values(**row).on_conflict_do_nothing())


def refuse_other_address(connection: Connection, name: str, address: str) -> None:
    """OtherTenant where the fleet published another address for this partner: whoever takes the settings of one partner
    for the ledger of another would bill the wrong one's charges. Nothing outside of a fleet."""
    own = (fleet_claim.c.partner == name) & fleet_claim.c.tenant.startswith("at ")
    published = connection.scalar(select(fleet_claim.c.tenant).where(own))
    if published is not None and published.split(" ")[1] != address:
        raise OtherTenant(
            f"The fleet's files say that {name} bills {published.split(' ')[1]}, and the settings point at {address}. "
            "Nothing was read or written.",
            next_steps=[["billingsync", "settings", "show"]],
        )


def claims_in(connection: Connection) -> Claims:
    """All of them."""
    return {(row.partner, row.tenant): row.shared for row in connection.execute(select(fleet_claim))}


def write_claims(connection: Connection, claims: Claims) -> None:
    """Makes them exactly these. The database refuses claims that contradict each other."""
    if claims == claims_in(connection):
        return
    connection.execute(delete(fleet_claim))
    connection.execute(delete(fleet_tenant))
    tenants = {tenant: shared for (_, tenant), shared in claims.items()}
    if tenants:
        connection.execute(fleet_tenant.insert(), [{"tenant": one, "shared": said} for one, said in tenants.items()])
        rows = [{"partner": name, "tenant": tenant, "shared": shared} for (name, tenant), shared in claims.items()]
        connection.execute(fleet_claim.insert(), rows)
