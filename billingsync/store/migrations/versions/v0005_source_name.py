"""Which source a distributor invoice and its raw answers come from; until now all were Pax8's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Leads from 0004 to 0005."""
    for table in ("source_document", "source_invoice"):
        op.add_column(table, sa.Column("source", sa.Text(), nullable=False, server_default="pax8"))
