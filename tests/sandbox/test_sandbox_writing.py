"""What the emulated HaloPSA makes of a write, under every switch."""

from decimal import Decimal

import pytest

from billingsync.sandbox.caller import Caller, json
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sandbox.wire import copy_json


@pytest.fixture(scope="module")
def server():
    with Sandbox() as sandbox, Caller(sandbox.environment()) as caller:
        yield sandbox, caller


@pytest.fixture
def sandbox(server):
    server[0].reset(SandboxOptions(clients=4, charges=10, trouble=False, history=0))
    return server[0]


@pytest.fixture
def caller(server, sandbox):
    server[1].forget()
    return server[1]


def line(title="Seat", quantity="3", price="1.25", **more):
    price = Decimal(price)
    return {
        "item_shortdescription": title,
        "qty_order": Decimal(quantity),
        "unit_price": price,
        "baseprice": price,
    } | more


def create(caller, *lines, client_id=214, **header):
    answer = caller.halo("/Invoice", "POST", [{"client_id": client_id, "lines": list(lines), **header}])
    assert answer.status_code == 201, answer.text
    return json(answer)


def read(caller, row_id, path="/Invoice"):
    return json(caller.halo(f"{path}/{row_id}", includedetails="true"))


def open_invoice(sandbox):
    return next(
        row for row in sandbox.halo.invoices.values() if not row["posted"] and not row["voided"] and row["lines"]
    )


def send(caller, row, path="/Invoice", **changes):
    return caller.halo(path, "POST", [row | changes])


# --- creating --------------------------------------------------------------------------------------------------------


def test_create_in_one_call(caller, sandbox):
    made = create(caller, line(unit_cost=Decimal("1.00")), line("Other", "1", "-0.50"), internal_note="key=1",
                  invoice_date="2026-11-01T12:00:00Z", reference="R")  # fmt: skip
    assert made["id"] == max(sandbox.halo.invoices) and made["invoicenumber"] == str(made["id"])
    assert (made["client_name"], made["sitenumber"]) == ("Contoso Ltd", sandbox.halo.clients[214]["main_site_id"])
    assert (made["revenue"], made["tax_total"], made["total"], made["amountdue"]) == (
        Decimal("3.25"), Decimal(0), Decimal("3.25"), Decimal("3.25"))  # fmt: skip
    assert [one["net_amount"] for one in made["lines"]] == [Decimal("3.75"), Decimal("-0.50")]
    assert all(one["id"] > 0 and one["ihid"] == made["id"] for one in made["lines"])
    assert made["invoice_date"] == "2026-11-01T12:00:00" and made["change_seq"] == 1
    assert read(caller, made["id"]) == made
    assert sandbox.calls[-2].effect and not sandbox.calls[-1].effect
    assert sandbox.ignored == [] and sandbox.alarms == []


def test_tax_comes_from_the_client_or_the_line(caller, sandbox):
    taxed = create(caller, line("a", "1", "10.00"), line("b", "1", "10.00", tax_code="12"), client_id=216)
    assert [one["tax_amount"] for one in taxed["lines"]] == [Decimal("0.80"), Decimal("1.90")]
    assert (taxed["revenue"], taxed["total"]) == (Decimal("20.00"), Decimal("22.70"))


def test_bodies_are_arrays_of_json(caller, sandbox):
    bare = caller.halo("/Invoice", "POST", {"client_id": 214})
    assert bare.status_code == 400 and isinstance(bare.json(), str)
    headers = {"Authorization": f"Bearer {caller.halo_token().json()['access_token']}", "Content-Type": "text/plain"}
    assert caller.http.post(f"{sandbox.url}/halo/api/Invoice", headers=headers, content=b"[]").status_code == 415
    headers["Content-Type"] = "application/json"
    assert caller.http.post(f"{sandbox.url}/halo/api/Invoice", headers=headers, content=b"{").status_code == 400
    assert caller.halo("/Invoice", "POST", []).status_code == 400


