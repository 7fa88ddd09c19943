"""Until when the holder of a run's lock has it, on the database's clock [F4]; until now a session's lock said so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Leads from 0015 to 0016."""
    op.add_column("partner", sa.Column("until", sa.Text(), nullable=True))
