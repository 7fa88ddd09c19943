"""Answers made to hurt: a command ends with one sentence, in bounded memory, whatever comes back (fault 36)."""

import json
import subprocess
import sys

import cli
import pytest
from cli import CALM, TEXT_ONLY, Office

from billingsync.sandbox.faults import Fault
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox

# VmHWM is of this program alone: what getrusage tells begins with the peak of the process that started it.
MEASURED = (
    "import re, sys\nfrom pathlib import Path\nfrom billingsync.cli import main\ncode = main(sys.argv[1:])\n"
    "peak = re.search('VmHWM:\\\\s+(\\\\d+)', Path('/proc/self/status').read_text())[1]\n"
    "print(peak, file=sys.stderr)\nsys.exit(code)"
)
SIZE = 8 * 2**20 - 200  # bytes: as large as an answer may be
MOST_KB = 400_000


def filled(piece):
    return "[" + ",".join([piece] * (SIZE // (len(piece) + 1))) + "]"


PAX8, HALO = ("pax8", "/invoices"), ("halo", "/Client")
HOSTILE = {
    "endless number": (HALO, '{"record_count": 1e999999999, "clients": []}'),
    "endless zero": (HALO, '{"record_count": 0e999999999, "clients": []}'),
    "endless page": (PAX8, '{"content": [], "page": {"totalElements": 1e999999999, "totalPages": 1e999999999}}'),
    "empty objects": (HALO, filled("{}")),
    "small objects": (HALO, filled('{"":%s}' % ("1" * 10))),
    "numbers": (PAX8, filled("1.5")),
    "deep": (PAX8, "[" * 1_000_000),
    "towers": (HALO, filled('{"":' * 300 + "1.5" + "}" * 300)),
    "many keys": (PAX8, "{%s}" % ",".join(f'"{n:07x}":1' for n in range(490_000))),
    "too much": (PAX8, "[" + " " * (9 * 2**20) + "]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_fault_36_a_hostile_answer_is_refused_in_bounded_memory(sandbox, tmp_path, name):
    sandbox.reset(CALM)
    (service, path), body = HOSTILE[name]
    sandbox.faults.add(Fault(service=service, method="GET", path=path, kind="200", times=None, body=body))
    office = Office(tmp_path, sandbox)
    office.rules(TEXT_ONLY)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, "plan", "2026-11", "--json"],
        cwd=tmp_path,
        env=cli.process_environment(office.environment()),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode in (1, 4), ran.stdout + ran.stderr
    error = json.loads(ran.stdout)["error"]
    assert error["code"] in ("BS-UPSTREAM", "BS-UPSTREAM-BUSY", "BS-NOT-READY"), error
    assert len(error["message"]) < 1200
    assert int(ran.stderr.split()[-1]) < MOST_KB, ran.stderr[-200:]


def test_invoices_of_many_lines_are_read_in_smaller_pages(tmp_path):
    """A page of a hundred invoices may be larger than an answer may be."""
    options = SandboxOptions(trouble=False, clients=6, charges=60, history=30)
    with Sandbox(options) as sandbox:
        office = Office(tmp_path, sandbox)
        office.rules(TEXT_ONLY)
        for row in sandbox.halo.invoices.values():
            row["internal_note"] = "x" * 200_000
        before = sandbox.state()
        office.run("run", "--yes").must(0)
        assert cli.billed(sandbox, before) == cli.due(sandbox)
        sizes = {call.query.get("page_size") for call in sandbox.calls if call.path == "/Invoice" and call.query}
    assert len(sizes) > 1, sizes


def test_a_backup_to_a_place_that_cannot_be_written_to_is_one_sentence(sandbox, tmp_path):
    sandbox.reset(CALM)
    office = Office(tmp_path, sandbox)
    office.rules(TEXT_ONLY)
    office.run("plan").must(0, 3)
    refused = office.run("db", "backup", "/proc/self/ledger.db", "--json").must(1)
    assert refused.json["error"]["code"] == "BS-LEDGER" and "There is no backup" in refused.json["error"]["message"]


def test_wrong_certificates_are_wrong_settings(sandbox, tmp_path):
    office = Office(tmp_path, sandbox)
    office.settings["SSL_CERT_FILE"] = str(tmp_path / "absent.pem")
    wrong = office.run("plan", "--json").must(2)
    assert wrong.json["error"]["code"] == "BS-SETTINGS" and "SSL_CERT_FILE" in wrong.json["error"]["message"]
    office.run("runs").must(0)  # which calls nobody