def test_refusals(caller, sandbox):
    before = sandbox.state()
    assert isinstance(caller.halo("/Invoice", "POST", [{"lines": []}]).json(), str)
    assert caller.halo("/Invoice", "POST", [{"client_id": 1}]).status_code == 400
    bound = caller.halo("/Invoice", "POST", [{"client_id": "Contoso"}])
    assert bound.status_code == 400 and list(bound.json()) == ["[0].client_id"]
    wrong = caller.halo("/Invoice", "POST", [{"client_id": 214, "lines": [line(qty_order="many")]}])
    assert list(wrong.json()) == ["[0].lines[0].qty_order"]
    assert caller.halo("/Invoice", "POST", [{"id": 5, "reference": "x"}]).status_code == 404
    assert caller.halo("/Invoice", "POST", [{"client_id": 214, "invoice_date": "tomorrow"}]).status_code == 400
    assert caller.halo("/Invoice", "POST", [{"client_id": 214, "lines": [line(_itemid=9_999)]}]).status_code == 400
    state = sandbox.state()
    for later in (before, state):  # ids that were given to refused writes may be gone, as in a real sequence
        later["halo"].pop("next_ids")
        later["halo"].pop("changes")
    assert state == before


def test_numbers_may_be_strings_but_unknown_properties_are_ignored_and_reported(caller, sandbox):
    made = create(caller, line(qty_order="2.5", description="x"), colour="red")
    assert made["lines"][0]["qty_order"] == Decimal("2.5") and "description" not in made["lines"][0]
    assert sandbox.ignored == [("/Invoice", "colour"), ("/Invoice", "lines.description")]


def test_alarms(caller, sandbox):
    create(caller, line(_isimport=True), _dont_fire_automations=True, ignore_change_seq=True)
    caller.halo("/Item", "POST", [{"name": "x", "update_recurring_invoice_price": True}])
    caller.halo("/RecurringInvoice/process", "POST", [-201])
    assert [(alarm.kind, alarm.detail) for alarm in sandbox.alarms] == [
        ("command_property", "_dont_fire_automations"), ("ignore_change_seq", "true"), ("command_property",
        "lines._isimport"), ("price_push", "update_recurring_invoice_price"), ("process", "[-201]"),
    ]  # fmt: skip


def test_batch_is_no_transaction(caller, sandbox):
    count = len(sandbox.halo.invoices)
    answer = caller.halo("/Invoice", "POST", [{"client_id": 214}, {"client_id": 0}])
    assert answer.status_code == 400 and len(sandbox.halo.invoices) == count + 1
    assert sandbox.calls[-1].effect


def test_answers_of_a_post(caller, sandbox):
    sandbox.change(post_status=200, post_answer="list", answer_lines=False)
    answer = caller.halo("/Invoice", "POST", [{"client_id": 214, "lines": [line()]}])
    (made,) = json(answer)
    assert answer.status_code == 200 and "lines" not in made
    assert len(read(caller, made["id"])["lines"]) == 1


# --- amounts ---------------------------------------------------------------------------------------------------------


def test_rounding_and_floats(caller, sandbox):
    awkward = line("third", "3", "3.333333")
    assert create(caller, awkward)["revenue"] == Decimal("10.00")
    sandbox.change(round_amounts=None)
    assert create(caller, awkward)["revenue"] == Decimal("9.999999")
    tenths = [line("t", "1", "0.1") for _ in range(3)]
    assert create(caller, *tenths)["revenue"] == Decimal("0.3")
    sandbox.change(float_sums=True)
    assert create(caller, *tenths)["revenue"] == Decimal("0.30000000000000004")
    long = create(caller, line("l", "1", "0.1234567890123456789012345"))["lines"][0]
    assert long["unit_price"] == Decimal("0.12345678901234568")


def test_discount_and_inactive_lines(caller, sandbox):
    made = create(caller, line("d", "2", "10.00", discount_perc=25), line("i", "1", "99.00", isinactive=True))
    assert made["revenue"] == Decimal("15.00")


def test_which_property_is_the_price(caller, sandbox):
    only_base = line(unit_price=Decimal(0))
    assert create(caller, only_base)["revenue"] == 0
    sandbox.change(unit_price_from="baseprice")
    assert create(caller, only_base)["revenue"] == Decimal("3.75")
    assert create(caller, line(baseprice=Decimal(0)))["revenue"] == 0


# --- changing --------------------------------------------------------------------------------------------------------


def test_sending_everything_back_changes_nothing(caller, sandbox):
    for path, rows in (("/Invoice", sandbox.halo.invoices), ("/RecurringInvoice", sandbox.halo.recurring)):
        for row_id, before in list(rows.items()):
            whole = read(caller, row_id, path)
            assert whole == before
            if before["posted"] or before["voided"] or before["invoicetype"]:
                continue
            assert send(caller, whole, path).status_code == 201
            after = read(caller, row_id, path)
            for own in ("change_seq", "last_modified"):
                assert after.pop(own) != whole.pop(own)
            assert after == whole
    assert sandbox.ignored == [] and sandbox.alarms == []


