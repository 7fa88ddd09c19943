"""Ledgers that are moved: where to, and partners of a fleet that were forgotten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Leads from 0020 to 0021."""
    op.add_column("partner", sa.Column("moved", sa.Text(), nullable=True))
    op.add_column("fleet_partner", sa.Column("forgotten_at", sa.Text(), nullable=True))
