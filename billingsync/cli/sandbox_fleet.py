"""`billingsync sandbox --partners N`: a fleet that needs no credentials."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from billingsync.cli.terminal import document, note, out

if TYPE_CHECKING:
    from billingsync.sandbox.options import SandboxOptions


def serve_fleet(options: SandboxOptions, partners: int, directory: Path, port: int, *, json: bool) -> int:
    """Serves so many partners and writes the folder of their fleet below `directory`. Each has a month of its own, and
    the limits that the vendors have."""
    from billingsync.fleet.trial import write_trial
    from billingsync.sandbox.server import serve_many

    limited = replace(options, trouble=False, pax8_calls_per_minute=1000, halo_calls_per_5_minutes=300)
    digits = max(2, len(str(partners)))
    each = {f"partner-{nth:0{digits}}": replace(limited, seed=options.seed + nth - 1) for nth in range(1, partners + 1)}

    def announce(environments: dict[str, dict[str, str]]) -> None:
        settings = {name: _asked_for(environment) for name, environment in environments.items()}
        fleet, secrets = write_trial(directory, settings)
        steps = [["billingsync", "fleet", "check", str(fleet)], ["billingsync", "fleet", "apply", str(fleet)]]
        if json:
            document({"fleet": str(fleet), "secrets": str(secrets), "partners": environments}, steps)
            return
        out(f"{partners} partners in {fleet}, their secrets in {secrets}.")
        note("Serving until Ctrl-C. In another terminal, with an empty PostgreSQL as BILLINGSYNC_DATABASE_URL:")
        for words in (*steps, ["billingsync", "db", "upgrade"], ["billingsync", "fleet", "worker"]):
            note(f"  {' '.join(words)}")

    serve_many(each, port, announce=announce)
    return 0


def _asked_for(environment: dict[str, str]) -> dict[str, str]:
    """The partner's settings: with the calls a minute that partners have, and a month that is looked at at once."""
    kept = {name: value for name, value in environment.items() if not name.endswith("__CALLS_PER_MINUTE")}
    return kept | {"BILLINGSYNC_POLL__FROM_DAY": "1"}