def test_properties_left_out_of_the_header_keep_their_value(caller, sandbox):
    before = read(caller, open_invoice(sandbox)["id"])
    send(caller, {"id": before["id"]}, notes_1="other")
    after = read(caller, before["id"])
    assert (
        after["notes_1"] == "other" and after["lines"] == before["lines"] and after["reference"] == before["reference"]
    )


@pytest.mark.parametrize("semantics", ["replace", "merge"])
def test_lines_left_out(semantics, caller, sandbox):
    sandbox.change(lines_semantics=semantics)
    row = read(caller, open_invoice(sandbox)["id"])
    first, *left_out = row["lines"]
    send(caller, {"id": row["id"]}, lines=[first, line("new")])
    after = read(caller, row["id"])["lines"]
    assert first in after and after[-1]["item_shortdescription"] == "new"
    assert (all(one in after for one in left_out) and len(after) == len(row["lines"]) + 1) == (semantics == "merge")
    assert len(after) == (2 if semantics == "replace" else len(row["lines"]) + 1)


@pytest.mark.parametrize("properties", ["reset", "kept"])
def test_properties_left_out_of_a_line(properties, caller, sandbox):
    sandbox.change(line_properties=properties)
    row = read(caller, open_invoice(sandbox)["id"])
    thin = {"id": row["lines"][0]["id"], "qty_order": 13, "unit_price": 35}
    send(caller, {"id": row["id"]}, lines=[thin, *row["lines"][1:]])
    after = read(caller, row["id"])["lines"][0]
    assert after["qty_order"] == 13 and after["net_amount"] == 455
    assert after["comment_1"] == ("per contract" if properties == "kept" else "")


def test_strange_line_is_refused(caller, sandbox):
    row = open_invoice(sandbox)
    assert send(caller, {"id": row["id"]}, lines=[{"id": 1, "qty_order": 1}]).status_code == 400


@pytest.mark.parametrize(("conflict", "status"), [("400", 400), ("409", 409), ("ignored", 201)])
def test_change_seq(conflict, status, caller, sandbox):
    sandbox.change(change_seq_conflict=conflict)
    row = read(caller, open_invoice(sandbox)["id"])
    assert send(caller, {"id": row["id"]}, notes_1="a", last_change_seq=row["change_seq"]).status_code == 201
    assert send(caller, {"id": row["id"]}, notes_1="b", last_change_seq=row["change_seq"]).status_code == status
    assert send(caller, {"id": row["id"]}, notes_1="c").status_code == 201
    sandbox.change(change_seq="absent")
    assert "change_seq" not in read(caller, row["id"])
    assert send(caller, {"id": row["id"]}, last_change_seq=99).status_code == 201


def test_add_lines(caller, sandbox):
    row = read(caller, open_invoice(sandbox)["id"])
    send(caller, {"id": row["id"]}, add_lines=[line("added")])
    after = read(caller, row["id"])
    assert after["lines"][:-1] == row["lines"] and after["lines"][-1]["item_shortdescription"] == "added"
    sandbox.change(add_lines="ignored")
    send(caller, {"id": row["id"]}, add_lines=[line("added")])
    assert read(caller, row["id"])["lines"] == after["lines"]


@pytest.mark.parametrize(("path", "lines_path"), [("/Invoice", "/Invoice/updatelines"),
                         ("/RecurringInvoice", "/RecurringInvoice/updatelines"),
                         ("/RecurringInvoice", "/RecurringInvoice/Lines")])  # fmt: skip
def test_updatelines(path, lines_path, caller, sandbox):
    rows = sandbox.halo.recurring if path == "/RecurringInvoice" else sandbox.halo.invoices
    row_id = next(row["id"] for row in rows.values() if not row["posted"] and not row["voided"])
    before = read(caller, row_id, path)
    sent = [{"ihid": row_id, "id": before["lines"][0]["id"], "qty_order": 2}, line("new", ihid=row_id)]
    assert caller.halo(lines_path, "POST", sent).status_code == 201
    upserted = read(caller, row_id, path)
    assert [one["qty_order"] for one in upserted["lines"]] == [2, *[x["qty_order"] for x in before["lines"][1:]], 3]
    assert upserted["lines"][0]["comment_1"] == before["lines"][0]["comment_1"] != ""
    assert upserted["total"] == sum(one["total_price"] for one in upserted["lines"] if not one["isinactive"])
    sandbox.change(updatelines="append")
    caller.halo(lines_path, "POST", sent)
    appended = read(caller, row_id, path)
    assert len(appended["lines"]) == len(upserted["lines"]) + 2
    sandbox.change(updatelines="ignored")
    assert caller.halo(lines_path, "POST", sent).status_code == 201 and not sandbox.calls[-1].effect
    assert read(caller, row_id, path) == appended
    assert caller.halo(lines_path, "POST", [line("lost")]).status_code == 400


