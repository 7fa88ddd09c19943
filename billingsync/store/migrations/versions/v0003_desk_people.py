"""Who may use the desk: people, their sessions, links that are good once, and failures to sign in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Leads from 0002 to 0003."""
    op.create_table(
        "desk_person",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("issuer", sa.Text(), nullable=True),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Text(), nullable=True),
        sa.Column("disabled_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partner", "id", name=op.f("pk_desk_person")),
    )
    op.create_index("ix_desk_person_partner_email", "desk_person", ["partner", "email"])
    op.create_table(
        "desk_session",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("made_at", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "sha256", name=op.f("pk_desk_session")),
    )
    op.create_index("ix_desk_session_partner_person", "desk_session", ["partner", "person"])
    op.create_table(
        "desk_link",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("ends_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "sha256", name=op.f("pk_desk_link")),
    )
    op.create_table(
        "desk_attempt",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.Text(), nullable=False),
        sa.Column("wait_until", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partner", "subject", name=op.f("pk_desk_attempt")),
    )
