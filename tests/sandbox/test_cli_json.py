"""The contract with scripts: one JSON document on stdout, exit codes, next steps that can be typed, quiet pipes."""

import json
import re
from pathlib import Path

import pytest

import billingsync
from billingsync.cli.app import known_commands
from billingsync.sandbox.options import SandboxOptions

FULL = SandboxOptions()
GROUPS = {command.split()[0] for command in known_commands() if " " in command}
COMMANDS = sorted(command for command in known_commands() if command not in GROUPS)


def one_document(ran):
    assert ran.stdout.endswith("\n"), ran.text
    document, end = json.JSONDecoder().raw_decode(ran.stdout)
    assert not ran.stdout[end:].strip(), "something follows the document"
    assert document["format_version"] == "1.0"
    assert "\x1b" not in ran.stdout + ran.stderr
    if "error" in document:
        error = document["error"]
        assert set(error) >= {"code", "message", "next_steps", "exit_code"}
        assert error["exit_code"] == ran.code != 0
        assert re.fullmatch(r"BS-[A-Z0-9-]+", error["code"])
        assert error["message"].strip()
        steps = error["next_steps"]
    else:
        steps = document["next_steps"]
    for step in steps:
        assert all(isinstance(word, str) for word in step)
        assert step[0] == "mkdir" or known(step[1:]), f"the next step {step} is no command"
    return document


def known(words):
    if words[0] in GROUPS:
        return " ".join(words[:2]) in known_commands() or words[1].startswith("-")
    return words[0].startswith("-") or words[0] in known_commands()


WORDS = {
    "periods": [],
    "plan": ["2026-11"],
    "holds": ["2026-11"],
    "runs": [],
    "map companies": [],
    "map products": [],
    "rules check": [],
    "rules show": [],
    "rules schema": [],
    "settings show": [],
    "db current": [],
    "db upgrade": [],
    "db backup": ["copy.db"],
    "doctor": [],
    "init": ["new"],
    "run": ["--yes"],
    "explain": ["CHARGE"],
    "show": ["RUN"],
    "post": ["DIGEST"],
    "imports": [],
    "log": ["--last", "5"],
    "approve": ["DIGEST", "--client", "Southridge Video", "--reason", "agreed"],
}


@pytest.mark.parametrize("command", WORDS)
def test_every_command_prints_one_document_where_all_is_well(office, command):
    office.sandbox.reset(FULL)
    words = list(WORDS[command])
    if "DIGEST" in words or "CHARGE" in words:
        plan = office.plan()
        charge = plan["clients"][0]["lines"][0]["charges"][0]
        words = [{"DIGEST": plan["digest"], "CHARGE": charge}.get(word, word) for word in words]
    if "RUN" in words:
        words = [office.run("run", "--yes", "--json").json["run"]]
    ran = office.run(*command.split(), *words, "--json")
    if command == "rules schema":
        json.loads(ran.stdout)  # a JSON Schema, which is a document of its own kind
        return
    one_document(ran)
    assert ran.code in ((0, 1) if command == "doctor" else (0, 3))


FAILING = {
    "no such command": (["paln"], 2),
    "no such option": (["plan", "--fromat", "csv"], 2),
    "missing argument": (["post"], 2),
    "no such period": (["plan", "2026-13"], 2),
    "strange period": (["plan", "２０２６-11"], 2),
    "not released": (["plan", "2027-01"], 4),
    "not released, run": (["run", "2027-01", "--yes"], 4),
    "not released, holds": (["holds", "2027-01"], 4),
    "unknown client": (["plan", "--client", "Contso"], 2),
    "two clients": (["plan", "--client", "Cont"], 2),
    "no terminal": (["run"], 2),
    "unknown digest": (["post", "abcdef"], 2),
    "no digest": (["post", "hello"], 2),
    "unknown run": (["show", "nope"], 2),
    "unknown charge": (["explain", "nope"], 2),
    "unknown mapping": (["map", "companies", "--set", "nope=1"], 2),
    "odd mapping": (["map", "companies", "--set", "nope"], 2),
    "what to map": (["map", "customers"], 2),
    "unknown client's rules": (["rules", "show", "nobody"], 2),
    "folder is missing": (["plan", "--out", "no/such/plan.json"], 1),
    "backup over a file": (["db", "backup", "rules/defaults.toml"], 1),
    "empty reason": (["approve", "abcdef", "--client", "x", "--reason", " "], 2),
    "odd fault": (["sandbox", "--fault", "x"], 2),
    "odd port": (["sandbox", "--port", "99999"], 2),
    "no words": ([], 2),
    "half a group": (["rules", "shwo"], 2),
}


@pytest.mark.parametrize("name", FAILING)
def test_every_failure_is_one_error_document(office, name):
    words, code = FAILING[name]
    ran = office.run(*words, "--json")
    assert ran.code == code, ran.text
    assert "error" in one_document(ran)


