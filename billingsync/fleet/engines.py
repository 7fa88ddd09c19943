"""The engine of this fleet, made. Its library is imported here first: single installations do without it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sqlalchemy import make_url

from billingsync.errors import FleetError, LedgerError
from billingsync.fleet.engine import Engine


def conninfo_of(database_url: str) -> str:
    """libpq's form of a SQLAlchemy URL."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


def make_engine(database_url: str) -> Engine:
    """FleetError where the library is not installed."""
    try:
        from billingsync.fleet.engine_pgqueuer import PgQueuerEngine
    except ModuleNotFoundError as missing:
        raise FleetError(
            [
                f"The fleet's engine needs {missing.name}, which is not installed. Install billingsync again, from the "
                "checkout or file that it came from, with its extra [fleet]."
            ]
        ) from missing
    return PgQueuerEngine(conninfo_of(database_url))


async def counts_of(engine: Engine) -> Mapping[str, int]:
    """Its counts. LedgerError where it cannot be asked."""
    import psycopg

    try:
        return await engine.counts()
    except psycopg.Error as failed:
        raise LedgerError(f"The engine cannot be asked ({type(failed).__name__}).") from failed


def require_prepared(engine: Engine) -> None:
    """FleetError where the engine's tables are not there."""
    from psycopg.errors import UndefinedTable

    try:
        asyncio.run(engine.counts())
    except UndefinedTable as missing:
        raise FleetError(
            ["The engine has no tables in this database yet."], next_steps=[["billingsync", "db", "upgrade"]]
        ) from missing
