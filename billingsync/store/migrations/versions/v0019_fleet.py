"""The fleet: what was published, its partners, and which HaloPSA tenant is whose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0016"


def upgrade() -> None:
    """Leads from 0016 to 0019."""
    op.create_table(
        "fleet_file",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_fleet_file")),
    )
    op.create_table(
        "fleet_version",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("published_at", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_fleet_version")),
    )
    op.create_table(
        "fleet_tenant",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_fleet_tenant")),
        sa.UniqueConstraint("tenant", "shared", name=op.f("uq_fleet_tenant_tenant_shared")),
    )
    op.create_table(
        "fleet_claim",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ("tenant", "shared"),
            ("fleet_tenant.tenant", "fleet_tenant.shared"),
            name=op.f("fk_fleet_claim_fleet_tenant"),
        ),
        sa.PrimaryKeyConstraint("partner", "tenant", name=op.f("pk_fleet_claim")),
    )
    unshared = sa.text("NOT shared")
    op.create_index(
        "uq_fleet_claim_tenant",
        "fleet_claim",
        ["tenant"],
        unique=True,
        sqlite_where=unshared,
        postgresql_where=unshared,
    )
    op.create_table(
        "fleet_partner",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("shared_tenant", sa.Boolean(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("paused_at", sa.Text(), nullable=True),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("paused_why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partner", name=op.f("pk_fleet_partner")),
    )
    op.create_table(
        "fleet_partner_version",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "version", name=op.f("pk_fleet_partner_version")),
    )
