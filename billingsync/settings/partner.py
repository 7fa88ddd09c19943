"""What a partner's work needs to know: whose it is, where its rules are, both services, who is told. Nothing of the
machine that does the work: its database, ports, log and desk are in `settings.model`, so that one machine can serve
many partners."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from billingsync.core.partner import SINGLE
from billingsync.settings import values
from billingsync.settings.groups import Halo, Notify, Pax8, Ping, Poll, Retry, Snapshot, Webhook, defaults

_ROLES = ("user", "financial", "admin")


class PartnerSettings(BaseModel):
    """One partner's settings. Whatever works for a partner is given this, and nothing of the machine."""

    model_config = ConfigDict(defer_build=True)

    partner: Annotated[str, AfterValidator(values.partner_name)] = Field(
        default=SINGLE, description="whose ledger in the database this is; a single installation needs no name"
    )
    rules_dir: Path = Field(default=Path("rules"), description="where the rules are")
    timezone: Annotated[str, AfterValidator(values.time_zone)] = Field(
        default="UTC", description="the partner's time zone: decides what day it is"
    )
    locale: Annotated[str, AfterValidator(values.locale)] = Field(
        default="en_US", description="how people see amounts and dates; data is never localised"
    )
    keep_sources_months: int | None = Field(
        default=None, ge=13, le=1200, description="months that Pax8's raw answers are kept; unset: for ever"
    )
    # A guard rail, no security: who reads the database can do all.
    role: Annotated[
        Literal["user", "financial", "admin"] | None, BeforeValidator(lambda value: values.choice(value, _ROLES))
    ] = Field(default=None, description="narrows what commands show and do: user, financial or admin; unset: admin")
    pax8: Pax8 = defaults()
    halo: Halo = defaults()
    poll: Poll = defaults()
    snapshot: Snapshot = defaults()
    webhook: Webhook = defaults()
    notify: Notify = defaults()
    ping: Ping = defaults()
    retry: Retry = defaults()

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)
