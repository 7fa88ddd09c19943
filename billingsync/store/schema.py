"""The ledger's tables. Each carries the partner in its key, so that many partners can share one database.

A change here needs a new revision in `migrations/versions` and in `REVISIONS`; tests compare the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.types import TypeEngine

from billingsync.core.states import ChargeState, CycleState, PostingAction, PostingState, RunState
from billingsync.store.columns import Json, Moment, Money, Named, Packed, Words

# Every revision that this version knows, oldest first. Kept here so that opening a ledger need not import Alembic.
REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
    "0015",
    "0016",
    "0019",
    "0017",
    "0018",
    "0020",
    "0021",
    "0022",
    "0023",
)
# A revision either *expands* (tables and columns that versions before need not know, so that they go on beside it) or
# *contracts* (what they still use goes away): a release later, when no worker of theirs is left. `upgrade` writes the
# second into the database.
OLDEST_SCHEMA = "0023"  # that this version can work with
OLDEST_READER = "0022"  # the newest schema of the oldest version that can work with our newest; contracting raises it

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def _table(name: str, key: tuple[str, ...], *content: Column[Any] | Index | ForeignKeyConstraint) -> Table:
    """A table of a partner: its primary key is the partner and `key`."""
    partner = Column("partner", Text, nullable=False)
    return Table(name, metadata, partner, *content, PrimaryKeyConstraint("partner", *key))


def _required(name: str, kind: type[TypeEngine[Any]] | TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _optional(name: str, kind: type[TypeEngine[Any]] | TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _only(sqlite: str, *, postgresql: str) -> dict[str, Any]:
    """The rows that a partial index is about. SQLAlchemy's own `postgresql_where` would import that dialect for SQLite
    too, each time that a ledger is opened."""
    return {"sqlite_where": text(sqlite), "info": {"postgresql_where": postgresql}}


@event.listens_for(metadata, "before_create")
def _only_on_postgresql(_target: MetaData, connection: Connection, **_: Any) -> None:
    if connection.dialect.name == "postgresql":
        for index in (index for table in metadata.sorted_tables for index in table.indexes):
            if where := index.info.get("postgresql_where"):
                index.dialect_options["postgresql"]["where"] = text(where)


def _from_source() -> Column[Any]:
    """Where a distributor invoice comes from: "pax8", or another source's name."""
    return Column("source", Text, nullable=False, server_default="pax8")


# One row a partner: who we are, whom we bill, and the lease of the run that holds the lock [F4]: its fence (epoch and
# token) and, on the database's clock, until when nobody else may take it.
partner = _table(
    "partner",
    (),
    _required("key_name", Text),  # what keys and the journal's hashes are made with: it stays, whatever the name [F7]
    _required("installation", Text),  # travels with every marker [N6]
    _required("epoch", BigInteger),
    _required("token", Text),
    _required("holder", Words),
    _optional("until", Moment),  # none: given back
    _optional("server", Text),  # PostgreSQL's identity and timeline when it was taken [F8]; none: not known
    _optional("halo_base_url", Words),
    _optional("halo_tenant", Words),
    _optional("bound_at", Moment),
    _optional("moved", Json),  # where this ledger went on, see `moving`; it writes nothing any more
)

# Whose markers are ours: our own, and those taken over by `billingsync adopt` [N6].
installation = _table(
    "installation",
    ("id",),
    _required("id", Text),
    _required("who", Words),
    _required("at", Moment),
)

# The raw JSON of every page read, unaltered [S3].
source_document = _table(
    "source_document",
    ("kind", "invoice_id", "page", "sha256"),
    _from_source(),
    _required("kind", Text),
    _required("invoice_id", Words),
    _required("page", Integer),
    _required("sha256", Text),
    _required("period", Text),
    _required("body", Packed),
    _required("fetched_at", Moment),
    Index(None, "partner", "period"),
)

