"""Whose invoices billed a company last: it has left only once Pax8's invoice of that name is there [B8]."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0019"


def upgrade() -> None:
    """Leads from 0019 to 0017. Of what was billed before it is not known."""
    op.add_column("company_billed", sa.Column("partner_names", sa.Text(), nullable=True))
