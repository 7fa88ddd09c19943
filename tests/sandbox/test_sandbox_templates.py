"""Invoices that the emulated HaloPSA makes from recurring ones, under every switch, and people at work meanwhile."""

from decimal import Decimal

import httpx2
import pytest

from billingsync.sandbox.caller import Caller, json
from billingsync.sandbox.options import SandboxOptions
from billingsync.sandbox.server import Sandbox
from billingsync.sandbox.wire import copy_json

DAY = 86_400
MARK = "[bs:0123456789abcdef0123:01234567:1]"
NEVER = "1899-12-30T00:00:00"


@pytest.fixture(scope="module")
def server():
    with Sandbox() as sandbox, Caller(sandbox.environment()) as caller:
        yield sandbox, caller


@pytest.fixture
def sandbox(server):
    server[0].reset(SandboxOptions(clients=4, charges=10, trouble=False, history=0, halo_token_life_s=10**9))
    return server[0]


@pytest.fixture
def caller(server, sandbox):
    server[1].forget()
    return server[1]


@pytest.fixture
def template(caller, sandbox):
    """A template of one client with a line of ours and one that is charged once; it is due on the 28th."""
    sandbox.halo.recurring.clear()
    lines = [
        {"item_shortdescription": "Seats", "item_longdescription": f"November {MARK}", "productnumber": "p-1",
         "qty_order": 10, "unit_price": 22, "baseprice": 22, "unit_cost": 18, "customfields": [{"id": 101, "value": "f"}]},
        {"item_shortdescription": "Setup", "qty_order": 1, "unit_price": 300, "baseprice": 300, "onetimecharge": True},
        {"item_shortdescription": "Asleep", "qty_order": 1, "unit_price": 5, "isinactive": True},
    ]  # fmt: skip
    header = {"client_id": 214, "lines": lines, "reference": "Monthly services", "internal_note": "a note",
              "periodname": "Monthly", "nextcreationdate": "2026-11-28T00:00:00", "invoiceday": 28}  # fmt: skip
    return json(caller.halo("/RecurringInvoice", "POST", [header]))["id"]


def read(caller, row_id):
    path = "/RecurringInvoice" if row_id < 0 else "/Invoice"
    answer = caller.halo(f"{path}/{row_id}", includedetails="true")
    assert answer.status_code == 200
    return json(answer)


def made(caller, template_id):
    """As a caller finds them."""
    return json(caller.halo("/Invoice", recurringinvoice_id=template_id, includelines="true"))["invoices"]


def titles(row):
    return [line["item_shortdescription"] for line in row["lines"]]


def quantities(row):
    return {line["item_shortdescription"]: line["qty_order"] for line in row["lines"]}


def bend(sandbox, template_id, **changes):
    sandbox.halo.recurring[template_id] |= changes


# --- on command, on schedule -----------------------------------------------------------------------------------------


def test_an_invoice_is_made_on_command(caller, sandbox, template):
    before = read(caller, template)
    assert before["lastcreated"] == NEVER
    row = sandbox.make(template)
    found = read(caller, row["id"])
    assert (found["recurring_invoice_id"], found["client_id"]) == (template, 214)
    assert (found["reference"], found["internal_note"]) == ("Monthly services", "a note")
    assert titles(found) == ["Seats", "Setup"] and found["revenue"] == Decimal("520.00")
    line, source = found["lines"][0], before["lines"][0]
    assert (line["recurring_invoice_id"], line["recurring_invoice_line_id"]) == (template, source["id"])
    assert line["id"] != source["id"] and line["ihid"] == found["id"]
    for name in ("item_longdescription", "productnumber", "customfields", "unit_price", "unit_cost", "qty_order"):
        assert line[name] == source[name]
    after = read(caller, template)
    assert after["lastcreated"] == found["date_created"] == found["invoice_date"]
    assert after["nextcreationdate"] == "2026-12-28T00:00:00"
    assert after["change_seq"] > before["change_seq"]
    assert [one["id"] for one in made(caller, template)] == [found["id"]]
    assert made(caller, -9) == []


def test_at_a_moment_and_without_moving_the_schedule(caller, sandbox, template):
    row = sandbox.person(do="make", id=template, at="2026-11-20T10:00:00", moves=False)
    assert row["invoice_date"] == read(caller, template)["lastcreated"] == "2026-11-20T10:00:00"
    assert read(caller, template)["nextcreationdate"] == "2026-11-28T00:00:00"


