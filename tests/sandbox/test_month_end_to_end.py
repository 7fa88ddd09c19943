"""A released month becomes HaloPSA invoices, through the CLI, on both databases; and what comes after."""

import copy
import csv
import dataclasses
import io
import json
import shlex
from decimal import Decimal

import cli
import pytest
from cli import CALM, TEXT_ONLY, Office

from billingsync.sandbox.options import SandboxOptions
from billingsync.store.ledger import open_ledger

FULL = SandboxOptions()  # twelve clients, and everything that must be held


@pytest.fixture
def office(sandbox, ledger_url, tmp_path):
    """On both databases."""
    sandbox.reset(CALM)
    office = Office(tmp_path, sandbox, ledger_url)
    office.rules(TEXT_ONLY)
    return office


@pytest.fixture
def quick(sandbox, sqlite_ledger_url, tmp_path):
    """Where the database makes no difference."""
    sandbox.reset(CALM)
    office = Office(tmp_path, sandbox, sqlite_ledger_url)
    office.rules(TEXT_ONLY)
    return office


def posted(document):
    return [posting for posting in document["postings"] if posting["state"] in ("posted", "adopted")]


@pytest.mark.parametrize("options", [CALM, FULL], ids=["calm", "full"])
@pytest.mark.parametrize("rules", ["", TEXT_ONLY], ids=["items", "text"])
def test_month_plan_run_plan_run(office, options, rules):
    sandbox = office.sandbox
    sandbox.reset(options)
    office.rules(rules)
    before = sandbox.state()

    plan = office.plan()
    assert sandbox.state() == before, "planning writes nothing"
    assert not [call for call in sandbox.calls if call.effect]
    cli.balanced(plan)

    ran = office.run("run", "--yes", "--json").must(3 if options is FULL else 0).json
    assert cli.billed(sandbox, before) == {
        client: amounts for client, amounts in cli.plan_lines(plan).items() if amounts
    }
    cli.balanced(ran, returned=True)
    assert {posting["state"] for posting in ran["postings"]} == {"posted"}
    by_currency = {}
    for posting in ran["postings"]:
        by_currency[posting["currency"]] = by_currency.get(posting["currency"], 0) + Decimal(posting["amount"])
    for currency, account in ran["equation"].items():
        assert Decimal(account["price"]["returned"]) == by_currency.get(currency, 0)
    for posting in ran["postings"]:
        invoice = sandbox.halo.invoices[posting["invoice_id"]]
        assert invoice["client_id"] == posting["client_id"]
        assert sum(Decimal(line["net_amount"]) for line in invoice["lines"]) == Decimal(posting["amount"])
    assert cli.foreign(sandbox.state()) == cli.foreign(before)
    assert not sandbox.alarms
    assert not sandbox.ignored

    again = office.plan()
    assert not [line for client in again["clients"] for line in client["lines"]], "nothing to post [R1]"
    for currency, account in again["equation"].items():
        assert account["price"]["already_posted"] == plan["equation"][currency]["price"]["posted"]
    after = sandbox.state()
    assert not office.run("run", "--yes", "--json").json["postings"]
    assert sandbox.state() == after


def test_a2_every_charge_of_the_full_month_is_somewhere_once(quick):
    sandbox = quick.sandbox
    sandbox.reset(FULL)
    plan = quick.plan()
    taken = [
        row
        for invoice in sandbox.pax8.invoices
        if invoice["invoiceDate"].startswith("2026-11") and invoice["status"] not in ("Void", "Credited")
        for row in sandbox.pax8.items[invoice["id"]]
    ]
    places = [charge for client in plan["clients"] for line in client["lines"] for charge in line["charges"]]
    for owner in [*plan["clients"], plan["unassigned"]]:
        places += [one["charge"] for kind in ("dropped", "excluded", "holds") for one in owner.get(kind, [])]
    assert len(places) == len(set(places)) == len(taken)
    assert sum(source["charges"] for source in plan["sources"]) == len(taken)