source_invoice = _table(
    "source_invoice",
    ("invoice_id",),
    _from_source(),
    _required("invoice_id", Words),
    _required("period", Text),
    _required("status", Words),
    _optional("previous_status", Words),
    _optional("status_changed_at", Moment),
    _required("currency", Words),
    _optional("total", Money),
    _optional("charges", Integer),
    _required("first_seen", Moment),
    _required("last_seen", Moment),
    Index(None, "partner", "period"),
)

plan = _table(
    "plan",
    ("digest",),
    _required("digest", Text),
    _required("period", Text),
    _required("rules_digest", Text),
    _required("asked", Json),  # --client: company ids; empty means all
    _required("document", Packed),
    _required("created_at", Moment),
    Index(None, "partner", "period"),
)

approval = _table(
    "approval",
    ("digest", "client"),
    _required("digest", Text),
    _required("client", Words),  # a client's or a company's id
    _required("reason", Words),
    _required("who", Words),
    _required("at", Moment),
)

# What people decided about the holds of a plan; good in every plan of the period while what was shown is the same [V1].
# `approval` is what versions before revision 0010 kept instead.
decision = _table(
    "decision",
    ("digest", "client", "currency", "kind"),
    _required("digest", Text),
    _required("client", Words),  # a HaloPSA client's id, or a Pax8 company's
    _required("currency", Words),
    _required("kind", Text),
    _required("period", Text),
    _required("facts", Json),
    _required("reason", Words),
    _required("who", Words),
    _required("at", Moment),
    _optional("ended_at", Moment),
    Index(None, "partner", "period"),
)

# Charges that a person keeps from the next posting.
set_aside = _table(
    "set_aside",
    ("charge",),
    _required("charge", Words),
    _required("period", Text),
    _required("who", Words),
    _required("at", Moment),
    _required("reason", Words),
    Index(None, "partner", "period"),
)

# What a plan was made from, so that it can be planned again without asking Pax8 or HaloPSA.
plan_inputs = _table(
    "plan_inputs",
    ("digest",),
    _required("digest", Text),
    _required("body", Packed),
    ForeignKeyConstraint(["partner", "digest"], ["plan.partner", "plan.digest"]),
)

run = _table(
    "run",
    ("id",),
    _required("id", Text),
    _required("period", Text),
    _optional("digest", Text),
    _required("state", Named(RunState)),
    _required("started_at", Moment),
    _optional("ended_at", Moment),
    _required("who", Words),
    _required("summary", Json),
    Index(None, "partner", "state"),
)

# One row a write to one HaloPSA invoice, from its intent to its end [N1] [N2].
posting = _table(
    "posting",
    ("key",),
    _required("key", Text),
    _required("base_key", Text),
    _required("generation", Integer),
    _required("run", Text),
    _required("period", Text),
    _required("client_id", BigInteger),
    _required("client_name", Words),
    _required("action", Named(PostingAction)),
    _required("grouped_by", Words),
    _optional("target_invoice_id", BigInteger),
    _required("currency", Words),
    _required("amount", Money),
    _required("cost", Money),
    _required("content", Packed),  # the body, byte for byte as it is sent, and sent again
    _optional("before", Packed),  # the target invoice as it was
    _required("lines", Json),
    _required("state", Named(PostingState)),
    _optional("invoice_id", BigInteger),
    _required("attempts", Integer),
    _required("intended_at", Moment),
    _required("sent_at", Moment),
    _optional("settled_at", Moment),
    _required("message", Words),
    _optional("answer", Packed),
    _optional("returned_price", Money),
    _optional("returned_cost", Money),
    _optional("returned_lines", Json),
    _required("installation", Text),
    ForeignKeyConstraint(["partner", "run"], ["run.partner", "run.id"]),
    Index(None, "partner", "period"),
    Index(None, "partner", "run"),
    Index(None, "partner", "state"),
)

