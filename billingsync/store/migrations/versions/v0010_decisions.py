"""What people decide about held charges, what is set aside, and the inputs of each kept plan."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Leads from 0009 to 0010."""
    op.create_table(
        "decision",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partner", "digest", "client", "currency", "kind", name=op.f("pk_decision")),
    )
    op.create_index("ix_decision_partner_period", "decision", ["partner", "period"])
    op.create_table(
        "set_aside",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "charge", name=op.f("pk_set_aside")),
    )
    op.create_index("ix_set_aside_partner_period", "set_aside", ["partner", "period"])
    op.create_table(
        "plan_inputs",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "digest", name=op.f("pk_plan_inputs")),
        sa.ForeignKeyConstraint(
            ["partner", "digest"], ["plan.partner", "plan.digest"], name=op.f("fk_plan_inputs_plan")
        ),
    )
