"""Publishing the fleet's files: one version, partners made by it alone, wrong ones kept as they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest
from sqlalchemy import insert, select, text

from billingsync.errors import LedgerError, OtherTenant, Paused, Refused, UsageError
from billingsync.fleet.folder import read_folder
from billingsync.fleet.layout import read_layout
from billingsync.fleet.publish import Change, changes
from billingsync.store.database import Database
from billingsync.store.fleet import Fleet, open_fleet, sha256
from billingsync.store.ledger import open_ledger
from billingsync.store.schema import fleet_claim, fleet_file, fleet_partner, fleet_tenant, partner
from tests.fleet.fleet_folder import FLEET, small, write
from tests.fleet.fleet_folder import partner as partner_toml
from tests.sandbox.cli import Ran

NOW = datetime(2026, 11, 29, 10, 30, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fleet").mkdir()
    monkeypatch.chdir(tmp_path / "fleet")
    return Path()


@pytest.fixture
def fleet(ledger_url: str) -> Iterator[Fleet]:
    with open_fleet(ledger_url) as opened:
        yield opened


Apply = Callable[[dict[str, str | bytes]], Change]


@pytest.fixture
def apply(fleet: Fleet, folder: Path) -> Apply:
    """Writes these files beside what is there, and publishes all that is right."""

    def done(files: dict[str, str | bytes]) -> Change:
        write(folder, files)
        found = read_folder(folder)
        published = fleet.published()
        change = changes(read_layout(found), found, published, fleet.have_posted(published.partners))
        fleet.publish(change.new, who="ops", now=NOW)
        return change

    return done


def names(ledger_url: str) -> list[str]:
    with closing(Database(ledger_url)) as database, database.reading() as connection:
        return sorted(connection.execute(select(partner.c.partner)).scalars())


def test_a_version_holds_each_file_once(fleet: Fleet, apply: Apply, ledger_url: str) -> None:
    change = apply({**small(), "rules/defaults.toml": "[lines]\ntext = '{product}'\n"})
    assert (change.added, change.wrong, change.shared) == (("acme", "beta"), {}, ())
    published = fleet.published()
    assert (published.version, published.settings) == (1, sha256(FLEET))
    assert published.partners["acme"].files == {
        "rules/defaults.toml": sha256("[lines]\ntext = '{product}'\n"),
        "partners/acme/partner.toml": sha256(partner_toml("acme")),
    }
    assert fleet.files_of("acme", 1)["partners/acme/partner.toml"] == partner_toml("acme")
    assert fleet.settings_of(1) == FLEET
    with fleet.database.reading() as connection:
        assert len(connection.execute(select(fleet_file.c.sha256)).all()) == 4
    assert names(ledger_url) == ["acme", "beta"]


def test_what_is_published_reads_as_the_folder_does(fleet: Fleet, apply: Apply) -> None:
    from billingsync.fleet.layout import Files
    from billingsync.rulebook.file import read_rules_text

    apply({**small(), "partners/acme/rules/clients/c.toml": '[client]\nname = "C"\n'})
    texts = fleet.files_of("acme", 1) | {"fleet.toml": fleet.settings_of(1)}
    again = read_layout(Files(files={path: read_rules_text(path, text) for path, text in texts.items()}))
    assert again.problems == () and list(again.partners) == ["acme"]
    rulebook = again.partners["acme"].rulebook
    assert rulebook is not None and [one.name for one in rulebook.clients] == ["C"]


def test_only_what_changed_is_written(fleet: Fleet, apply: Apply) -> None:
    apply(small())
    assert apply({}).is_empty and fleet.published().version == 1
    change = apply({"partners/acme/rules/defaults.toml": "[lines]\ntext = '{sku}'\n"})
    assert change.changed == {"acme": ("partners/acme/rules/defaults.toml",)} and change.unchanged == 1
    published = fleet.published()
    assert (published.version, published.partners["acme"].version, published.partners["beta"].version) == (2, 2, 1)
    assert "partners/acme/rules/defaults.toml" not in fleet.files_of("acme", 1)
    assert fleet.files_of("beta", 2) == fleet.files_of("beta", 1)
    change = apply({"fleet.toml": FLEET + "[limits]\ncalls_at_once = 10\n"})
    assert change.shared == ("fleet.toml",) and fleet.published().version == 3
    change = apply({"rules/defaults.toml": "[lines]\ntext = '{product}'\n"})
    assert change.shared == ("rules/defaults.toml",) and set(change.changed) == {"acme", "beta"}


def test_a_wrong_partner_keeps_its_last_good_version(fleet: Fleet, apply: Apply) -> None:
    apply(small())
    wrong: dict[str, str | bytes] = {"partners/acme/partner.toml": "=", "partners/gamma/partner.toml": "="}
    change = apply({**wrong, "partners/beta/partner.toml": partner_toml("beta", "timeout_s = 30\n")})
    assert set(change.wrong) == {"acme", "gamma"} and set(change.changed) == {"beta"}
    published = fleet.published()
    assert (published.partners["acme"].version, published.partners["beta"].version) == (1, 2)
    assert published.partners["acme"].problems[0].startswith("partners/acme/partner.toml:1: ")
    assert "gamma" not in published.partners and not published.partners["acme"].removed
    apply({"partners/acme/partner.toml": partner_toml("acme")})
    assert fleet.published().partners["acme"].problems == () and fleet.published().version == 2


def test_a_mistake_in_a_shared_file_keeps_everybody(fleet: Fleet, apply: Apply) -> None:
    apply(small())
    change = apply({"rules/defaults.toml": "x = 1\n"})
    assert set(change.wrong) == {"acme", "beta"} and fleet.published().version == 1


def test_a_removed_partner_keeps_its_ledger_and_comes_back_to_it(
    fleet: Fleet, apply: Apply, folder: Path, ledger_url: str
) -> None:
    apply(small())
    with open_ledger(ledger_url, partner="acme") as ledger:
        own = ledger.installation
    (folder / "partners/acme/partner.toml").unlink()
    (folder / "partners/acme").rmdir()
    assert apply({}).removed == ("acme",) and fleet.published().partners["acme"].removed
    with open_ledger(ledger_url, partner="acme") as ledger, pytest.raises(Paused), ledger.run_lock("x"):
        pass
    change = apply(small())
    assert change.returned == ("acme",) and not fleet.published().partners["acme"].removed
    with open_ledger(ledger_url, partner="acme") as ledger, ledger.run_lock("x"):
        assert ledger.installation == own


def test_a_link_that_breaks_removes_nobody(fleet: Fleet, apply: Apply, folder: Path) -> None:
    apply(small())
    (folder / "partners/acme").rename(folder / "elsewhere")
    (folder / "partners/acme").symlink_to("nowhere")
    change = apply({})
    assert change.removed == () and set(change.wrong) == {"acme"}


def test_a_name_that_the_fleet_does_not_know_makes_no_ledger(fleet: Fleet, apply: Apply, ledger_url: str) -> None:
    open_ledger(ledger_url, partner="before").close()  # no fleet's yet: made as ever
    apply(small())
    for name, says in (
        ("amce", "Did you mean acme?"),
        ("before", "no partner 'before'"),
        ("default", "no partner was named"),
    ):
        with pytest.raises(UsageError, match=says) as refused:
            open_ledger(ledger_url, partner=name)
        assert refused.value.exit_code == 2
    assert names(ledger_url) == ["acme", "before", "beta"]
    open_ledger(ledger_url, partner="acme").close()


def test_two_applies_at_once_make_one_version(fleet: Fleet, apply: Apply, folder: Path, ledger_url: str) -> None:
    apply(small())
    write(folder, {"partners/gamma/partner.toml": partner_toml("gamma")})
    found = read_folder(folder)
    stale = changes(read_layout(found), found, fleet.published(), ())
    apply({})
    with pytest.raises(Refused, match="Somebody else published version 2"):
        fleet.publish(stale.new, who="late", now=NOW)


def test_an_installations_database_becomes_no_fleets(fleet: Fleet, ledger_url: str) -> None:
    from billingsync.store.schema import plan

    open_ledger(ledger_url, partner="default").close()
    fleet.refuse_others(["acme"])
    with fleet.database.writing() as connection:
        row = {
            "digest": "d",
            "period": "2026-11",
            "rules_digest": "r",
            "asked": [],
            "document": b"{}",
            "created_at": NOW,
        }
        connection.execute(plan.insert().values(partner="default", **row))
    with pytest.raises(Refused, match="the ledger of an installation, default"):
        fleet.refuse_others(["acme"])
    fleet.refuse_others(["acme", "default"])


# Tenants


def test_one_tenant_is_one_partners(fleet: Fleet, apply: Apply) -> None:
    apply(small())
    change = apply({"partners/gamma/partner.toml": partner_toml("acme")})
    assert set(change.wrong) == {"acme", "gamma"} and "gamma" not in fleet.published().partners
    both = {
        f"partners/{name}/partner.toml": partner_toml("acme", "shared_tenant = true\n") for name in ("acme", "gamma")
    }
    assert apply(dict(both)).wrong == {}
    change = apply({"partners/acme/partner.toml": partner_toml("acme")})
    assert set(change.wrong) == {"acme", "gamma"}


def test_a_tenant_of_a_partner_that_is_wrong_stays_its_own(fleet: Fleet, apply: Apply) -> None:
    apply(small())
    change = apply({"partners/acme/partner.toml": "=", "partners/gamma/partner.toml": partner_toml("acme")})
    assert "bills the HaloPSA tenant of acme" in change.wrong["gamma"][0]
    assert "gamma" not in fleet.published().partners


def test_a_renamed_folder_does_not_bill_again_under_the_new_name(fleet: Fleet, apply: Apply, folder: Path) -> None:
    apply(small())
    (folder / "partners/acme").rename(folder / "partners/acme-uk")
    with mock.patch.object(Fleet, "have_posted", return_value=frozenset({"acme"})):
        change = apply({})
    assert "call the folder acme again" in change.wrong["acme-uk"][0]
    assert change.removed == ("acme",)
    assert apply({}).added == ("acme-uk",)  # had acme never posted, the tenant would be free


def test_the_tenants_id_is_one_partners_too(fleet: Fleet, apply: Apply, ledger_url: str, folder: Path) -> None:
    """Two addresses may lead to one tenant: HaloPSA says so at the first login."""
    apply(small())
    with open_ledger(ledger_url, partner="acme") as acme, open_ledger(ledger_url, partner="beta") as beta:
        acme.bind_tenant("https://acme.halopsa.example", "t-1", NOW)
        with pytest.raises(OtherTenant, match="beta and acme bill the same HaloPSA tenant"):
            beta.bind_tenant("https://beta.halopsa.example", "t-1", NOW)
        assert beta.partner().halo_tenant is None
        shared = {f"partners/{n}/partner.toml": partner_toml(n, "shared_tenant = true\n") for n in ("acme", "beta")}
        assert apply(dict(shared)).wrong == {}
        beta.bind_tenant("https://beta.halopsa.example", "t-1", NOW)
        change = apply({"partners/acme/partner.toml": partner_toml("acme")})
        assert "bills the HaloPSA tenant of beta (t-1)" in change.wrong["acme"][0]


def test_who_was_tied_to_its_tenant_while_a_version_was_made_keeps_it(
    fleet: Fleet, apply: Apply, ledger_url: str, folder: Path
) -> None:
    apply(small())
    write(folder, {"rules/defaults.toml": "[lines]\ntext = '{product}'\n"})
    found = read_folder(folder)
    change = changes(read_layout(found), found, fleet.published(), ())
    with open_ledger(ledger_url, partner="acme") as acme:
        acme.bind_tenant("https://acme.halopsa.example", "t-1", NOW)
    with pytest.raises(Refused, match="tied to its HaloPSA tenant meanwhile"):
        fleet.publish(change.new, who="ops", now=NOW)
    assert apply({}).shared == ("rules/defaults.toml",)
    assert ("acme", "id t-1") in fleet.published().claims


def test_a_partner_that_never_posted_may_go_to_another_tenant(fleet: Fleet, apply: Apply, ledger_url: str) -> None:
    apply(small())
    with open_ledger(ledger_url, partner="acme") as acme, open_ledger(ledger_url, partner="beta") as beta:
        acme.bind_tenant("https://acme.halopsa.example", "t-1", NOW)
        apply({"partners/acme/partner.toml": partner_toml("acme2")})
        acme.bind_tenant("https://acme2.halopsa.example", "t-2", NOW)
        beta.bind_tenant("https://beta.halopsa.example", "t-1", NOW)
    assert {key for key in fleet.published().claims if key[1].startswith("id ")} == {
        ("acme", "id t-2"),
        ("beta", "id t-1"),
    }


@pytest.mark.parametrize("shared", [(False, False), (True, False)])
def test_the_database_itself_refuses_two_partners_of_one_tenant(fleet: Fleet, shared: tuple[bool, bool]) -> None:
    def claimed() -> None:
        with fleet.database.writing() as connection:
            connection.execute(insert(fleet_tenant).values(tenant="t", shared=shared[0]))
            for name, says in zip(("acme", "beta"), shared, strict=True):
                connection.execute(insert(fleet_claim).values(partner=name, tenant="t", shared=says))

    with pytest.raises(LedgerError):
        claimed()


def test_outside_of_a_fleet_nothing_is_claimed(ledger_url: str) -> None:
    with open_ledger(ledger_url, partner="default") as ledger:
        ledger.bind_tenant("https://acme.halopsa.example", "t-1", NOW)
        with ledger.reading() as connection:
            assert connection.execute(select(fleet_claim)).all() == []


# Pauses


def test_no_run_begins_for_a_paused_partner(fleet: Fleet, apply: Apply, ledger_url: str) -> None:
    apply(small())
    assert fleet.pause("acme", why="disputed invoice", who="ops", now=NOW)
    assert not fleet.pause("acme", why="again", who="other", now=NOW)
    with open_ledger(ledger_url, partner="acme") as ledger:
        with (
            pytest.raises(Paused, match="by ops: disputed invoice") as refused,
            ledger.run_lock("x"),
        ):
            pass
        assert refused.value.next_steps == (("billingsync", "fleet", "resume", "acme"),)
        assert fleet.resume("acme", who="ops", now=NOW) and not fleet.resume("acme", who="ops", now=NOW)
        assert [one.kind for one in ledger.journal_entries()] == ["fleet.paused", "fleet.resumed"]
        with ledger.run_lock("x"):
            pass
    apply({"partners/acme/partner.toml": partner_toml("acme", "[partner]\npaused = true\n")})
    with open_ledger(ledger_url, partner="acme") as ledger, pytest.raises(Paused, match="by its partner"):
        with ledger.run_lock("x"):
            pass
    with open_ledger(ledger_url, partner="beta") as ledger, ledger.run_lock("x"):
        pass
    with pytest.raises(UsageError):
        fleet.pause("amce", why="x", who="x", now=NOW)


def test_a_cycle_under_way_begins_no_other_run_once_the_partner_is_paused(
    fleet: Fleet, apply: Apply, ledger_url: str
) -> None:
    apply(small())
    with open_ledger(ledger_url, partner="acme") as ledger, ledger.cycle_lease("cycle"):
        with ledger.run_lock("first month"):
            fleet.pause("acme", why="disputed invoice", who="ops", now=NOW)
        with pytest.raises(Paused), ledger.run_lock("second month"):
            pass


# The command, which needs PostgreSQL


@pytest.fixture
def run(postgres_ledger_url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    from tests.fleet.test_fleet_commands import run as fleet_command

    monkeypatch.setenv("BILLINGSYNC_DATABASE_URL", postgres_ledger_url)
    return fleet_command


def test_apply_shows_what_it_does(run: Callable[..., Ran], folder: Path) -> None:
    write(folder, small())
    told = run("apply", "--dry-run").must().stdout
    assert told.splitlines()[:2] == ["+ acme  new", "+ beta  new"] and "Dry run: nothing was published." in told
    assert "Published as version 1.  Next, once:  billingsync db upgrade" in run("apply").must().stdout
    assert "Nothing to publish: these files are version 1." in run("apply").must().stdout
    write(folder, {"partners/acme/partner.toml": partner_toml("acme", "timeout_s = 9\n"), "rules/defaults.toml": ""})
    told = run("apply", "--json").must().json
    assert (told["version"], told["dry_run"], told["unchanged"]) == (2, False, 0)
    assert told["changed"]["acme"] == ["partners/acme/partner.toml", "rules/defaults.toml"]


def test_apply_names_the_folder_to_publish_and_calls_no_wrong_file_published(
    run: Callable[..., Ran], folder: Path
) -> None:
    where = "our fleet"
    (folder / where).mkdir()
    write(folder / where, small())
    assert f"Publish it:  billingsync fleet apply '{where}'\n" in run("apply", where, "--dry-run").must().stdout
    run("apply", where).must()
    write(folder / where, {"partners/beta/partner.toml": "[halo\n"})
    told = run("apply", where, "--dry-run").must(2).stdout
    assert "Nothing to publish but what is wrong: version 1 stays." in told and "these files are" not in told


def test_apply_refuses_all_where_one_is_wrong_unless_told_otherwise(run: Callable[..., Ran], folder: Path) -> None:
    write(folder, {**small(), "partners/beta/partner.toml": "=", "partners/Gamma/partner.toml": partner_toml("g")})
    told = run("apply").must(2).stderr
    assert "partners/beta/partner.toml:1: " in told and "partners/Gamma: " in told
    assert "Nothing was published: 2 mistakes. 1 partner could be, with --partial." in told
    assert "next:  billingsync fleet apply . --partial" in told
    shown = run("apply", "--dry-run").must(2).stdout
    assert "! beta  wrong, is not made:" in shown and "fleet apply --partial" in shown
    told = run("apply", "--partial", "--json").must(2).json
    assert (told["version"], told["added"], list(told["wrong"]), len(told["strays"])) == (1, ["acme"], ["beta"], 1)
    write(folder, {"fleet.toml": "="})
    assert run("apply", "--partial").must(2).stdout == ""


def test_a_fleet_needs_postgresql(run: Callable[..., Ran], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, small())
    monkeypatch.setenv("BILLINGSYNC_DATABASE_URL", "sqlite:///x.db")
    assert "a fleet needs PostgreSQL" in run("apply").must(2).stderr


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_large_fleet_is_published_in_seconds(fleet: Fleet, apply: Apply) -> None:
    """Of the 30 s for 2,000 partners, CPU time of our own, with a wide margin."""
    files: dict[str, str | bytes] = {f"partners/p{n:04}/partner.toml": partner_toml(f"p{n}") for n in range(500)}
    before = time.process_time()
    apply({"fleet.toml": FLEET, **files})
    assert apply({}).is_empty
    assert time.process_time() - before < 8


def test_what_is_published_survives_a_second_look_at_the_tables(fleet: Fleet, apply: Apply) -> None:
    apply(small())
    with fleet.database.reading() as connection:
        rows = connection.execute(select(fleet_partner)).all()
        assert [(row.partner, row.since, row.removed, row.paused) for row in rows] == [
            ("acme", 1, False, False),
            ("beta", 1, False, False),
        ]
        assert connection.scalar(text("SELECT count(*) FROM fleet_version")) == 1
