"""One path [DK1]: each act of the desk is the command's act. Done both ways, the ledger and HaloPSA say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from office import MONTH, Office, office

from billingsync.cli import main
from billingsync.core.desk import Role

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

TOLD = ("decision", "set_aside", "put_back", "match.company", "match.item", "desk_rules", "posting.intent", "run.ended")
CHANCE = ("who", "at", "run", "digest", "key", "session", "base_key", "content_sha256")


def acts_by_desk(desk: Office, chosen: dict[str, Any]) -> None:
    client = desk.browser(Role.ADMIN)
    digest = chosen["digest"]
    aside = {"digest": digest, "aside": str(chosen["nth"]), "reason": "asked"}
    assert client.post(f"/ready/{MONTH}/set-aside", data=aside).status_code == 303
    newest = desk.ledger.newest_digest(MONTH)
    back = {"digest": newest, "charge": chosen["charges"]}
    assert client.post(f"/holds/{MONTH}/put-back", data=back).status_code == 303
    rules = {"company": chosen["company"], "lines.text": "{product}", "reason": "shorter"}
    assert client.post("/rules", data=rules).status_code == 303
    mapped = {"company": chosen["unmapped"], "client": str(chosen["client"]), "was": ""}
    client.post("/clients/choose", data=mapped)
    assert desk.carry() == 1
    client.post(f"/ready/{MONTH}/post", data={"digest": desk.ledger.newest_digest(MONTH)})
    assert desk.carry() == 1


def acts_by_command(desk: Office, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**desk.sandbox.environment(), "BILLINGSYNC_DATABASE_URL": desk.settings.database_url}
    env |= {"BILLINGSYNC_RULES_DIR": str(desk.settings.rules_dir), "BILLINGSYNC_HALO__ABSENCE_S": "1"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert main(["set-aside", *chosen["charges"], "--reason", "asked"]) == 0
    assert main(["put-back", *chosen["charges"]]) == 0
    assert main(["rules", "set", chosen["company"], "lines.text={product}", "--reason", "shorter"]) == 0
    assert main(["map", "companies", "--set", f"{chosen['unmapped']}={chosen['client']}"]) == 0
    assert main(["plan", MONTH, "--json"]) in (0, 3)
    assert main(["post", str(desk.ledger.newest_digest(MONTH))]) in (0, 3)


def choice(desk: Office) -> dict[str, Any]:
    desk.plan()
    head = desk.ledger.newest_plan(MONTH)
    assert head
    rows = desk.ledger.client_rows(head.digest)
    row = next(row for row in rows if row.lines and not row.holds and not row.removed)
    body = desk.ledger.client_body(head.digest, row.nth)
    unmapped = next(one for one in rows if one.company_id and one.client_id is None)
    assert body
    return {
        "digest": head.digest,
        "nth": row.nth,
        "company": row.company_id,
        "client": row.client_id,
        "unmapped": unmapped.company_id,
        "charges": sorted(charge for line in body["lines"] for charge in line["charges"]),
    }


def journal(desk: Office) -> list[tuple[str, Any]]:
    """What was done, without who did it and what is by chance."""
    found = []
    for entry in desk.ledger.journal_entries():
        if entry.kind in TOLD:
            body = json.loads(entry.body)
            found.append((entry.kind, {name: value for name, value in body.items() if name not in CHANCE}))
    return found


def invoices(desk: Office) -> list[str]:
    """What HaloPSA has, without our marks, which are of each ledger's own."""
    texts = [json.dumps(one, sort_keys=True, default=str) for _, one in sorted(desk.sandbox.halo.invoices.items())]
    return [re.sub(r"[0-9a-f]{20}|\b[0-9a-f]{8}\b|\d{4}-\d\d-\d\dT[0-9:.Z+]+", "", text) for text in texts]


def test_each_act_by_desk_and_by_command_gives_the_same_journal_and_the_same_invoices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with office(tmp_path / "one") as desk:
        acts_by_desk(desk, choice(desk))
        told, written = journal(desk), invoices(desk)
    with office(tmp_path / "other") as other:
        acts_by_command(other, choice(other), monkeypatch)
        assert [kind for kind, _ in journal(other)] == [kind for kind, _ in told]
        assert journal(other) == told
        assert invoices(other) == written
    assert {kind for kind, _ in told} >= {"set_aside", "put_back", "desk_rules", "match.company", "posting.intent"}
