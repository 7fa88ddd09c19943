"""What a worker survives: a database that is away, and published files that this release refuses."""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from billingsync.errors import FleetError, LedgerError
from billingsync.fleet.cycle import Work, in_a_child
from billingsync.fleet.engine import Job
from billingsync.fleet.engine_pgqueuer import PgQueuerEngine
from billingsync.fleet.published import published_settings
from billingsync.fleet.worker import FleetWorker
from billingsync.settings import Settings
from tests.fleet.fleet_folder import FLEET, partner
from tests.fleet.fleet_house import House


def test_a_database_that_is_away_is_told_to_the_planner_as_such(tmp_path: Path) -> None:
    engine = PgQueuerEngine(f"host={tmp_path}")
    with pytest.raises(LedgerError, match="is away"):
        asyncio.run(engine.submit([Job(partner="acme")]))


def test_a_cycle_whose_database_is_away_says_so_and_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    work = Work(database_url=f"postgresql+psycopg:///none?host={tmp_path}", partner="acme", log_format="json")
    child = multiprocessing.get_context("spawn").Process(target=in_a_child, args=(work,))
    child.start()
    child.join(60)
    told = "".join(capfd.readouterr())
    assert child.exitcode == 0 and "no cycle began" in told and "Traceback" not in told, told


def test_a_worker_whose_engine_breaks_does_not_end_as_if_all_were_well() -> None:
    class Broken:
        async def serve(self, *_: object) -> None:
            raise LookupError("the engine has no tables")

        async def stop(self, _: float) -> None:
            return None

        async def submit(self, _: object) -> int:
            return 0

        async def counts(self) -> dict[str, int]:
            return {}

        @property
        def database(self) -> object:
            raise LedgerError("the database is away")

    nothing: Any = Broken()
    with pytest.raises(LookupError):
        asyncio.run(FleetWorker(fleet=nothing, engine=nothing, database_url="", slots=1, name="x").work())


@pytest.mark.parametrize(("settings", "own"), [(FLEET, '[halo]\ntimeout_s = "no"\n'), ("slots = 0\n", partner("acme"))])
def test_what_is_published_and_refused_is_a_mistake_of_the_files(settings: str, own: str) -> None:
    files = {"partners/acme/partner.toml": own, "fleet.toml": settings}
    with pytest.raises(FleetError, match="refused by this release"):
        published_settings(files, "acme", Settings(), secrets=False)


@pytest.mark.parametrize("words", [("worker",), ("run", "acme")])
def test_who_works_for_a_fleet_is_told_that_it_needs_postgresql(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = House(tmp_path, f"sqlite:///{tmp_path / 'none.db'}").run("fleet", *words).must(2)
    assert "a fleet needs PostgreSQL" in ran.stderr