# Which line a charge is a source of. A charge that is split over items has one part a line, numbered from 0 [P5].
claim = _table(
    "claim",
    ("key", "charge", "part"),
    _required("key", Text),
    _required("charge", Words),
    _required("part", Integer),
    _required("line", Integer),
    _required("price", Money),
    _required("cost", Money),
    _required("currency", Words),
    _required("live", Boolean),
    ForeignKeyConstraint(["partner", "key"], ["posting.partner", "posting.key"]),
    Index(None, "partner", "charge"),
    # The database itself refuses a second live line [N3]. Part 0 always exists, so that a charge posted whole and
    # the same charge posted in parts exclude each other too.
    Index("uq_claim_live", "partner", "charge", "part", unique=True, **_only("live = 1", postgresql="live")),
)


# What runs dropped or excluded: it stays so [R3].
settled = _table(
    "settled",
    ("charge",),
    _required("charge", Words),
    _required("period", Text),
    _required("state", Named(ChargeState)),
    _required("by", Words),
    _required("price", Money),
    _required("cost", Money),
    _required("currency", Words),
    _required("run", Text),
    _required("at", Moment),
    ForeignKeyConstraint(["partner", "run"], ["run.partner", "run.id"]),
    Index(None, "partner", "period"),
)

company_match = _table(
    "company_match",
    ("company_id",),
    _required("company_id", Words),
    _optional("client_id", BigInteger),  # null: a person said that this company is never billed
    _required("how", Text),
    _required("company_name", Words),
    _required("confirmed", Boolean),
    _required("who", Words),
    _required("at", Moment),
)

item_match = _table(
    "item_match",
    ("sku",),
    _required("sku", Words),
    _required("item_id", BigInteger),
    _required("who", Words),
    _required("at", Moment),
    _optional("more", Json),  # further items, for the reconciliation
)

company_seen = _table(
    "company_seen",
    ("period", "company_id"),
    _required("period", Text),
    _required("company_id", Words),
)

product_seen = _table("product_seen", ("product",), _required("product", Words))

# The lines that we wrote on recurring invoices and that are still ours [B3].
written_line = _table(
    "written_line",
    ("invoice_id", "line_id"),
    _required("invoice_id", BigInteger),
    _required("line_id", BigInteger),
    _required("client_id", BigInteger),
    _required("company_id", Words),
    _required("period", Text),
    _required("recurring_key", Words),
    _required("title", Words),
    _required("description", Words),
    _required("quantity", Money),
    _required("unit_price", Money),
    _required("unit_cost", Money),
    _optional("item_id", BigInteger),
    _required("key", Text),
    # Of lines that an older version wrote these are not known.
    _optional("ordinal", Integer),
    _optional("written_at", Text),
    _optional("last_created", Text),
    _optional("invoiced", Json),
    _optional("once", Boolean),
    ForeignKeyConstraint(["partner", "key"], ["posting.partner", "posting.key"]),
)

# Append-only; each entry carries the hash of the one before.
journal = _table(
    "journal",
    ("seq",),
    _required("seq", BigInteger),
    _required("at", Text),
    _required("kind", Text),
    _required("body", Text),
    _required("previous", Text),
    _required("hash", Text),
)

# One pass of the worker over every month that is due; `months` is what it knows of each month since then.
cycle = _table(
    "cycle",
    ("id",),
    _required("id", BigInteger),
    _required("state", Named(CycleState)),
    _required("started_at", Moment),
    _optional("ended_at", Moment),
    _optional("next_at", Moment),
    _required("months", Json),
    _required("summary", Json),
)

# What people are told, once for each thing; an outbox, so that nobody waits for a mail server.
notice = _table(
    "notice",
    ("thing", "opened_at"),
    _required("thing", Words),
    _required("opened_at", Moment),
    _required("event", Text),
    _required("title", Words),
    _required("body", Words),
    _required("steps", Json),
    _required("lasting", Boolean),
    _required("delivered", Json),
    _required("attempts", Integer),
    _optional("told_at", Moment),
    _optional("closed_at", Moment),
)

