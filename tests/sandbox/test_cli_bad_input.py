"""Wrong settings, rules, months, networks, disks: a clear sentence, the next command, and nothing lost or half done."""

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import cli
import pytest
from cli import CALM, TEXT_ONLY
from test_cli_json import one_document


def untouched(office):
    return not [call for call in office.sandbox.calls if call.effect and call.method != "GET"]


# Settings -------------------------------------------------------------------------------------------------------------

REQUIRED = ("PAX8__CLIENT_ID", "PAX8__CLIENT_SECRET", "HALO__BASE_URL", "HALO__CLIENT_ID", "HALO__CLIENT_SECRET")


@pytest.mark.parametrize("command", [["plan"], ["run", "--yes"], ["holds"], ["periods"], ["map", "companies"]], ids=str)
def test_missing_settings_are_told_all_at_once(office, command):
    office.settings = {f"BILLINGSYNC_{name}": "unset" for name in REQUIRED}
    ran = office.run(*command, "--json")
    assert ran.code == 2, ran.text
    message = one_document(ran)["error"]["message"]
    assert all(f"BILLINGSYNC_{name}" in message for name in REQUIRED), message


def test_wrong_settings_are_told_all_at_once(office):
    office.settings |= {
        "BILLINGSYNC_TIMEZONE": "Mars/Olympus",
        "BILLINGSYNC_HALO__MARKER": "nowhere",
        "BILLINGSYNC_HALO__ABSENCE_S": "soon",
        "BILLINGSYNC_PAX8__PARALLEL": "0",
        "BILLINGSYNC_LOG__LEVEL": "loud",
        "BILLINGSYNC_DATABASE_URL": "mysql://x",
        "BILLINGSYNC_HALO__BASE_URL": "not a url",
        "BILLINGSYNC_HALO__EXTRA_HEADERS": "[1]",
    }
    ran = office.run("plan", "--json")
    assert ran.code == 2
    message = one_document(ran)["error"]["message"]
    assert all(name in message for name in office.settings), message


@pytest.mark.parametrize("url", ["mysql://x", "sqlite:///no/such/folder/ledger.db", "sqlite://", "postgresql://nobody@127.0.0.1:1/y",
                                 "postgresql+psycopg://nobody@127.0.0.1:1/none", "ledger.db"])  # fmt: skip
def test_a_database_that_cannot_be_used(office, url):
    office.database_url = url
    ran = office.run("plan", "--json")
    assert ran.code in (1, 2), ran.text
    error = one_document(ran)["error"]
    assert error["code"] in ("BS-LEDGER", "BS-SETTINGS"), error


@pytest.mark.parametrize("which", ["PAX8", "HALO"])
def test_wrong_credentials(office, which):
    office.settings[f"BILLINGSYNC_{which}__CLIENT_SECRET"] = "canary-wrong-secret"
    ran = office.run("run", "--yes", "--json")
    assert ran.code == 1
    error = one_document(ran)["error"]
    assert error["code"] == "BS-LOGIN"
    assert f"BILLINGSYNC_{which}__CLIENT" in error["message"]
    assert "canary-wrong-secret" not in ran.text
    assert untouched(office)


@pytest.mark.parametrize("which", ["PAX8", "HALO"])
@pytest.mark.parametrize("host", ["http://127.0.0.1:1", "https://nowhere.invalid"])
def test_unreachable_host(office, which, host):
    office.settings[f"BILLINGSYNC_{which}__BASE_URL"] = host
    if which == "PAX8":
        office.settings["BILLINGSYNC_PAX8__TOKEN_URL"] = f"{host}/token"
    ran = office.run("plan", "--json")
    assert ran.code == 1, ran.text
    error = one_document(ran)["error"]
    assert error["code"] == "BS-NOT-REACHABLE", error
    assert host.split("//")[1].split(":")[0] in error["message"]


@pytest.mark.parametrize(("service", "path"), [("pax8", "/token"), ("pax8", "/invoices"), ("pax8", "/invoices/*/items"),
                                               ("pax8", "/companies"), ("halo", "/authinfo"), ("halo", "/auth/token"),
                                               ("halo", "/Client"), ("halo", "/Invoice")])  # fmt: skip
