"""The fleet's folder: settings and rules of all partners, and every mistake of all of them at once."""

from __future__ import annotations

import os
import time
from decimal import Decimal
from pathlib import Path

import pytest

from billingsync.errors import SettingsError
from billingsync.fleet.folder import read_folder
from billingsync.fleet.layout import Layout, read_layout
from billingsync.fleet.names import wrong_name
from tests.fleet.fleet_folder import FLEET, partner, small, write

SECRET = "hunter2-very-secret-8841"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fleet's folder, in which people stand."""
    (tmp_path / "fleet").mkdir()
    monkeypatch.chdir(tmp_path / "fleet")
    return Path()


def with_files(folder: Path, files: dict[str, str | bytes]) -> Layout:
    return read_layout(read_folder(write(folder, {**small(), **files})))


def test_a_right_folder_has_no_mistakes(folder: Path) -> None:
    found = with_files(folder, {})
    assert (found.problems, found.warnings) == ((), ())
    assert list(found.partners) == ["acme", "beta"] and found.settings is not None
    assert (found.settings.slots, found.settings.limits.calls_at_once) == (16, 200)
    acme = found.partners["acme"].settings
    assert acme is not None and (acme.partner, acme.paused, acme.weight) == ("acme", False, 1)


def test_a_partner_has_every_setting_but_secrets(folder: Path) -> None:
    text = (
        '[partner]\nzone = "Europe/Berlin"\nlocale = "de_DE"\npaused = true\nweight = 7\n'
        '[pax8]\nclient_id = "abc"\ncalls_per_minute = 300\nexpires_on = 2027-03-31\n'
        '[halo]\nbase_url = "https://acme.halopsa.example"\nabsence_s = 200.5\nmarker = "customfield:12"\n'
        '[poll]\nfrom_day = 5\nalert_day = 9\n[snapshot]\nat = "04:30"\n'
        '[notify]\nevents = ["failed", "held"]\nhalo_ticket = { tickettype_id = 21 }\n'
    )
    found = with_files(folder, {"partners/acme/partner.toml": text})
    assert found.problems == ()
    acme = found.partners["acme"].settings
    assert acme is not None
    assert (acme.timezone, acme.locale, acme.paused, acme.weight) == ("Europe/Berlin", "de_DE", True, 7)
    assert (acme.pax8.client_id, acme.pax8.calls_per_minute, str(acme.pax8.expires_on)) == ("abc", 300, "2027-03-31")
    assert (acme.halo.absence_s, acme.halo.marker, acme.poll.from_day) == (200.5, "customfield:12", 5)
    assert (acme.notify.events, acme.notify.halo_ticket) == (("failed", "held"), {"tickettype_id": 21})


def test_rules_stand_in_layers(folder: Path) -> None:
    """Shared defaults < shared pax8 < the partner's defaults < its pax8 < its client's."""
    keys = ("change_percent_max", "change_amount_min", "client_amount_max", "margin_percent_min")
    layers = ("rules/defaults.toml", "rules/integrations/pax8.toml")
    order = [*layers, *(f"partners/acme/{layer}" for layer in layers)]
    files: dict[str, str | bytes] = {}
    for number, path in enumerate(order):
        files[path] = "[limits]\n" + "".join(f"{key} = {number + 1}\n" for key in keys[number:])
    files["partners/acme/rules/clients/contoso.toml"] = '[client]\nname = "Contoso"\n[limits]\nchange_percent_max = 9\n'
    found = with_files(folder, files)
    assert found.problems == ()
    acme, beta = found.partners["acme"].rulebook, found.partners["beta"].rulebook
    assert acme is not None and beta is not None
    assert [getattr(acme.base.limits, key) for key in keys] == [1, 2, 3, 4]
    assert [getattr(beta.base.limits, key) for key in keys] == [1, 2, 2, 2]
    assert acme.base.origins["limits.margin_percent_min"] == "partners/acme/rules/integrations/pax8.toml"
    assert [client.rules.limits.change_percent_max for client in acme.clients] == [Decimal(9)]
    assert found.partners["beta"].paths == (*layers, "partners/beta/partner.toml")


