"""What the server that forks the cycles loads once, so that no cycle need load it again: a cycle that finds nothing to
do costs a third of what it would cost cold."""

from __future__ import annotations

import gc
import pwd  # noqa: F401

import authlib.oauth2.auth  # type: ignore[import-untyped]  # noqa: F401  with the first login; it has no stubs
import babel.dates
import babel.numbers  # noqa: F401
import psycopg.types.uuid  # noqa: F401
import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401  with the first connection

from billingsync.fleet import cycle  # noqa: F401
from billingsync.fleet.fleet_file import FleetSettings
from billingsync.fleet.partner_file import FleetPartner
from billingsync.settings import Settings

for model in (Settings, FleetPartner, FleetSettings):
    model.model_rebuild(force=not model.__pydantic_complete__)
gc.collect()
gc.freeze()  # else the child's first look for garbage would copy all of it