def test_html_instead_of_json(office, service, path):
    office.sandbox.faults.add(f"{service}:*:{path}:*:not_json")
    ran = office.run("run", "--yes", "--json")
    assert ran.code in (1, 4), ran.text
    error = one_document(ran)["error"]
    assert error["code"] != "BS-BUG"
    assert "HTML" in error["message"] or "JSON" in error["message"], error["message"]
    assert untouched(office)


@pytest.mark.parametrize("path", ["/invoices", "/invoices/*/items", "/companies"])
@pytest.mark.parametrize("kind", ["401", "403", "404", "500", "empty", "error_inside", "redirect", "list_for_object"])
def test_no_answer_of_pax8_makes_a_partial_plan(office, path, kind):
    office.sandbox.faults.add(f"pax8:GET:{path}:*:{kind}")
    ran = office.run("run", "--yes", "--json")
    assert ran.code in (1, 4), ran.text
    assert one_document(ran)["error"]["code"] != "BS-BUG"
    assert untouched(office)


# Months ---------------------------------------------------------------------------------------------------------------


def test_a_month_that_is_not_released_is_exit_4(office):
    office.sandbox.reset(dataclasses.replace(CALM, released=False))
    for command in (["plan"], ["run", "--yes"], ["holds"], ["plan", "2026-11"], ["run", "2026-11", "--yes"]):
        ran = office.run(*command, "--json")
        assert ran.code == 4, ran.text
        assert one_document(ran)["error"]["code"] == "BS-NOT-RELEASED"
    office.sandbox.release()
    office.run("run", "--yes", "--json").must(0)


@pytest.mark.parametrize("fault", ["404", "500", "not_json", "no_rows", "repeat_pages"])
def test_s2_one_unreadable_page_is_exit_4_and_nothing_is_posted(office, fault):
    office.sandbox.reset(dataclasses.replace(CALM, clients=12, charges=450))
    office.sandbox.faults.add(f"pax8:GET:/invoices/*/items:2+:{fault}")
    ran = office.run("run", "--yes", "--json")
    assert untouched(office)
    assert ran.code == 4, ran.text
    error = one_document(ran)["error"]
    assert error["code"] == "BS-NOT-READY"
    assert "invoice" in error["message"]
    office.sandbox.faults.clear()
    office.run("run", "--yes", "--json").must(0)
    assert cli.billed(office.sandbox) == cli.due(office.sandbox)


@pytest.mark.parametrize("order", ["shuffled", "repeating", "missing"])
def test_s2_pages_that_do_not_add_up_are_exit_4(office, order):
    office.sandbox.reset(dataclasses.replace(CALM, clients=12, charges=450, item_pages=order))
    ran = office.run("run", "--yes", "--json")
    assert ran.code == 4, ran.text
    assert one_document(ran)["error"]["code"] == "BS-NOT-READY"
    assert untouched(office)


def test_s2_an_empty_list_of_an_invoice_with_a_total_is_not_nothing_to_bill(office):
    invoice = next(one for one in office.sandbox.pax8.invoices if one["status"] == "Unpaid")
    office.sandbox.pax8.items[invoice["id"]] = []
    ran = office.run("plan", "--json")
    assert ran.code == 4, ran.text


@pytest.mark.parametrize("lie", ["no_rows", "cut50:count=cut", "repeat_pages"])
def test_a_list_of_invoices_that_lies(office, lie):
    office.sandbox.faults.add(f"pax8:GET:/invoices:*:{lie}")
    ran = office.run("run", "--yes", "--json")
    assert ran.code in (0, 1, 4)
    if ran.code == 0:
        assert cli.billed(office.sandbox) == cli.due(office.sandbox)
    else:
        one_document(ran)
        assert untouched(office)


def test_s1_an_invoice_of_another_month_in_the_answer_is_left_out(office):
    first = next(one for one in office.sandbox.pax8.invoices if one["status"] == "Unpaid")
    stray = {**first, "id": "99999999-9999-4999-8999-999999999999", "invoiceDate": "2026-10-31"}
    office.sandbox.pax8.invoices.append(stray)
    office.sandbox.pax8.items[stray["id"]] = office.sandbox.pax8.items[first["id"]]
    due = cli.due(office.sandbox)
    office.run("run", "2026-11", "--yes", "--json").must(0)
    assert cli.billed(office.sandbox) == due