def test_closed_invoices(caller, sandbox):
    closed = [row["id"] for row in sandbox.halo.invoices.values() if row["posted"]]
    for row_id in closed[:2]:
        refused = send(caller, {"id": row_id}, notes_1="late")
        assert refused.status_code == 400 and isinstance(refused.json(), str)
        assert caller.halo(f"/Invoice/{row_id}", "DELETE").status_code == 400
    sandbox.change(closed_edit="accepted")
    assert send(caller, {"id": closed[0]}, notes_1="late").status_code == 201
    sandbox.change(closed_edit="refused", posts_on_save=True)
    made = create(caller, line())
    assert made["posted"] and made["xeroid"]
    assert send(caller, {"id": made["id"]}, notes_1="late").status_code == 400


def test_what_accounting_sets_cannot_be_sent(caller, sandbox):
    made = create(caller, line(), posted=True, xeroid="x", amountpaid=3, total=99, voided=True)
    assert (made["posted"], made["xeroid"], made["amountpaid"], made["voided"]) == (False, "", 0, False)
    assert made["total"] == Decimal("3.75")


def test_void_and_delete(caller, sandbox):
    first, second = create(caller, line()), create(caller, line())
    answer = caller.halo(f"/Invoice/{first['id']}/void", "POST")
    assert answer.status_code == 200 and read(caller, first["id"])["voided"]
    assert caller.halo(f"/Invoice/{second['id']}", "DELETE").status_code == 200
    assert caller.halo(f"/Invoice/{second['id']}").status_code == 404
    assert caller.halo(f"/Invoice/{second['id']}", "DELETE").status_code == 404
    recurring = next(iter(sandbox.halo.recurring))
    assert caller.halo(f"/RecurringInvoice/{recurring}", "DELETE").status_code == 200


# --- markers ---------------------------------------------------------------------------------------------------------

MARKED = {"item_longdescription": "text key", "productnumber": "key", "customfields": [{"id": 101, "value": "key"}]}


def surviving(made):
    one = made["lines"][0]
    values = {
        "longdescription": one["item_longdescription"] == "text key",
        "productnumber": one["productnumber"] == "key",
        "customfields": [(x["id"], x["value"]) for x in one["customfields"]] == [(101, "key")],
        "internal_note": made["internal_note"] == "key",
    }
    return {name for name, kept in values.items() if kept}


EVERY_MARKER = ("longdescription", "productnumber", "customfields", "internal_note")


@pytest.mark.parametrize("kept", [EVERY_MARKER, *((one,) for one in EVERY_MARKER), ()])
def test_which_markers_survive(kept, caller, sandbox):
    sandbox.change(marker_fields_kept=kept)
    made = create(caller, line(**MARKED), internal_note="key")
    assert surviving(made) == set(kept) == surviving(read(caller, made["id"]))


def test_texts_are_cut(caller, sandbox):
    text = "x" * 5_000
    made = create(caller, line(text, item_longdescription=text, productnumber=text), reference=text, internal_note=text)
    one = made["lines"][0]
    assert len(one["item_shortdescription"]) == len(one["productnumber"]) == len(made["reference"]) == 4_000
    assert len(one["item_longdescription"]) == len(made["internal_note"]) == 5_000
    sandbox.change(longdescription_limit=4_000, text_limit=None)
    one = create(caller, line(text, item_longdescription=text))["lines"][0]
    assert (len(one["item_shortdescription"]), len(one["item_longdescription"])) == (5_000, 4_000)


def test_custom_fields_must_exist(caller, sandbox):
    fields = [{"id": 7, "value": "a"}, {"name": "CFsandbox101", "value": "b"}]
    made = create(caller, line(customfields=fields), customfields=fields)
    assert (
        made["customfields"] == made["lines"][0]["customfields"] == [{"id": 101, "name": "CFsandbox101", "value": "b"}]
    )
    assert ("customfields", "7") in sandbox.ignored