def test_every_mistake_of_three_partners_is_told_at_once(folder: Path) -> None:
    found = with_files(
        folder,
        {
            "partners/acme/partner.toml": "[halo]\nbase_url = https://acme.halopsa.example\n",
            "partners/acme/rules/defaults.toml": "[limits]\nchange_percent_mx = 3\n",
            "partners/beta/partner.toml": partner("beta", 'calls_per_minute = "many"\n[poll]\nfrom_day = 40\nx = 1\n'),
            "partners/gamma/partner.toml": '[halo]\nbase_url = "https://g.example"\n[halo]\n',
            "partners/gamma/rules/clients/one.toml": "[client\n",
            "fleet.toml": "slots = 0\n",
        },
    )
    told = "\n".join(found.problems)
    for line in (
        'fleet.toml:1: slots: "0" must be at least 1',
        "partners/acme/partner.toml:2: not readable as TOML",
        "partners/acme/rules/defaults.toml:2: limits.change_percent_mx: unknown key; did you mean change_percent_max?",
        'partners/beta/partner.toml:3: halo.calls_per_minute: "many" is no whole number',
        'partners/beta/partner.toml:5: poll.from_day: "40" must be at most 28',
        "partners/beta/partner.toml:6: poll.x: unknown key",
        "partners/gamma/partner.toml:3: halo: stands here twice, first on line 1",
        "partners/gamma/rules/clients/one.toml:1: not readable as TOML",
    ):
        assert line in told, told
    assert all(one.settings is None and one.problems for one in found.partners.values())


def test_a_mistake_in_a_shared_file_is_told_once_and_is_every_partners(folder: Path) -> None:
    found = with_files(folder, {"rules/defaults.toml": "[invoice]\nbehavior = 'sometimes'\n"})
    assert len([line for line in found.problems if "rules/defaults.toml:2" in line]) == 1
    assert all(one.problems for one in found.partners.values())
    alone = read_layout(read_folder(write(folder / "alone", {"fleet.toml": FLEET, "rules/defaults.toml": "x = 1\n"})))
    assert any("rules/defaults.toml:1: x" in line for line in alone.problems), alone.problems


def test_a_wrong_partner_takes_no_other_with_it(folder: Path) -> None:
    found = with_files(folder, {"partners/acme/partner.toml": "x = 1\n"})
    assert found.partners["acme"].problems and not found.partners["beta"].problems
    assert found.partners["beta"].rulebook is not None


@pytest.mark.parametrize("name", ["ac", "a1", "0-0", "a" * 40, "acme-uk-2"])
def test_right_names(name: str) -> None:
    assert wrong_name(name) == ""


@pytest.mark.parametrize(
    "name", ["a", "a" * 41, "-acme", "Acme", "acme_uk", "acme.uk", "ac me", "äcme", "acme\n", "", "default", "acme/x"]
)
def test_wrong_names(name: str) -> None:
    assert wrong_name(name)


def test_a_wrong_name_says_the_right_one_and_its_files_are_read_too(folder: Path) -> None:
    found = with_files(folder, {"partners/Acme_UK/partner.toml": "[halo]\nbase_url = 5\n"})
    assert any(line.startswith("partners/Acme_UK: ") and line.endswith("write acme-uk") for line in found.problems)
    assert any(line.startswith("partners/Acme_UK/partner.toml:2: halo.base_url") for line in found.problems)
    assert "Acme_UK" not in found.partners


@pytest.mark.parametrize(
    ("path", "text", "key"),
    [
        ("partners/acme/partner.toml", f'[pax8]\nclient_secret = "{SECRET}"\n', "BILLINGSYNC_PAX8__CLIENT_SECRET"),
        ("partners/acme/partner.toml", f'[halo]\nextra_headers = {{ a = "{SECRET}" }}\n', "HALO__EXTRA_HEADERS"),
        ("partners/acme/partner.toml", f'[notify]\nurls = ["mailto://a:{SECRET}@b"]\n', "NOTIFY__URLS"),
        ("partners/acme/partner.toml", f'[halo]\napi_key = "{SECRET}"\n', "looks like a secret"),
        ("partners/acme/partner.toml", f'[partner]\nproxy = "http://a:{SECRET}@b/"\n', "looks like a secret"),
        ("partners/acme/partner.toml", f'[halo]\nbase_url = "https://u:{SECRET}@h.example"\n', "halo.base_url"),
        ("fleet.toml", f'database_url = "postgresql://u:{SECRET}@h/d"\n', "BILLINGSYNC_DATABASE_URL"),
        ("fleet.toml", f'[notify]\nurls = "mailto://a:{SECRET}@b"\n', "BILLINGSYNC_NOTIFY__URLS"),
        ("fleet.toml", f'vault_token = "{SECRET}"\n', "looks like a secret"),
        ("fleet.toml", f'[secrets]\ncommand = ["/bin/vault", "--token={SECRET}"]\n', "seems to hold a secret"),
        ("partners/acme/BILLINGSYNC_PAX8__CLIENT_SECRET", SECRET, "seems to hold secrets"),
        ("partners/acme/.env", SECRET, "seems to hold secrets"),
        (".env", SECRET, "seems to hold secrets"),
    ],
)
def test_a_secret_in_a_file_is_refused_and_never_shown(folder: Path, path: str, text: str, key: str) -> None:
    told = "\n".join(with_files(folder, {path: text}).problems)
    assert key in told and path in told
    assert SECRET not in told