ODD_NUMBERS = ["NaN", "Infinity", "1E+999", "1e400", '"12,50"', "true", "[]", "12.505050505050505050505050505050505050505",
               "-0.0", "1e-9"]  # fmt: skip


@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_fault_19_a_damaged_number_is_exact_or_held_never_a_crash(office, number, monkeypatch):
    from billingsync.sandbox import wire

    encode = wire.encode
    monkeypatch.setattr(
        "billingsync.sandbox.wire.encode", lambda value: encode(value).replace(b'"@number@"', number.encode())
    )
    row = next(row for rows in office.sandbox.pax8.items.values() for row in rows if row["type"] == "subscription")
    row["total"] = "@number@"
    ran = office.run("plan", "--json")
    assert ran.code in (0, 3, 4), ran.text
    one_document(ran)
    if ran.code == 3:
        reasons = {hold["reason"] for client in ran.json["clients"] for hold in client["holds"]}
        assert reasons <= {"bad_amount", "zero_price_with_cost", "price_cost_sign"}


HOSTILE = ["=cmd|' /C calc'!A0", "<script>alert(1)</script>", "\x1b[31mred\x1b[0m", "\u202egnirts\u202c", "a\nb\rc\x00d",
           "{0.__class__}", "{product}", "%s%n", "x" * 10_000, "\ud83d", "[bs:00000000000000000000:00000000:0]", ""]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_fault_37_hostile_text_is_inert_everywhere(office, text):
    sandbox = office.sandbox
    row = next(row for rows in sandbox.pax8.items.values() for row in rows if row["companyName"] == "Contoso Ltd")
    row["productName"] = row["description"] = text
    before, due = sandbox.state(), cli.due(sandbox)
    for command in (
        ["plan"],
        ["plan", "--format", "csv"],
        ["plan", "--format", "markdown"],
        ["run", "--yes"],
        ["runs"],
    ):
        ran = office.run(*command)
        assert ran.code in (0, 3, 4), ran.text
        assert "\x1b" not in ran.stdout + ran.stderr
        assert "\x00" not in ran.stdout and "\u202e" not in ran.stdout
        assert "BS-BUG" not in ran.stderr
    assert "<script>alert" not in office.run("plan", "--format", "html").stdout
    if ran.code == 0 and cli.billed(sandbox, before):
        assert cli.billed(sandbox, before) == due
        assert not office.plan()["clients"], "planning again yields nothing, whatever the text"


@pytest.mark.parametrize("text", ["Contoso\x1b[2J", "=1+1", "<b>x</b>", "\u202eevil"])
def test_fault_37_hostile_names_of_clients_are_inert_in_tables(office, text):
    office.sandbox.halo.clients[214]["name"] = text
    office.sandbox.pax8.companies[0]["name"] = text
    for row in (row for rows in office.sandbox.pax8.items.values() for row in rows):
        if row["companyName"] == "Contoso Ltd":
            row["companyName"] = text
    for command in (["plan"], ["run", "--yes"], ["holds"], ["runs"], ["map", "companies"], ["plan", "--json"]):
        ran = office.run(*command)
        assert ran.code in (0, 3), ran.text
        assert "\x1b" not in ran.stdout + ran.stderr
        assert "\u202e" not in ran.stdout + ran.stderr


# Rules ----------------------------------------------------------------------------------------------------------------

BROKEN_RULES = {
    "not TOML": "[invoice\n",
    "a list of mistakes": "[invoice]\nbehaviour='new'\ngroup_by='clients'\n[modifiers]\nazure=1\n",
    "UTF-16": "\ufeff[invoice]\n",
    "half saved": '[invoice]\nbehavior = "ne',
    "twice": "[invoice]\n[invoice]\n",
    "BillingBot": "[modifiers]\ndrop_azure_lines = true\n",
    "default_item missing": '[products]\nlifecycle = "default_item"\n',
    "float nan": "[limits]\nclient_amount_max = nan\n",
}


@pytest.mark.parametrize("name", [one for one in BROKEN_RULES if one != "UTF-16"])
@pytest.mark.parametrize("command", [["plan"], ["run", "--yes"], ["rules", "check"]], ids=" ".join)
def test_fault_31_broken_rules_are_exit_2_with_the_file(office, name, command):
    office.rules(BROKEN_RULES[name])
    ran = office.run(*command, "--json")
    assert ran.code == 2, ran.text
    error = one_document(ran)["error"]
    assert error["code"] == "BS-RULES"
    assert "defaults.toml" in error["message"]
    assert untouched(office)