# Who may use the desk. A person of an SSO issuer is known by (issuer, subject); the e-mail address is only shown then.
desk_person = _table(
    "desk_person",
    ("id",),
    _required("id", Text),
    _required("email", Words),
    _required("role", Text),
    _optional("password", Text),  # an Argon2id hash, with its parameters
    _optional("issuer", Words),
    _optional("subject", Words),
    _required("made_at", Moment),
    _optional("seen_at", Moment),
    _optional("disabled_at", Moment),
    Index(None, "partner", "email"),
)

# A browser that is signed in. Of its secret only the SHA-256 is here.
desk_session = _table(
    "desk_session",
    ("sha256",),
    _required("sha256", Text),
    _required("person", Text),
    _required("how", Text),
    _required("made_at", Moment),
    _required("seen_at", Moment),
    _required("address", Words),
    _required("agent", Words),
    Index(None, "partner", "person"),
)

# A link that is good once; of its secret only the SHA-256 is here.
desk_link = _table(
    "desk_link",
    ("sha256",),
    _required("sha256", Text),
    _required("kind", Text),
    _optional("person", Text),
    _required("body", Json),
    _required("ends_at", Moment),
)

# Failures to sign in, by account and by address, and until when either has to wait.
desk_attempt = _table(
    "desk_attempt",
    ("subject",),
    _required("subject", Words),
    _required("failures", Integer),
    _required("first_at", Moment),
    _optional("wait_until", Moment),
)

# Both sides read at one time [SN1]; `period` where it is the one that counts for that month, for ever.
snapshot = _table(
    "snapshot",
    ("id",),
    _required("id", BigInteger),
    _required("as_at", Moment),
    _required("ended_at", Moment),
    _required("state", Text),
    _required("why", Text),
    _required("counts", Json),
    _required("invoice_ids", Json),
    _required("rules_digest", Text),
    _required("missing", Json),
    _required("suspect", Json),
    _required("mapped", Json),
    _required("seats", Json),
    _required("prices", Json),
    _required("period", Text),
    _required("confirmed_by", Words),
)

# The raw JSON of every answer that a snapshot was made of, unaltered.
snapshot_document = _table(
    "snapshot_document",
    ("snapshot", "kind", "of", "page"),
    _required("snapshot", BigInteger),
    _required("kind", Text),
    _required("of", Words),
    _required("page", Integer),
    _required("sha256", Text),
    _required("body", Packed),
    ForeignKeyConstraint(["partner", "snapshot"], ["snapshot.partner", "snapshot.id"]),
)

# Vendors' files that were imported [IM10], as they came. Of a profile and period the `current` ones count.
import_file = _table(
    "import_file",
    ("id",),
    _required("id", BigInteger),
    _required("profile", Words),
    _required("profile_digest", Text),
    _required("vendor", Words),
    _required("period", Text),
    _required("file_name", Words),
    _required("sha256", Text),
    _required("size", BigInteger),
    _required("body", Packed),
    _required("state", Text),
    _required("rows", Json),  # how many are in which state
    _required("same_service", Text),
    _required("skip_bad", Boolean),
    _required("who", Words),
    _required("at", Moment),
    _optional("ended_at", Moment),  # when another file replaced it, or a person removed it
    _required("ended_by", Words),
    Index(None, "partner", "profile", "period"),
)

# Files that somebody is about to import on the desk, with what was chosen so far; forgotten after some days.
import_draft = _table(
    "import_draft",
    ("id",),
    _required("id", Text),
    _required("who", Words),
    _required("at", Moment),
    _required("file_name", Words),
    _required("sha256", Text),
    _required("size", BigInteger),
    _required("body", Packed),
    _required("choices", Json),
)

