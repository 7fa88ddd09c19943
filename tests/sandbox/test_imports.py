"""Vendors' files as users meet them: imported once, replaced, appended, removed, mapped, and told in the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli import CALM, TEXT_ONLY, Office

PROFILE = """kind = "usage"
vendor = "Acronis"
total_rows = ["Total"]
[columns]
account  = "Customer"
service  = "Product"
quantity = "Usage"
"""
NOVEMBER = "Customer;Product;Usage\nContoso Ltd;Backup GB;1.250,5\nContoso Ltd;Backup GB;249,5\nNobody AG;Backup GB;3\n"
LATER = "Customer;Product;Usage\nContoso Ltd;Backup GB;1.300,0\n"


@pytest.fixture
def office(sandbox, database_url, tmp_path):
    sandbox.reset(CALM)
    office = Office(tmp_path, sandbox, database_url)
    office.rules(TEXT_ONLY)
    office.rules(PROFILE, "imports/acronis.toml")
    return office


def put(office: Office, text: str, name: str = "usage.csv") -> str:
    (office.folder / name).write_text(text, encoding="utf-8")
    return name


def take(office: Office, text: str, *more: str, name: str = "usage.csv", period: str = "2026-11"):
    return office.run("import", put(office, text, name), "--profile", "acronis", "--period", period, "--json", *more)


def listed(office: Office):
    return office.run("imports", "--json").must().json["imports"]


def test_j10_importing_twice_is_importing_once(office):
    first = take(office, NOVEMBER).must().json
    assert (first["state"], first["rows"]["counted"], first["accounts"]) == ("imported", 3, 2)
    again = take(office, NOVEMBER).must().json
    assert (again["state"], again["import"]) == ("unchanged", first["import"])
    assert again["by"]
    assert again["at"] == first["at"]
    assert len(listed(office)) == 1
    said = office.run("import", "usage.csv", "--profile", "acronis", "--period", "2026-11").must().stdout
    assert "nothing changes" in said


def test_j10_a_then_b_then_a_again_is_a(office):
    take(office, NOVEMBER).must()
    assert take(office, LATER).must().json["state"] == "replaced"
    third = take(office, NOVEMBER).must().json
    assert (third["state"], third["replaced"]) == ("replaced", [2])
    assert [(one["import"], one["state"]) for one in listed(office)] == [
        (3, "current"),
        (2, "replaced"),
        (1, "replaced"),
    ]


def test_one_bad_row_takes_nothing_and_all_mistakes_are_told(office):
    ran = take(office, "Customer;Product;Usage\nContoso Ltd;Backup GB;x\n;Backup GB;1\nA;B;2\n")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "BS-IMPORT"
    assert [(one["line"], one["column"], one["cell"]) for one in ran.json["errors"]] == [
        (2, "Usage", "x"),
        (3, "Customer", ""),
    ]
    assert listed(office) == []
    text = office.run("import", "usage.csv", "--profile", "acronis", "--period", "2026-11")
    assert text.code == 2
    assert "line 2, column Usage: found x" in text.stderr


def test_skip_bad_takes_the_rest_keeps_the_bad_and_is_incomplete(office):
    ran = take(office, "Customer;Product;Usage\nContoso Ltd;Backup GB;x\nA;B;2\n", "--skip-bad").must(3)
    assert ran.json["rows"] == {"counted": 1, "blank": 0, "total": 0, "skipped": 1, "bad": 1}
    assert ran.json["errors"][0]["line"] == 2


def test_an_ambiguous_number_is_an_error_of_its_own(office):
    ran = take(office, 'Customer,Product,Usage\nContoso Ltd,Backup GB,"1,234"\n')
    assert (ran.code, ran.json["error"]["code"]) == (2, "BS-IMPORT-AMBIGUOUS")


def test_append_adds_accounts_and_refuses_one_that_is_there(office):
    take(office, NOVEMBER).must()
    more = take(office, "Customer;Product;Usage\nFabrikam Inc;Backup GB;7\n", "--append", name="more.csv").must().json
    assert more["state"] == "appended"
    assert [one["state"] for one in listed(office)] == ["current", "current"]
    refused = take(office, LATER, "--append", name="again.csv")
    assert (refused.code, refused.json["error"]["code"]) == (2, "BS-IMPORT")
    assert "Contoso Ltd" in refused.json["error"]["message"]
    assert len(listed(office)) == 2


def test_fault_52_last_months_file_is_refused_unless_a_person_says_so(office):
    take(office, NOVEMBER, period="2026-10").must()
    refused = take(office, NOVEMBER, period="2026-11")
    assert refused.code == 2
    assert "2026-10" in refused.json["error"]["message"]
    take(office, NOVEMBER, "--unchanged", period="2026-11").must()


def test_remove_marks_and_keeps(office):
    take(office, NOVEMBER).must()
    office.run("import", "remove", "1").must()
    assert [one["state"] for one in listed(office)] == ["removed"]
    assert office.run("import", "remove", "1").code == 2
    assert take(office, NOVEMBER).must().json["import"] == 2, "what was removed may come again"


def test_init_proposes_a_profile_that_imports(office):
    put(office, NOVEMBER, "acronis-2026-11.csv")
    office.run("import", "init", "acronis-2026-11.csv", "--out", "rules/imports/proposed.toml").must()
    text = (office.folder / "rules/imports/proposed.toml").read_text()
    assert 'vendor = "Acronis"' in text
    assert 'quantity = "Usage"' in text
    assert "PLEASE CHECK" in text
    ran = office.run("import", "acronis-2026-11.csv", "--profile", "proposed", "--period", "2026-11", "--json").must()
    assert ran.json["rows"]["counted"] == 3
    assert office.run("import", "init", "usage.csv", "--out", "rules/imports/proposed.toml").code == 2


def test_profiles_tell_all_mistakes_at_once(office):
    office.rules('knd = "usage"\ndecimal = "komma"\n[columns]\nacount = "Customer"\n', "imports/broken.toml")
    ran = take(office, NOVEMBER)
    assert (ran.code, ran.json["error"]["code"]) == (2, "BS-RULES")
    message = ran.json["error"]["message"]
    for told in ("broken.toml:1: knd", "decimal", "columns.acount", "did you mean account?", "kind: is missing"):
        assert told in message, message
    assert office.run("rules", "check").code == 2
    (office.folder / "rules/imports/broken.toml").unlink()
    office.run("rules", "check").must()


def test_an_unknown_profile_names_the_nearest(office):
    ran = office.run("import", put(office, NOVEMBER), "--profile", "acronsi", "--period", "2026-11")
    assert ran.code == 2
    assert "acronis" in ran.stderr


def test_accounts_and_services_are_mapped_and_remembered(office):
    take(office, NOVEMBER).must()
    rows = {
        row["name"]: row
        for row in office.run("map", "accounts", "--profile", "acronis", "--json").must().json["accounts"]
    }
    assert (rows["Contoso Ltd"]["how"], rows["Contoso Ltd"]["halo_ids"]) == ("name", [214])
    assert (rows["Nobody AG"]["how"], rows["Nobody AG"]["halo_ids"]) == ("", [])
    office.run("map", "accounts", "--profile", "acronis", "--set", "Nobody AG=214").must()
    services = office.run("map", "services", "--profile", "acronis", "--json").must().json["services"]
    assert [(row["name"], row["rows"], row["how"]) for row in services] == [("Backup GB", 3, "")]
    assert office.run("map", "services", "--profile", "acronis", "--set", "Backup GB=99999999").code == 2
    take(office, LATER + "Nobody AG;Backup GB;1\n").must()
    rows = office.run("map", "accounts", "--profile", "acronis", "--json").must().json["accounts"]
    assert {row["name"]: row["how"] for row in rows}["Nobody AG"] == "person"
    office.run("map", "accounts", "--profile", "acronis", "--exclude", "Nobody AG").must()
    rows = office.run("map", "accounts", "--profile", "acronis", "--json").must().json["accounts"]
    assert {row["name"]: row["how"] for row in rows}["Nobody AG"] == "none of ours"


def test_j11_importing_calls_nobody(office):
    office.settings |= {
        "BILLINGSYNC_HALO__BASE_URL": "http://127.0.0.1:9/", "BILLINGSYNC_PAX8__CLIENT_ID": "unset",
        "BILLINGSYNC_PAX8__CLIENT_SECRET": "unset",
    }  # fmt: skip
    take(office, NOVEMBER).must()
    office.run("imports").must()
    office.run("import", "remove", "1").must()
    office.run("log").must()


def test_the_role_user_imports_nothing(office):
    office.settings["BILLINGSYNC_ROLE"] = "user"
    assert take(office, NOVEMBER).code == 5
    office.settings["BILLINGSYNC_ROLE"] = "financial"
    take(office, NOVEMBER).must()


def test_the_log_tells_who_imported_mapped_and_removed(office):
    take(office, NOVEMBER).must()
    office.run("map", "accounts", "--profile", "acronis", "--set", "Nobody AG=214").must()
    office.run("import", "remove", "1").must()
    entries = office.run("log", "--json").must().json["entries"]
    says = [one["says"] for one in entries]
    assert "Imported usage.csv for 2026-11 with profile acronis (import 1)" in says
    assert "Mapped account Nobody AG of profile acronis to 214" in says
    assert says[-1] == "Removed import 1"
    assert all(one["who"] for one in entries if one["kind"].startswith("import"))
    assert office.run("log", "--who", "nobody-at-all", "--json").must().json["entries"] == []
    assert office.run("log", "--since", "2999-01-01", "--json").must().json["entries"] == []
    assert office.run("log", "--since", "yesterday").code == 2
    assert len(office.run("log", "--last", "1", "--json").must().json["entries"]) == 1


def test_fault_51_hostile_names_are_inert_wherever_they_are_shown(office):
    hostile = "\x1b[31mred\u202e"
    ran = take(office, f"Customer;Product;Usage\n{hostile};=cmd|' /C calc'!A0;x\n")
    assert ran.code == 2
    assert "\x1b" not in ran.stdout
    name = put(office, f"Customer;Product;Usage\n{hostile};Backup GB;1\n", "usage.csv")
    office.run("import", name, "--profile", "acronis", "--period", "2026-11").must()
    for words in (["map", "accounts", "--profile", "acronis"], ["imports"], ["log"]):
        shown = office.run(*words).must()
        assert "\x1b" not in shown.stdout + shown.stderr
        assert "\u202e" not in shown.stdout + shown.stderr


def test_what_is_stored_is_the_file_as_it_came(office):
    from billingsync.store.ledger import open_ledger

    take(office, NOVEMBER).must()
    with open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        assert ledger.import_body(1).decode() == NOVEMBER
        assert json.dumps([(row.line, row.state) for row in ledger.import_rows([1])])


def test_a_missing_file_is_refused(office):
    ran = office.run("import", "none.csv", "--profile", "acronis", "--period", "2026-11", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "BS-IMPORT")
    assert not Path(office.folder / "none.csv").exists()


def test_the_audit_export_has_every_file_and_each_row(office):
    office.run("run", "2026-11", "--yes").must(0, 3)
    take(office, "Customer;Product;Usage\n=1+1;Backup GB;x\nA;=cmd;2\n", "--skip-bad").must(3)
    take(office, NOVEMBER).must()
    office.run("audit", "export", "2026-11", "--out", "audit").must()
    folder = office.folder / "audit"
    assert (folder / "imports" / "2-usage.csv").read_text() == NOVEMBER
    rows = (folder / "import-rows.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(rows) == 1 + 2 + 3
    assert "'=cmd" in rows[2], "a cell that others wrote never becomes a formula"
    assert [line.split(",")[3] for line in (folder / "imports.csv").read_text().splitlines()[1:]] == [
        "replaced",
        "current",
    ]
    assert "import" in (folder / "decisions.csv").read_text()


def test_two_processes_that_import_one_file_at_once_import_it_once(office):
    name = put(office, NOVEMBER)
    words = ("import", name, "--profile", "acronis", "--period", "2026-11", "--json")
    running = [office.start(*words) for _ in range(2)]
    said = [json.loads(one.communicate(timeout=120)[0]) for one in running]
    states = sorted(str(one.get("state") or one) for one in said)
    assert states == ["imported", "unchanged"]
    assert len(listed(office)) == 1