def test_child_partners_are_refused_as_long_as_nothing_carries_them_out(folder: Path) -> None:
    text = partner("acme", '[pax8]\npartner_names = ["Child A"]\naccount = "parent"\n')
    told = with_files(folder, {"partners/acme/partner.toml": text}).problems
    assert len([line for line in told if "does not work yet" in line]) == 2


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("partners/acme/partner.toml", "[desk]\nport = 80\n", "is a setting of the machine"),
        ("partners/acme/partner.toml", "[desk]\nx = 80\n", "desk.x: is a setting of the machine"),
        ("partners/acme/partner.toml", "log = 'x'\n", "log: is a section"),
        ("partners/acme/partner.toml", "[ping]\nurl = 'https://x.example'\n", "ping.url: is a secret"),
        ("partners/acme/partner.toml", "[webhook]\nport = 1\n", "set BILLINGSYNC_WEBHOOK__PORT there"),
        ("partners/acme/partner.toml", "halo = 5\n", "halo: is a section; write [halo]"),
        ("partners/acme/partner.toml", "[[halo]]\nx = 1\n", "halo: is one section; write [halo]"),
        ("partners/acme/partner.toml", "[partner]\ntimezone = 'UTC'\n", "partner.timezone: is called zone here"),
        ("partners/acme/partner.toml", "[pax]\nx = 1\n", "unknown section; did you mean [pax8]?"),
        ("partners/acme/partner.toml", "[partner]\npaused = 3\n", 'partner.paused: "3" is neither true nor false'),
        ("partners/acme/partner.toml", "[partner]\nweight = true\n", 'partner.weight: "true" is no whole number'),
        ("partners/acme/partner.toml", "[partner]\nzone = 'Mars'\n", "is not a time zone"),
        ("partners/acme/partner.toml", "[poll]\nalert_day = 2\n", "comes before poll.from_day, which is 4"),
        ("partners/acme/partner.toml", '[halo]\ntenant = "a\\u0000b"\n', "invisible character"),
        ("partners/acme/partner.toml", "", "halo.base_url: is missing"),
        ("partners/acme/partner.toml", b"\xff\xfea", "is saved as UTF-16"),
        ("partners/acme/partner.toml", "x = " + "[" * 3000, "nested too deeply"),
        ("fleet.toml", "", "says not where the partners' secrets are"),
        ("fleet.toml", "[secrets]\ndir = 'secrets'\n", "must be a whole path"),
        ("fleet.toml", "[secrets]\ncommand = 'vault get'\n", "is not a list of words"),
        ("fleet.toml", "[secrets]\ncommand = ['vault']\n", "program's whole path"),
        ("fleet.toml", "engine = 'celery'\n", '"celery" is not one of pgqueuer'),
        ("fleet.toml", "[limits]\ncalls_at_one = 3\n", "did you mean calls_at_once?"),
        ("partner.toml", "", "nothing reads this file"),
        ("partners/acme.toml", "", "move this to partners/acme/partner.toml"),
        ("partners/acme/partners.toml", "", "nothing reads this file; rename it to partner.toml"),
        ("partners/acme/rules/default.toml", "", "rename it to rules/defaults.toml"),
        ("partners/acme/rules/contoso.toml", "", "a client's rules stand in rules/clients/"),
        ("partners/acme/rules/clients/new/contoso.toml", "", "nothing reads this folder"),
        ("rules/clients/contoso.toml", "", "move the file to partners/NAME/rules/clients/"),
        ("rules/pax8.toml", "", "rename it to rules/integrations/pax8.toml"),
        ("partners/gamma/notes.md", "", "partners/gamma: has no partner.toml"),
    ],
)
def test_each_mistake_says_what_to_do(folder: Path, path: str, text: str | bytes, says: str) -> None:
    told = with_files(folder, {path: text}).problems
    assert any(says in line for line in told), told


def test_two_partners_on_one_tenant_are_refused_unless_both_say_so(folder: Path) -> None:
    def told(acme: str, beta: str) -> tuple[str, ...]:
        one = {
            "partners/acme/partner.toml": partner("same", acme),
            "partners/beta/partner.toml": partner("same", beta).replace("example", "example/").replace("same", "SAME"),
        }
        return with_files(folder, dict(one)).problems

    says = "partners: acme and beta bill the same HaloPSA tenant"
    assert len(told("", "")) == 1 and told("", "")[0].startswith(says)
    assert told("shared_tenant = true\n", "")[0].startswith(says)
    assert told("shared_tenant = true\n", "shared_tenant = true\n") == ()
    assert told('tenant = "one"\n', 'tenant = "two"\n') == ()


