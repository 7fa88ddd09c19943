"""The proof: an export that reads without billingsync, and a verification that names what was altered."""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
import shutil
import subprocess
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from billingsync.audit import keep_rules
from billingsync.rulebook import load_rulebook
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.store.ledger import open_ledger
from tests.sandbox.cli import Office
from tests.sandbox.test_undo import LOOSE

TROUBLED = SandboxOptions(clients=4)
RULES = '[products]\nlifecycle = "off"\n[modifiers]\nzero_lines = "drop"\n' + LOOSE


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    with Sandbox(TROUBLED) as sandbox:
        yield sandbox


def prepared(office: Office) -> None:
    """A troubled month that was posted, undone and posted again, with its rules kept."""
    office.rules(RULES)
    office.run("plan").must(0, 3)
    with open_ledger(office.database_url, partner="default") as ledger:
        digest = load_rulebook(office.folder / "rules").digest
        assert keep_rules(ledger, office.folder / "rules", digest, datetime.datetime.now(datetime.UTC))
    run = office.run("run", "--yes", "--json").must(0, 3).json["run"]
    office.run("undo", run, "--yes").must()
    office.run("run", "--yes").must(0, 3)


@pytest.fixture
def office(request: pytest.FixtureRequest, server: Sandbox, tmp_path: Path, database_url: str) -> Office:
    if database_url.startswith("sqlite"):
        return request.getfixturevalue("small")  # type: ignore[no-any-return]
    server.reset(TROUBLED)
    made = Office(tmp_path, server, database_url)
    prepared(made)
    return made


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("once")
    with Sandbox(TROUBLED) as sandbox:
        made = Office(folder, sandbox, f"sqlite:///{folder / 'billingsync.db'}")
        prepared(made)
        yield made


@pytest.fixture
def small(once: Office, tmp_path: Path) -> Office:
    """The same on SQLite, as a copy: where the database makes no difference and nothing is posted."""
    shutil.copytree(once.folder, tmp_path, dirs_exist_ok=True)
    return Office(tmp_path, once.sandbox, f"sqlite:///{tmp_path / 'billingsync.db'}")


def change(office: Office, statement: str, **values: Any) -> None:
    """What somebody with rights on the database does."""
    engine = create_engine(office.database_url)
    with engine.begin() as connection:
        assert connection.execute(text(statement), values).rowcount != 0, f"changed nothing: {statement}"
    engine.dispose()


def found(office: Office, query: str) -> Any:
    """The one value that a query gives."""
    engine = create_engine(office.database_url)
    with engine.connect() as connection:
        value = connection.execute(text(query)).scalar_one()
    engine.dispose()
    return value


def altered(office: Office, statement: str, **values: Any) -> Any:
    """... and what verify says then."""
    change(office, statement, **values)
    return office.run("audit", "verify", "--json").must(1).json


def test_an_export_reads_without_billingsync(office: Office) -> None:
    told = office.run("audit", "export", "2026-11", "--out", "proof", "--json").must().json
    folder = office.folder / "proof"
    assert told["files"] == sum(path.is_file() for path in folder.rglob("*"))
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert verified(folder) == 0

    charges = table(folder / "charges.csv")
    taken = [row for row in office.sandbox.pax8.invoices if row["invoiceDate"].startswith("2026-11")
             and row["status"] not in ("Void", "Credited")]  # fmt: skip
    assert len({row["charge"] for row in charges}) == sum(len(office.sandbox.pax8.items[row["id"]]) for row in taken)
    assert {row["state"] for row in charges} == {"posted", "dropped", "excluded", "held"}
    billed: dict[str, Decimal] = defaultdict(Decimal)
    for row in charges:
        if row["state"] == "posted":
            billed[row["invoice"]] += Decimal(row["price"])
    there = {
        str(row["id"]): row["revenue"]
        for row in office.sandbox.halo.invoices.values()
        if "billingsync" in row["internal_note"]
    }
    assert billed == there

    for row in table(folder / "sources.csv"):
        assert hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() == row["sha256"]
    sent = [call.body for call in office.sandbox.calls if call.method == "POST" and call.path.lower() == "/invoice"]
    bodies = [path.read_bytes() for path in folder.glob("postings/*/request.json")]
    assert sorted(bodies) == sorted(sent)  # byte for byte
    assert list(folder.glob("postings/*/undo-1.json")) and list(folder.glob("postings/*/answer.txt"))
    assert [path.read_text() for path in folder.glob("rules/*/defaults.toml")] == [RULES]
    versions = {row["version"] for row in table(folder / "runs.csv")}
    assert len(versions) == 1 and versions != {""}
    digests = {json.loads(path.read_text())["digest"] for path in folder.glob("plans/*.json")}
    assert digests == {path.stem for path in folder.glob("plans/*.json")} and digests


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"))))