@pytest.mark.parametrize("name", FAILING)
def test_every_failure_is_a_sentence_without_json(office, name):
    words, code = FAILING[name]
    if not words:
        return
    ran = office.run(*words)
    assert ran.code == code, ran.text
    assert not ran.stdout
    assert re.search(r"^BS-[A-Z-]+  .+", ran.stderr, re.MULTILINE)  # the stages in the log stand before it
    assert "BS-BUG" not in ran.stderr


def test_every_next_step_in_the_package_is_a_command_that_exists():
    wrong = []
    for path in Path(billingsync.__file__).parent.rglob("*.py"):
        for found in re.finditer(r'\["billingsync", "([a-z]+)"(?:, "([a-z]+)")?', path.read_text()):
            if not known([word for word in found.groups() if word]):
                wrong.append(f"{path.name}: billingsync {found[1]} {found[2] or ''}")
    assert not wrong


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_exit_codes(office, command):
    ran = office.run(*command.split(), "--help").must(0)
    text = " ".join(ran.stdout.replace("│", " ").split())
    assert f"billingsync {command}" in text.split("Usage:")[-1], "an example"
    assert re.search(r"Example: billingsync ", text)
    assert re.search(r"Exit codes: 0", text)
    assert "\x1b" not in ran.stdout


NOTHING_TO_PARSE = ("sandbox", "demo", "rules schema", "completion", "man", "fleet worker")


@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in NOTHING_TO_PARSE])
def test_everything_worth_parsing_takes_json(office, command):
    assert "--json" in office.run(*command.split(), "--help").stdout


def test_help_without_a_command_lists_all(office):
    text = office.run("--help").must(0).stdout
    for command in COMMANDS:
        assert re.search(rf"\b{command.split()[0]}\b", text)


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("paln", "plan"), ("pla", "plan"), ("pst", "post"), ("perids", "periods"), ("hold", "holds"), ("docter", "doctor"),
        ("rules chekc", "rules check"), ("rules sow", "rules show"), ("db upgrad", "db upgrade"), ("maps", "map"),
    ],
)  # fmt: skip
def test_a_misspelt_command_gets_the_nearest_right_one(office, typed, right):
    assert f"'{right}'" in office.run(*typed.split()).must(2).stderr


def test_the_man_page_has_every_command_and_its_options(office):
    page = office.run("man").must(0).stdout.replace("\\-", "-")
    assert page.startswith(".TH BILLINGSYNC 1 ")
    for command in COMMANDS:
        assert f".SS billingsync {command}" in page
    assert ".B --digest DIGEST" in page
    assert not re.search(r"(?m)^[.'](?!TH|SH|SS|PP|TP|B )", page), "no text that roff takes for a request"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(office, shell, monkeypatch):
    assert "_BILLINGSYNC_COMPLETE" in office.run("completion", shell).must(0).stdout
    if shell == "bash":
        asked = {"_BILLINGSYNC_COMPLETE": "complete_bash", "COMP_WORDS": "billingsync plan --dig", "COMP_CWORD": "2"}
        office.settings |= asked
        assert office.process().stdout.split() == ["--digest"]


def test_a_misspelt_client_gets_the_nearest_right_one(office):
    assert "Contoso Ltd" in office.run("plan", "--client", "Cotnoso Ltd").must(2).stderr


@pytest.mark.parametrize("typed", ["2026-12", "2026-1", "2062-11", "2025-11"])
def test_a_period_that_is_not_there_gets_the_nearest_that_is(office, typed):
    ran = office.run("plan", typed).must(2, 4)
    assert "2026-11" in ran.stderr, ran.stderr


def test_a_misspelt_rules_key_gets_the_nearest_right_one(office):
    office.rules("[modifiers]\nazur = 'keep'\n[invoice]\nbehaviour = 'new'\n")
    ran = office.run("rules", "check").must(2)
    assert "azure" in ran.stderr and "behavior" in ran.stderr


def test_a_misspelt_setting_gets_the_nearest_right_one(office):
    office.settings["BILLINGSYNC_HALO__CLIENTID"] = "x"
    ran = office.run("settings", "show")
    assert "BILLINGSYNC_HALO__CLIENT_ID" in ran.stderr