import_row = _table(
    "import_row",
    ("import_id", "line"),
    _required("import_id", BigInteger),
    _required("line", Integer),
    _required("state", Text),
    _required("vendor", Words),
    _required("account", Words),
    _required("service", Words),
    _required("sku", Words),
    _optional("quantity", Money),
    _optional("unit_price", Money),
    _optional("unit_cost", Money),
    _required("currency", Words),
    _required("subscription", Words),
    _required("problem", Words),
    ForeignKeyConstraint(["partner", "import_id"], ["import_file.partner", "import_file.id"]),
)

# What a file's account or service is in HaloPSA, said by a person. No target: it is none of ours.
import_match = _table(
    "import_match",
    ("profile", "kind", "name"),
    _required("profile", Words),
    _required("kind", Text),
    _required("name", Words),
    _required("targets", Json),  # an account's client id, a service's item ids
    _required("who", Words),
    _required("at", Moment),
)

# What a Pax8 invoice said of a charge when something of it was first billed: it stays said [S9]. `twin` and `reissue`
# tell the same charge on another invoice [S10]; `name_now` is what it is called where `charge` is an older name [S5].
said_charge = _table(
    "said_charge",
    ("charge",),
    _required("charge", Words),
    _required("invoice_id", Words),
    _required("dated", Text),
    _required("period", Text),
    _required("company_id", Words),
    _required("type", Words),
    _required("sold", Words),
    _required("product", Words),
    _required("twin", Text),
    _required("reissue", Text),
    _required("price", Money),
    _required("cost", Money),
    _required("currency", Words),
    _optional("unit_price", Money),
    _required("name_now", Words),
    Index(None, "partner", "invoice_id"),
    Index(None, "partner", "twin"),
    Index(None, "partner", "reissue"),
    Index(None, "partner", "sold"),
    Index(None, "partner", "period"),
)

# Whom a company was billed to last: who pays changes only by a person [C1b].
company_billed = _table(
    "company_billed",
    ("company_id",),
    _required("company_id", Words),
    _required("client_id", BigInteger),
    _required("client_name", Words),
    _required("period", Text),
    _optional("partner_names", Json),  # of the invoices that billed it; none: not known
)

# What a name in the rules meant when it first fitted [C4]; `kind`: company | client | product.
rule_name = _table(
    "rule_name",
    ("kind", "text"),
    _required("kind", Text),
    _required("text", Words),
    _required("target", Words),
    _required("target_name", Words),
    _required("who", Words),
    _required("at", Moment),
)

# Each transition of each card, in order [CD1]; `before` and `after` are the line's numbers that were decided on.
card_decision = _table(
    "card_decision",
    ("seq",),
    _required("seq", BigInteger),
    _required("card", Text),
    _required("digest", Text),
    _required("cycle", Text),
    _required("state", Text),
    _required("before", Json),
    _required("after", Json),
    _required("who", Words),
    _required("reason", Words),
    _optional("until", Text),
    _required("at", Moment),
    _optional("choice", Json),  # what the person typed or chose
)

# One write of cards to one recurring invoice: its intent, and what became of it [WB1].
card_write = _table(
    "card_write",
    ("key",),
    _required("key", Text),
    _required("base_key", Text),
    _required("generation", Integer),
    _optional("undoes", Text),  # the key of the write that this one takes back
    _required("client_id", BigInteger),
    _required("client_name", Words),
    _required("invoice_id", BigInteger),
    _required("cycle", Text),
    _required("who", Words),
    _required("reason", Words),
    _required("lines", Json),
    _required("content", Packed),
    _required("before", Packed),
    _required("installation", Text),
    _required("state", Text),
    _required("message", Words),
    _optional("answer", Packed),
    _required("attempts", Integer),
    _required("intended_at", Moment),
    _required("sent_at", Moment),
    _optional("settled_at", Moment),
    Index(None, "partner", "state"),
)

# A person said that a line carries a client's product [LC6]; `family` is a SKU, or a product's name.
pairing = _table(
    "pairing",
    ("client_id", "line_id"),
    _required("client_id", BigInteger),
    _required("line_id", BigInteger),
    _required("family", Words),
    _required("who", Words),
    _required("at", Moment),
)

