"""What is remembered of all periods: what invoices said, whom companies were billed to, what names in rules meant."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_BILLED = ("posted", "adopted", "differs")


def upgrade() -> None:
    """Leads from 0007 to 0008. Who was billed is taken from the postings; what invoices said is read again from what is
    kept of them, by the first plan."""
    op.create_table(
        "said_charge",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("dated", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sold", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("twin", sa.Text(), nullable=False),
        sa.Column("reissue", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("cost", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("unit_price", sa.Text(), nullable=True),
        sa.Column("name_now", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "charge", name=op.f("pk_said_charge")),
    )
    for column in ("invoice_id", "twin", "reissue", "sold", "period"):
        op.create_index(op.f(f"ix_said_charge_partner_{column}"), "said_charge", ["partner", column])
    op.create_table(
        "company_billed",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=False),
        sa.Column("client_name", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "company_id", name=op.f("pk_company_billed")),
    )
    op.create_table(
        "rule_name",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("target_name", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "kind", "text", name=op.f("pk_rule_name")),
    )
    _who_was_billed()


def _who_was_billed() -> None:
    connection = op.get_bind()
    posting = sa.table("posting", *(sa.column(name) for name in _COLUMNS))
    rows = connection.execute(
        sa.select(posting).where(posting.c.state.in_(_BILLED)).order_by(posting.c.period, posting.c.key)
    )
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        for line in json.loads(row.lines):
            if company := line.get("company_id"):
                found[row.partner, company] = {
                    "partner": row.partner,
                    "company_id": company,
                    "client_id": row.client_id,
                    "client_name": row.client_name,
                    "period": row.period,
                }
    if found:
        columns = ("partner", "company_id", "client_id", "client_name", "period")
        table = sa.table("company_billed", *(sa.column(name) for name in columns))
        connection.execute(table.insert(), list(found.values()))


_COLUMNS = ("partner", "key", "client_id", "client_name", "period", "state", "lines")
