"""`--partner NAME` for every command: whose ledger, settings and rules, and that they are nobody else's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from billingsync.errors import OtherTenant
from billingsync.store.ledger import open_ledger
from tests.fleet.fleet_house import House, house, write
from tests.fleet.test_fleet_commands import run as fleet_command
from tests.sandbox.cli import Office


@pytest.fixture
def home(tmp_path: Path, postgres_url: str) -> Iterator[House]:
    """Two partners are published."""
    with house(tmp_path, postgres_url, "acme", "beta") as found:
        yield found


@pytest.fixture
def office(home: House, monkeypatch: pytest.MonkeyPatch) -> Office:
    """Somebody at a machine of the fleet, with acme's settings in the environment and rules that are nobody's."""
    monkeypatch.setenv("BILLINGSYNC_DATABASE_URL", home.database_url)
    monkeypatch.chdir(home.folder)
    made = Office(home.folder / "desk", home.sandboxes["acme"], home.database_url)
    made.rules("nonsense = 1\n")
    return made


def test_a_command_works_for_the_partner_that_is_named(home: House, office: Office) -> None:
    """With the settings, secrets and rules that are published for it, whatever the machine's own say."""
    office.run("run", "--yes", "--partner", "beta").must()
    assert home.is_billed("beta") and not home.amount("acme")
    office.run("--partner=acme", "run", "--yes").must()
    assert home.is_billed("acme") and home.is_billed("beta")
    for name in ("acme", "beta"):
        assert len(office.run("runs", "--json", "--partner", name).must().json["runs"]) == 1
    assert "BILLINGSYNC_PARTNER" not in os.environ


def test_what_a_person_plans_is_what_the_fleet_would_post(home: House, office: Office) -> None:
    """The same digest in each process, wherever the published rules were written; and its rules are kept as evidence."""
    first = office.run("plan", "--json", "--partner", "acme").must().json
    again = office.run("plan", "--json", "--partner", "acme").must().json
    assert first["digest"] == again["digest"]
    assert first["next_steps"][0] == ["billingsync", "post", first["digest"], "--partner", "acme"]
    told = office.run("plan", "--partner", "acme").must().stdout
    assert f"Post it:  billingsync post {first['digest'][:6]} --partner acme\n" in told
    office.run("post", first["digest"], "--partner", "acme").must()
    assert home.is_billed("acme")
    with open_ledger(home.database_url, partner="acme") as ledger:
        kept = [entry.body for entry in ledger.journal_entries() if entry.kind == "rules"]
    assert len(kept) == 1 and "bureau/defaults.toml" in kept[0] and "within_limits" in kept[0]


def test_the_rules_are_those_that_are_published(home: House, office: Office) -> None:
    client = "partners/acme/rules/clients/contoso.toml"
    write(home.fleet_folder / client, '[client]\nname = "Contoso"\n[modifiers]\nazure = "collapse"\n')
    assert "0 client" in office.run("rules", "check", "--partner", "acme").must().stdout
    fleet_command("apply", "fleet").must()
    assert "1 client" in office.run("rules", "check", "--partner", "acme").must().stdout
    shown = office.run("rules", "show", "contoso", "--partner", "acme").must().stdout
    assert "contoso.toml" in shown and "collapse" in shown and "within_limits" in shown
    told = office.run("rules", "pull", "--partner", "acme").must(2).stderr
    assert "which nobody can write from here" in told


def test_without_a_name_nothing_is_opened(office: Office) -> None:
    for words, says in (
        (("runs",), "no partner was named"),
        (("plan",), "no partner was named"),
        (("runs", "--partner", "acm"), "Did you mean acme?"),
        (("plan", "--partner"), "--partner needs a name"),
        (("plan", "--partner="), "--partner needs a name"),
        (("plan", "--partner", "../acme"), "BILLINGSYNC_PARTNER"),
    ):
        assert says in office.run(*words).must(2).stderr


def test_a_partner_without_its_secrets_is_looked_at_and_not_worked_for(home: House, office: Office) -> None:
    path = home.folder / "secrets" / "acme" / "BILLINGSYNC_HALO__CLIENT_SECRET"
    secret = path.read_text()
    path.chmod(0o644)
    office.run("runs", "--partner", "acme").must()
    told = office.run("plan", "--partner", "acme").must(2)
    assert "BS-SECRETS" in told.stderr and "chmod 600" in told.stderr and secret not in told.text


def test_the_settings_of_another_partner_are_refused_before_anything_is_read(home: House, office: Office) -> None:
    """A single installation's worker, with acme's settings and beta's name: beta's ledger would bill acme's charges."""
    state = home.sandboxes["acme"].state()
    address = home.sandboxes["beta"].environment()["BILLINGSYNC_HALO__BASE_URL"]
    office.run("worker", "--once", "--json", "--partner", "beta").must(1)
    assert home.sandboxes["acme"].state() == state
    with open_ledger(office.database_url, partner="beta") as ledger:
        last = ledger.last_cycle()
        assert last is not None and last.summary["problem"]["code"] == "BS-OTHER-TENANT"
        with pytest.raises(OtherTenant, match="The fleet's files say that beta bills"):
            ledger.check_tenant("https://acme.halopsa.example", None)
        assert not ledger.check_tenant(address.upper().replace("HTTP", "http"), None)


def test_a_paused_partner_may_be_planned_and_not_posted(home: House, office: Office) -> None:
    fleet_command("pause", "acme", "--reason", "dispute").must()
    office.run("plan", "--partner", "acme").must()
    before = home.sandboxes["acme"].state()
    told = office.run("run", "--yes", "--partner", "acme").must(5)
    assert "BS-PAUSED  acme is paused since" in told.stderr
    assert home.sandboxes["acme"].state() == before
    fleet_command("resume", "acme").must()
    office.run("run", "--yes", "--partner", "acme").must()
    assert home.is_billed("acme")