def test_month_is_right_by_an_independent_computation(office):
    due = cli.due(office.sandbox)
    before = office.sandbox.state()
    office.run("run", "--yes", "--json").must(0)
    assert cli.billed(office.sandbox, before) == due


def test_post_posts_exactly_the_plan_that_was_shown(office):
    before = office.sandbox.state()
    plan = office.plan()
    ran = office.run("post", plan["digest"][:6], "--json").must(0).json
    assert ran["digest"] == plan["digest"]
    assert cli.billed(office.sandbox, before) == cli.plan_lines(plan)
    state = office.sandbox.state()
    office.run("post", plan["digest"], "--json").must(0, 5)
    assert office.sandbox.state() == state, "the same digest again posts nothing more"


def test_l2_what_the_client_reads_is_what_the_plan_said(quick):
    before = quick.sandbox.state()
    said = sorted(line["description"] for client in quick.plan()["clients"] for line in client["lines"])
    quick.run("run", "--yes", "--json").must(0)
    for row in cli.written(quick.sandbox, before):
        for line in row["lines"]:
            assert cli.MARK.sub("", line["item_longdescription"]).strip() in said
            assert "[bs:" not in line["item_shortdescription"]


# A plan that is no longer true ----------------------------------------------------------------------------------------


def item(sandbox, company="Contoso Ltd"):
    for invoice in sandbox.pax8.invoices:
        if invoice["status"] not in ("Void", "Credited"):
            for row in sandbox.pax8.items[invoice["id"]]:
                if row["companyName"] == company and row["type"] == "subscription":
                    return invoice, row
    raise AssertionError(company)


def _rules(text):
    return lambda office: office.rules(text)


def _charge(**changes):
    return lambda office: item(office.sandbox)[1].update(changes)


def _client(client_id=214, **changes):
    return lambda office: office.sandbox.halo.clients[client_id].update(changes)


def _gone(office):
    invoice, row = item(office.sandbox)
    office.sandbox.pax8.items[invoice["id"]].remove(row)


def _credited(office):
    item(office.sandbox)[0]["status"] = "Credited"


def _mapped(office):
    company = item(office.sandbox)[1]["companyId"]
    office.run("map", "companies", "--set", f"{company}=401").must(0)


STALE = {
    "price": _charge(price=1, total=1, subTotal=1),
    "cost": _charge(cost=1, costTotal=1),
    "text": _charge(productName="Renamed", description="Renamed"),
    "service period": _charge(endPeriod="2026-11-29"),
    "currency of a charge": _charge(currencyCode="EUR"),
    "a charge gone": _gone,
    "invoice credited": _credited,
    "client inactive": _client(inactive=True),
    "client renamed": _client(name="Something Else"),
    "client's currency": _client(default_currency_code=2, default_currency_code_name="EUR", currencyisocode="EUR"),
    "client pays through another": _client(client_to_invoice=216),
    "mapped to another client": _mapped,
    "rules: text": _rules(TEXT_ONLY + '[lines]\ntext = "{product}"\n'),
    "rules: excluded company": _rules(TEXT_ONLY + '[exclude]\ncompanies = ["Contoso Ltd"]\n'),
    "rules: limit": _rules(TEXT_ONLY + "[limits]\nclient_amount_max = 1\n"),
    "rules: tax code": _rules('[products]\nlifecycle = "off"\ntax_code = "12"\n'),
    "rules: income account": _rules('[products]\nlifecycle = "off"\nincome_account = "210"\n'),
    "rules: an item on every line": _rules('[products]\nlifecycle = "default_item"\ndefault_item = 401\n'),
}


@pytest.mark.parametrize("what", STALE)
def test_fault_17_a_stale_plan_is_refused_and_what_changed_is_said(quick, what):
    plan = quick.plan()
    before = quick.sandbox.state()
    STALE[what](quick)
    changed = quick.sandbox.state()

    refused = quick.run("post", plan["digest"], "--json")

    assert refused.code == 5, f"{len(cli.written(quick.sandbox, before))} invoices were written: {refused.stdout[:300]}"
    error = refused.json["error"]
    assert error["code"] == "BS-STALE-PLAN"
    assert "rules" in what or "Contoso Ltd" in error["message"]
    assert "None" not in error["message"]
    assert quick.sandbox.state() == changed, "nothing is written"
    [digest] = [step[2] for step in error["next_steps"] if step[:2] == ["billingsync", "post"]]
    assert digest != plan["digest"][: len(digest)]
    ran = quick.run("post", digest, "--json").must(0, 3)
    assert ran.json["digest"].startswith(digest)