def test_the_schedule_makes_it_when_its_day_has_come(caller, sandbox, template):
    sandbox.advance(22 * DAY)
    assert made(caller, template) == []
    sandbox.advance(DAY)
    [row] = made(caller, template)
    assert row["invoice_date"] == row["date_created"] == row["last_modified"] == "2026-11-28T00:00:00"
    assert sandbox.halo.changes[-1]["who"] == "HaloPSA"
    assert len(made(caller, template)) == 1


def test_off_schedule_and_disabled_ones_make_nothing(caller, sandbox, template):
    bend(sandbox, template, disabled=True)
    sandbox.advance(40 * DAY)
    bend(sandbox, template, disabled=False)
    sandbox.change(schedule="off")
    sandbox.advance(40 * DAY)
    assert made(caller, template) == []


def test_nothing_is_made_after_the_end(caller, sandbox, template):
    bend(sandbox, template, enddate="2026-12-31T00:00:00")
    sandbox.advance(120 * DAY)
    assert len(made(caller, template)) == 2


@pytest.mark.parametrize(
    ("name", "following"),
    [("Monthly", "2026-12-31"), ("Quarterly", "2027-02-28"), ("Half-yearly", "2027-05-31"), ("Yearly", "2027-11-30")],
)
def test_the_next_creation_is_one_period_later(caller, sandbox, template, name, following):
    bend(sandbox, template, periodname=name, nextcreationdate="2026-11-30T00:00:00", invoiceday=31)
    sandbox.make(template)
    assert read(caller, template)["nextcreationdate"] == f"{following}T00:00:00"


def test_the_day_of_the_month_survives_a_short_month(caller, sandbox, template):
    bend(sandbox, template, nextcreationdate="2027-01-31T00:00:00", invoiceday=31)
    seen = []
    for _ in range(3):
        sandbox.make(template)
        seen.append(read(caller, template)["nextcreationdate"][:10])
    assert seen == ["2027-02-28", "2027-03-31", "2027-04-30"]


@pytest.mark.parametrize(("catch_up", "number"), [("each", 3), ("once", 1)])
def test_several_periods_passed(caller, sandbox, template, catch_up, number):
    sandbox.change(made_catch_up=catch_up)
    sandbox.advance(90 * DAY)
    assert len(made(caller, template)) == number
    assert read(caller, template)["nextcreationdate"] == "2027-02-28T00:00:00"


def test_a_template_without_lines_to_bill_makes_no_invoice(caller, sandbox, template):
    bend(sandbox, template, lines=[])
    assert sandbox.make(template) is None
    assert read(caller, template)["lastcreated"] == NEVER


# --- once, pro rata --------------------------------------------------------------------------------------------------


def test_charged_once_and_kept(caller, sandbox, template):
    first, second = sandbox.make(template), sandbox.make(template)
    assert (titles(first), titles(second)) == (["Seats", "Setup"], ["Seats"])
    line = read(caller, template)["lines"][1]
    assert (line["item_shortdescription"], line["onetimechargeinvoiceid"]) == ("Setup", first["id"])


def test_charged_once_and_dropped(caller, sandbox, template):
    sandbox.change(one_time="dropped")
    first, second = sandbox.make(template), sandbox.make(template)
    assert (titles(first), titles(second)) == (["Seats", "Setup"], ["Seats"])
    assert titles(read(caller, template)) == ["Seats", "Asleep"]
    assert read(caller, template)["revenue"] == 220


def test_the_flag_is_ignored(caller, sandbox, template):
    sandbox.change(one_time="ignored")
    first, second = sandbox.make(template), sandbox.make(template)
    assert titles(first) == titles(second) == ["Seats", "Setup"]
    line = read(caller, template)["lines"][1]
    assert line["onetimecharge"] and not line.get("onetimechargeinvoiceid")


def test_the_flag_cannot_be_set(caller, sandbox, template):
    sandbox.change(one_time="unsettable")
    sent = {"client_id": 214, "lines": [{"item_shortdescription": "Setup", "onetimecharge": True}]}
    row = json(caller.halo("/RecurringInvoice", "POST", [sent]))
    assert "onetimecharge" not in row["lines"][0]


def test_callers_cannot_say_what_was_made(caller, sandbox, template):
    row = read(caller, template)
    row["lines"][1]["onetimechargeinvoiceid"] = 77
    caller.halo("/RecurringInvoice", "POST", [row | {"lastcreated": "2026-11-02T00:00:00"}])
    after = read(caller, template)
    assert after["lastcreated"] == NEVER and "onetimechargeinvoiceid" not in after["lines"][1]


def change_seats(caller, template, seats):
    lines = read(caller, template)["lines"]
    caller.halo("/RecurringInvoice", "POST", [{"id": template, "lines": [lines[0] | {"qty_order": seats}, *lines[1:]]}])