def verified(folder: Path) -> int:
    return subprocess.run([sys.executable, "-I", "verify.py"], cwd=folder, capture_output=True).returncode


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src") and value]


def test_the_page_is_inert_and_its_links_lead_to_files_of_the_folder(small: Office) -> None:
    hostile = "UPDATE posting SET client_name = '<script>alert(1)</script>', message = '<img src=x onerror=alert(2)>'"
    change(small, hostile)
    small.run("audit", "export", "2026-11", "--out", "proof").must()
    html = (small.folder / "proof" / "index.html").read_text()
    page = Page()
    page.feed(html)
    assert "script" not in page.tags and "img" not in page.tags and "default-src 'none'" in html
    assert page.links and all((small.folder / "proof" / link).is_file() for link in page.links)


def test_an_export_overwrites_nothing_leaves_nothing_half_and_holds_no_secret(small: Office) -> None:
    (small.folder / "there").mkdir()
    assert "exists already" in small.run("audit", "export", "2026-11", "--out", "there").must(2).stderr
    small.run("audit", "export", "2026-11", "--out", "no/such/folder").must(2)
    small.run("audit", "export", "11/2026", "--out", "x").must(2)
    small.run("audit", "export", "2026-11", "--out", "proof").must()
    secrets = [value for name, value in small.environment().items() if "SECRET" in name]
    assert secrets
    for path in (small.folder / "proof").rglob("*"):
        assert not path.is_file() or not any(secret.encode() in path.read_bytes() for secret in secrets)
    small.settings["BILLINGSYNC_HALO__CLIENT_SECRET"] = "2026-11-01"  # as if it stood in what Pax8 sent
    assert (
        "would hold one of the settings' secrets"
        in small.run("audit", "export", "2026-11", "--out", "y").must(1).stderr
    )
    assert not (small.folder / "y").exists() and not list(small.folder.glob("*.part")) + list(
        small.folder.glob(".*part")
    )


def test_an_altered_export_is_found_by_its_own_means(small: Office) -> None:
    small.run("audit", "export", "2026-11", "--out", "proof").must()
    folder = small.folder / "proof"
    lines = (folder / "journal.jsonl").read_text().splitlines()
    entry = json.loads(lines[3])
    lines[3] = json.dumps(entry | {"at": "2026-01-01T00:00:00.000000Z"})
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    digest = hashlib.sha256((folder / "journal.jsonl").read_bytes()).hexdigest()
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    sums = [f"{digest}  journal.jsonl" if line.endswith("  journal.jsonl") else line for line in sums]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")  # who alters the one alters the other
    assert verified(folder) == 1


def test_verify_finds_nothing_where_nothing_was_altered(office: Office) -> None:
    told = office.run("audit", "verify", "--json").must().json
    assert not told["altered"] and min(told["checked"].values()) > 0


