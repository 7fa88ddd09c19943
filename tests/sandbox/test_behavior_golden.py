"""Stories that a finance person can read: `tests/golden/behaviors/*/`. Each folder has the rules, the charges month by
month as Pax8 would bill them (and what people do in HaloPSA), and `story.txt`: each month's plan as it is shown and
HaloPSA's invoices as they are afterwards. `GOLDEN=write pytest ...` writes the stories anew; read the difference."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from scene import STAGE, ours, scene

FOLDERS = sorted(path for path in (Path(__file__).parents[1] / "golden" / "behaviors").iterdir() if path.is_dir())
CHARGE = re.compile(
    r"(?P<month>20\d\d-\d\d)  client (?P<client>\d+)  (?P<kind>\S+)  (?P<sku>\S+)  "
    r"(?P<quantity>\S+) x (?P<price>\S+)(?:  cost (?P<cost>\S+))?(?:  subscription (?P<sub>\S+))?"
    r"(?:  order (?P<order>\S+))?"
)
PERSON = re.compile(
    r'(?P<month>20\d\d-\d\d)  Jane sets the quantity of "(?P<text>[^"]+)" on invoice (?P<invoice>\d+) to (?P<to>\S+)'
)
RUNS = re.compile(r"(?P<month>20\d\d-\d\d)  (?P<words>(?:approve|map) .+)")


def play(made, folder):
    lines = [line for line in (folder / "charges.txt").read_text().splitlines() if line and not line.startswith("#")]
    months = sorted({line[:7] for line in lines})
    assert lines == [line for month in months for line in lines if line.startswith(month)], "months in order"
    told = []
    for month in months:
        charges, words = [], []
        for line in (one for one in lines if one.startswith(month)):
            if found := CHARGE.fullmatch(line):
                more = {"purchaseOrderNumber": found["order"]} if found["order"] else {}
                more |= {"type": found["kind"], "sub": found["sub"], "cost": found["cost"]}
                charges.append(
                    made.charge(found["sku"], found["quantity"], found["price"], client=int(found["client"]), **more)
                )
            elif found := PERSON.fullmatch(line):
                row = made.invoice(-int(found["invoice"]))
                mine = next(one for one in row["lines"] if one["item_shortdescription"].startswith(found["text"]))
                made.edit(row["id"], mine["id"], qty_order=Decimal(found["to"]))
            else:
                found = RUNS.fullmatch(line)
                assert found, f"{folder.name}: {line}"
                words.append(found["words"])
        made.month(month, *charges)
        told += [f"{'=' * 20} {month} {'=' * 20}", "", made.office.run("plan", month, "--lines").must(0, 3).stdout]
        for one in words:
            digest = made.office.plan(month)["digest"]
            parts = [part.strip('"') for part in re.findall(r'"[^"]+"|\S+', one.replace("DIGEST", digest))]
            made.office.run(*parts).must()
            told += [f"$ billingsync {one}", "", made.office.run("plan", month, "--lines").must(0, 3).stdout]
        made.office.run("run", month, "--yes").must(0, 3)
        told += ["--- HaloPSA afterwards", "", *after(made), ""]
    return re.sub(r"\b[0-9a-f]{6,12}\b(?=$|\s+--client)", "DIGEST", "\n".join(told), flags=re.M)


def after(made):
    """Every invoice with lines of ours, all its lines: whose, how many, at what, text, item."""
    tables = made.sandbox.halo
    for row in sorted(
        [*tables.recurring.values(), *tables.invoices.values()], key=lambda one: (one["client_id"], one["id"])
    ):
        mine = {line["id"] for line in ours(row)}
        if not mine:
            continue
        kind = f"recurring invoice {-row['id']}" if row["id"] < 0 else f"invoice {row['id']}"
        order = f", order {row['order_number']}" if row["order_number"] not in ("", "hand-made") else ""
        yield f"{row['client_name']}, {kind}{order}: {row['revenue']:.2f} before tax"
        for line in row["lines"]:
            whose = "ours  " if line["id"] in mine else "theirs"
            item = f"  [item {line['_itemid']}: {tables.items[line['_itemid']]['name']}]" if line["_itemid"] else ""
            text = line["item_shortdescription"] or "(no text)"
            yield f"  {whose} {line['qty_order']:>6} x {line['unit_price']!s:>8}  {text}{item}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_golden_story(server, tmp_path, sqlite_template, folder):
    server.reset(dataclasses.replace(STAGE))
    shutil.copy(sqlite_template, tmp_path / "ledger.db")
    shutil.copytree(folder / "rules", tmp_path / "rules")
    found = play(scene(server, tmp_path), folder)
    expected = folder / "story.txt"
    if os.environ.get("GOLDEN") == "write":
        expected.write_text(found)
    assert found == expected.read_text()


def test_there_is_a_story_for_each_behavior_and_lifecycle():
    names = {folder.name for folder in FOLDERS}
    assert names >= {"new", "new-by-purchase-order", "latest", "recurring", "lifecycle-off", "lifecycle-manual",
                     "lifecycle-default-item", "lifecycle-automatic", "parts", "limit-and-approval"}  # fmt: skip
