"""A partner's settings and rules as they are published, for whoever works for it on any machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from billingsync.errors import FleetError
from billingsync.fleet.fleet_file import read_fleet_file
from billingsync.fleet.layout import FLEET, Files, read_layout
from billingsync.fleet.secrets import with_secrets
from billingsync.rulebook.file import read_rules_text
from billingsync.settings import PartnerSettings, Settings
from billingsync.store.fleet import Fleet

_MACHINES = frozenset({"rules_dir", "role"})  # who sits at the machine may be narrowed in what it does


def published_files(fleet: Fleet, name: str, version: int) -> Mapping[str, str]:
    """The files that decide about the partner, fleet.toml among them: path -> text."""
    return {**fleet.files_of(name, version), FLEET: fleet.settings_of(version)}


def write_rules(files: Mapping[str, str], name: str, folder: Path) -> Path:
    """Writes the partner's published files below `folder`; returns where its rules are, relative to that."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    rules = Path("partners") / name / "rules"
    (folder / rules).mkdir(exist_ok=True)
    return rules


def published_settings(files: Mapping[str, str], name: str, machine: Settings, *, secrets: bool) -> Settings:
    """The partner's settings on a machine of these: of the machine's own count those alone that are no partner's.
    Without `secrets` none is read, and those of the result are empty. Raises SecretsError, and
    FleetError where this release refuses what was published."""
    read = {path: read_rules_text(path, text) for path, text in files.items()}
    own, _, _ = read_fleet_file(read[FLEET])
    layout = read_layout(Files(files=read))
    partner = layout.partners[name].settings
    if own is None or partner is None:
        raise FleetError(
            [
                *layout.problems,
                f"What is published for {name} is refused by this release. Mend it and publish it again.",
            ],
            next_steps=[["billingsync", "fleet", "check"], ["billingsync", "fleet", "apply"]],
        )
    if secrets:
        partner = with_secrets(partner, own.secrets)
    given = {field: getattr(partner, field) for field in PartnerSettings.model_fields if field not in _MACHINES}
    return machine.model_copy(update=given)
