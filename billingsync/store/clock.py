"""The database's own clock, which leases are measured by since the clocks of two machines may differ [F4]; and which
server it is [F8]."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, literal, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from billingsync.store.columns import Moment


class database_now(FunctionElement[datetime]):
    """The moment at which the statement is carried out, as the database sees it, and so many seconds later; as text of
    the form of `columns.moment`."""

    type = Moment()
    inherit_cache = True

    def __init__(self, seconds: ColumnElement[float] | float = 0.0) -> None:
        super().__init__(literal(seconds) if isinstance(seconds, float) else seconds)


@compiles(database_now, "sqlite")
def _sqlite(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    later = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', {later} || ' seconds')"


@compiles(database_now, "postgresql")
def _postgresql(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    # Not now(), which stands still while the transaction waits for a row. The form of a date is not a session's matter.
    later = compiler.process(element.clauses, **options)
    at = f"timezone('UTC', clock_timestamp() + CAST({later} AS double precision) * interval '1 second')"
    return f"""to_char({at}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


# One PostgreSQL cluster and its timeline: another one after each failover, and after each restore to an earlier moment.
server_now = literal_column(
    "(SELECT system_identifier FROM pg_control_system())"
    " || '/' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)",
    Text,
)
