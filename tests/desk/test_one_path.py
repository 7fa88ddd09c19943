"""One path [DK1]: each act of the desk is the command's act. Done both ways, the ledger and HaloPSA say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from office import MONTH, QUICK, RULES, Office, office

from billingsync.cli import main
from billingsync.core.desk import Role
from billingsync.web.kept import items_of, products_of

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

TOLD = (
    "decision", "set_aside", "put_back", "match.company", "match.item", "desk_rules",
    "posting.intent", "posting.undone", "run.ended",
)  # fmt: skip
CHANCE = ("who", "at", "run", "digest", "key", "session", "base_key", "content_sha256")
LIMIT = f"{RULES}[limits]\nclient_amount_max = 1500.00\n"


def acts_by_desk(desk: Office, chosen: dict[str, Any]) -> None:
    client = desk.browser(Role.ADMIN)

    def act(path: str, **form: Any) -> None:
        answer = client.post(path, data=form)
        assert answer.status_code == 303, (path, answer.text[-3000:])
        desk.carry()
        assert all(order.state == "done" for order in desk.ledger.orders()), desk.ledger.orders()[0].outcome

    def newest() -> str:
        return str(desk.ledger.newest_digest(MONTH))

    act(f"/ready/{MONTH}/set-aside", digest=newest(), aside=str(chosen["nth"]), reason="asked")
    act(f"/holds/{MONTH}/put-back", digest=newest(), charge=chosen["charges"])
    act("/rules", company=chosen["company"], **{"lines.text": "{product}"}, reason="shorter")
    act("/exclusions", key="exclude.products", value=chosen["left_out"], reason="agreed")
    act("/products/lifecycle", lifecycle="manual", reason="asked")
    act("/products/lifecycle", lifecycle="automatic")
    family = {"sku0": chosen["sku"], "sku1": chosen["left_out"], "item0": str(chosen["item"])}
    act("/products/together/family", count="each", round="exact", per_unit="1", **family)
    act("/products/together/bundle", item="1700", sku0=chosen["sku"], seats0="2")
    act(f"/holds/{MONTH}/approve", digest=newest(), kind="limits", client=chosen["over"], reason="a new office")
    act("/clients/choose", company=chosen["unmapped"], client=str(chosen["client"]), was="")
    act("/clients/confirm/save", pair=chosen["guess"])
    act("/products/choose", key=chosen["sku"], item=str(chosen["item"]), was="")
    act(f"/ready/{MONTH}/post", digest=newest())
    run = desk.ledger.runs()[-1].id
    act(f"/runs/{run}/undo/look")
    act(f"/runs/{run}/undo", digest=desk.ledger.orders()[0].outcome["digest"])


def acts_by_command(desk: Office, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    env = {**desk.sandbox.environment(), **QUICK, "BILLINGSYNC_DATABASE_URL": desk.settings.database_url}
    for name, value in (env | {"BILLINGSYNC_RULES_DIR": str(desk.settings.rules_dir)}).items():
        monkeypatch.setenv(name, value)

    def act(*words: str) -> None:
        assert main(list(words)) in (0, 3), words

    act("set-aside", *chosen["charges"], "--reason", "asked")
    act("put-back", *chosen["charges"])
    act("rules", "set", chosen["company"], "lines.text={product}", "--reason", "shorter")
    act("rules", "set", "pax8", f'exclude.products=["{chosen["left_out"]}"]', "--reason", "agreed")
    act("rules", "set", "pax8", "products.lifecycle=manual", "--reason", "asked")
    act("rules", "set", "pax8", "products.lifecycle=automatic")
    skus = f'["{chosen["sku"]}", "{chosen["left_out"]}"]'
    family = f'pax8_skus = {skus}, halo_items = [{chosen["item"]}], count = "each", round = "exact", per_unit = 1'
    act("rules", "set", "pax8", f"reconcile.match.{chosen['sku']}={{ {family} }}")
    act("rules", "set", "pax8", f'reconcile.bundle.1700=[{{ pax8_sku = "{chosen["sku"]}", seats = 2 }}]')
    act("plan", MONTH)
    newest = str(desk.ledger.newest_digest(MONTH))
    act("approve", newest, "--client", chosen["over"], "--as", "limits", "--reason", "a new office")
    act("map", "companies", "--set", f"{chosen['unmapped']}={chosen['client']}")
    act("map", "companies", "--auto")
    act("map", "products", "--set", f"{chosen['sku']}={chosen['item']}")
    act("plan", MONTH)
    act("post", str(desk.ledger.newest_digest(MONTH)))
    act("undo", desk.ledger.runs()[-1].id, "--yes")


def choice(desk: Office) -> dict[str, Any]:
    desk.rules(LIMIT)
    next(one for one in desk.sandbox.halo.clients.values() if one["name"] == "FABRIKAM")["name"] = "Fabrikams"
    desk.plan()
    head = desk.ledger.newest_plan(MONTH)
    assert head
    rows = desk.ledger.client_rows(head.digest)
    row = next(row for row in rows if row.lines and not row.holds and not row.removed)
    body = desk.ledger.client_body(head.digest, row.nth)
    assert body
    products = [one for one in products_of(desk.ledger, head.digest).values() if one.sku]
    return {
        "nth": row.nth,
        "company": row.company_id,
        "client": row.client_id,
        "over": next(str(row.client_id) for row in rows if any(hold.reason == "limit_amount" for hold in row.holds)),
        "unmapped": next(one.company_id for one in rows if one.company_id and one.client_id is None),
        "guess": next(f"{one.company_id}\t{one.client_id}" for one in rows if one.guessed),
        "charges": sorted(charge for line in body["lines"] for charge in line["charges"]),
        "sku": products[0].sku,
        "left_out": products[1].sku,
        "item": items_of(desk.ledger, head.digest)[0].id,
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
    assert {kind for kind, _ in told} >= {*TOLD}
