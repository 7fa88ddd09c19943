"""`partners/NAME/partner.toml`: a partner's settings but for its secrets, and what the fleet must know of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field

from billingsync.fleet.toml_settings import Keys, read_settings
from billingsync.rulebook.file import Problem, RulesFile
from billingsync.settings import PartnerSettings, variables
from billingsync.settings.load import short_absence
from billingsync.settings.model import Variable


class FleetPartner(PartnerSettings):
    """One partner as the fleet's files have it, without secrets."""

    paused: bool = Field(default=False, description="true: no work is done for this partner")
    weight: int = Field(default=1, ge=1, le=1000, description="how much more work than others; the heavier goes first")
    shared_tenant: bool = Field(default=False, description="true: another partner bills the same HaloPSA tenant")


_SECTIONS = ("pax8", "halo", "poll", "snapshot", "notify", "retry")
_OF_PARTNER: dict[tuple[str, ...], tuple[str, ...]] = {
    ("partner", "zone"): ("timezone",),
    ("partner", "locale"): ("locale",),
    ("partner", "keep_sources_months"): ("keep_sources_months",),
    ("partner", "paused"): ("paused",),
    ("partner", "weight"): ("weight",),
    ("halo", "shared_tenant"): ("shared_tenant",),
}
_CHILDREN = (
    "does not work yet: this partner would be billed for every invoice of the account; leave it out, and give each "
    "partner a Pax8 account of its own"
)


def is_secret(variable: Variable) -> bool:
    """Whether the variable is a partner's secret, which stands where `fleet.secrets` reads it."""
    return variable.secret and variable.path[0] in PartnerSettings.model_fields


@cache
def _keys() -> Keys:
    elsewhere: dict[tuple[str, ...], str] = {
        ("partner", "name"): "a partner is called as its folder is; leave this out",
        ("partner", "timezone"): "is called zone here",
        ("pax8", "partner_names"): _CHILDREN,
        ("pax8", "account"): _CHILDREN,
        ("rules_dir",): "a partner's rules stand in rules/ beside this file; leave this out",
    }
    for variable in variables():
        if is_secret(variable):
            elsewhere[variable.path] = (
                "is a secret, which must not stand in a file of the fleet; put it where [secrets] of fleet.toml says, "
                f"as {variable.name}, and renew it: whoever has the files has seen it"
            )
        elif variable.path[0] not in PartnerSettings.model_fields or variable.path[0] == "webhook":
            elsewhere[variable.path] = f"is a setting of the machine, not of a partner; set {variable.name} there"
            elsewhere[variable.path[:1]] = (
                "is a setting of the machine, not of a partner; `billingsync settings show` lists them"
            )
    known = {v.path: v.path for v in variables() if v.path[0] in _SECTIONS and len(v.path) == 2 and not v.secret}
    return Keys(known=known | _OF_PARTNER, elsewhere=elsewhere)


def read_partner_file(name: str, file: RulesFile) -> tuple[FleetPartner | None, list[Problem], list[str]]:
    """The partner of that name; None with every mistake where there is one; and what is allowed and yet unwise."""
    found, problems = read_settings(file, FleetPartner, _keys())
    known = file.data is not None and not any(problem.key in ("halo", "halo.base_url") for problem in problems)
    halo = (file.data or {}).get("halo")
    if known and not (isinstance(halo, dict) and halo.get("base_url")):
        says = "is missing; write the HaloPSA tenant's address, e.g. https://acme.halopsa.com"
        problems.append(file.problem(("halo", "base_url"), "halo.base_url", says))
        found = None
    if found is None:
        return None, problems, []
    worry = short_absence(found.halo)
    warnings = [f"{file.path}: halo.absence_s is {worry}"] if worry else []
    return found.model_copy(update={"partner": name, "rules_dir": Path("rules")}), problems, warnings
