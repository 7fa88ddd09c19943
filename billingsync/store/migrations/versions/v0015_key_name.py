"""What keys and the journal's hashes are made with; until now it was the partner's name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Leads from 0014 to 0015."""
    op.add_column("partner", sa.Column("key_name", sa.Text(), nullable=True))
    op.execute("UPDATE partner SET key_name = partner")
    with op.batch_alter_table("partner") as table:
        table.alter_column("key_name", existing_type=sa.Text(), nullable=False)
