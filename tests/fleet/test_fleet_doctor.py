"""`fleet doctor`: each thing that can be wrong is named, with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from billingsync.fleet.doctor import _pooler
from billingsync.fleet.engines import conninfo_of
from tests.fleet.fleet_house import House, house, write
from tests.fleet.test_pgbouncer import pooler as pooler


@pytest.fixture
def home(tmp_path: Path, postgres_url: str) -> Iterator[House]:
    with house(tmp_path, postgres_url, "acme", "birch") as found:
        yield found


def checks(home: House, *words: str, code: int = 1) -> dict[str, tuple[str, str]]:
    """name -> the worst state, and what was said."""
    found: dict[str, tuple[str, str]] = {}
    document: dict[str, Any] = home.run("fleet", "doctor", "--json", *words).must(code).json
    for one in document["checks"]:
        if one["state"] == "fail":
            assert one["remedy"] or document["next_steps"], one
        if found.get(one["name"], ("ok", ""))[0] == "ok":
            found[one["name"]] = (one["state"], one["says"])
    return found


def test_a_fleet_that_is_well_and_what_goes_wrong_with_it(home: House) -> None:
    found = checks(home)
    assert {name for name, (state, _) in found.items() if state == "fail"} == {"workers"}
    home.worker("--name", "one")
    home.wait(lambda: home.run("fleet", "status", "--json").json["workers"] != [])
    home.wait(lambda: home.is_billed("acme") and home.is_billed("birch"))
    told = home.run("fleet", "doctor").must(0).stdout
    assert "WRONG" not in told and "Well." in told and "this is PostgreSQL itself" in told
    assert "acme HaloPSA" in told and "birch Pax8" in told
    write(home.folder / "secrets" / "acme" / "BILLINGSYNC_PAX8__CLIENT_SECRET", "revoked")
    found = checks(home)
    assert found["acme Pax8"][0] == "fail" and found["birch Pax8"][0] == "ok"
    assert "birch Pax8" not in checks(home, "--partner", "acme")
    next((home.folder / "secrets" / "acme").glob("*HALO__CLIENT_SECRET")).unlink()
    assert "HALO__CLIENT_SECRET is missing" in checks(home, "--partner", "acme")["acme secrets"][1]
    # what a person would type who knows the plain command
    told = home.run("--partner", "acme", "doctor").must(1).stdout
    assert "acme secrets" in told and "billingsync init" not in told
    assert "Did you mean acme?" in home.run("fleet", "doctor", "--partner", "acmee").must(2).stderr
    with psycopg.connect(conninfo_of(home.database_url), autocommit=True) as connection:
        connection.execute("DROP SCHEMA engine CASCADE")
    assert "no tables" in checks(home, "--partner", "birch")["engine"][1]


def test_a_pooler_that_does_not_pass_on_notifications_is_named(postgres_url: str, pooler: int) -> None:
    url = make_url(postgres_url)
    through = url.set(host="127.0.0.1", port=pooler, query={}, username="postgres").render_as_string(
        hide_password=False
    )
    (found,) = _pooler(through)
    assert found.state == "fail" and "LISTEN does not work" in found.says and "pooler in transaction mode" in found.says
    assert "PostgreSQL's own address" in found.remedy
    (found,) = _pooler(postgres_url)
    assert found.state == "ok"
