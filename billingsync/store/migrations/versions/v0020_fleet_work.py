"""The fleet at work: how each partner's cycles fare, the workers, and what the bureau is told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0018"


def upgrade() -> None:
    """Leads from 0018 to 0020."""
    op.create_table(
        "fleet_turn",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("calls_before", sa.Integer(), nullable=False),
        sa.Column("month", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("cause_at", sa.Text(), nullable=True),
        sa.Column("parked_at", sa.Text(), nullable=True),
        sa.Column("parked_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partner", name=op.f("pk_fleet_turn")),
    )
    op.create_table(
        "fleet_worker",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("says", sa.Text(), nullable=True),
        sa.Column("drain_at", sa.Text(), nullable=True),
        sa.Column("drain_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("worker", name=op.f("pk_fleet_worker")),
    )
    op.create_table(
        "fleet_notice",
        sa.Column("thing", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("partners", sa.Integer(), nullable=False),
        sa.Column("sending_until", sa.Text(), nullable=True),
        sa.Column("told_at", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("thing", "opened_at", name=op.f("pk_fleet_notice")),
    )