# What the desk asked for that takes longer than a page. Claimed by compare and set, by one process at a time.
desk_order = _table(
    "desk_order",
    ("id",),
    _required("id", Text),
    _required("kind", Text),
    _required("arguments", Json),
    _optional("digest", Text),
    _required("who", Words),
    _required("at", Moment),
    _required("state", Text),
    _optional("claimer", Text),
    _optional("begun_at", Moment),
    _optional("ended_at", Moment),
    _required("says", Words),  # how far it is, or for whom it waits
    _optional("run", Text),
    _required("outcome", Json),
    Index(None, "partner", "state"),
)

# Processes that can carry out orders, and when each last showed that it lives.
desk_life = _table("desk_life", ("id",), _required("id", Text), _required("kind", Text), _required("at", Moment))

# A plan once more, client by client, so that a page reads the rows that it shows and no plan is ever parsed for it.
plan_client = _table(
    "plan_client",
    ("digest", "nth"),
    _required("digest", Text),
    _required("nth", Integer),
    _required("company_id", Words),
    _required("company_name", Words),
    _optional("client_id", BigInteger),
    _required("client_name", Words),
    _required("matched_by", Words),
    _required("guessed", Words),
    _required("behavior", Text),
    _optional("target_invoice_id", BigInteger),
    _required("currency", Words),
    _required("added", Integer),
    _required("updated", Integer),
    _required("removed", Integer),
    _required("same", Integer),
    _required("amount", Money),
    _required("cost", Money),
    _required("held", Words),  # the reason where every charge waits
    _required("holds", Json),  # [[reason, currency, amount, cost, charges], ...]
    _required("left_out", Integer),  # dropped and excluded charges
    _optional("last_amount", Money),
    _required("last_period", Text),
    _required("moved", Boolean),
    _required("below_cost", Boolean),
    _required("search", Words),
    _required("body", Text),  # the SHA-256 of plan_body
)

# What stands above the clients: the equation, sources, warnings, and what belongs to no company.
# `made_at` is when the plan was last made: what is undone makes an earlier plan the newest again.
plan_head = _table(
    "plan_head", ("digest",), _required("digest", Text), _required("made_at", Moment), _required("body", Packed)
)

# One client's lines, holds and what is left out, kept once however many plans hold the same.
plan_body = _table("plan_body", ("sha256",), _required("sha256", Text), _required("body", Packed))

# What people wrote on the desk instead of in a rules file: every version of every text; the last one counts, and an
# empty text says nothing. `company_id` is "" for all clients.
desk_rules = _table(
    "desk_rules",
    ("company_id", "version"),
    _required("company_id", Words),
    _required("version", Integer),
    _required("company_name", Words),
    _optional("client_id", BigInteger),
    _required("text", Words),
    _required("who", Words),
    _required("reason", Words),
    _required("at", Moment),
)

# The calls that were taken from each account's budget, in blocks; the block "" is the account itself, and says until
# when it is closed. An account may be several partners', so that this is no table of one.
call_budget = Table(
    "call_budget",
    metadata,
    _required("account", Text),
    _required("service", Text),
    _required("block", Text),
    _optional("until", Moment),
    _required("taken", Integer),
    _optional("ended", Moment),
    PrimaryKeyConstraint("account", "service", "block"),
)

# One row: the schema, as its own upgrade wrote it, and see OLDEST_READER.
ledger_schema = Table(
    "ledger_schema", metadata, Column("schema", Text, primary_key=True), _required("oldest_reader", Text)
)

# The fleet ------------------------------------------------------------------------------------------------------------
# What `fleet apply` published. The first three tables are of all partners and hold no partner's data.

# Every text once, by its SHA-256.
fleet_file = Table("fleet_file", metadata, Column("sha256", Text, primary_key=True), _required("body", Packed))