@pytest.mark.parametrize("content", [b"\xff\xfe[\x00", b"\xe9 = 1\n", b"\x00", b"[lines]\ntext = '\xff'\n"])
def test_fault_31_rules_that_are_no_utf8(office, content):
    (office.folder / "rules/defaults.toml").write_bytes(content)
    ran = office.run("plan", "--json")
    assert ran.code == 2, ran.text
    assert "defaults.toml" in one_document(ran)["error"]["message"]


def test_fault_31_a_byte_order_mark_is_no_mistake_or_a_named_one(office):
    (office.folder / "rules/defaults.toml").write_bytes(b"\xef\xbb\xbf" + TEXT_ONLY.encode())
    ran = office.run("plan", "--json")
    assert ran.code in (0, 2)
    one_document(ran)


def test_recurring_without_a_recurring_invoice_holds_that_client_alone(office):
    office.rules('[client]\nname = "Contoso Ltd"\n[invoice]\nbehavior = "recurring"\n', "clients/contoso.toml")
    plan = one_document(office.run("plan", "--json").must(3))
    held = {
        client["company_name"]
        for client in plan["clients"]
        for hold in client["holds"]
        if hold["reason"] == "recurring_unmapped"
    }
    assert held == {"Contoso Ltd"}
    assert [client for client in plan["clients"] if client["lines"]], "everybody else is billed"
    assert "recurring_invoice = ID" in office.run("rules", "check").text


def test_all_mistakes_of_all_files_at_once(office):
    office.rules("[invoice]\nbehaviour = 'new'\n[limitz]\n")
    office.rules("[modifiers]\nazure = 'dropp'\n", "integrations/pax8.toml")
    office.rules("[client]\nname = 'Contoso Ltd'\n[clients]\nmatch_percent = 3\n", "clients/contoso.toml")
    message = one_document(office.run("plan", "--json"))["error"]["message"]
    for word in ("behaviour", "limitz", "dropp", "contoso.toml", "pax8.toml", "defaults.toml"):
        assert word in message, message


def test_no_rules_folder(office):
    """The defaults apply where a file is missing; a folder that is named and not there is a mistake worth telling."""
    shutil.rmtree(office.folder / "rules")
    ran = office.run("plan", "--json")
    assert ran.code in (0, 2), ran.text
    assert "rules" in ran.stderr + (ran.json.get("error") or {}).get("message", ""), (
        "silence about a missing rules folder"
    )


def test_an_unreadable_rules_file(office):
    (office.folder / "rules/clients").mkdir()
    (office.folder / "rules/clients/x.toml").symlink_to("/nonexistent")
    ran = office.run("plan", "--json")
    assert ran.code == 2, ran.text
    assert "x.toml" in one_document(ran)["error"]["message"]


# Clients --------------------------------------------------------------------------------------------------------------


def test_a_client_name_that_matches_two(office):
    ran = office.run("plan", "--client", "Conto", "--json").must(2)
    message = one_document(ran)["error"]["message"]
    assert "Contoso Ltd" in message and "Contoso Europe" in message


def test_a_client_name_that_matches_nothing(office):
    ran = office.run("run", "--yes", "--client", "Zzz", "--json").must(2)
    assert "Zzz" in one_document(ran)["error"]["message"]
    assert untouched(office)


# Disks and databases --------------------------------------------------------------------------------------------------


def ledger(office):
    return Path(office.database_url.removeprefix("sqlite:///"))


@pytest.mark.parametrize("command", [["plan"], ["run", "--yes"], ["runs"], ["holds"], ["map", "companies"], ["post", "abcdef"],
                                     ["db", "current"], ["doctor"]], ids=" ".join)  # fmt: skip
