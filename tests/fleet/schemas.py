"""Databases of earlier versions."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade_to(revision: str, connection: Connection) -> None:
    """The schema as that revision left it, in an empty database."""
    config = Config()
    config.set_main_option("script_location", "billingsync.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