# One row each time that something was published; `settings` is the SHA-256 of fleet.toml.
fleet_version = Table(
    "fleet_version",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    _required("settings", Text),
    _required("published_at", Moment),
    _required("who", Words),
    _optional("standby", Boolean),  # what is committed must be on a standby server too
)

# HaloPSA tenants that a partner bills, by address ("at ...") or by id ("id ..."), and whether partners may share it.
fleet_tenant = Table(
    "fleet_tenant",
    metadata,
    Column("tenant", Words, primary_key=True),
    _required("shared", Boolean),
    UniqueConstraint("tenant", "shared"),
)

# Which partner bills which tenant. The foreign key makes all partners of one tenant say the same of it, the index lets
# only one bill a tenant that is not shared.
fleet_claim = _table(
    "fleet_claim",
    ("tenant",),
    _required("tenant", Words),
    _required("shared", Boolean),
    ForeignKeyConstraint(("tenant", "shared"), ("fleet_tenant.tenant", "fleet_tenant.shared")),
    Index("uq_fleet_claim_tenant", "tenant", unique=True, **_only("NOT shared", postgresql="NOT shared")),
)

# The fleet's partners: those that were published once, and none that was not. `paused` is what its file says, the
# `paused_*` what `fleet pause` says; `problems` are the mistakes of files that were not published.
fleet_partner = _table(
    "fleet_partner",
    (),
    _required("since", Integer),  # the version that made it
    _required("removed", Boolean),
    _required("weight", Integer),
    _required("paused", Boolean),
    _required("shared_tenant", Boolean),
    _required("problems", Json),
    _optional("paused_at", Moment),
    _optional("paused_by", Words),
    _optional("paused_why", Words),
    _optional("forgotten_at", Moment),  # by `fleet forget`: nothing else is left of it; its name is never used again
)

# The files that decide about a partner, path -> SHA-256, from that version on until its next row.
fleet_partner_version = _table(
    "fleet_partner_version", ("version",), _required("version", Integer), _required("files", Json)
)

# How a partner's cycles fare at the workers. `starts` and `deaths` are counted since one ended: of all that began, and
# of those whose worker saw them die. `parked_at`: too many of them; no cycle begins. `cause` is why the last cycle
# failed ("login:Pax8"), `failures` how often in a row for this very cause. `calls` are those of `month`, `calls_before`
# those of the month before.
fleet_turn = _table(
    "fleet_turn",
    (),
    _required("starts", Integer),
    _required("deaths", Integer),
    _required("failures", Integer),
    _required("calls", Integer),
    _required("calls_before", Integer),
    _optional("month", Words),
    _optional("cause", Words),
    _optional("cause_at", Moment),
    _optional("parked_at", Moment),
    _optional("parked_why", Words),
)

# The workers that were seen lately. `counts` is JSON; `drain_at` is set by `fleet drain`: it begins nothing new.
fleet_worker = Table(
    "fleet_worker",
    metadata,
    Column("worker", Text, primary_key=True),  # chosen at random by each process
    _required("name", Words),
    _required("version", Words),
    _required("started_at", Moment),
    _required("seen_at", Moment),
    _required("slots", Integer),
    _required("running", Integer),
    _required("counts", Json),
    _optional("says", Words),  # why it gives out no work
    _optional("drain_at", Moment),
    _optional("drain_by", Words),
)

# What the bureau is told. `thing` names it, e.g. "upstream:Pax8"; while one that concerns many partners is open, their
# own notices of it wait.
fleet_notice = Table(
    "fleet_notice",
    metadata,
    Column("thing", Words, primary_key=True),
    Column("opened_at", Moment, primary_key=True),
    _required("event", Words),
    _required("title", Words),
    _required("body", Words),
    _required("steps", Json),
    _required("partners", Integer),  # how many it concerns
    _optional("sending_until", Moment),  # a worker is at it
    _optional("told_at", Moment),
    _optional("closed_at", Moment),
)
