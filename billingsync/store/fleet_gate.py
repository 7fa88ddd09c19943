"""Whom a fleet's database lets in: partners that were published, and runs of those that are not paused."""

from __future__ import annotations

from difflib import get_close_matches

from sqlalchemy import Connection, exists, select

from billingsync.core.partner import SINGLE
from billingsync.errors import Paused, UsageError
from billingsync.store.fleet_turns import parked
from billingsync.store.schema import fleet_partner, fleet_turn, fleet_version


def require_known(connection: Connection, name: str) -> None:
    """UsageError for a partner that was never published."""
    known = connection.scalar(select(fleet_partner.c.partner).where(fleet_partner.c.partner == name))
    if known is None:
        raise unknown_partner(connection, name)


def unknown_partner(connection: Connection, name: str) -> UsageError:
    """What to say where the fleet does not know the partner."""
    near = get_close_matches(name, connection.execute(select(fleet_partner.c.partner)).scalars().all(), 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return UsageError(
        f"The fleet has no partner {name[:60]!r}.{hint} Partners are made by `billingsync fleet apply` alone.",
        next_steps=[["billingsync", "fleet", "status"]],
    )


def refuse_strangers(connection: Connection, name: str) -> None:
    """UsageError where the database is a fleet's and has no such partner: a ledger made by a misspelt name would
    bill everything a second time."""
    row = connection.execute(
        select(
            exists(select(fleet_version.c.number)).label("fleet"),
            exists(select(fleet_partner.c.partner).where(fleet_partner.c.partner == name)).label("known"),
            select(fleet_partner.c.forgotten_at).where(fleet_partner.c.partner == name).scalar_subquery().label("gone"),
        )
    ).one()
    if row.gone is not None:
        raise UsageError(
            f"{name} was forgotten on {row.gone:%Y-%m-%d}: nothing of it is left here, and its name is not used again.",
            next_steps=[["billingsync", "fleet", "status"]],
        )
    if not row.fleet or row.known:
        return
    if name == SINGLE:
        raise UsageError(
            "This database is a fleet's, and no partner was named. Say for whom, with --partner NAME or in "
            "BILLINGSYNC_PARTNER.",
            next_steps=[["billingsync", "fleet", "status"]],
        )
    raise unknown_partner(connection, name)


def refuse_paused(connection: Connection, name: str) -> None:
    """Paused where no run may begin for the partner. Nothing outside of a fleet."""
    row = connection.execute(select(fleet_partner).where(fleet_partner.c.partner == name)).first()
    if row is None:
        return
    if row.removed:
        raise Paused(f"{name} is no more among the fleet's files, so no run begins for it. Its ledger stays.")
    if row.paused_at is not None:
        when = row.paused_at.isoformat(" ", "minutes")
        raise Paused(
            f"{name} is paused since {when} by {row.paused_by}: {row.paused_why}",
            next_steps=[["billingsync", "fleet", "resume", name]],
        )
    why = connection.scalar(select(fleet_turn.c.parked_why).where(fleet_turn.c.partner == name))
    if why is not None:
        raise parked(name, why)
    if row.paused:
        raise Paused(f"{name} is paused by its partner.toml. Take paused = true out there, and publish that.")
