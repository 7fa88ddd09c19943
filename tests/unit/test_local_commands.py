"""Commands that only ask the ledger on this machine start without what asks vendors, serves pages or makes schemas."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sample_plan import full_plan

from billingsync.cli.app import app, app_of, known_commands
from billingsync.core.inputs import RunInputs
from billingsync.core.period import Period
from billingsync.core.rules import Rulebook
from billingsync.report.document import client_document, kept_plan
from billingsync.rulebook import load_rulebook
from billingsync.run.plan_rows import plan_rows
from billingsync.store.ledger import open_ledger
from billingsync.store.packing import pack

NOW = datetime(2026, 11, 28, 11, 0, tzinfo=UTC)
HEAVY = (
    "alembic",
    "apprise",
    "authlib",
    "billingsync.connect",
    "billingsync.core.reconcile.snapshot",
    "billingsync.core.tables",
    "billingsync.core.bill.modifiers",
    "billingsync.core.bill.plan_run",
    "billingsync.core.inputs",
    "billingsync.http",
    "billingsync.psa",
    "billingsync.web",
    "httpx2",
    "jinja2",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "rapidfuzz",
    "sqlalchemy.dialects.postgresql",
    "starlette",
    "structlog",
    "tenacity",
    "uvicorn",
)
OF_PLANS = (
    "billingsync.core.bill.plan",
    "billingsync.core.decisions",
    "billingsync.core.inputs",
    "billingsync.core.rules",
)
PROGRAM = """
import sys
from billingsync.cli import main
code = main(sys.argv[2:])
print(code, *(name for name in sys.argv[1].split(",") if name in sys.modules), file=sys.stderr)
"""


def keep_a_plan(url: str, folder: Path) -> str:
    """Keeps the sample plan as one that today's rules made; returns its digest."""
    plan, at = full_plan(), NOW.isoformat(timespec="seconds")
    made_from = RunInputs(partner="default", period=Period.parse(plan.period), sources=(), companies=(), clients=())
    (folder / "rules").mkdir()
    with open_ledger(url, partner="default") as ledger:
        ledger.save_plan(
            digest=plan.digest,
            period=Period.parse(plan.period),
            rules_digest=load_rulebook(folder / "rules").digest,
            asked=(),
            document=kept_plan(plan, at, map(client_document, plan.clients)),
            now=NOW,
            rows=plan_rows(plan, Rulebook(), at, map(client_document, plan.clients)),
            inputs=pack(made_from, plan=plan),
        )
    return plan.digest


@pytest.mark.parametrize("words", [["status"], ["runs"], ["holds"], ["plan", "--digest"]], ids=" ".join)
def test_a_local_command_imports_nothing_for_the_network(words, sqlite_ledger_url, tmp_path):
    digest = keep_a_plan(sqlite_ledger_url, tmp_path)
    heavy = [*HEAVY, *(OF_PLANS if words[0] in ("status", "runs") else [])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BILLINGSYNC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(heavy), *words, *([digest] if words[-1] == "--digest" else [])],
        cwd=tmp_path,
        env={**kept, "BILLINGSYNC_DATABASE_URL": sqlite_ledger_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    expected = {"status": 0, "runs": 0, "holds": 3, "plan": 3}[words[0]]
    assert done.stderr.splitlines()[-1] == str(expected), done.stderr


def test_one_command_is_built_without_the_others():
    assert [one.callback.__name__ for one in app_of("runs").registered_commands if one.callback] == ["runs"]
    assert app_of("runs").registered_groups == []
    for name in {command.split()[0] for command in known_commands()}:
        assert app_of(name) is not app, name
    assert app_of("ru") is app
    assert app_of("--version") is app