def entries(caller, template):
    return [entry["quantity"] for entry in read(caller, template)["lines"][0]["prorata_data"]]


def test_pro_rata_is_folded_into_the_quantity_once(caller, sandbox, template):
    sandbox.change(prorata_on_change=True)
    change_seats(caller, template, 12)
    [listed] = json(caller.halo("/InvoiceDetailProRata"))["prorata"]
    assert (listed["recurring_invoice_id"], listed["client_id"], listed["quantity"]) == (template, 214, 2)
    assert quantities(sandbox.make(template))["Seats"] == 14
    assert entries(caller, template) == [] == json(caller.halo("/InvoiceDetailProRata"))["prorata"]
    assert quantities(sandbox.make(template))["Seats"] == 12


def test_pro_rata_is_left_by_a_build_without_it(caller, sandbox, template):
    sandbox.change(prorata_on_change=True, made_prorata="left", prorata_list="404")
    change_seats(caller, template, 12)
    assert quantities(sandbox.make(template))["Seats"] == 12
    assert entries(caller, template) == [2]
    assert caller.halo("/InvoiceDetailProRata").status_code == 404


@pytest.mark.parametrize(("sent", "there"), [("ignored", [2]), ("kept", [2]), ("doubled", [2, 2])])
def test_pro_rata_that_is_sent_back(caller, sandbox, template, sent, there):
    sandbox.change(prorata_on_change=True)
    change_seats(caller, template, 12)
    sandbox.change(prorata_sent=sent)
    change_seats(caller, template, 12)
    assert entries(caller, template) == there
    ids = [entry["id"] for entry in json(caller.halo("/InvoiceDetailProRata"))["prorata"]]
    assert len(set(ids)) == len(there)


def test_pro_rata_that_is_left_out(caller, sandbox, template):
    sandbox.change(prorata_on_change=True, prorata_sent="kept")
    change_seats(caller, template, 12)
    lines = read(caller, template)["lines"]
    del lines[0]["prorata_data"]
    caller.halo("/RecurringInvoice", "POST", [{"id": template, "lines": lines}])
    assert entries(caller, template) == []


# --- approvals -------------------------------------------------------------------------------------------------------


def test_an_approval_comes_first(caller, sandbox, template):
    sandbox.change(made_approval="before")
    sandbox.advance(24 * DAY)
    assert made(caller, template) == [] and sandbox.make(template) is None
    assert read(caller, template)["approval_status"] == 1
    row = sandbox.person(do="approve", id=template)
    assert [one["id"] for one in made(caller, template)] == [row["id"]]
    assert (read(caller, template)["approval_status"], row["approval_status"]) == (0, 0)
    assert read(caller, template)["nextcreationdate"] == "2026-12-28T00:00:00"


def test_the_invoice_made_waits_for_an_approval(caller, sandbox, template):
    sandbox.change(made_approval="after")
    row = sandbox.make(template)
    assert (row["requires_approval"], row["approval_status"]) == (True, 1)
    sandbox.person(do="approve", id=row["id"])
    assert read(caller, row["id"])["approval_status"] == 2


# --- builds that tell less -------------------------------------------------------------------------------------------


def test_builds_that_do_not_say_where_a_line_came_from(caller, sandbox, template):
    row = sandbox.make(template)
    sandbox.change(made_line_ids=False)
    found = read(caller, row["id"])
    assert found["recurring_invoice_id"] == found["lines"][0]["recurring_invoice_id"] == template
    assert found["lines"][0]["recurring_invoice_line_id"] == 0
    sandbox.change(made_header_id=False)
    found = read(caller, row["id"])
    assert found["recurring_invoice_id"] == found["lines"][0]["recurring_invoice_id"] == 0
    caller.halo("/Invoice", "POST", [found])  # who sends it back does not make HaloPSA forget
    kept = sandbox.halo.invoices[row["id"]]
    assert kept["recurring_invoice_id"] == template and kept["lines"][0]["recurring_invoice_line_id"] > 0


@pytest.mark.parametrize("copied", [(), ("productnumber",), ("longdescription", "internal_note")])
def test_builds_that_copy_fewer_texts(caller, sandbox, template, copied):
    sandbox.change(made_fields_copied=copied)
    row = sandbox.make(template)
    line = row["lines"][0]
    assert line["item_shortdescription"] == "Seats"
    assert (MARK in line["item_longdescription"]) == ("longdescription" in copied)
    assert (line["productnumber"] == "p-1") == ("productnumber" in copied)
    assert line["customfields"] == []
    assert (row["internal_note"] == "a note") == ("internal_note" in copied)