OF_SOURCES = "SELECT min(seq) FROM journal WHERE kind = 'source'"  # Pax8 and HaloPSA are read in the same time
ONE = "(SELECT min(key) FROM posting WHERE state = 'posted')"
TAMPERED = {
    "an entry": ("UPDATE journal SET body = '{}' WHERE seq = 5", "its content does not give its hash", 5),
    "an entry's time": ("UPDATE journal SET at = '2020' WHERE seq = 7", "its content does not give its hash", 7),
    "an entry gone": ("DELETE FROM journal WHERE seq = 6", "entry 6 is missing", 7),
    "the last entries gone": ("DELETE FROM journal WHERE seq > 20", "", None),
    "a source": ("UPDATE source_document SET sha256 = 'ab' WHERE kind = 'items'", "is gone", OF_SOURCES),
    "a source gone": ("DELETE FROM source_document", "is gone", OF_SOURCES),
    "an amount": (f"UPDATE posting SET amount = '1.00' WHERE key = {ONE}", "another amount than was intended", None),
    "a client": (f"UPDATE posting SET client_id = 999 WHERE key = {ONE}", "another client_id", None),
    "a state": (f"UPDATE posting SET state = 'undone' WHERE key = {ONE}", "is undone, and became posted", None),
    "lines": (f"UPDATE posting SET lines = '[]' WHERE key = {ONE}", "other lines than it had", None),
    "what was returned": (f"UPDATE posting SET returned_price = '0.01' WHERE key = {ONE}", "HaloPSA returned", None),
    "a claim": (f"UPDATE claim SET price = '0.01' WHERE key = {ONE}", "the charges claimed by", None),
    "a freed claim": (f"UPDATE claim SET live = (1 = 0) WHERE key = {ONE}", "the charges on lines of", None),
    "a match": ("UPDATE company_match SET client_id = 999", "another client_id than was decided", None),
    "a decision": ("UPDATE settled SET price = '9.99' WHERE state = 'dropped'", "which was not decided", None),
    "a decision gone": ("DELETE FROM settled WHERE state = 'dropped'", "the decision about charge", None),
    "a run": ("UPDATE run SET who = 'somebody else'", "than it began with", None),
    "a plan": ("UPDATE plan SET rules_digest = 'ab'", "of another month or other rules", None),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_verify_names_the_first_altered_entry(small: Office, what: str) -> None:
    statement, says, seq = TAMPERED[what]
    told = altered(small, statement)
    assert any(says in problem["says"] for problem in told["problems"]), told["problems"]
    if seq is not None:
        assert told["first"]["seq"] == (found(small, seq) if isinstance(seq, str) else seq)
    numbers = [problem["seq"] for problem in told["problems"] if problem["seq"] is not None]
    assert numbers == sorted(numbers) and told["first"] == told["problems"][0]


def test_verify_names_altered_contents(office: Office) -> None:
    with open_ledger(office.database_url, partner="default") as ledger:
        row = next(row for row in ledger.postings() if row.state == "posted")
    other = zlib.compress(row.content.replace("2026", "2025").encode())
    statement = "UPDATE posting SET content = :other, answer = :other WHERE key = :key"
    says = [one["says"] for one in altered(office, statement, other=other, key=row.key)["problems"]]
    assert any("another content than was sent" in one for one in says)
    assert any("is not what HaloPSA said" in one for one in says)
    said = altered(office, "UPDATE source_document SET body = :other WHERE kind = 'items'", other=other)["problems"]
    assert any("is not what Pax8 sent" in one["says"] for one in said)
    plans = altered(office, "UPDATE plan SET document = :other", other=other)["problems"]
    assert any("is not what was shown" in one["says"] for one in plans)


def test_rules_that_changed_meanwhile_are_not_kept_as_those_that_decided(small: Office) -> None:
    with open_ledger(small.database_url, partner="default") as ledger:
        now = datetime.datetime.now(datetime.UTC)
        assert not keep_rules(ledger, small.folder / "rules", "0" * 64, now)
        assert ledger.rules_texts("0" * 64) == ()
        digest = load_rulebook(small.folder / "rules").digest
        count = len(ledger.journal_entries())
        assert keep_rules(ledger, small.folder / "rules", digest, now)
        assert len(ledger.journal_entries()) == count  # the same texts once
