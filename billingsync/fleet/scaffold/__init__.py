"""What `billingsync fleet init` writes: a commented fleet's folder. Nothing that exists is ever overwritten."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from billingsync.setup.scaffold import scaffold_text, write_missing

EXAMPLE = "partners/_example"  # its underscore keeps `fleet check` from reading it


def write_fleet(directory: Path) -> list[tuple[Path, str]]:
    """Writes what is missing below `directory` and says of each path whether it was "written" or "kept".
    BillingSyncError where writing fails."""

    def own(name: str) -> str:
        return files(__name__).joinpath(name).read_text(encoding="utf-8")

    texts = {
        "fleet.toml": own("fleet.toml"),
        "rules/defaults.toml": scaffold_text("defaults.toml"),
        "rules/integrations/pax8.toml": scaffold_text("pax8.toml"),
        f"{EXAMPLE}/partner.toml": own("partner.toml"),
        f"{EXAMPLE}/rules/clients/contoso.toml.example": scaffold_text("client.example.toml"),
    }
    return write_missing(directory, texts, again=("billingsync", "fleet", "init", str(directory)))
