"""What a cycle needs is loaded in the server that forks it: a cycle loads nothing more, whatever it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fleet.fleet_house import house

CYCLE = """
import sys
import billingsync.fleet.warm
assert "billingsync.fleet.cycle" in sys.modules
from billingsync.fleet.cycle import Work, one_cycle
from billingsync.fleet.fleet_file import FleetSettings
from billingsync.fleet.partner_file import FleetPartner
from billingsync.settings import Settings
assert all(one.__pydantic_complete__ for one in (Settings, FleetPartner, FleetSettings))
before = set(sys.modules)
assert one_cycle(Work(database_url=sys.argv[1], partner="acme")).state == "well"
print("NEW", *(name for name in set(sys.modules) - before if not name.startswith(("encodings.", "stringprep"))))
"""


def test_a_cycle_that_bills_loads_no_module(tmp_path: Path, postgres_url: str) -> None:
    with house(tmp_path, postgres_url, "acme") as home:
        words = [sys.executable, "-c", CYCLE, postgres_url]
        ran = subprocess.run(words, env=home.environment(), capture_output=True, text=True, check=False, timeout=120)
        assert ran.returncode == 0 and home.is_billed("acme"), ran.stdout + ran.stderr
        assert ran.stdout.splitlines()[-1] == "NEW", ran.stdout
