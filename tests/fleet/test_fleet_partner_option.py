"""`--partner NAME` for every command: whose ledger is opened, and that it is nobody else's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from billingsync.errors import OtherTenant
from billingsync.sandbox.server import Sandbox
from billingsync.store.ledger import open_ledger
from tests.fleet.fleet_folder import FLEET, partner, write
from tests.fleet.test_fleet_commands import run as fleet_command
from tests.sandbox.cli import CALM, TEXT_ONLY, Office, billed, due


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(CALM) as sandbox:
        yield sandbox


@pytest.fixture
def office(server: Sandbox, tmp_path: Path, postgres_ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Office:
    """Two partners are published, the first of which bills the sandbox's tenant; and a folder with its settings."""
    server.reset(CALM)
    made = Office(tmp_path / "acme", server, postgres_ledger_url)
    made.rules(TEXT_ONLY)
    address = server.environment()["BILLINGSYNC_HALO__BASE_URL"]
    acme = f'[halo]\nbase_url = "{address}"\n'
    fleet = {"fleet.toml": FLEET, "partners/acme/partner.toml": acme, "partners/beta/partner.toml": partner("beta")}
    monkeypatch.chdir(write(tmp_path / "fleet", dict(fleet)))
    monkeypatch.setenv("BILLINGSYNC_DATABASE_URL", postgres_ledger_url)
    fleet_command("apply").must()
    return made


def test_a_command_works_for_the_partner_that_is_named(office: Office) -> None:
    office.run("run", "--yes", "--partner", "acme").must()
    assert billed(office.sandbox) == due(office.sandbox)
    assert len(office.run("--partner=acme", "runs", "--json").must().json["runs"]) == 1
    assert office.run("runs", "--json", "--partner", "beta").must().json["runs"] == []
    assert "BILLINGSYNC_PARTNER" not in os.environ


def test_without_a_name_nothing_is_opened(office: Office) -> None:
    for words, says in (
        (("runs",), "no partner was named"),
        (("runs", "--partner", "acm"), "Did you mean acme?"),
        (("plan", "--partner"), "--partner needs a name"),
        (("plan", "--partner="), "--partner needs a name"),
        (("plan", "--partner", "../acme"), "BILLINGSYNC_PARTNER"),
    ):
        assert says in office.run(*words).must(2).stderr


def test_what_to_type_next_is_for_the_same_partner(office: Office) -> None:
    told = office.run("plan", "--json", "--partner", "acme").must(0, 3).json
    assert all(step[-2:] == ["--partner", "acme"] for step in told["next_steps"]) and told["next_steps"]


def test_the_settings_of_another_partner_are_refused_before_anything_is_read(office: Office) -> None:
    """acme's settings and beta's name: beta's ledger would bill acme's charges."""
    state = office.sandbox.state()
    told = office.run("run", "--yes", "--partner", "beta").must(5)
    assert (
        "The fleet's files say that beta bills https://beta.halopsa.example, and the settings point at" in told.stderr
    )
    assert office.sandbox.state() == state
    with open_ledger(office.database_url, partner="beta") as ledger, pytest.raises(OtherTenant):
        ledger.check_tenant("https://acme.halopsa.example", None)
    with open_ledger(office.database_url, partner="beta") as ledger:
        assert not ledger.check_tenant("https://BETA.halopsa.example/", None)


def test_a_paused_partner_may_be_planned_and_not_posted(office: Office) -> None:
    state: Callable[[], object] = office.sandbox.state
    fleet_command("pause", "acme", "--reason", "dispute").must()
    office.run("plan", "--partner", "acme").must(0, 3)
    before = state()
    told = office.run("run", "--yes", "--partner", "acme").must(5)
    assert "BS-PAUSED  acme is paused since" in told.stderr and state() == before
    told = office.run("worker", "--once", "--json", "--partner", "acme")
    assert state() == before, told.text
    fleet_command("resume", "acme").must()
    office.run("run", "--yes", "--partner", "acme").must()
    assert billed(office.sandbox) == due(office.sandbox)