@pytest.mark.parametrize(("told", "seen"), [("time", "T10:30:00"), ("date", "T00:00:00"), ("never", None)])
def test_how_lastcreated_is_told(caller, sandbox, template, told, seen):
    sandbox.change(lastcreated=told)
    assert read(caller, template)["lastcreated"] == NEVER
    sandbox.make(template, "2026-11-20T10:30:00")
    assert read(caller, template)["lastcreated"] == (f"2026-11-20{seen}" if seen else NEVER)
    [row] = json(caller.halo("/RecurringInvoice", client_id=214))["invoices"]
    assert row["lastcreated"] == read(caller, template)["lastcreated"]


def test_a_build_without_the_next_creation(caller, sandbox, template):
    sandbox.change(nextcreationdate="never")
    assert read(caller, template)["nextcreationdate"] == NEVER
    sandbox.advance(24 * DAY)
    assert len(made(caller, template)) == 1


def test_a_build_without_the_filter(caller, sandbox, template):
    sandbox.change(recurring_filter="ignored")
    sandbox.make(template)
    assert len(made(caller, template)) == len(made(caller, -9)) > 1


# --- people, through the control routes -------------------------------------------------------------------------------


@pytest.fixture
def control(sandbox):
    def asked(path, **body):
        answer = httpx2.post(f"{sandbox.url}/_sandbox/{path}", json=body)
        return answer.status_code, json(answer)

    return asked


def test_people_edit_close_and_delete(caller, sandbox, control, template):
    line = read(caller, template)["lines"][0]["id"]
    assert control("person", do="edit", id=template, line=line, set={"qty_order": 7})[0] == 200
    assert read(caller, template)["lines"][0]["net_amount"] == 154
    assert [(one["who"], one["field_name"]) for one in sandbox.halo.changes[-1:]] == [("Jane", "qty_order")]
    assert control("person", do="edit", id=template, set={"reference": "Other"})[0] == 200
    control("person", do="add_line", id=template, who="Ann", set={"item_shortdescription": "Extra", "qty_order": 1})
    assert titles(read(caller, template)) == ["Seats", "Setup", "Asleep", "Extra"]
    control("person", do="remove_line", id=template, line=line)
    assert titles(read(caller, template)) == ["Setup", "Asleep", "Extra"]
    _, answer = control("person", do="make", id=template)
    number = answer["row"]["id"]
    control("person", do="close", id=number, how="paid")
    assert (read(caller, number)["posted"], read(caller, number)["amountdue"]) == (True, 0)
    control("person", do="delete", id=number)
    assert made(caller, template) == []


@pytest.mark.parametrize(
    ("how", "name"), [("posted", "dateposted"), ("sent", "datesent"), ("paid", "datepaid"), ("voided", "voided")]
)
def test_closed_in_each_way(caller, sandbox, template, how, name):
    number = sandbox.make(template)["id"]
    before = read(caller, number)[name]
    sandbox.person(do="close", id=number, how=how)
    assert read(caller, number)[name] != before


def test_a_deed_right_before_a_call(caller, sandbox, control, template):
    deed = {"do": "make", "id": template, "before": {"method": "POST", "path": "/RecurringInvoice", "nth": 2}}
    assert control("person", **deed)[0] == 200
    lines = copy_json(read(caller, template)["lines"])
    caller.halo("/RecurringInvoice", "POST", [{"id": template, "lines": lines}])
    assert made(caller, template) == []
    caller.halo("/RecurringInvoice", "POST", [{"id": template, "lines": [lines[0] | {"qty_order": 99}]}])
    [row] = made(caller, template)
    assert quantities(row)["Seats"] == 10 and quantities(read(caller, template)) == {"Seats": 99}
    caller.halo("/RecurringInvoice", "POST", [{"id": template, "lines": lines[:1]}])
    assert len(made(caller, template)) == 1


def test_time_passes_through_the_control_route(caller, control, template):
    _, answer = control("clock", advance=30 * DAY)
    assert answer["moment"].startswith("2026-12-05")
    assert len(made(caller, template)) == 1


def test_a_deed_that_cannot_be_done(control, template):
    assert control("person", do="make", id=-9)[0] == 404
    assert control("person", do="approve", id=template)[0] == 400
    assert control("person", do="edit", id=template, line=1, set={})[0] == 404
    assert control("person", do="dance", id=template)[0] == 400
    assert control("person", do="close", id=template, how="burnt")[0] == 400


def test_what_was_made_is_part_of_the_state(caller, sandbox, template):
    before = sandbox.state()
    sandbox.make(template)
    after = sandbox.state()
    sandbox.restore(before)
    assert made(caller, template) == [] and read(caller, template)["lastcreated"] == NEVER
    sandbox.restore(after)
    assert len(made(caller, template)) == 1
