"""What tells whether HaloPSA has made an invoice of our lines on recurring invoices since we wrote them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Leads from 0010 to 0011."""
    op.add_column("written_line", sa.Column("ordinal", sa.Integer(), nullable=True))
    op.add_column("written_line", sa.Column("written_at", sa.Text(), nullable=True))
    op.add_column("written_line", sa.Column("last_created", sa.Text(), nullable=True))
    op.add_column("written_line", sa.Column("invoiced", sa.Text(), nullable=True))
    op.add_column("written_line", sa.Column("once", sa.Boolean(), nullable=True))