@pytest.mark.parametrize("what", ["another item", "item renamed away"])
def test_fault_17_an_item_that_changed_is_refused_too(quick, what):
    quick.rules("")
    plan = quick.plan()
    line = next(one for client in plan["clients"] for one in client["lines"] if one["item"]["id"])
    if what == "another item":
        sku = next(row["sku"] for rows in quick.sandbox.pax8.items.values() for row in rows
                   if row["productName"] == line["title"])  # fmt: skip
        quick.run("map", "products", "--set", f"{sku}=402").must(0)
    else:
        for row in quick.sandbox.halo.items.values():
            row["externalreference"] = row["supplier_part_code"] = ""
            row["item_suppliers"] = []
            row["name"] = f"renamed {row['id']}"
    before = quick.sandbox.state()
    quick.run("post", plan["digest"], "--json").must(5)
    assert quick.sandbox.state() == before


def test_fault_17_tells_a_held_client_by_its_reason(quick):
    plan = quick.plan()
    quick.sandbox.halo.clients[214]["inactive"] = True
    told = quick.run("post", plan["digest"]).must(5)
    assert "inactive" in told.stderr, told.stderr


def test_a_comment_in_the_rules_does_not_make_a_plan_stale(quick):
    plan = quick.plan()
    quick.rules(f"# agreed with accounting\n{TEXT_ONLY}")
    quick.run("post", plan["digest"], "--json").must(0)


def test_post_of_a_plan_for_one_client_posts_only_that(office):
    before = office.sandbox.state()
    plan = office.plan("--client", "Contoso Ltd")
    assert plan["clients_asked"]
    office.run("post", plan["digest"], "--json").must(0)
    assert set(cli.billed(office.sandbox, before)) == {214}


# One client, groups ---------------------------------------------------------------------------------------------------


def test_client_runs_one_client_and_the_rest_later(office):
    sandbox, before, due = office.sandbox, office.sandbox.state(), cli.due(office.sandbox)
    ran = office.run("run", "--yes", "--json", "--client", "Contoso Ltd").must(0)
    assert cli.billed(sandbox, before) == {214: due[214]}
    cli.balanced(ran.json, returned=True)
    office.run("run", "--yes", "--json", "--client", "fabrikam gmbh", "--client", "Contoso Europe Ltd").must(0)
    assert cli.billed(sandbox, before) == {client: due[client] for client in (214, 215, 217)}
    office.run("run", "--yes", "--json").must(0)
    assert cli.billed(sandbox, before) == due


def test_client_may_be_given_by_its_halopsa_id(quick):
    """`--client`, by its help: by name or id."""
    assert [one["client_id"] for one in quick.plan("--client", "214")["clients"]] == [214]


@pytest.mark.parametrize("group_by", ["client", "distributor_invoice", "purchase_order"])
def test_b1_group_by(quick, group_by):
    sandbox = quick.sandbox
    sandbox.reset(dataclasses.replace(CALM, clients=6, charges=120))
    company = item(sandbox)[1]["companyId"]
    invoices = [one for one in sandbox.pax8.invoices if one["status"] == "Unpaid"]
    mine = [row for one in invoices for row in sandbox.pax8.items[one["id"]] if row["companyId"] == company]
    moved = mine[0]
    for number, row in enumerate(mine[1:6]):
        row["purchaseOrderNumber"] = f"PO-{number % 2}"
    other = next(one for one in invoices if moved not in sandbox.pax8.items[one["id"]] and one["currencyCode"] == "USD")
    for one in invoices:
        if moved in sandbox.pax8.items[one["id"]]:
            sandbox.pax8.items[one["id"]].remove(moved)
    sandbox.pax8.items[other["id"]].append(moved)
    due, before = cli.due(sandbox), sandbox.state()
    quick.rules(TEXT_ONLY + f'[invoice]\ngroup_by = "{group_by}"\n')
    quick.run("run", "--yes", "--json").must(0)
    assert cli.billed(sandbox, before) == due
    orders = {row["purchaseOrderNumber"].replace("N/A", "") for row in mine if not row.get("billedByPax8")
              and row["type"] not in cli.EXCLUDED}  # fmt: skip
    wanted = {"client": 1, "distributor_invoice": 2, "purchase_order": len(orders)}[group_by]
    mine = [row for row in cli.written(sandbox, before) if row["client_id"] == 214]
    assert len(mine) == wanted
    if group_by == "purchase_order":
        assert {row["order_number"] for row in mine} >= {"PO-0", "PO-1"}
    assert not quick.plan()["clients"]


