"""Vendors' files that were imported, their rows, and what their accounts and services are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def _required(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _optional(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=True) for name in names]


def upgrade() -> None:
    """Leads from 0005 to 0006."""
    op.create_table(
        "import_file",
        *_required("partner"),
        sa.Column("id", sa.BigInteger(), nullable=False),
        *_required("profile", "profile_digest", "vendor", "period", "file_name", "sha256"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        *_required("state", "rows", "same_service"),
        sa.Column("skip_bad", sa.Boolean(), nullable=False),
        *_required("who", "at"),
        *_optional("ended_at"),
        *_required("ended_by"),
        sa.PrimaryKeyConstraint("partner", "id", name=op.f("pk_import_file")),
    )
    op.create_index(op.f("ix_import_file_partner_profile_period"), "import_file", ["partner", "profile", "period"])
    op.create_table(
        "import_row",
        *_required("partner"),
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        *_required("state", "vendor", "account", "service", "sku"),
        *_optional("quantity", "unit_price", "unit_cost"),
        *_required("currency", "subscription", "problem"),
        sa.PrimaryKeyConstraint("partner", "import_id", "line", name=op.f("pk_import_row")),
        sa.ForeignKeyConstraint(
            ["partner", "import_id"],
            ["import_file.partner", "import_file.id"],
            name=op.f("fk_import_row_import_file"),
        ),
    )
    op.create_table(
        "import_match",
        *_required("partner", "profile", "kind", "name", "targets", "who", "at"),
        sa.PrimaryKeyConstraint("partner", "profile", "kind", "name", name=op.f("pk_import_match")),
    )