def test_fault_32_a_database_from_a_newer_version(office, command):
    with sqlite3.connect(ledger(office)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    ran = office.run(*command, "--json")
    document = one_document(ran)
    if command == ["db", "current"]:
        return
    assert ran.code in (1, 2, 5), ran.text
    assert "newer" in str(document), document
    assert untouched(office)


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_fault_33_a_file_that_is_no_ledger(office, content):
    for path in office.folder.glob("billingsync.db*"):
        path.unlink()
    ledger(office).write_bytes(content)
    ran = office.run("run", "--yes", "--json")
    document = one_document(ran)
    if content:
        assert ran.code == 1, ran.text
        assert document["error"]["code"] == "BS-LEDGER", document
        assert ledger(office).read_bytes()[:20] == content[:20], "it is left alone"
        assert untouched(office)


needs_nobody = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")


def as_nobody(office, *words):
    """Root writes anywhere: the command runs as nobody."""
    from sys import executable

    return subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", executable, "-m", "billingsync", *words],
        cwd=office.folder, env=cli.process_environment(office.environment()), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@needs_nobody
def test_fault_27_a_read_only_folder(office):
    for parent in [office.folder, *list(office.folder.parents)[:3]]:
        if str(parent).startswith("/tmp/pytest"):
            parent.chmod(0o755)
    ran = as_nobody(office, "run", "--yes", "--json")
    if any(words in ran.stderr + ran.stdout for words in ("No module", "ModuleNotFoundError")):
        pytest.skip("nobody may not read this Python")
    seen = cli.Ran(ran.returncode, ran.stdout, ran.stderr)
    assert seen.code == 1, seen.text
    assert one_document(seen)["error"]["code"] == "BS-LEDGER", seen.text
    assert untouched(office)


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("left", [0, 20_000, 60_000, 120_000, 200_000])
def test_fault_27_a_full_disk_loses_and_doubles_nothing(office, small_disk, left):
    sandbox, before, due = office.sandbox, office.sandbox.state(), cli.due(office.sandbox)
    shutil.copy(ledger(office), small_disk / "ledger.db")
    office.database_url = f"sqlite:///{small_disk / 'ledger.db'}"
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(b"x" * max(free - left, 0))
    ran = office.process("run", "--yes", "--json")
    document = one_document(ran)
    if ran.code:
        assert ran.code == 1
        assert document["error"]["code"] == "BS-LEDGER", document
        assert "BS-BUG" not in ran.text
        assert any(word in document["error"]["message"] for word in ("full", "space", "disk")), document
    (small_disk / "ballast").unlink()
    with cli.quick_time(sandbox):
        office.run("run", "--yes", "--json").must(0)
    assert cli.billed(sandbox, before) == due


def test_a_full_disk_under_a_report(office, small_disk):
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(b"x" * free)
    ran = office.run("plan", "--format", "html", "--out", str(small_disk / "plan.html"))
    assert ran.code == 1
    assert "could not be written" in ran.stderr
    assert not [path for path in small_disk.iterdir() if path.name != "ballast" and path.stat().st_size]


@pytest.mark.parametrize(
    "words", [["plan"], ["plan", "--json"], ["run", "--yes", "--json"], ["map", "companies"]], ids=" ".join
)
def test_a_closed_pipe_ends_quietly_and_does_the_work(office, words):
    sandbox = office.sandbox
    running = office.start(*words)
    running.stdout.close()
    error = running.stderr.read()
    running.stderr.close()
    running.wait(60)
    assert "Traceback" not in error and "BrokenPipe" not in error and "Exception ignored" not in error, error
    if words[0] == "run":
        assert cli.billed(sandbox) == cli.due(sandbox)
    office.run("run", "--yes").must(0)
    assert cli.billed(sandbox) == cli.due(sandbox)


def test_stdout_that_is_a_full_device(office):
    with open("/dev/full", "w") as full:
        ran = office.process("plan", "--json", stdout=full)
    assert ran.code == 1
    assert "Traceback" not in ran.stderr, ran.stderr
    assert "BS-BUG" not in ran.stderr, ran.stderr


def test_a_slow_network_ends_in_time(office):
    office.settings |= {"BILLINGSYNC_HALO__TIMEOUT_S": "0.3", "BILLINGSYNC_PAX8__TIMEOUT_S": "0.3"}
    office.sandbox.faults.add("pax8:GET:/companies:*:drip:seconds=0.1")
    begun = time.monotonic()
    ran = office.run("plan", "--json")
    assert ran.code in (1, 4)
    assert time.monotonic() - begun < 20