# Later ----------------------------------------------------------------------------------------------------------------


def test_a_mapping_releases_a_hold_and_only_that_is_posted_next(office):
    sandbox = office.sandbox
    sandbox.reset(FULL)
    first = office.run("run", "--yes", "--json").must(3).json
    fourth = next(hold for hold in first["holds"] if hold["company_name"] == "Fourth Coffee")
    assert fourth["reason"] == "client_unmapped"
    before = sandbox.state()
    step = shlex.split(fourth["next_step"].replace("HALO_CLIENT_ID", "401"))
    assert step[0] == "billingsync"
    office.run(*step[1:]).must(0)
    second = office.run("run", "--yes", "--json").must(3).json
    assert [(one["client_id"], one["amount"]) for one in posted(second)] == [(401, "100.00")]
    new = [row for row in cli.written(sandbox) if row["id"] not in {one["id"] for one in before["halo"]["invoices"]}]
    assert [row["client_id"] for row in new] == [401]
    cli.balanced(second, returned=True)


def test_an_approval_lets_one_held_client_through(office):
    sandbox = office.sandbox
    sandbox.reset(FULL)
    plan = office.plan()
    [credit] = [one for one in plan["clients"] if one["company_name"] == "Southridge Video"]
    assert credit["held"] == "limit_negative"
    approve = ["approve", plan["digest"][:12], "--client", "Southridge Video", "--reason", "agreed by phone"]
    office.run(*approve).must(0)
    ran = office.run("run", "--yes", "--json").must(3).json
    assert "-36.00" in [posting["amount"] for posting in posted(ran)]
    assert "Southridge Video" not in {hold["company_name"] for hold in ran["holds"]}


def test_r1_a_late_charge_is_billed_alone(office):
    sandbox = office.sandbox
    office.run("run", "--yes", "--json").must(0)
    before = sandbox.state()
    invoice, row = item(sandbox)
    late = {**copy.deepcopy(invoice), "id": "11111111-1111-4111-8111-111111111111"}
    charge = {
        **row,
        "id": "22222222-2222-4222-8222-222222222222",
        "total": Decimal("7.31"),
        "subTotal": Decimal("7.31"),
        "startPeriod": "2026-11-20",  # of other days: else it would be the same thing on two invoices [S10]
    }
    sandbox.pax8.invoices.append(late)
    sandbox.pax8.items[late["id"]] = [charge]
    plan = office.plan()
    assert [(one["client_id"], one["amount"]) for one in plan["clients"]] == [(214, "7.31")]
    office.run("run", "--yes", "--json").must(0)
    known = {one["id"] for one in before["halo"]["invoices"]}
    new = [one for one in cli.written(sandbox) if one["id"] not in known]
    assert [(one["client_id"], one["revenue"]) for one in new] == [(214, Decimal("7.31"))]


def test_an_invoice_released_later_is_billed_alone(quick):
    sandbox = quick.sandbox
    euro = next(one for one in sandbox.pax8.invoices if one["currencyCode"] == "EUR")
    due = cli.due(sandbox)
    sandbox.pax8.hidden.add(euro["id"])
    before = sandbox.state()
    quick.run("run", "--yes", "--json").must(0)
    assert set(cli.billed(sandbox, before)) == {214, 216}
    sandbox.release()
    quick.run("run", "--yes", "--json").must(0)
    assert cli.billed(sandbox, before) == due


