"""Alembic's entry: it works inside the transaction that `billingsync.store.upgrade` opened."""

from __future__ import annotations

from alembic import context

from billingsync.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
