"""The model of a fleet: by hand-counted days, by what is known of 2,000 partners, and against 20 partners for real."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from billingsync.fleet.simulate import (
    BETWEEN_S,
    LEASE_S,
    Forecast,
    Month,
    Shape,
    forecast,
    measured,
    of_clients,
    typical,
)
from billingsync.store.fleet_lengths import longest_cycles
from billingsync.store.schema import cycle
from tests.fleet.fleet_house import House, house

PARTNERS = int(os.environ.get("BILLINGSYNC_FLEET", "200").split()[0])


def minute(seconds: float = 60.0 - BETWEEN_S, cpu_s: float = 0.0) -> Month:
    return Month(wait_s=seconds - cpu_s, cpu_s=cpu_s)


def all_posted(months: list[Month], **shape: Any) -> float:
    return forecast(months, Shape(**{"workers": 1, "slots": 1, **shape})).late_s[2]


def test_slots_share_the_work() -> None:
    assert all_posted([minute()] * 6) == pytest.approx(360)
    assert all_posted([minute()] * 6, slots=3) == pytest.approx(120)
    assert all_posted([minute()] * 6, workers=2, slots=3) == pytest.approx(60)


def test_the_largest_goes_first_unless_said() -> None:
    months = [minute()] * 4 + [minute(240 - BETWEEN_S)]
    assert all_posted(months, slots=2) == pytest.approx(240)
    assert all_posted(months, slots=2, longest_first=False) == pytest.approx(360)


def test_too_few_processors_make_all_of_them_slower() -> None:
    months = [minute(10.0, cpu_s=10.0)] * 4
    assert all_posted(months, slots=4, cores=4) == pytest.approx(10 + BETWEEN_S)
    assert 35 < all_posted(months, slots=4, cores=1) <= 42


def test_a_killed_workers_partners_begin_again_after_the_lease() -> None:
    calm = all_posted([minute(600.0)], workers=2)
    found = forecast([minute(600.0)], Shape(workers=2, slots=1, kill_every_s=301, seed=2))
    assert found.kills >= 1
    if found.begun_again:
        assert calm + LEASE_S * found.begun_again <= found.late_s[2] <= calm + (LEASE_S * 1.25 + 10) * found.begun_again


@pytest.mark.parametrize(("slots", "kills", "minutes"), [(16, 0, 82), (32, 0, 43), (64, 0, 43), (32, 300, 46)])
def test_two_thousand_partners_take_what_the_page_says(slots: int, kills: float, minutes: float) -> None:
    found = forecast(typical(2000), Shape(workers=4, slots=slots, cores=8, kill_every_s=kills))
    assert found.late_s[2] / 60 == pytest.approx(minutes, rel=0.15)
    assert found.slot_s / 3600 == pytest.approx(87, rel=0.15) and found.cpu_s / 3600 == pytest.approx(1.8, rel=0.15)
    assert found.commits == pytest.approx(420_000, rel=0.1)


def test_the_largest_partner_waits_for_the_calls_that_halopsa_allows() -> None:
    assert of_clients(2000).alone_s / 60 == pytest.approx(43, rel=0.05)
    assert of_clients(2).alone_s < 10


def test_the_command_needs_no_database_and_fits_80_columns(tmp_path: Path) -> None:
    home = House(tmp_path, f"sqlite:///{tmp_path / 'none.db'}")
    ran = home.run("fleet", "simulate", "--partners", "300", "--workers", "2", "--kill-every", "60").must(0)
    assert "measured" in ran.stdout and "workers killed" in ran.stdout
    assert max(map(len, ran.stdout.splitlines())) <= 80
    said = home.run("fleet", "simulate", "--partners", "300", "--json").must(0).json
    assert said["measured_partners"] == 0 and said["forecast"]["partners"] == 300
    home.run("fleet", "simulate", "--kill-every", "1").must(2)
    assert not list(tmp_path.glob("*.db"))


def held_to(home: House, workers: int, slots: int) -> None:
    """Runs all partners for real, then asks the model, which knows the ledger's cycles alone."""
    for sandbox in home.sandboxes.values():
        sandbox.change(latency_ms=600)
    for number in range(workers):
        home.worker("--slots", str(slots), "--name", str(number))
    home.wait(lambda: len(ended(home)) == len(home.sandboxes), 30.0 * len(home.sandboxes))
    moments = ended(home)
    real = (max(end for _, end in moments) - min(begin for begin, _ in moments)).total_seconds()
    with home.opened() as fleet:
        lengths = longest_cycles(fleet)
    assert set(lengths) == set(home.sandboxes)
    shape = Shape(workers=workers, slots=slots, longest_first=False, between_s=between(moments, workers * slots))
    model: Forecast = forecast(measured(dict(sorted(lengths.items())), len(lengths)), shape)
    print(f"real {real:.1f} s, model {model.late_s[2]:.1f} s")
    assert model.late_s[2] == pytest.approx(real, rel=0.15), lengths
    said = json.loads(home.run("fleet", "simulate", "--partners", str(len(lengths)), "--json").must(0).stdout)
    assert said["measured_partners"] == len(lengths)


def between(moments: list[tuple[datetime, datetime]], slots: int) -> float:
    """Seconds from the end of a cycle to the beginning of the next in its slot: what this machine, as loaded as it is, needs
    to fork, and to come to the ledger."""
    ends, gaps = sorted(end for _, end in moments), []
    for nth, begin in enumerate(sorted(begin for begin, _ in moments)[slots:]):
        gaps.append((begin - ends[nth]).total_seconds())
    return max(0.0, sorted(gaps)[len(gaps) // 2])


def ended(home: House) -> list[tuple[datetime, datetime]]:
    with home.opened() as fleet, fleet.as_status().reading() as connection:
        query = select(cycle.c.started_at, cycle.c.ended_at).where(cycle.c.ended_at.is_not(None))
        return [(row.started_at, row.ended_at) for row in connection.execute(query)]


def test_twenty_partners_take_as_long_as_the_model_says(tmp_path: Path, postgres_url: str) -> None:
    with house(tmp_path, postgres_url, *[f"p{number:03}" for number in range(20)]) as home:
        held_to(home, workers=2, slots=3)


@pytest.mark.long
def test_so_do_two_hundred(tmp_path: Path, postgres_url: str) -> None:
    with house(tmp_path, postgres_url, *[f"p{number:03}" for number in range(PARTNERS)]) as home:
        held_to(home, workers=4, slots=8)