def test_two_partners_with_one_pax8_login_are_refused(folder: Path) -> None:
    """Each would bill the invoices of both."""
    login = '[pax8]\nclient_id = "same"\n'
    files = {f"partners/{name}/partner.toml": partner(name, login) for name in ("acme", "beta")}
    assert "acme and beta have one Pax8 client_id" in with_files(folder, dict(files)).problems[0]


def test_links_out_of_the_folder_are_refused(folder: Path) -> None:
    write(folder, small())
    outside = folder.resolve().parent / "outside"
    write(outside, {"partner.toml": partner("far"), "rules/defaults.toml": "", "client.toml": ""})
    (folder / "partners/far").symlink_to(outside)
    (folder / "partners/acme/rules").symlink_to(outside / "rules")
    (folder / "partners/beta/rules/clients").mkdir(parents=True)
    (folder / "partners/beta/rules/clients/c.toml").symlink_to(outside / "client.toml")
    (folder / "partners/loop").symlink_to(folder.resolve() / "partners/loop")
    (folder / "partners/beta/gone.toml").symlink_to("nowhere")
    (folder / "rules").symlink_to("..")
    told = read_layout(read_folder(folder)).problems
    for place in ("partners/far", "partners/acme/rules", "partners/beta/rules/clients/c.toml", "rules"):
        assert any(line.startswith(f"{place}: is a link out of") for line in told), (place, told)
    assert any(line.startswith("partners/beta/gone.toml: is a link to nothing") for line in told)
    assert any("partners/loop: " in line for line in told), told


def test_one_folder_under_two_names_is_one_partner_twice(folder: Path) -> None:
    write(folder, small())
    (folder / "partners/acme2").symlink_to("acme")
    found = read_layout(read_folder(folder))
    assert any(line.startswith("partners/acme2: is the same folder as partners/acme") for line in found.problems)
    assert not found.partners["acme"].problems


def test_links_within_the_folder_are_fine(folder: Path) -> None:
    """A mounted ConfigMap is nothing else."""
    write(folder, {"fleet.toml": FLEET, ".data/partner.toml": partner("acme"), "partners/acme/notes.md": "x"})
    (folder / "partners/acme/partner.toml").symlink_to("../../.data/partner.toml")
    assert read_layout(read_folder(folder)).problems == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can read everything")
def test_what_cannot_be_read_is_told(folder: Path) -> None:
    write(folder, small())
    (folder / "partners/acme/partner.toml").chmod(0)
    (folder / "partners/beta").chmod(0)
    try:
        told = read_layout(read_folder(folder)).problems
    finally:
        (folder / "partners/beta").chmod(0o700)
    assert any("partners/acme/partner.toml: cannot be read" in line for line in told)
    assert any("partners/beta: cannot be read" in line for line in told)


def test_what_is_no_file_is_told(folder: Path) -> None:
    write(folder, small())
    (folder / "partners/acme/partner.toml").unlink()
    os.mkfifo(folder / "partners/acme/partner.toml")
    (folder / "partners/beta/rules").write_text("x")
    told = read_layout(read_folder(folder)).problems
    assert any("partners/acme/partner.toml: is not a regular file" in line for line in told)
    assert any("partners/beta/rules: is not a directory" in line for line in told)


@pytest.mark.parametrize("make", ["nothing", "file", "empty"])
def test_what_is_no_fleets_folder_is_refused(tmp_path: Path, make: str) -> None:
    where = tmp_path / "there"
    if make == "file":
        where.write_text("x")
    elif make == "empty":
        where.mkdir()
    with pytest.raises(SettingsError, match="fleet init"):
        read_folder(where)


def test_hidden_files_and_examples_are_left_alone(folder: Path) -> None:
    extra = {"partners/.git/x.toml": "=", "partners/acme/partner.toml~": "=", "README.md": "", "partners/_old/x": ""}
    assert with_files(folder, dict(extra)).problems == ()
    assert with_files(folder, {"partners/acme/rules/odd.csv": ""}).warnings != ()


def test_a_large_fleet_is_checked_in_seconds(folder: Path) -> None:
    """Of 30 s that 2,000 partners may take, CPU time, with a wide margin for a busy machine."""
    files: dict[str, str | bytes] = {f"partners/p{n:04}/partner.toml": partner(f"p{n}") for n in range(500)}
    files |= {f"partners/p{n:04}/rules/clients/c.toml": f'[client]\nname = "C{n}"\n' for n in range(500)}
    write(folder, {"fleet.toml": FLEET, **files})
    before = time.process_time()
    assert read_layout(read_folder(folder)).problems == ()
    assert time.process_time() - before < 7