@pytest.mark.parametrize("format", ["json", "csv", "html", "text", "markdown", "xlsx"])
def test_out_dash_is_stdout_and_a_file_holds_the_same(office, format):
    to_file = office.run("plan", "--format", format, "--out", "plan.out").must(0)
    assert not to_file.stdout
    if format == "xlsx":
        ran = office.process("plan", "--format", format, "--out", "plan.xlsx").must(0)
        assert (office.folder / "plan.xlsx").read_bytes()[:2] == b"PK"
        return
    text = (office.folder / "plan.out").read_bytes().decode("utf-8")
    ran = office.run("plan", "--format", format, "--out", "-").must(0)

    def timeless(document):
        return re.sub(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?|\d\d:\d\d(:\d\d)?", "", document)

    assert timeless(ran.stdout).strip() == timeless(text).strip()
    assert "\x1b" not in text


@pytest.mark.parametrize("words", [["plan"], ["run", "--yes"], ["holds"], ["periods"], ["runs"], ["doctor"],
                                   ["map", "companies"], ["rules", "show"], ["paln"]], ids=" ".join)  # fmt: skip
def test_no_escape_byte_reaches_a_pipe(office, words, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    office.sandbox.reset(FULL)
    ran = office.run(*words)
    assert "\x1b" not in ran.stdout + ran.stderr


def test_amounts_are_strings_in_plain_notation(office):
    def check(value, path=""):
        if isinstance(value, dict):
            for name, inner in value.items():
                check(inner, f"{path}.{name}")
        elif isinstance(value, list):
            for inner in value:
                check(inner, path)
        else:
            assert not isinstance(value, float), path
            if path.rpartition(".")[2] in (
                "amount",
                "cost",
                "price",
                "quantity",
                "unit_price",
                "unit_cost",
                "returned",
            ):
                assert re.fullmatch(r"-?\d+(\.\d+)?", value), (path, value)

    office.sandbox.reset(FULL)
    check(office.plan())
    check(office.run("run", "--yes", "--json").json)
    check(office.run("holds", "--json").json)


PLAN_KEYS = {"digest", "period", "rules_digest", "created_at", "sources", "equation", "clients", "unassigned"}
CLIENT_KEYS = set("company_id company_name client_id client_name matched_by behavior target_invoice_id amount cost "
                  "currency held lines dropped excluded holds".split())  # fmt: skip
LINE_KEYS = set("action line_id description item quantity unit_price unit_cost amount cost charges".split())
RUN_KEYS = {"run", "digest", "period", "state", "postings", "holds", "equation"}
POSTING_KEYS = {"key", "client_id", "invoice_id", "action", "lines", "amount", "state"}


def test_documents_have_the_keys_of_the_interface(office):
    office.sandbox.reset(FULL)
    plan = office.plan()
    assert set(plan) >= PLAN_KEYS
    assert set(plan["sources"][0]) >= {"invoice_id", "status", "charges", "price", "cost", "currency"}
    for client in plan["clients"]:
        assert set(client) >= CLIENT_KEYS
        assert all(set(line) >= LINE_KEYS for line in client["lines"])
        assert all(set(hold) >= {"charge", "reason", "amount", "cost", "next_step"} for hold in client["holds"])
        if client["held"]:
            assert not client["lines"] and client["holds"]
    ran = office.run("run", "--yes", "--json").json
    assert set(ran) >= RUN_KEYS
    assert all(set(posting) >= POSTING_KEYS for posting in ran["postings"])
    assert ran["state"] in ("complete", "held", "failed")


def test_every_hold_has_a_next_step(office):
    office.sandbox.reset(FULL)
    for hold in office.run("holds", "--json").must(3).json["holds"]:
        assert hold["next_step"] and hold["reason"] and hold["amount"] is not None
        for command in re.findall(r"billingsync ([a-z]+)", hold["next_step"]):
            assert known([command]) or command in GROUPS


def test_exit_0_for_an_empty_plan_says_so(office):
    office.run("run", "--yes").must(0)
    ran = office.run("plan").must(0)
    assert "Nothing to post" in ran.stdout


def test_what_this_run_posted_is_not_called_already_posted(office):
    """After posting 3,134.77 the equation must not read "3,134.77 already posted + 0.00 posted"."""
    told = office.run("run", "--yes").must(0).stdout
    assert "+ 0.00 posted" not in told, told


def test_quiet_leaves_only_the_result(office):
    ran = office.run("plan", "--quiet").must(0)
    assert ran.stdout and not ran.stderr
    ran = office.run("run", "--yes", "--quiet").must(0)
    assert ran.stdout and not ran.stderr


def test_flags_may_stand_anywhere(office):
    assert office.run("--no-color", "--quiet", "plan", "--json").must(0).json["digest"]
    assert office.run("plan", "--json", "--no-input").must(0).json["digest"]


def test_debug_is_the_only_way_to_a_traceback(office, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("planted")

    monkeypatch.setattr("billingsync.run.plan.plan_run", broken)
    ran = office.run("plan", "--json")
    assert ran.code == 1
    assert one_document(ran)["error"]["code"] == "BS-BUG"
    told = office.run("plan")
    assert "Traceback" not in told.stderr and "BS-BUG" in told.stderr


def test_debug_still_keeps_the_contract(office):
    """--debug adds a traceback on stderr; the exit code and the document stay what they are."""
    ran = office.process("plan", "2027-01", "--json", "--debug")
    assert "Traceback" in ran.stderr
    assert ran.code == 4, ran.text[-600:]
    one_document(ran)
