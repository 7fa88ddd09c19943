"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Leads from an empty database to 0001. A ledger is never led back: there is no downgrade."""
    op.create_table(
        "approval",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "digest", "client", name=op.f("pk_approval")),
    )
    op.create_table(
        "company_match",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=True),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("company_name", sa.Text(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "company_id", name=op.f("pk_company_match")),
    )
    op.create_table(
        "company_seen",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "period", "company_id", name=op.f("pk_company_seen")),
    )
    op.create_table(
        "installation",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "id", name=op.f("pk_installation")),
    )
    op.create_table(
        "item_match",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "sku", name=op.f("pk_item_match")),
    )
    op.create_table(
        "journal",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "seq", name=op.f("pk_journal")),
    )
    op.create_table(
        "partner",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("installation", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("halo_base_url", sa.Text(), nullable=True),
        sa.Column("halo_tenant", sa.Text(), nullable=True),
        sa.Column("bound_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("partner", name=op.f("pk_partner")),
    )
    op.create_table(
        "plan",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("rules_digest", sa.Text(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "digest", name=op.f("pk_plan")),
    )
    op.create_index(op.f("ix_plan_partner_period"), "plan", ["partner", "period"], unique=False)
    op.create_table(
        "product_seen",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "product", name=op.f("pk_product_seen")),
    )
    op.create_table(
        "run",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "id", name=op.f("pk_run")),
    )
    op.create_index(op.f("ix_run_partner_state"), "run", ["partner", "state"], unique=False)
    op.create_table(
        "source_document",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("fetched_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "kind", "invoice_id", "page", "sha256", name=op.f("pk_source_document")),
    )
    op.create_index(op.f("ix_source_document_partner_period"), "source_document", ["partner", "period"], unique=False)
    op.create_table(
        "source_invoice",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("previous_status", sa.Text(), nullable=True),
        sa.Column("status_changed_at", sa.Text(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("total", sa.Text(), nullable=True),
        sa.Column("charges", sa.Integer(), nullable=True),
        sa.Column("first_seen", sa.Text(), nullable=False),
        sa.Column("last_seen", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "invoice_id", name=op.f("pk_source_invoice")),
    )
    op.create_index(op.f("ix_source_invoice_partner_period"), "source_invoice", ["partner", "period"], unique=False)
    op.create_table(
        "posting",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("base_key", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=False),
        sa.Column("client_name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("grouped_by", sa.Text(), nullable=False),
        sa.Column("target_invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount", sa.Text(), nullable=False),
        sa.Column("cost", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=True),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("intended_at", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.Text(), nullable=False),
        sa.Column("settled_at", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("returned_price", sa.Text(), nullable=True),
        sa.Column("returned_cost", sa.Text(), nullable=True),
        sa.Column("returned_lines", sa.Text(), nullable=True),
        sa.Column("installation", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["partner", "run"], ["run.partner", "run.id"], name=op.f("fk_posting_run")),
        sa.PrimaryKeyConstraint("partner", "key", name=op.f("pk_posting")),
    )
    op.create_index(op.f("ix_posting_partner_period"), "posting", ["partner", "period"], unique=False)
    op.create_index(op.f("ix_posting_partner_run"), "posting", ["partner", "run"], unique=False)
    op.create_index(op.f("ix_posting_partner_state"), "posting", ["partner", "state"], unique=False)
    op.create_table(
        "settled",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("cost", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["partner", "run"], ["run.partner", "run.id"], name=op.f("fk_settled_run")),
        sa.PrimaryKeyConstraint("partner", "charge", name=op.f("pk_settled")),
    )
    op.create_index(op.f("ix_settled_partner_period"), "settled", ["partner", "period"], unique=False)
    op.create_table(
        "claim",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("cost", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["partner", "key"], ["posting.partner", "posting.key"], name=op.f("fk_claim_posting")),
        sa.PrimaryKeyConstraint("partner", "key", "charge", "part", name=op.f("pk_claim")),
    )
    op.create_index(op.f("ix_claim_partner_charge"), "claim", ["partner", "charge"], unique=False)
    op.create_index(
        "uq_claim_live",
        "claim",
        ["partner", "charge", "part"],
        unique=True,
        sqlite_where=sa.text("live = 1"),
        postgresql_where=sa.text("live"),
    )
    op.create_table(
        "written_line",
        sa.Column("partner", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("line_id", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.BigInteger(), nullable=False),
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("recurring_key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("unit_price", sa.Text(), nullable=False),
        sa.Column("unit_cost", sa.Text(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["partner", "key"], ["posting.partner", "posting.key"], name=op.f("fk_written_line_posting")
        ),
        sa.PrimaryKeyConstraint("partner", "invoice_id", "line_id", name=op.f("pk_written_line")),
    )
