"""Which versions may still use the database, so that they can be replaced one by one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Leads from 0021 to 0022."""
    op.create_table(
        "ledger_schema",
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("oldest_reader", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("schema", name=op.f("pk_ledger_schema")),
    )