def test_r3_other_rules_change_nothing_that_was_posted(quick):
    quick.rules(TEXT_ONLY + '[modifiers]\nfavorable_prorata = "drop"\nazure = "collapse"\n')
    quick.run("run", "--yes", "--json").must(0)
    state = quick.sandbox.state()
    quick.rules(TEXT_ONLY)
    quick.run("run", "--yes", "--json").must(0)
    assert quick.sandbox.state() == state, "what was dropped stays dropped"
    replanned = quick.plan("--replan")
    assert replanned["clients"] and replanned["next_steps"] == []
    told = {(one["before"], one["now"]) for one in replanned["replan"]}
    assert told == {("dropped: favorable_prorata", "posted")}, "what was billed on one line is billed on several"
    dropped = [row for rows in quick.sandbox.pax8.items.values() for row in rows
               if row["type"] == "prorate" and row["total"] < 0]  # fmt: skip
    shifted = {charge.partition(":")[2] for one in replanned["replan"] for charge in one["charges"]}
    assert shifted and shifted <= {row["id"] for row in dropped}
    shown = quick.run("plan", "--replan", "--json").must(0, 3)
    text = quick.run("plan", "--replan").must(0, 3).stdout
    assert "dropped: favorable_prorata before, posted by today's rules" in " ".join(text.split())
    assert "billingsync post" not in text and shown.json["replan"] == replanned["replan"]
    quick.run("post", replanned["digest"], "--json").must(2, 5)
    assert quick.sandbox.state() == state


def test_fault_11_a_posted_invoice_that_is_credited_and_issued_again_is_not_new_money(quick):
    sandbox = quick.sandbox
    due, before = cli.due(sandbox), sandbox.state()
    quick.run("run", "--yes", "--json").must(0)
    invoice, _ = item(sandbox)
    again = {**copy.deepcopy(invoice), "id": "33333333-3333-4333-8333-333333333333"}
    sandbox.pax8.items[again["id"]] = [
        {**copy.deepcopy(row), "id": f"4444{row['id'][4:]}"} for row in sandbox.pax8.items[invoice["id"]]
    ]
    sandbox.pax8.invoices.append(again)
    invoice["status"] = "Credited"
    ran = quick.run("run", "--yes", "--json").must(3)
    assert cli.billed(sandbox, before) == due, "the clients would pay twice"
    assert {hold["reason"] for hold in ran.json["holds"]} == {"source_replaced"}


def test_fault_02_another_installation_on_the_same_tenant_stops(quick, tmp_path):
    quick.run("run", "--yes", "--json").must(0)
    state = quick.sandbox.state()
    other = Office(tmp_path / "other", quick.sandbox)
    other.folder.mkdir()
    other.rules(TEXT_ONLY)
    stopped = other.run("run", "--yes", "--json").must(5)
    assert stopped.json["error"]["code"] == "BS-OTHER-INSTALLATION"
    assert quick.sandbox.state() == state


def test_fault_01_a_ledger_from_before_the_run_adopts_what_it_forgot(quick):
    sandbox, due, before = quick.sandbox, cli.due(quick.sandbox), quick.sandbox.state()
    quick.run("plan").must(0)
    quick.run("db", "backup", "before.db").must(0)
    quick.run("run", "--yes", "--json").must(0)
    state = sandbox.state()
    for path in quick.folder.glob("billingsync.db*"):
        path.unlink()
    (quick.folder / "before.db").rename(quick.folder / "billingsync.db")
    ran = quick.run("run", "--yes", "--json").must(0).json
    assert {posting["state"] for posting in ran["postings"]} == {"adopted"}
    assert sandbox.state() == state
    assert cli.billed(sandbox, before) == due
    cli.balanced(ran, returned=True)