def test_item_may_overwrite(caller, sandbox):
    item = next(row for row in sandbox.halo.items.values() if row["supplier_part_code"])
    kept = create(caller, line(_itemid=item["id"], **MARKED))["lines"][0]
    assert (kept["productnumber"], kept["item_code"]) == ("key", str(item["id"]))
    sandbox.change(item_overwrites=("productnumber", "item_shortdescription"))
    taken = create(caller, line(_itemid=item["id"], **MARKED))["lines"][0]
    assert (taken["productnumber"], taken["item_shortdescription"]) == (item["supplier_part_code"], item["name"])


# --- recurring -------------------------------------------------------------------------------------------------------


def automatic(sandbox):
    return next(
        (row, one) for row in sandbox.halo.recurring.values() for one in row["lines"] if one["quantity_licences"]
    )


def test_an_automatic_quantity_cannot_be_set(caller, sandbox):
    row, counted = automatic(sandbox)
    assert row["contains_calculated_quantity"]
    lines = copy_json(row["lines"])
    next(one for one in lines if one["id"] == counted["id"])["qty_order"] = 77
    send(caller, {"id": row["id"]}, "/RecurringInvoice", lines=lines)
    after = read(caller, row["id"], "/RecurringInvoice")
    assert next(one for one in after["lines"] if one["id"] == counted["id"])["qty_order"] == 9
    assert [alarm.kind for alarm in sandbox.alarms] == ["automatic_quantity"]


def test_prorata_on_change(caller, sandbox):
    sandbox.change(prorata_on_change=True)
    row = next(iter(sandbox.halo.recurring.values()))
    lines = copy_json(row["lines"])
    lines[0]["qty_order"] += 2
    send(caller, {"id": row["id"]}, "/RecurringInvoice", lines=lines)
    after = read(caller, row["id"], "/RecurringInvoice")["lines"]
    assert [entry["quantity"] for entry in after[0]["prorata_data"]] == [2]
    assert not any(one["prorata_data"] for one in after[1:])


def test_new_recurring_invoice(caller, sandbox):
    lowest = min(sandbox.halo.recurring)
    made = json(caller.halo("/RecurringInvoice", "POST", [{"client_id": 214, "lines": [line()]}]))
    assert made["id"] == lowest - 1 and made["is_recurring_invoice"] and made["lines"][0]["id"] > 0


def test_changes_are_audited(caller, sandbox):
    row = read(caller, open_invoice(sandbox)["id"])
    row["lines"][0]["qty_order"] = 99
    send(caller, {"id": row["id"]}, lines=row["lines"][:1])
    found = json(caller.halo("/InvoiceChange", invoice_id=row["id"]))["changehistory"]
    assert ("qty_order", "12", "99") in [(one["field_name"], one["old_value"], one["new_value"]) for one in found]
    assert "line removed" in [one["field_name"] for one in found]


# --- items -----------------------------------------------------------------------------------------------------------


def test_items_and_groups(caller, sandbox):
    group = json(caller.halo("/AssetGroup", "POST", [{"name": "BillingSync_Pax8", "showasitem": True}]))
    assert group["name"] in [row["name"] for row in json(caller.halo("/AssetGroup"))]
    item = json(caller.halo("/Item", "POST", [{"name": "New", "assetgroup_id": group["id"], "externalreference": "S",
                                               "baseprice": Decimal("2.5"), "wrong": 1}]))  # fmt: skip
    assert (item["assetgroup_name"], item["baseprice"]) == ("BillingSync_Pax8", Decimal("2.5"))
    assert sandbox.ignored == [("/Item", "wrong")]
    changed = json(caller.halo("/Item", "POST", [{"id": item["id"], "nominalcode": "210"}]))
    assert (changed["externalreference"], changed["nominalcode"]) == ("S", "210")
    again = json(caller.halo("/Item", "POST", [{"name": "New"}]))
    assert again["id"] != item["id"]  # nothing is unique but the id
    assert caller.halo("/Item", "POST", [{"externalreference": "S"}]).status_code == 400
    assert caller.halo("/Item", "POST", [{"name": "x", "assetgroup_id": 999}]).status_code == 400
    assert caller.halo("/Item", "POST", [{"id": 999_999, "name": "x"}]).status_code == 404


def test_shifted_dates(caller, sandbox):
    sandbox.change(invoice_date_shift_h=-13)
    assert create(caller, line(), invoice_date="2026-11-01T12:00:00")["invoice_date"] == "2026-10-31T23:00:00"
