"""Which server the lease was taken on, and whether a standby must have what is committed [F8]."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Leads from 0022 to 0023. Expands: versions of 0022 go on beside it."""
    op.add_column("partner", sa.Column("server", sa.Text(), nullable=True))
    op.add_column("fleet_version", sa.Column("standby", sa.Boolean(), nullable=True))