def test_fault_14_another_tenant_stops_before_anything_is_read(quick):
    quick.run("run", "--yes").must(0)
    quick.sandbox.calls.clear()
    quick.settings["BILLINGSYNC_HALO__BASE_URL"] = quick.sandbox.url.replace("127.0.0.1", "localhost") + "/halo"
    stopped = quick.run("run", "--yes", "--json").must(5)
    assert stopped.json["error"]["code"] == "BS-OTHER-TENANT"
    assert not [call for call in quick.sandbox.calls if call.path in ("/Client", "/Invoice")]


def test_an_address_with_a_typo_ties_the_ledger_to_nothing(quick):
    """It lets nobody in; and what was only planned elsewhere ties nobody for ever."""
    right = quick.sandbox.url + "/halo"
    quick.settings["BILLINGSYNC_HALO__CLIENT_SECRET"] = "wrong"
    quick.run("plan").must(1)
    assert bound_to(quick) is None
    del quick.settings["BILLINGSYNC_HALO__CLIENT_SECRET"]
    quick.settings["BILLINGSYNC_HALO__BASE_URL"] = elsewhere = right.replace("127.0.0.1", "localhost")
    quick.run("plan").must(0)
    assert bound_to(quick) == elsewhere
    del quick.settings["BILLINGSYNC_HALO__BASE_URL"]
    quick.run("run", "--yes").must(0)
    assert bound_to(quick) == right


def bound_to(office):
    with open_ledger(office.environment()["BILLINGSYNC_DATABASE_URL"], partner="default") as ledger:
        return ledger.partner().halo_base_url


def test_b2_b3_behaviors_reach_their_invoices_and_nothing_else(quick):
    """Contoso Ltd's newest invoice; Northwind's recurring one. Everything else on them stays [B4]."""
    sandbox = quick.sandbox
    due = cli.due(sandbox)
    before = sandbox.state()
    recurring = next(row["id"] for row in sandbox.halo.recurring.values() if row["client_id"] == 216)
    quick.rules(f'[client]\nname = "Northwind Traders Inc."\n[invoice]\nbehavior = "recurring"\n'
                f"recurring_invoice = {-recurring}\n", "clients/northwind.toml")  # fmt: skip
    quick.rules('[client]\nname = "Contoso Ltd"\n[invoice]\nbehavior = "latest"\n', "clients/contoso.toml")
    quick.run("run", "--yes", "--json").must(0, 3)
    old = {row["id"]: row for row in before["halo"]["recurring"]}[recurring]
    new = sandbox.halo.recurring[recurring]
    added = [line for line in new["lines"] if line["id"] not in {one["id"] for one in old["lines"]}]
    if added:
        amounts = sorted((cli.cents(Decimal(line["qty_order"]) * Decimal(line["unit_price"])),
                          cli.cents(Decimal(line["qty_order"]) * Decimal(line["unit_cost"]))) for line in added)  # fmt: skip
        assert amounts == due[216]
    kept = {line["id"]: line for line in new["lines"]}
    assert all(kept[line["id"]] == line for line in json.loads(json.dumps(old["lines"], default=str))) or all(
        kept[line["id"]] == line for line in old["lines"]
    )
    assert not quick.plan()["clients"] or quick.plan()["clients"][0]["held"]


def test_every_format_tells_the_same_plan(quick):
    quick.sandbox.reset(FULL)
    plan = quick.plan()
    total = plan["equation"]["USD"]["price"]["posted"]
    grouped = f"{Decimal(total):,}"
    for format in ("text", "csv", "html", "markdown"):
        told = quick.run("plan", "--format", format).must(3).stdout
        assert total in told or grouped in told or format == "csv", format
    rows = list(csv.reader(io.StringIO(quick.run("plan", "--format", "csv").must(3).stdout)))
    assert len({len(row) for row in rows}) == 1
    assert not [cell for row in rows for cell in row if cell[:1] in "=+@\t\r\n" and cell]
    quick.run("plan", "--format", "xlsx", "--out", "plan.xlsx").must(3)
    import openpyxl

    book = openpyxl.load_workbook(quick.folder / "plan.xlsx")
    formulas = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.data_type == "f"]
    assert not formulas
